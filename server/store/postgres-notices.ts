// Short messages between the servers that share a PostgreSQL: LISTEN and NOTIFY, on a connection of
// their own. They are hints: what is sent while the connection is away is lost, and nothing is sent
// twice. A server does not get its own.
import {
  backoff,
  type Cancel,
  type Clock,
  type Log,
  type Random,
} from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { singleConnection, type PostgresTarget, type SingleConnection } from './postgres.js';

export interface NoticesOptions {
  readonly target: PostgresTarget;
  readonly onNotice: (text: string) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const CHANNEL = 'linnet_notices';

export class PostgresNotices {
  readonly #options: NoticesOptions;
  #client: SingleConnection | null = null;
  #isClosed = false;
  #tries = 0;
  #cancel: Cancel = () => {};
  #connecting: Promise<void> = Promise.resolve();

  constructor(options: NoticesOptions) {
    this.#options = options;
  }

  /** Never throws: a database that does not answer is tried again. */
  async open(): Promise<void> {
    this.#connecting = this.#connect();
    await this.#connecting;
  }

  /** Below 8,000 bytes. Lost when the connection is away. */
  send(text: string): void {
    this.#client?.query('select pg_notify($1, $2)', [CHANNEL, text]).catch((error: unknown) => {
      this.#options.log.debug({ err: error }, 'a notice to the other servers was not sent');
    });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancel();
    await this.#connecting;
    await this.#client?.end().catch(() => {}); // It may have broken.
    this.#client = null;
  }

  async #connect(): Promise<void> {
    const { target, onNotice } = this.#options;
    const client = singleConnection(target, 'linnet notices');
    // The process of the database that serves this connection: notices of its own come back, too.
    const self = (): number => (client as unknown as { readonly processID: number }).processID;
    client.on('notification', ({ channel, payload, processId }) => {
      if (channel === CHANNEL && processId !== self()) onNotice(payload ?? '');
    });
    client.on('error', (error) => this.#lost(client, error));
    client.on('end', () => this.#lost(client, null));
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      this.#client = client;
      this.#tries = 0;
    } catch (error) {
      await client.end().catch(() => {});
      this.#again(error);
    }
  }

  #lost(client: SingleConnection, error: Error | null): void {
    if (this.#client !== client) return;
    this.#client = null;
    client.end().catch(() => {});
    this.#again(error);
  }

  #again(error: unknown): void {
    if (this.#isClosed) return;
    const { clock, random, log } = this.#options;
    this.#tries += 1;
    const ms = backoff(this.#tries, limits.noticesRetryMs, limits.noticesRetryMaxMs, random);
    log.warn(
      { err: error, ms },
      'no notices of the other servers: their hints reach no device here; it is tried again',
    );
    this.#cancel = clock.after(ms, () => {
      this.#connecting = this.#connect();
    });
  }
}
