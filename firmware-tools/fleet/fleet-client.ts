// The typed client of the operator API, for every command that talks to a fleet server. It promises
// that an answer matches its schema, and that every failure is a Fault: the server's own code if
// the server answered, `server_unreachable` if it did not. It retries nothing: a failed command
// reports the failure, and the operator decides. One exception: a server that looked at nothing,
// because too many logins of this address had failed, is asked once more when it says so.
import type { ClientRequest, IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import type { Static, TArray, TNull, TObject, TSchema, TString, TUnion } from 'typebox';
import { decode, parseJson } from '../../shared/base/decode.js';
import { asError, Fault, isFault } from '../../shared/base/fault-codes.js';
import { sleep, type Clock } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { SECOND_MS } from '../../shared/base/units.js';
import { API } from '../../shared/protocol/operator-api.js';
import { realClock } from '../../shared/platform/clock.js';
import { HttpConnector } from '../../shared/platform/http-connector.js';
import { Proxies } from '../../shared/platform/proxies.js';
import { readArgumentFile } from '../../shared/platform/setting-files.js';
import { profileNamed, type Env } from './profiles.js';
import { atMost, redirected, unreachable } from './transfers.js';
import {
  refusalFault,
  retryAfterMs,
  serverFault,
  type ErrorAnswer,
} from '../../shared/platform/http-refusal.js';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface Connection {
  /** Base URL of the fleet server, for example http://127.0.0.1:7300 */
  readonly server: string;
  /** Operator token, `lnt_...`. */
  readonly token: string;
  /** Without it, an answer that says when to ask again is a failure like any other. */
  readonly patience?: Patience;
  /** PEM of the CA of the server's certificate, instead of those that Node trusts. */
  readonly ca?: string | null;
  /** Without it, the server is asked directly. */
  readonly proxies?: Proxies;
}

export interface Patience {
  readonly clock: Clock;
  /** Told before each wait. */
  readonly onWait: (seconds: number) => void;
}

/** HTTP status: nothing of the request was looked at. */
const TOO_MANY_REQUESTS = 429;
const OK = 200;
const NOT_FOUND = 404;
/** HTTP statuses of a server that does not know the API; a proxy before it has others, too. */
const ELSEWHERE: readonly number[] = [401, 403, 404, 405];
/** As the server makes them (server/access/tokens.ts). */
const OPERATOR_TOKEN = /^lnt_[A-Za-z0-9_-]{43}$/;
const DEFAULT_SERVER = 'http://127.0.0.1:7300';

export type PageSchema = TObject<{ items: TArray; next: TUnion<[TNull, TString]> }>;

/** The items of a page of a list. */
export type Items<P extends PageSchema> = NoInfer<Static<P>['items'][number]>[];

export class FleetClient {
  readonly server: string;
  readonly #token: string;
  readonly #patience: Patience | null;
  readonly #connector: HttpConnector;

  constructor(connection: Connection) {
    this.server = connection.server.replace(/\/+$/, '');
    this.#token = connection.token;
    this.#patience = connection.patience ?? null;
    this.#connector = new HttpConnector({
      proxies: connection.proxies ?? new Proxies({}),
      ca: connection.ca ?? undefined,
      keepAlive: false,
    });
  }

  /**
   * One request. `path` is below /api/v1 and starts with a slash, for example `/devices`; a path
   * that already starts with /api/v1 is taken as it is. Throws Fault.
   */
  async request<T extends TSchema>(
    method: Method,
    path: string,
    schema: T,
    body?: unknown,
  ): Promise<NoInfer<Static<T>>> {
    const url = this.#url(path);
    let answer = await this.#ask(method, url, body);
    const seconds = secondsToWait(answer);
    if (seconds !== null && this.#patience !== null) {
      this.#patience.onWait(seconds);
      await sleep(this.#patience.clock, seconds * 1000);
      answer = await this.#ask(method, url, body);
    }
    if (!isSuccess(answer)) throw refused(answer, `${method} ${url}`);
    return decoded(schema, answer.body, `${method} ${url}`);
  }

  async #ask(method: Method, url: string, body: unknown): Promise<ErrorAnswer> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const request = this.#open(method, url, {
      accept: 'application/json',
      ...(text === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
    });
    const answered = answerOf(request);
    request.end(text);
    try {
      return await answered;
    } catch (error) {
      throw unreachable(url, error);
    }
  }

  /** All items of a list, page after page. `path` may have a query. Throws Fault. */
  async list<P extends PageSchema>(path: string, page: P): Promise<Items<P>> {
    return (await this.take(path, page, Infinity, null)).items;
  }

  /**
   * At most `count` items of a list from `cursor` on (null: from its begin), and the cursor of what
   * follows them. `path` may have a query. Throws Fault.
   */
  async take<P extends PageSchema>(
    path: string,
    page: P,
    count: number,
    cursor: string | null,
  ): Promise<{ items: Items<P>; next: string | null }> {
    const items: unknown[] = [];
    let next = cursor;
    do {
      const query = new URLSearchParams({
        limit: String(Math.min(count - items.length, limits.listPageMaxCount)),
        ...(next === null ? {} : { cursor: next }),
      });
      const from = `${path}${path.includes('?') ? '&' : '?'}${query.toString()}`;
      const answer = await this.request<PageSchema>('GET', from, page);
      items.push(...answer.items);
      next = answer.next;
    } while (next !== null && items.length < count);
    return { items, next };
  }

  /**
   * Uploads one file of a release by its digest, streaming: `bytes` yields exactly `length` bytes.
   * A file that the server already holds counts as uploaded. Throws Fault; an error of `bytes`
   * cancels the upload and is thrown as it is.
   */
  async putFile(
    sha256: string,
    bytes: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    length: number,
  ): Promise<void> {
    const url = this.#url(`/files/${sha256}`);
    const request = this.#open('PUT', url, {
      'content-type': 'application/octet-stream',
      'content-length': length,
    });
    const answered = answerOf(request);
    // A server that refuses early answers and closes the connection while we still write. Its
    // answer counts then, not the broken connection.
    let broken = null as Error | null;
    const source = async function* (): AsyncIterable<Uint8Array> {
      try {
        yield* bytes;
      } catch (error) {
        broken = asError(error);
        throw error;
      }
    };
    const sent = pipeline(Readable.from(source(), { objectMode: false }), request).then(
      () => null,
      (error: unknown) => error,
    );
    let answer: ErrorAnswer;
    try {
      answer = await answered;
    } catch (error) {
      const cause = (await sent) ?? error;
      throw broken ?? unreachable(url, cause);
    } finally {
      // The server has answered: the rest of the body is not needed, and a half-sent upload must
      // not keep its connection.
      request.destroy();
    }
    if (!isSuccess(answer)) throw refused(answer, `PUT ${url}`);
  }

  /**
   * A public file by its path: null when it is not there, else its bytes, at most one more than
   * `length` (which shows a longer one). Sends no token, so a redirect to the store of the files is
   * followed: a digest verifies what comes. Faults: server_unreachable, fetch_interrupted.
   */
  async file(path: string, length: number): Promise<Uint8Array | null> {
    let url = `${this.server}${path}`;
    for (let hops = 0; hops <= limits.redirectsMaxCount; hops += 1) {
      const answer = await this.#get('GET', url);
      const { statusCode = 0, headers } = answer;
      if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined) {
        answer.destroy();
        url = redirected(url, headers.location);
        continue;
      }
      if (statusCode === OK) return atMost(answer, length + 1, url);
      answer.destroy();
      if (statusCode === NOT_FOUND) return null;
      throw new Fault('fetch_interrupted', `${url} answered ${statusCode}`);
    }
    throw new Fault('fetch_interrupted', `${this.server}${path} redirects again and again`);
  }

  /** Whether the server says that it has a public file; nothing is read of it. */
  async hasFile(path: string): Promise<boolean> {
    const answer = await this.#get('HEAD', `${this.server}${path}`);
    answer.destroy();
    // A redirect promises no file: it is uploaded then, which does nothing where it is there.
    return answer.statusCode === OK;
  }

  #get(method: 'GET' | 'HEAD', url: string): Promise<IncomingMessage> {
    const request = this.#connector.request(url, { method, headers: {} });
    limitWait(request);
    request.end();
    return new Promise((resolve, reject) => {
      request.once('response', resolve);
      request.once('error', (error) => reject(unreachable(url, error)));
    });
  }

  #open(method: Method, url: string, headers: OutgoingHttpHeaders): ClientRequest {
    const all = { ...headers, authorization: `Bearer ${this.#token}` };
    return this.#connector.request(url, { method, headers: all });
  }

  #url(path: string): string {
    return `${this.server}${path.startsWith(`${API}/`) ? path : `${API}${path}`}`;
  }
}

