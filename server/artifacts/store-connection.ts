// The connection to a remote artifact store: requests that are given up when nothing moves, retries
// with backoff, and bodies that end with a fault unless they are whole. It knows no protocol beyond
// HTTP, and goes through the proxy of the environment. Nothing here follows a redirect.
import type http from 'node:http';
import { Readable, Transform, pipeline } from 'node:stream';
import { Fault, isFault, reason } from '../../shared/base/fault-codes.js';
import { backoff, sleep, type Clock, type Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { HttpConnector } from '../../shared/platform/http-connector.js';
import type { Proxies } from '../../shared/platform/proxies.js';

export interface StoreConnectionOptions {
  /** Of the store, for messages. */
  readonly name: string;
  /** PEM certificates that it is trusted by, instead of the system's. */
  readonly ca?: Buffer | undefined;
  readonly proxies: Proxies;
  readonly clock: Clock;
  readonly random: Random;
}

export type Body = readonly Uint8Array[];

export interface StoreRequest {
  /** As it is to be asked for: nothing in it needs another encoding. */
  readonly url: string;
  readonly method: string;
  readonly headers: http.OutgoingHttpHeaders;
}

export class StoreConnection {
  readonly #options: StoreConnectionOptions;
  readonly #connector: HttpConnector;

  constructor(options: StoreConnectionOptions) {
    this.#options = options;
    const { ca, proxies } = options;
    this.#connector = new HttpConnector({ ca, proxies, keepAlive: true });
  }

  close(): void {
    this.#connector.destroy();
  }

  /** The attempt again after artifact_store_unreachable, within limits; it must bear that. */
  async retried<T>(attempt: () => Promise<T>): Promise<T> {
    const { clock, random } = this.#options;
    for (let tries = 1; ; tries += 1) {
      try {
        return await attempt();
      } catch (error) {
        if (!isFault(error, 'artifact_store_unreachable') || tries >= limits.storeTriesMaxCount)
          throw error;
      }
      await sleep(
        clock,
        backoff(tries, limits.storeBackoffFirstMs, limits.storeBackoffMaxMs, random),
      );
    }
  }

  /** Resolves with the head of the answer. */
  send({ url, ...request }: StoreRequest, body: Body = []): Promise<http.IncomingMessage> {
    const { clock } = this.#options;
    return new Promise((resolve, reject) => {
      const sent = this.#connector.request(url, request);
      let cancel = (): void => {};
      const moved = (): void => {
        cancel();
        cancel = clock.after(limits.storeIdleMs, () =>
          sent.destroy(this.unreachable(`nothing moved for ${limits.storeIdleMs} ms`)),
        );
      };
      moved();
      sent.once('response', (response) => {
        cancel();
        resolve(response);
      });
      sent.on('error', (error) => {
        cancel();
        reject(isFault(error) ? error : this.unreachable(reason(error), error));
      });
      sent.once('close', () => {
        cancel();
        reject(this.unreachable('the connection was closed'));
      });
      Readable.from(pieces(body, moved), { objectMode: false }).pipe(sent);
    });
  }

  /** The whole body, of limited length. */
  async text(response: http.IncomingMessage): Promise<string> {
    const chunks: Buffer[] = [];
    let length = 0;
    try {
      for await (const chunk of this.body(response) as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > limits.storeAnswerMaxBytes)
          throw this.unreachable(`an answer is longer than ${limits.storeAnswerMaxBytes} bytes`);
        chunks.push(chunk);
      }
    } finally {
      if (!response.complete) response.destroy();
    }
    return Buffer.concat(chunks).toString('utf8');
  }

  /**
   * The body as a stream that ends with a fault unless it is whole. Time counts only while the
   * store is waited for: a slow reader is not a slow store.
   */
  body(response: http.IncomingMessage): Readable {
    const { clock } = this.#options;
    let cancel = (): void => {};
    const whole = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        watch();
        done(null, chunk);
      },
      destroy: (error, done) => {
        cancel();
        done(
          error === null || isFault(error)
            ? error
            : this.unreachable(`an answer was cut short: ${reason(error)}`, error),
        );
      },
    });
    const watch = (): void => {
      cancel();
      cancel = clock.after(limits.storeIdleMs, () => {
        if (whole.readableLength >= whole.readableHighWaterMark) watch();
        else whole.destroy(this.unreachable(`sent nothing for ${limits.storeIdleMs} ms`));
      });
    };
    watch();
    // Errors of either end reach `whole`.
    pipeline(response, whole, () => cancel());
    return whole;
  }

  unreachable(what: string, cause?: unknown): Fault {
    return new Fault(
      'artifact_store_unreachable',
      `${this.#options.name}: ${what}`,
      cause === undefined ? {} : { cause },
    );
  }
}

const PIECE_BYTES = limits.storePieceBytes;

/** The body in small pieces; `moved` is called as each is taken. */
function* pieces(body: Body, moved: () => void): Generator<Uint8Array> {
  for (const chunk of body)
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      moved();
      yield chunk.subarray(at, at + PIECE_BYTES);
    }
}
