// What an HTTP answer that is no success means: the fleet server's own error where it sent one, and
// a Fault by the status where a proxy, a mirror or some other server answered.
import { Type, type Static } from 'typebox';
import { complaints, parseJson } from '../base/decode.js';
import { Fault, FAULT_CODES, isFault, isFaultCode, type FaultCode } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';
import { SECOND_MS } from '../base/units.js';

const ErrorBody = Type.Object({
  error: Type.Optional(Type.String()),
  code: Type.Optional(Type.String()),
});

export interface ErrorAnswer {
  readonly status: number;
  readonly body: Uint8Array | string;
  /** Where a redirect leads. */
  readonly location?: string | undefined;
  /** The header Retry-After. */
  readonly retryAfter?: string | undefined;
}

/** Null: the header is not there, or names no number of seconds. */
export const retryAfterMs = (header: string | undefined): number | null =>
  header !== undefined && /^\d{1,6}$/.test(header) ? Number(header) * SECOND_MS : null;

/** The fleet server's own error as a Fault of the same code; null for any other answer. */
export function serverFault({ body }: ErrorAnswer): Fault | null {
  const { error, code } = errorBody(body);
  return error !== undefined && code !== undefined && isFaultCode(code)
    ? new Fault(code, error)
    : null;
}

/**
 * The Fault of an answer for a caller that retries: a refusal that the server names by code keeps
 * that code, everything else gets the code of its status. `what` was asked for.
 */
export function refusalFault(answer: ErrorAnswer, what: string): Fault {
  const { status, body, location } = answer;
  const { error, code } = errorBody(body);
  const reasons = [
    `${what} answered ${status}`,
    error ?? quoted(body),
    code === undefined ? '' : `(${code})`,
    isRedirect(status) && location !== undefined
      ? `redirects to Location ${location}: redirects are not followed, configure the final URL`
      : '',
  ];
  const own = serverFault(answer)?.code;
  const isKept = own !== undefined && isClientError(status) && FAULT_CODES[own].kind === 'refused';
  return new Fault(isKept ? own : codeOf(status), reasons.filter((part) => part !== '').join(' '), {
    retryAfterMs: retryAfterMs(answer.retryAfter),
  });
}

const isRedirect = (status: number): boolean => status >= 300 && status < 400;
const isClientError = (status: number): boolean => status >= 400 && status < 500;

function codeOf(status: number): FaultCode {
  if (status === 401) return 'auth_missing';
  if (status === 403) return 'auth_denied';
  if (status === 404 || status === 410) return 'not_found';
  if (status === 409) return 'conflict';
  if (status === 408 || status === 429) return 'server_unreachable';
  if (isClientError(status)) return 'message_undecodable';
  // 5xx: the server is failing. 1xx and 3xx: not the configured server; a redirect is never
  // followed, because it could lead anywhere.
  return 'server_unreachable';
}

/** The beginning of a body that is no error of a fleet server, on one line. */
function quoted(body: Uint8Array | string): string {
  const text = Buffer.from(body).toString('utf8').replace(/\s+/g, ' ').trim();
  return text === '' ? '' : `(not by a fleet server: ${text.slice(0, limits.quotedMaxChars)})`;
}

function errorBody(body: Uint8Array | string): Static<typeof ErrorBody> {
  try {
    const value = parseJson(body, 'an error answer');
    return complaints(ErrorBody, value).length === 0 ? (value as Static<typeof ErrorBody>) : {};
  } catch (error) {
    if (isFault(error)) return {};
    throw error;
  }
}
