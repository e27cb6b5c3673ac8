// The typed client of the operator API, for every command that talks to a fleet server. It promises
// that an answer matches its schema, and that every failure is a Fault: the server's own code if
// the server answered, `server_unreachable` if it did not. It retries nothing: a failed command
// reports the failure, and the operator decides. One exception: a server that looked at nothing,
// because too many logins of this address had failed, is asked once more when it says so.
import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Option, type Command } from 'commander';
import type { Static, TArray, TNull, TObject, TSchema, TString, TUnion } from 'typebox';
import { decodeJson } from '../../shared/base/decode.js';
import { asError, Fault, reason } from '../../shared/base/fault-codes.js';
import { sleep, type Clock } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { API } from '../../shared/protocol/operator-api.js';
import { realClock } from '../../shared/platform/clock.js';
import { refusalFault, serverFault, type ErrorAnswer } from '../../shared/platform/http-refusal.js';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface Connection {
  /** Base URL of the fleet server, for example http://127.0.0.1:7300 */
  readonly server: string;
  /** Operator token, `lnt_...`. */
  readonly token: string;
  /** Without it, an answer that says when to ask again is a failure like any other. */
  readonly patience?: Patience;
}

export interface Patience {
  readonly clock: Clock;
  /** Told before each wait. */
  readonly onWait: (seconds: number) => void;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  /** Whole seconds. */
  readonly retryAfter: string | null;
}

/** HTTP status: nothing of the request was looked at. */
const TOO_MANY_REQUESTS = 429;
const DEFAULT_SERVER = 'http://127.0.0.1:7300';

type PageSchema = TObject<{ items: TArray; next: TUnion<[TNull, TString]> }>;

export class FleetClient {
  readonly server: string;
  readonly #token: string;
  readonly #patience: Patience | null;

  constructor(connection: Connection) {
    this.server = connection.server.replace(/\/+$/, '');
    this.#token = connection.token;
    this.#patience = connection.patience ?? null;
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
    if (answer.status < 200 || answer.status > 299) throw refused(answer, `${method} ${url}`);
    return decodeJson<T>(schema, answer.body, `answer of ${method} ${url}`);
  }

  async #ask(method: Method, url: string, body: unknown): Promise<Answer> {
    try {
      const response = await fetch(url, {
        method,
        headers: {
          authorization: `Bearer ${this.#token}`,
          accept: 'application/json',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        body: body === undefined ? null : JSON.stringify(body),
      });
      const { status, headers } = response;
      return { status, body: await response.text(), retryAfter: headers.get('retry-after') };
    } catch (error) {
      throw unreachable(url, error);
    }
  }

  /**
   * All items of a list, page after page. `path` may have a query. Throws Fault.
   */
  async list<P extends PageSchema>(
    path: string,
    page: P,
  ): Promise<NoInfer<Static<P>['items'][number]>[]> {
    const items: unknown[] = [];
    const query = new URLSearchParams({ limit: String(limits.listPageMaxCount) });
    for (;;) {
      const from = `${path}${path.includes('?') ? '&' : '?'}${query.toString()}`;
      const { items: some, next } = await this.request<PageSchema>('GET', from, page);
      items.push(...some);
      if (next === null) return items;
      query.set('cursor', next);
    }
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
    const send = url.startsWith('https:') ? httpsRequest : httpRequest;
    const headers = {
      authorization: `Bearer ${this.#token}`,
      'content-type': 'application/octet-stream',
      'content-length': length,
    };
    const request = send(url, { method: 'PUT', headers });
    const answered = new Promise<ErrorAnswer>((resolve, reject) => {
      request.once('error', reject);
      request.once('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: Buffer.concat(chunks),
          }),
        );
      });
    });
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
    if (answer.status < 200 || answer.status > 299) throw refused(answer, `PUT ${url}`);
  }

  #url(path: string): string {
    return `${this.server}${path.startsWith(`${API}/`) ? path : `${API}${path}`}`;
  }
}

/** Until the same request may be sent again; null when that is never, or not soon. */
function secondsToWait({ status, retryAfter }: Answer): number | null {
  if (status !== TOO_MANY_REQUESTS || retryAfter === null || !/^\d{1,6}$/.test(retryAfter))
    return null;
  const seconds = Number(retryAfter);
  return seconds * 1000 <= limits.commandWaitMaxMs ? seconds : null;
}

/** The operator reads what the server said, without the request. */
const refused = (answer: ErrorAnswer, what: string): Fault =>
  serverFault(answer) ?? refusalFault(answer, what);

function unreachable(url: string, cause: unknown): Fault {
  return new Fault('server_unreachable', `${url}: ${reason(cause)}`, { cause });
}

/** Adds the options that every fleet command takes; `connect` reads them. */
export function connectionOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--server <url>', 'address of the fleet server')
        .env('LINNET_SERVER')
        .default(DEFAULT_SERVER),
    )
    .addOption(
      new Option(
        '--token-file <file>',
        'file with the operator token (or the token itself in LINNET_TOKEN)',
      ).env('LINNET_TOKEN_FILE'),
    );
}

/**
 * The client that a command's options name. The file wins over LINNET_TOKEN. Throws Fault `usage`
 * without a token.
 */
export async function connect(
  command: Command,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Promise<FleetClient> {
  const options = command.opts<{ server: string; tokenFile?: string }>();
  if (!/^https?:\/\/[^/]+/.test(options.server))
    throw new Fault('usage', `--server ${options.server} is not an http(s) URL`);
  return new FleetClient({
    server: options.server,
    token: await operatorToken(options.tokenFile, env['LINNET_TOKEN']),
    patience: {
      clock: realClock,
      onWait: (seconds) => {
        const why = 'too many logins of this address have failed';
        command.configureOutput().writeErr?.(`linnet: ${why}; asking again in ${seconds} s\n`);
      },
    },
  });
}

async function operatorToken(
  file: string | undefined,
  fromEnv: string | undefined,
): Promise<string> {
  if (file !== undefined) {
    try {
      return (await readFile(file, 'utf8')).trim();
    } catch (error) {
      throw new Fault('usage', `cannot read the token file ${file}: ${reason(error)}`, {
        cause: error,
      });
    }
  }
  if (fromEnv === undefined || fromEnv.trim() === '')
    throw new Fault('usage', 'no operator token: pass --token-file FILE or set LINNET_TOKEN');
  return fromEnv.trim();
}
