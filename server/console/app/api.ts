// Requests to the operator API. A read keeps its answer with the entity tag: an answer that has not
// changed comes without a body and is the same object as before, so nothing is rendered anew. A
// refused token signs the person out.
import type { ApiError } from '../../../shared/protocol/operator-api.js';
import { limits } from './limits.js';
import { signOut, token } from './session.js';

/** What the server refused, or that it was not reached (status 0). */
export class Failure extends Error {
  readonly status: number;
  readonly code: string;
  readonly todo: string;

  constructor(status: number, { error, code, todo }: ApiError) {
    super(error);
    this.status = status;
    this.code = code;
    this.todo = todo;
  }
}

/** A path of the API whose answer has this type. */
export interface Read<T> {
  readonly path: string;
  /** Never set: it carries the type. */
  readonly answer?: T;
}

type Method = 'POST' | 'PATCH';
const kept = new Map<string, { readonly tag: string; readonly answer: unknown }>();
token.follow(() => kept.clear());

export async function read<T>({ path }: Read<T>): Promise<T> {
  const known = kept.get(path);
  const headers = known === undefined ? {} : { 'if-none-match': known.tag };
  const response = await ask(path, { headers });
  if (response.status === 304 && known !== undefined) {
    remember(path, known);
    return known.answer as T;
  }
  const answer = (await response.json()) as T;
  const tag = response.headers.get('etag');
  if (tag !== null) remember(path, { tag, answer });
  return answer;
}

/** What `read` has kept; undefined: nothing. */
export const recall = <T>({ path }: Read<T>): T | undefined =>
  kept.get(path)?.answer as T | undefined;

export async function send<T>(method: Method, path: string, body: object = {}): Promise<T> {
  const response = await ask(path, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return (await response.json()) as T;
}

interface AskOptions extends Omit<RequestInit, 'headers'> {
  readonly headers?: Readonly<Record<string, string>>;
}

/** A response that is not an error. Throws Failure. */
export async function ask(path: string, init: AskOptions): Promise<Response> {
  const bearer = token.get();
  const headers = { ...init.headers, authorization: `Bearer ${bearer ?? ''}` };
  let response: Response;
  try {
    response = await fetch(`/api/v1${path}`, { ...init, headers, cache: 'no-store' });
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    throw new Failure(0, {
      error: 'The server cannot be reached.',
      code: 'server_unreachable',
      todo: 'What you see is the last known state. The console tries again by itself.',
    });
  }
  if (response.ok || response.status === 304) return response;
  const failure = await failureOf(response);
  if (response.status === 401 && bearer === token.get()) signOut(failure.message);
  throw failure;
}

async function failureOf(response: Response): Promise<Failure> {
  const { status } = response;
  try {
    return new Failure(status, (await response.json()) as ApiError);
  } catch {
    const error = `The server answered ${status}.`;
    return new Failure(status, { error, code: 'internal', todo: 'Try again later.' });
  }
}

/** The newest answers stay. */
function remember(path: string, answer: { tag: string; answer: unknown }): void {
  kept.delete(path);
  kept.set(path, answer);
  const [oldest] = kept.keys();
  if (kept.size > limits.keptAnswersMaxCount && oldest !== undefined) kept.delete(oldest);
}
