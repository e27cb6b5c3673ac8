// Calls that the role of a token may not make, in the audit log. The first one of a token to a
// route is an entry at once; repeats are counted, and written as one entry a minute. The holder of
// a token of a low role thus cannot decide how long the log gets.
import type { Cancel, Clock, Log } from '../../shared/base/interfaces.js';
import { counted } from '../../shared/base/counted.js';
import { limits } from '../../shared/base/limits.js';
import type { AuditAction, AuditStore } from '../interfaces.js';

export interface DenialsOptions {
  readonly audit: Pick<AuditStore, 'append'>;
  readonly clock: Clock;
  readonly log: Log;
}

interface Repeats {
  /** Of the last one. */
  entry: AuditAction;
  /** Since the entry that was written last. */
  count: number;
  cancel: Cancel;
}

export class Denials {
  readonly #options: DenialsOptions;
  /** By token and route, of which there are few. */
  readonly #repeats = new Map<string, Repeats>();
  /** Of the ends of a minute that have begun. */
  readonly #ends = new Set<Promise<void>>();

  constructor(options: DenialsOptions) {
    this.#options = options;
  }

  /** `route`: its method and pattern. Rejects when the entry cannot be written. */
  async note(entry: AuditAction, route: string): Promise<void> {
    const key = `${entry.actor} ${route}`;
    const known = this.#repeats.get(key);
    if (known !== undefined) {
      known.entry = entry;
      known.count += 1;
      return;
    }
    const { audit, clock } = this.#options;
    this.#repeats.set(key, { entry, count: 0, cancel: this.#later(key) });
    try {
      await audit.append(entry, clock.now());
    } catch (error) {
      this.#repeats.get(key)?.cancel();
      this.#repeats.delete(key);
      throw error;
    }
  }

  /** Writes the repeats that were only counted so far. */
  async close(): Promise<void> {
    const keys = [...this.#repeats.keys()];
    for (const repeats of this.#repeats.values()) repeats.cancel();
    await Promise.all(this.#ends);
    for (const key of keys) await this.#write(key);
    this.#repeats.clear();
  }

  #later(key: string): Cancel {
    const { clock } = this.#options;
    return clock.after(limits.deniedRepeatsMs, () => {
      const end: Promise<void> = this.#end(key).finally(() => this.#ends.delete(end));
      this.#ends.add(end);
    });
  }

  /** A minute without a repeat is the end; else the next one begins. */
  async #end(key: string): Promise<void> {
    const repeats = this.#repeats.get(key);
    if (repeats === undefined) return;
    if (repeats.count === 0) {
      this.#repeats.delete(key);
      return;
    }
    repeats.cancel = this.#later(key);
    await this.#write(key);
  }

  async #write(key: string): Promise<void> {
    const repeats = this.#repeats.get(key);
    if (repeats === undefined || repeats.count === 0) return;
    const { audit, clock, log } = this.#options;
    const { entry, count } = repeats;
    repeats.count = 0;
    const since = `${counted(count, 'time')} since the entry before, the last one: `;
    const action = { ...entry, detail: `${since}${entry.detail}` };
    try {
      await audit.append(action, clock.now());
    } catch (error) {
      repeats.count += count;
      log.error({ err: error, token: entry.actor }, 'cannot write refused calls to the audit log');
    }
  }
}
