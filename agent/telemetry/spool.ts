// Telemetry records that the server has not acknowledged yet, in one SQLite file (spool-file.ts):
// on return of `append` a record survives a power cut. Limited in bytes: the oldest record of the
// least important kind is dropped first, and every loss is counted. What the disk refuses is kept
// in memory as far as it tells the present state (unsaved-records.ts). Only the server's own
// acknowledgement deletes. Sequence numbers rise for ever and are never used twice. No method but
// the constructor throws for a failing disk: telemetry must never stop a device.
//
// Leased records are never dropped, so a batch id always means the same records; a batch takes at
// most half the limit, which leaves room for more important records.
import Database from 'better-sqlite3';
import { limits } from '../../shared/base/limits.js';
import { complaints, decode, parseJson } from '../../shared/base/decode.js';
import { Fault, isFault, reason, systemCode } from '../../shared/base/fault-codes.js';
import { silentLog, type Clock, type Log, type Random } from '../../shared/base/interfaces.js';
import {
  BODIES,
  IMPORTANCE,
  type BodyOf,
  type Kind,
  TelemetryRecord,
} from '../../shared/protocol/telemetry.js';
import { hex, utf8 } from '../../shared/base/bytes.js';
import {
  isDamage,
  openSpoolFile,
  setSpoolAside,
  type OpenSpool,
  type SpoolRow,
  type SpoolTotals,
} from './spool-file.js';
import { UnsavedRecords } from './unsaved-records.js';

export interface SpoolOptions {
  /** Limit of the records' bytes as they count on the wire. The file is a little larger. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log;
}

export interface Lease {
  readonly batch: string;
  readonly records: TelemetryRecord[];
}

/** `lost`: records given to `append` that will never arrive, since the spool was first made. */
export type SpoolStats = Readonly<SpoolTotals>;

export class Spool {
  readonly #file: string;
  readonly #options: SpoolOptions;
  readonly #log: Log;
  #open: OpenSpool | null = null;
  #closed = false;
  /** What is on disk decides; these follow it after each commit. */
  #stats: SpoolTotals = { records: 0, bytes: 0, lost: 0 };
  /** Losses that could not be written yet (the disk was full). */
  #lostUnwritten = 0;
  readonly #unsaved: UnsavedRecords;

  /**
   * Opens or makes the spool. A damaged file is set aside. Fault `conflict` when another process
   * has it open.
   */
  constructor(file: string, options: SpoolOptions) {
    this.#file = file;
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#unsaved = new UnsavedRecords(options.random);
    this.#attempt('open', () => {}, undefined);
  }

  /**
   * One durable insert. A body that does not fit its kind, is too long, or finds no room counts as
   * lost.
   */
  append<K extends Kind>(kind: K, body: BodyOf<K>): void {
    const text = JSON.stringify(body);
    const wrong = complaints(BODIES[kind], body);
    const length = utf8(text).length;
    if (length > limits.recordBodyMaxBytes)
      wrong.push(`${length} bytes, more than ${limits.recordBodyMaxBytes}`);
    if (wrong.length > 0) {
      // The server would refuse the whole batch. This is a bug of the reporting part: visible in
      // the log, but not fatal.
      this.#log.error({ kind, wrong }, 'telemetry record does not fit its kind: dropped');
      this.#lostUnwritten += 1;
      return;
    }
    const bytes = length + limits.recordExtraBytes;
    const done = this.#attempt('append', (open) => this.#insert(open, kind, text, bytes), null);
    this.#lostUnwritten +=
      done === null
        ? this.#unsaved.keep(kind, body, this.#now())
        : this.#unsaved.outdated(kind, body);
  }

