// Writes responses: JSON, refusals and inference answers. Promises: every refusal is {"error",
// "code"} with the HTTP status of the fault registry; a client that does not read its answer in
// time is cut off; while the server drains, every response closes its connection.
import type { ServerResponse } from 'node:http';
import { Fault } from '../../../shared/base/fault-codes.js';
import type { Clock, Log } from '../../../shared/base/interfaces.js';
import type { EncodedAnswer } from './answer-writer.js';
import { HEADER_LENGTH } from './request-body.js';
import { MethodNotAllowed } from './router.js';

export interface ResponsesOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** For a client to read its answer. */
  readonly transferMs: number;
}

const RETRY_AFTER_SECONDS = '1';

export class Responses {
  readonly #options: ResponsesOptions;
  /** Set while the server closes. */
  draining = false;

  constructor(options: ResponsesOptions) {
    this.#options = options;
  }

  json(response: ServerResponse, status: number, value: object): void {
    const body = Buffer.from(JSON.stringify(value));
    if (this.draining) response.setHeader('Connection', 'close');
    response.setHeader('Content-Type', 'application/json');
    response.setHeader('Content-Length', body.length);
    response.writeHead(status);
    response.end(response.req.method === 'HEAD' ? undefined : body);
  }

  /** `release`: the value of Linnet-Release. */
  answer(response: ServerResponse, release: string, { headerBytes, pieces }: EncodedAnswer): void {
    response.setHeader('Linnet-Release', release);
    response.setHeader(
      'Content-Type',
      headerBytes === null ? 'application/json' : 'application/octet-stream',
    );
    response.setHeader('Content-Length', totalBytes(pieces));
    if (headerBytes !== null) response.setHeader(HEADER_LENGTH, headerBytes);
    if (this.draining) response.setHeader('Connection', 'close');
    response.writeHead(200);
    response.cork();
    for (const piece of pieces) response.write(piece);
    response.end();
    response.uncork();
    this.#limitTransfer(response);
  }

  /** The usual answer, which the kernel takes at once, needs no timer. */
  #limitTransfer(response: ServerResponse): void {
    if (response.writableLength === 0) return;
    const { clock, transferMs } = this.#options;
    const cancel = clock.after(transferMs, () => response.destroy());
    response.once('close', cancel);
  }

  /**
   * Any thrown value as a refusal; what is not a Fault is logged and answered as `internal`.
   * `unread`: part of the request was not read, so the connection cannot be used again.
   */
  refuse(response: ServerResponse, error: unknown, unread = false): void {
    const fault = this.#faultOf(error);
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (fault.entry.http === 503) response.setHeader('Retry-After', RETRY_AFTER_SECONDS);
    if (fault instanceof MethodNotAllowed) response.setHeader('Allow', fault.allowed.join(', '));
    if (unread) response.setHeader('Connection', 'close');
    this.json(response, fault.entry.http, { error: fault.detail, code: fault.code });
  }

  #faultOf(error: unknown): Fault {
    if (error instanceof Fault) return error;
    this.#options.log.error({ err: error }, 'the inference API failed');
    return new Fault('internal', "a bug in Linnet; see the agent's log");
  }
}

function totalBytes(pieces: readonly Uint8Array[]): number {
  let total = 0;
  for (const piece of pieces) total += piece.byteLength;
  return total;
}
