// The time that the body of a request may take. Everybody has limits.httpBodyMs for the whole of
// it; an operator who has authenticated may take longer as long as limits.uploadRateMinBytes a
// second arrive in each window, so that a slow line can upload a large file and a body that
// trickles is ended. The time also runs after the answer was sent: Node goes on reading a body that
// nobody wants.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { limits } from '../../shared/base/limits.js';
import { SECOND_MS } from '../../shared/base/units.js';
import type { Cancel, Clock } from '../../shared/base/interfaces.js';
import { answerParserError } from '../../shared/platform/http-parser-errors.js';
import { bodyOf } from './errors.js';

interface Guard {
  cancel: Cancel;
  end(): void;
}

const guards = new WeakMap<IncomingMessage, Guard>();

/** Before anything else sees the request. */
export function guardBody(request: IncomingMessage, response: ServerResponse, clock: Clock): void {
  const { headers, socket } = request;
  const hasBody =
    headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  if (!hasBody) return;
  const end = (): void => {
    if (request.complete) return;
    const late = Object.assign(new Error('the body is late'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
    answerParserError(late, socket, response.headersSent, bodyOf);
  };
  const guard: Guard = { cancel: clock.after(limits.httpBodyMs, end), end };
  guards.set(request, guard);
  const done = (): void => guard.cancel();
  request.once('end', done);
  socket.once('close', done);
  request.once('close', () => {
    if (request.complete) done();
    socket.off('close', done);
  });
}

/** For a peer that has authenticated: judge the body by its rate from now on. */
export function judgeBodyByRate(request: IncomingMessage, clock: Clock): void {
  const guard = guards.get(request);
  if (guard === undefined) return;
  const leastBytes = (limits.uploadRateMinBytes * limits.uploadRateWindowMs) / SECOND_MS;
  const next = (before: number): void => {
    guard.cancel();
    guard.cancel = clock.after(limits.uploadRateWindowMs, () => {
      const { bytesRead } = request.socket;
      if (bytesRead - before < leastBytes) guard.end();
      else next(bytesRead);
    });
  };
  next(request.socket.bytesRead);
}