  #now(): number {
    return Math.max(0, Math.floor(this.#options.clock.now()));
  }

  /**
   * The batch in flight, else a new one of the oldest records; null when there are none. What the
   * disk refused goes first: it tells why the rest may not come.
   */
  lease(): Lease | null {
    const unsaved = this.#unsaved.lease();
    if (unsaved !== null) return unsaved;
    return this.#attempt(
      'lease',
      (open) => {
        for (;;) {
          const lease = this.#lease(open);
          // A batch of damaged rows only is gone; the next one.
          if (lease === null || lease.records.length > 0) return lease;
        }
      },
      null,
    );
  }

  /** The server has stored the batch: deletes it. An unknown batch is ignored. */
  ack(batch: string): void {
    if (this.#unsaved.end(batch) === 0)
      this.#attempt('ack', (open) => this.#delete(open, batch, false), 0);
  }

  /**
   * The server will never store the batch: drops it and counts its records as lost. Returns how
   * many.
   */
  refused(batch: string): number {
    const unsaved = this.#unsaved.end(batch);
    this.#lostUnwritten += unsaved;
    return unsaved > 0
      ? unsaved
      : this.#attempt('drop', (open) => this.#delete(open, batch, true), 0);
  }

  stats(): SpoolStats {
    return { ...this.#stats, lost: this.#stats.lost + this.#lostUnwritten };
  }

  /** When the oldest record that waits was appended (ms since the epoch); null: none waits. */
  oldestAt(): number | null {
    return this.#attempt('read', ({ statements }) => statements.oldestAt.get()?.at ?? null, null);
  }

  close(): void {
    this.#closed = true;
    this.#open?.db.close();
    this.#open = null;
  }

  /**
   * A row that is not a record any more (storage may damage one row and leave the file in order) is
   * deleted and counted as lost.
   */
  #lease({ db, statements }: OpenSpool): Lease | null {
    const damaged: SpoolRow[] = [];
    const lease = db
      .transaction((): Lease | null => {
        const batch = statements.leased.get()?.batch ?? this.#mark({ statements });
        if (batch === null) return null;
        const rows = statements.batchRows.all(batch);
        if (rows.length === 0) {
          // The index names a batch that no row has. `lease` would ask for it for ever.
          throw new Database.SqliteError('index names a batch without records', 'SQLITE_CORRUPT');
        }
        const records: TelemetryRecord[] = [];
        for (const row of rows) {
          const record = this.#recordOf(row);
          if (record === null) damaged.push(row);
          else records.push(record);
        }
        for (const { seq } of damaged) statements.deleteRecord.run(seq);
        if (damaged.length > 0) statements.addLost.run(damaged.length);
        return { batch, records };
      })
      .immediate();
    this.#stats.records -= damaged.length;
    this.#stats.lost += damaged.length;
    for (const { bytes } of damaged) this.#stats.bytes -= bytes;
    return lease;
  }

  #recordOf({ seq, at, kind, body }: SpoolRow): TelemetryRecord | null {
    const what = `telemetry record ${seq}`;
    try {
      const value = { seq, at, kind, body: parseJson(body, what) };
      return decode(TelemetryRecord, value, what);
    } catch (error) {
      if (!isFault(error, 'message_undecodable')) throw error;
      this.#log.error({ seq, kind, err: error.detail }, 'telemetry record is damaged: dropped');
      return null;
    }
  }

  #insert({ db, statements }: OpenSpool, kind: Kind, text: string, bytes: number): void {
    const { maxBytes } = this.#options;
    const at = this.#now();
    const evicted = db
      .transaction(() => {
        statements.insert.run(at, kind, IMPORTANCE[kind], text, bytes);
        const gone = this.#evict({ statements }, this.#stats.bytes + bytes - maxBytes);
        const lost = gone.records + this.#lostUnwritten;
        if (lost > 0) statements.addLost.run(lost);
        return gone;
      })
      .immediate();
    this.#stats.records += 1 - evicted.records;
    this.#stats.bytes += bytes - evicted.bytes;
    this.#stats.lost += evicted.records + this.#lostUnwritten;
    this.#lostUnwritten = 0;
  }

