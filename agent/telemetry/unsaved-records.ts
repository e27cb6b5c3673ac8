// What the disk did not let the spool store: the latest state of each component, in memory only, so
// that a device with a full or failing disk can still say so. Everything else that the disk refuses
// is lost and counted. The server tells records apart by number and time, so the small numbers of
// these never meet those of the spool.
import { hex } from '../../shared/base/bytes.js';
import type { Random } from '../../shared/base/interfaces.js';
import type { BodyOf, Kind, TelemetryRecord } from '../../shared/protocol/telemetry.js';

export interface UnsavedBatch {
  readonly batch: string;
  readonly records: TelemetryRecord[];
}

export class UnsavedRecords {
  readonly #random: Random;
  readonly #latest = new Map<string, TelemetryRecord>();
  #leased: UnsavedBatch | null = null;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Returns how many records are lost by it: the one that it replaces, or itself. */
  keep<K extends Kind>(kind: K, body: BodyOf<K>, at: number): number {
    const key = keyOf(kind, body);
    if (key === null) return 1;
    const replaced = this.#latest.has(key) ? 1 : 0;
    this.#latest.set(key, { seq: 1, at, kind, body } as TelemetryRecord);
    return replaced;
  }

  /** A newer record was stored: the kept one is old. Returns how many records are lost by it. */
  outdated<K extends Kind>(kind: K, body: BodyOf<K>): number {
    const key = keyOf(kind, body);
    return key !== null && this.#latest.delete(key) ? 1 : 0;
  }

  /** The batch in flight, else a new one of all that is kept; null when there is nothing. */
  lease(): UnsavedBatch | null {
    if (this.#leased === null && this.#latest.size > 0) {
      // Two records of one moment need two numbers.
      const records = [...this.#latest.values()].map((record, index) => ({
        ...record,
        seq: index + 1,
      }));
      this.#leased = { batch: hex(this.#random.bytes(16)), records };
      this.#latest.clear();
    }
    return this.#leased;
  }

  /** Ends the batch in flight. Returns how many records it had; 0 when it is another one. */
  end(batch: string): number {
    if (this.#leased?.batch !== batch) return 0;
    const { length } = this.#leased.records;
    this.#leased = null;
    return length;
  }
}

/** Null for kinds of which the latest record does not tell the whole. */
function keyOf<K extends Kind>(kind: K, body: BodyOf<K>): string | null {
  return kind === 'update' ? `update ${(body as BodyOf<'update'>).component}` : null;
}