/** Until the same request may be sent again; null when that is never, or not soon. */
function secondsToWait({ status, retryAfter }: ErrorAnswer): number | null {
  const ms = status === TOO_MANY_REQUESTS ? retryAfterMs(retryAfter) : null;
  return ms !== null && ms <= limits.commandWaitMaxMs ? ms / SECOND_MS : null;
}

function limitWait(request: ClientRequest): void {
  request.setTimeout(limits.operatorAnswerMaxMs, () =>
    request.destroy(new Error(`no answer within ${limits.operatorAnswerMaxMs / 1000} s`)),
  );
}

/** The whole answer. Redirects are not followed: they would get the token. */
function answerOf(request: ClientRequest): Promise<ErrorAnswer> {
  return new Promise((resolve, reject) => {
    limitWait(request);
    request.once('error', reject);
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          body: Buffer.concat(chunks),
          location: response.headers.location,
          retryAfter: response.headers['retry-after'],
        }),
      );
    });
  });
}

const isSuccess = ({ status }: ErrorAnswer): boolean => status >= 200 && status < 300;

/** Faults: server_foreign, message_undecodable. */
function decoded<T extends TSchema>(schema: T, body: Uint8Array | string, what: string): Static<T> {
  const value = parseJson(body, `answer of ${what}`, 'server_foreign');
  try {
    return decode(schema, value, `answer of ${what}`);
  } catch (error) {
    if (!isFault(error, 'message_undecodable')) throw error;
    const versions = 'this command and the server may be of different versions';
    throw new Fault('message_undecodable', `${error.detail} (${versions})`, { cause: error });
  }
}

