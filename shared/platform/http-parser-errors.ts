// Answers what Node's HTTP parser refuses: what is not HTTP, headers that are too long, a request
// that does not arrive in time. There is no request object then; without this, Node answers with a
// status and no body.
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { Fault, systemCode } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';

/**
 * Answers on `socket` with the status of the fault and with `bodyOf` it as JSON, and closes the
 * connection. `isAnswered`: an answer was begun on the connection, so that nothing may be written
 * into it.
 */
export function answerParserError(
  error: Error,
  socket: Duplex,
  isAnswered: boolean,
  bodyOf: (fault: Fault) => object,
): void {
  if (systemCode(error) === 'ECONNRESET' || !socket.writable || isAnswered) {
    socket.destroy();
    return;
  }
  const fault = parserFault(error);
  const { http } = fault.entry;
  const body = JSON.stringify(bodyOf(fault));
  // A client that does not close the connection then is cut off, also one that goes on sending.
  const cut = setTimeout(() => socket.destroy(), limits.connectionCheckMs);
  cut.unref();
  socket.once('close', () => clearTimeout(cut));
  socket.end(
    `HTTP/1.1 ${http} ${STATUS_CODES[http] ?? ''}\r\ncontent-type: application/json\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function parserFault(error: Error): Fault {
  switch (systemCode(error)) {
    case 'HPE_HEADER_OVERFLOW':
      return new Fault('header_too_large', 'the headers of the request are too long');
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new Fault('request_too_large', 'the chunk extensions of the request are too long');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Fault('request_timeout', 'the request did not arrive in time');
    default:
      return new Fault('message_undecodable', `not an HTTP request: ${error.message}`);
  }
}
