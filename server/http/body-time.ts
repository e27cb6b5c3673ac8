// The time that the body of a request may take. Everybody has limits.httpBodyMs for the whole of
// it; an operator who has authenticated may take longer as long as limits.uploadRateMinBytes a
// second arrive in each window, so that a slow line can upload a large file and a body that
// trickles is ended. The time also runs after the answer was sent: Node goes on reading a body that
// nobody wants. The listener makes its requests of this class: not a hook of Fastify, which runs
// none for a request whose URL it refuses.
import { IncomingMessage, type ServerResponse } from 'node:http';
import { limits } from '../../shared/base/limits.js';
import { SECOND_MS } from '../../shared/base/units.js';
import type { Cancel, Clock } from '../../shared/base/interfaces.js';
import { answerParserError } from '../../shared/platform/http-parser-errors.js';
import { bodyOf } from './errors.js';

const RATE_WINDOW_MIN_BYTES = (limits.uploadRateMinBytes * limits.uploadRateWindowMs) / SECOND_MS;

export class TimedRequest extends IncomingMessage {
  #cancel: Cancel | null = null;
  #end = (): void => {};

  /** Before anything else sees the request. */
  limitBody(response: ServerResponse, clock: Clock): void {
    const { headers, socket } = this;
    const hasBody =
      headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
    if (!hasBody) return;
    this.#end = () => {
      if (this.complete) return;
      const late = Object.assign(new Error('the body is late'), {
        code: 'ERR_HTTP_REQUEST_TIMEOUT',
      });
      answerParserError(late, socket, response.headersSent, bodyOf);
    };
    this.#cancel = clock.after(limits.httpBodyMs, this.#end);
    const done = (): void => this.#cancel?.();
    this.once('end', done);
    socket.once('close', done);
    this.once('close', () => {
      if (this.complete) done();
      socket.off('close', done);
    });
  }

  /** For a peer that has authenticated: its body is judged by its rate from now on. */
  judgeBodyByRate(clock: Clock): void {
    if (this.#cancel === null) return;
    this.#cancel();
    const before = this.socket.bytesRead;
    this.#cancel = clock.after(limits.uploadRateWindowMs, () => {
      if (this.socket.bytesRead - before < RATE_WINDOW_MIN_BYTES) this.#end();
      else this.judgeBodyByRate(clock);
    });
  }
}
