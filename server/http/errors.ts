// Every refusal of the HTTP server has one shape, {error, code, todo}: those of routes, of Fastify
// (bad JSON, unknown content type, body too long, bad URL) and of Node's HTTP parser (bad request
// line, headers too long, request timed out), which answers before Fastify sees a request. A bug is
// logged and answered without its text.
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { Socket } from 'node:net';
import { FAULT_CODES, Fault, reason } from '../../shared/base/fault-codes.js';
import { answerParserError } from '../../shared/platform/http-parser-errors.js';
import { limits } from '../../shared/base/limits.js';
import { SECOND_MS } from '../../shared/base/units.js';
import type { Log } from '../../shared/base/interfaces.js';
import type { ApiError } from '../../shared/protocol/operator-api.js';
import { databaseFault } from '../database-fault.js';

const JSON_TYPE = 'application/json; charset=utf-8';
const CLIENT_ERROR = { min: 400, max: 499 };

/** The body of every refusal. */
export function bodyOf(fault: Fault): ApiError {
  return {
    error: fault.detail.slice(0, limits.errorMaxChars),
    code: fault.code,
    todo: FAULT_CODES[fault.code].todo,
  };
}

export function sendFault(reply: FastifyReply, fault: Fault): FastifyReply {
  if (fault.retryAfterMs !== null)
    void reply.header('retry-after', Math.ceil(fault.retryAfterMs / SECOND_MS));
  return reply
    .code(fault.entry.http)
    .type(JSON_TYPE)
    .send(JSON.stringify(bodyOf(fault)));
}

export const pathOf = (request: FastifyRequest): string =>
  request.url.slice(0, limits.quotedMaxChars);

/** Fastify's own refusals carry a status below 500; an error that is neither is a bug. */
export function asFault(error: unknown): Fault {
  const mapped = databaseFault(error, "the server's database");
  if (mapped instanceof Fault) return mapped;
  const { statusCode, message } = error as Partial<FastifyError>;
  const detail = message ?? reason(error);
  const options = { cause: error };
  switch (statusCode) {
    case 404:
      return new Fault('not_found', detail, options);
    case 408:
      return new Fault('request_timeout', detail, options);
    case 413:
      return new Fault('request_too_large', detail, options);
    case 415:
      return new Fault('media_type_unsupported', detail, options);
    case 431:
      return new Fault('header_too_large', detail, options);
    default:
      return statusCode !== undefined &&
        statusCode >= CLIENT_ERROR.min &&
        statusCode <= CLIENT_ERROR.max
        ? new Fault('message_undecodable', detail, options)
        : new Fault('internal', reason(error), options);
  }
}

/** Fastify's error handler, also for errors before routing. */
export function answerError(
  log: Log,
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  const fault = asFault(error);
  if (fault.code !== 'internal') return sendFault(reply, fault);
  log.error(
    { request: request.id, method: request.method, path: pathOf(request), err: error },
    'a request failed because of a bug',
  );
  return sendFault(
    reply,
    new Fault('internal', `the server has a bug; its log has details of request ${request.id}`),
  );
}

/** Fastify's handler of what Node's HTTP parser refuses. */
export function answerUnparsed(error: Error, socket: Socket): void {
  answerParserError(error, socket, socket.bytesWritten > 0, bodyOf);
}