  /** Drops records until at least `excess` bytes are free; the newest record may be among them. */
  #evict(
    { statements }: Pick<OpenSpool, 'statements'>,
    excess: number,
  ): { records: number; bytes: number } {
    const gone = { records: 0, bytes: 0 };
    while (gone.bytes < excess) {
      const row = statements.leastImportant.get();
      if (row === undefined) break;
      statements.deleteRecord.run(row.seq);
      gone.records += 1;
      gone.bytes += row.bytes;
    }
    return gone;
  }

  /** Gives the oldest records a new batch id; null when there are none. */
  #mark({ statements }: Pick<OpenSpool, 'statements'>): string | null {
    const bytesMax = Math.min(limits.batchMaxBytes, this.#options.maxBytes / 2);
    let [last, total] = [0, 0];
    for (const { seq, bytes } of statements.oldest.all(limits.batchMaxCount)) {
      total += bytes;
      if (last !== 0 && total > bytesMax) break; // The first is always taken, whatever its size.
      last = seq;
    }
    if (last === 0) return null;
    const batch = hex(this.#options.random.bytes(16));
    statements.leaseUpTo.run(batch, last);
    return batch;
  }

  #delete({ db, statements }: OpenSpool, batch: string, asLost: boolean): number {
    const gone = db
      .transaction(() => {
        const totals = statements.batchTotals.get(batch) ?? { records: 0, bytes: 0 };
        statements.deleteBatch.run(batch);
        if (asLost) statements.addLost.run(totals.records);
        return totals;
      })
      .immediate();
    this.#stats.records -= gone.records;
    this.#stats.bytes -= gone.bytes;
    if (asLost) this.#stats.lost += gone.records;
    return gone.records;
  }

  /**
   * Runs `work` on the spool, opening it first when it is closed. After a failure one repair is
   * tried: a damaged file is replaced, and on a full disk the log is folded into the file, which
   * frees its space where the file need not grow. When it fails again the result is `otherwise`.
   */
  #attempt<T>(what: string, work: (open: OpenSpool) => T, otherwise: T): T {
    if (this.#closed) return otherwise;
    for (let repaired = false; ; repaired = true) {
      try {
        return work(this.#opened());
      } catch (error) {
        if (!(error instanceof Database.SqliteError)) throw error;
        if (what === 'open' && error.code.startsWith('SQLITE_BUSY')) {
          throw new Fault('conflict', `another process holds ${this.#file}`, { cause: error });
        }
        const damaged = isDamage(error, this.#open === null);
        if (repaired || !(damaged ? this.#setAside(error) : this.#fold())) {
          this.#log.warn({ what, err: reason(error) }, 'cannot write the telemetry spool');
          return otherwise;
        }
      }
    }
  }

  #opened(): OpenSpool {
    if (this.#open === null) {
      this.#open = openSpoolFile(this.#file, this.#options.clock.now());
      this.#stats = this.#open.totals;
    }
    return this.#open;
  }

  /** True when the write-ahead log could be emptied into the file. */
  #fold(): boolean {
    if (this.#open === null) return false;
    try {
      this.#open.db.pragma('wal_checkpoint(TRUNCATE)');
      return true;
    } catch (error) {
      if (error instanceof Database.SqliteError) return false;
      throw error;
    }
  }

  /**
   * Keeps the latest damaged file for analysis and makes room for a new one; false when the disk
   * refuses.
   */
  #setAside(error: Error): boolean {
    this.#open?.db.close();
    this.#open = null;
    // What is known of the file, when it broke while open.
    this.#lostUnwritten += this.#stats.records + this.#stats.lost;
    this.#stats = { records: 0, bytes: 0, lost: 0 };
    try {
      const aside = setSpoolAside(this.#file);
      this.#log.error({ aside, err: reason(error) }, 'telemetry spool was damaged: begun anew');
      return true;
    } catch (failure) {
      if (systemCode(failure) === undefined) throw failure;
      this.#log.error(
        { err: reason(failure) },
        'telemetry spool is damaged and cannot be moved aside',
      );
      return false;
    }
  }
}