/**
 * The operator reads what the server said, without the request. What is no answer of a fleet server
 * and would be the same again says that the address is wrong.
 */
function refused(answer: ErrorAnswer, what: string): Fault {
  const own = serverFault(answer);
  if (own !== null) return own;
  const fault = refusalFault(answer, what);
  const isElsewhere = ELSEWHERE.includes(answer.status) || answer.location !== undefined;
  return isElsewhere ? new Fault('server_foreign', fault.detail, { cause: fault }) : fault;
}

/** Of `connectionOptions` (cli/options.ts). */
interface ConnectionOptions {
  readonly server?: string;
  readonly tokenFile?: string;
  readonly profile?: string;
}

/**
 * The client that a command's options name: server and token each from the options, else from the
 * environment, else from the profile. The token of a profile goes to the server of that profile
 * only. Faults: usage (no token), file_unreadable, key_invalid (others can read the profiles).
 */
export async function connect(command: Command, env: Env = process.env): Promise<FleetClient> {
  const { server, tokenFile, profile: name } = command.opts<ConnectionOptions>();
  const given = givenToken(tokenFile, env['LINNET_TOKEN']);
  const profile = given === null || server === undefined ? await profileNamed(name, env) : null;
  const own = server === undefined ? null : serverUrl(server);
  const token = given ?? (own === null || own === profile?.server ? profile?.token : undefined);
  if (token === undefined)
    throw new Fault(
      'usage',
      profile === null
        ? 'no operator token: log in with linnet login, pass --token-file FILE or set LINNET_TOKEN'
        : `no operator token: the profile is for ${profile.server}, not for ${own}; pass ` +
            '--token-file FILE or set LINNET_TOKEN',
    );
  const isOfProfile = own === null || own === profile?.server;
  return new FleetClient({
    patience: {
      clock: realClock,
      onWait: (seconds) => {
        const why = 'too many logins of this address have failed';
        command.configureOutput().writeErr?.(`linnet: ${why}; asking again in ${seconds} s\n`);
      },
    },
    server: own ?? profile?.server ?? DEFAULT_SERVER,
    token,
    proxies: new Proxies(env),
    ca: isOfProfile ? (profile?.ca ?? null) : null,
  });
}

/** Without slashes at its end. Fault usage. */
export function serverUrl(given: string): string {
  const text = given.trim();
  if (!/^https?:\/\/[^/]+/.test(text) || !URL.canParse(text))
    throw new Fault(
      'usage',
      `--server ${text} is not an http(s) URL such as https://fleet.example:7300`,
    );
  return text.replace(/\/+$/, '');
}

/**
 * Without the white space around it. Fault usage, which does not show it: `from` does not hold a
 * token, but nothing, or another text.
 */
export function operatorToken(text: string, from: string): string {
  const token = text.trim();
  if (token === '') throw new Fault('usage', `${from} is empty; it has to hold an operator token`);
  if (!OPERATOR_TOKEN.test(token))
    throw new Fault(
      'usage',
      `${from} does not hold an operator token (lnt_ and 43 characters), but other text`,
    );
  return token;
}

/** The file wins over LINNET_TOKEN; null without both. */
function givenToken(file: string | undefined, fromEnv: string | undefined): string | null {
  if (file !== undefined) {
    const text = readArgumentFile('the token file', file).toString('utf8');
    return operatorToken(text, `the token file ${file}`);
  }
  if (fromEnv === undefined || fromEnv.trim() === '') return null;
  return operatorToken(fromEnv, 'LINNET_TOKEN');
}
