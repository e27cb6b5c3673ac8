// Telemetry records that the server has not acknowledged yet, in one SQLite file (WAL,
// synchronous=FULL): on return of `append` a record survives a power cut. Byte-bounded: the oldest
// record of the least important kind goes first, and every loss is counted. Only the server's own
// acknowledgement deletes. Sequence numbers rise for ever and are never used twice. No method but
// the constructor throws for a sick disk: a telemetry spool must never stop a device.
//
// Leased records are never evicted, so a batch is the same under its id for ever; a batch takes at
// most half the bound, which leaves room for what matters more. One process owns the file (an
// exclusive lock; no shared-memory file either).
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname } from 'node:path';
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
  type SecurityBody,
  TelemetryRecord,
} from '../../shared/protocol/telemetry.js';
import { hex, utf8 } from '../../shared/base/bytes.js';

export interface SpoolOptions {
  /** Bound of the records' bytes as they count on the wire. The file is a little larger. */
  readonly maxBytes: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log?: Log;
}

export interface Lease {
  readonly batch: string;
  readonly records: TelemetryRecord[];
}

export interface SpoolStats {
  readonly records: number;
  readonly bytes: number;
  readonly lost: number;
}

interface Row {
  seq: number;
  at: number;
  kind: Kind;
  body: string;
  bytes: number;
}

/** What a record costs beside its body: `{"seq":...,"at":...,"kind":"...","body":}` and its row. */
const RECORD_EXTRA_BYTES = 80;
const LOCK_WAIT_MS = 2_000;
const SCHEMA_VERSION = 1;
const DAMAGED = '.damaged-';
/**
 * A spool that follows a damaged one starts its numbers here times its generation: above all that
 * can have been used.
 */
const SEQ_PER_SPOOL = 2 ** 40;

const SCHEMA = `
  CREATE TABLE record (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL, kind TEXT NOT NULL, importance INTEGER NOT NULL, body TEXT NOT NULL, bytes INTEGER NOT NULL, batch TEXT
  ) STRICT;
  CREATE INDEX record_by_eviction ON record (batch, importance, seq);
  CREATE TABLE tally (id INTEGER PRIMARY KEY CHECK (id = 1), lost INTEGER NOT NULL) STRICT;
  INSERT INTO tally (id, lost) VALUES (1, 0);
`;

export class Spool {
  readonly #file: string;
  readonly #options: SpoolOptions;
  readonly #log: Log;
  #db: Database.Database | null = null;
  #closed = false;
  /** The truth is on disk; these follow it after each commit. */
  #stats = { records: 0, bytes: 0, lost: 0 };
  /** Losses that could not be written yet (the disk was full). */
  #lostUnwritten = 0;

  /**
   * Opens or makes the spool. A damaged file is moved aside; Fault `conflict` when another process
   * holds it.
   */
  constructor(file: string, options: SpoolOptions) {
    this.#file = file;
    this.#options = options;
    this.#log = options.log ?? silentLog;
    this.#attempt('open', () => {}, undefined);
  }

  /**
   * One durable insert. A body that is not of its kind, is too long, or finds no room is counted as
   * lost.
   */
  append<K extends Kind>(kind: K, body: BodyOf<K>): void {
    const text = JSON.stringify(body);
    const wrong = complaints(BODIES[kind], body);
    const length = utf8(text).length;
    if (length > limits.recordBodyMaxBytes)
      wrong.push(`${length} bytes, more than ${limits.recordBodyMaxBytes}`);
    if (wrong.length > 0) {
      // The server would refuse the whole batch for it. This is a bug of the reporting room, made
      // visible but not fatal.
      this.#log.error({ kind, wrong }, 'telemetry record is not of its kind: dropped');
      this.#lostUnwritten += 1;
      return;
    }
    const bytes = length + RECORD_EXTRA_BYTES;
    const done = this.#attempt('append', (db) => this.#insert(db, kind, text, bytes), null);
    if (done === null) this.#lostUnwritten += 1;
  }

  /**
   * The batch that is out already, else a new one of the oldest records; null when there is none.
   */
  lease(): Lease | null {
    return this.#attempt(
      'lease',
      (db) => {
        for (;;) {
          const lease = this.#lease(db);
          // A batch of nothing but damage is gone; the next one.
          if (lease === null || lease.records.length > 0) return lease;
        }
      },
      null,
    );
  }

  /** The server has stored it: deletes it. An unknown batch is ignored. */
  ack(batch: string): void {
    this.#attempt('ack', (db) => this.#delete(db, batch, false), 0);
  }

  /**
   * The server will never take it: drops it and counts its records as lost. Returns how many there
   * were.
   */
  refused(batch: string): number {
    return this.#attempt('drop', (db) => this.#delete(db, batch, true), 0);
  }

  /**
   * `lost`: records that were given to `append` and will never arrive, since the spool was first
   * made.
   */
  stats(): SpoolStats {
    return { ...this.#stats, lost: this.#stats.lost + this.#lostUnwritten };
  }

  close(): void {
    this.#closed = true;
    this.#db?.close();
    this.#db = null;
  }

  /**
   * A row that is no record any more (the medium may damage one and leave the file in order) is
   * deleted and counted as lost.
   */
  #lease(db: Database.Database): Lease | null {
    const damaged: Row[] = [];
    const lease = db
      .transaction((): Lease | null => {
        const out = db
          .prepare<[], { batch: string }>(
            'SELECT batch FROM record WHERE batch IS NOT NULL LIMIT 1',
          )
          .get();
        const batch = out?.batch ?? this.#mark(db);
        if (batch === null) return null;
        const records: TelemetryRecord[] = [];
        const rows = db.prepare<[string], Row>(
          'SELECT seq, at, kind, body, bytes FROM record WHERE batch = ? ORDER BY seq',
        );
        for (const row of rows.all(batch)) {
          const record = this.#recordOf(row);
          if (record === null) damaged.push(row);
          else records.push(record);
        }
        for (const { seq } of damaged) db.prepare('DELETE FROM record WHERE seq = ?').run(seq);
        if (damaged.length > 0) db.prepare('UPDATE tally SET lost = lost + ?').run(damaged.length);
        return { batch, records };
      })
      .immediate();
    this.#stats.records -= damaged.length;
    this.#stats.lost += damaged.length;
    for (const { bytes } of damaged) this.#stats.bytes -= bytes;
    return lease;
  }

  #recordOf({ seq, at, kind, body }: Row): TelemetryRecord | null {
    const what = `telemetry record ${seq}`;
    try {
      return decode(
        TelemetryRecord,
        { seq, at, kind, body: parseJson(body, what) },
        what,
      ) as TelemetryRecord;
    } catch (error) {
      if (!isFault(error, 'message_undecodable')) throw error;
      this.#log.error({ seq, kind, why: error.detail }, 'telemetry record is damaged: dropped');
      return null;
    }
  }

  #insert(db: Database.Database, kind: Kind, text: string, bytes: number): void {
    const { clock, maxBytes } = this.#options;
    const evicted = db
      .transaction(() => {
        db.prepare(
          'INSERT INTO record (at, kind, importance, body, bytes) VALUES (?, ?, ?, ?, ?)',
        ).run(Math.max(0, Math.floor(clock.now())), kind, IMPORTANCE[kind], text, bytes);
        const gone = this.#evict(db, this.#stats.bytes + bytes - maxBytes);
        const lost = gone.records + this.#lostUnwritten;
        if (lost > 0) db.prepare('UPDATE tally SET lost = lost + ?').run(lost);
        return gone;
      })
      .immediate();
    this.#stats.records += 1 - evicted.records;
    this.#stats.bytes += bytes - evicted.bytes;
    this.#stats.lost += evicted.records + this.#lostUnwritten;
    this.#lostUnwritten = 0;
  }

  /**
   * Deletes until at least `excess` bytes are gone; the record that has just come may be the one.
   */
  #evict(db: Database.Database, excess: number): { records: number; bytes: number } {
    const oldest = db.prepare<[], { seq: number; bytes: number }>(
      'SELECT seq, bytes FROM record WHERE batch IS NULL ORDER BY importance, seq LIMIT 1',
    );
    const gone = { records: 0, bytes: 0 };
    while (gone.bytes < excess) {
      const row = oldest.get();
      if (row === undefined) break;
      db.prepare('DELETE FROM record WHERE seq = ?').run(row.seq);
      gone.records += 1;
      gone.bytes += row.bytes;
    }
    return gone;
  }

  /** Gives the oldest records a new batch id; null when there are none. */
  #mark(db: Database.Database): string | null {
    const bytesMax = Math.min(limits.batchMaxBytes, this.#options.maxBytes / 2);
    const rows = db
      .prepare<[number], { seq: number; bytes: number }>(
        'SELECT seq, bytes FROM record ORDER BY seq LIMIT ?',
      )
      .all(limits.batchMaxCount);
    let [last, total] = [0, 0];
    for (const { seq, bytes } of rows) {
      total += bytes;
      if (last !== 0 && total > bytesMax) break; // The first always goes, whatever its size.
      last = seq;
    }
    if (last === 0) return null;
    const batch = hex(this.#options.random.bytes(16));
    db.prepare('UPDATE record SET batch = ? WHERE seq <= ?').run(batch, last);
    return batch;
  }

  #delete(db: Database.Database, batch: string, asLost: boolean): number {
    const gone = db
      .transaction(() => {
        const sum = db
          .prepare<[string], { records: number; bytes: number }>(
            'SELECT count(*) AS records, coalesce(sum(bytes), 0) AS bytes FROM record WHERE batch = ?',
          )
          .get(batch) ?? { records: 0, bytes: 0 };
        db.prepare('DELETE FROM record WHERE batch = ?').run(batch);
        if (asLost) db.prepare('UPDATE tally SET lost = lost + ?').run(sum.records);
        return sum;
      })
      .immediate();
    this.#stats.records -= gone.records;
    this.#stats.bytes -= gone.bytes;
    if (asLost) this.#stats.lost += gone.records;
    return gone.records;
  }

  /**
   * Runs `work` on the open spool, opening it when it is not. One mending is tried: a damaged file
   * is replaced, and on a full disk the log is folded into the file, which frees its space. If it
   * still fails the answer is `otherwise`.
   */
  #attempt<T>(what: string, work: (db: Database.Database) => T, otherwise: T): T {
    if (this.#closed) return otherwise;
    for (let mended = false; ; mended = true) {
      try {
        this.#db ??= this.#open();
        return work(this.#db);
      } catch (error) {
        if (!(error instanceof Database.SqliteError)) throw error;
        if (what === 'open' && error.code.startsWith('SQLITE_BUSY')) {
          throw new Fault('conflict', `another process holds ${this.#file}`, { cause: error });
        }
        const damaged = isDamage(error, this.#db === null);
        if (mended || !(damaged ? this.#setAside(error) : this.#fold())) {
          this.#log.warn(
            { what, error: reason(error) },
            'telemetry spool: the disk does not take it',
          );
          return otherwise;
        }
      }
    }
  }

  /** True when the write-ahead log could be emptied into the file. */
  #fold(): boolean {
    if (this.#db === null) return false;
    try {
      this.#db.pragma('wal_checkpoint(TRUNCATE)');
      return true;
    } catch (error) {
      if (error instanceof Database.SqliteError) return false;
      throw error;
    }
  }

  #open(): Database.Database {
    const db = new Database(this.#file, { timeout: LOCK_WAIT_MS });
    try {
      db.pragma('locking_mode = EXCLUSIVE');
      db.pragma('journal_mode = WAL');
      db.pragma('synchronous = FULL');
      db.pragma('wal_autocheckpoint = 64'); // The log stays near 256 KiB.
      db.pragma('journal_size_limit = 524288');
      if (db.pragma('user_version', { simple: true }) === 0) this.#create(db);
      if (db.pragma('quick_check', { simple: true }) !== 'ok')
        throw new Database.SqliteError('quick_check failed', 'SQLITE_CORRUPT');
      const sum = db
        .prepare<[], SpoolStats>(
          'SELECT count(*) AS records, coalesce(sum(bytes), 0) AS bytes, (SELECT lost FROM tally) AS lost FROM record',
        )
        .get();
      this.#stats = { ...(sum ?? { records: 0, bytes: 0, lost: 0 }) };
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  #create(db: Database.Database): void {
    const copy = Math.max(0, ...this.#damagedCopies());
    db.transaction(() => {
      db.exec(SCHEMA);
      if (copy > 0) {
        const before = Math.max(copy * SEQ_PER_SPOOL, Math.floor(this.#options.clock.now()));
        db.prepare("INSERT INTO sqlite_sequence (name, seq) VALUES ('record', ?)").run(before);
        const body: SecurityBody = {
          code: 'disk_failed',
          detail: `the telemetry spool was damaged and is kept as ${basename(this.#file)}${DAMAGED}${copy}: its records are lost, how many is not known`,
        };
        const text = JSON.stringify(body);
        db.prepare(
          "INSERT INTO record (at, kind, importance, body, bytes) VALUES (?, 'security', ?, ?, ?)",
        ).run(
          Math.max(0, Math.floor(this.#options.clock.now())),
          IMPORTANCE.security,
          text,
          utf8(text).length + RECORD_EXTRA_BYTES,
        );
      }
      db.pragma(`user_version = ${SCHEMA_VERSION}`);
    }).immediate();
  }

  /**
   * Keeps the damaged file (the latest one only) for whoever wants to look, and makes room for a
   * new one; false when the disk refuses.
   */
  #setAside(error: Error): boolean {
    this.#db?.close();
    this.#db = null;
    // What is known of it, when it broke while open.
    this.#lostUnwritten += this.#stats.records + this.#stats.lost;
    this.#stats = { records: 0, bytes: 0, lost: 0 };
    try {
      const before = this.#damagedCopies();
      const aside = `${this.#file}${DAMAGED}${Math.max(0, ...before) + 1}`;
      this.#log.error({ aside, error: reason(error) }, 'telemetry spool is damaged: begun anew');
      if (existsSync(`${this.#file}-wal`)) renameSync(`${this.#file}-wal`, `${aside}-wal`);
      renameSync(this.#file, aside);
      for (const copy of before) {
        rmSync(`${this.#file}${DAMAGED}${copy}`, { force: true });
        rmSync(`${this.#file}${DAMAGED}${copy}-wal`, { force: true });
      }
      return true;
    } catch (failure) {
      if (systemCode(failure) === undefined) throw failure;
      this.#log.error(
        { error: reason(failure) },
        'telemetry spool is damaged and cannot be moved aside',
      );
      return false;
    }
  }

  #damagedCopies(): number[] {
    const prefix = basename(this.#file) + DAMAGED;
    return readdirSync(dirname(this.#file))
      .filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
      .map((name) => Number(name.slice(prefix.length)));
  }
}

/**
 * While opening, SQLITE_ERROR is a schema that is not ours ("no such table"): as useless as a torn
 * file.
 */
function isDamage(error: InstanceType<typeof Database.SqliteError>, opening: boolean): boolean {
  return (
    error.code.startsWith('SQLITE_CORRUPT') ||
    error.code === 'SQLITE_NOTADB' ||
    (opening && error.code === 'SQLITE_ERROR')
  );
}
