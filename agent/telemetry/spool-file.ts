// The SQLite file of the telemetry spool: opened with its schema and its statements prepared once,
// checked, and set aside when it is damaged. Write-ahead log with synchronous=FULL: a committed
// change survives a power cut. One process owns the file (an exclusive lock, no shared memory
// file).
import { existsSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import Database from 'better-sqlite3';
import { reason } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { IMPORTANCE, type Kind, type SecurityBody } from '../../shared/protocol/telemetry.js';
import { utf8 } from '../../shared/base/bytes.js';

export interface SpoolRow {
  seq: number;
  at: number;
  kind: Kind;
  body: string;
  bytes: number;
}

export interface SpoolTotals {
  records: number;
  bytes: number;
  lost: number;
}

const SCHEMA_VERSION = 1;
const DAMAGED = '.damaged-';
/**
 * A spool that follows the n-th damaged one numbers its records from n times this: above every
 * number that was used before.
 */
const SEQ_PER_SPOOL = 2 ** 40;

const SCHEMA = `
  CREATE TABLE record (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    importance INTEGER NOT NULL,
    body TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    batch TEXT
  ) STRICT;
  CREATE INDEX record_by_eviction ON record (batch, importance, seq);
  CREATE TABLE tally (id INTEGER PRIMARY KEY CHECK (id = 1), lost INTEGER NOT NULL) STRICT;
  INSERT INTO tally (id, lost) VALUES (1, 0);
`;

const INSERT = 'INSERT INTO record (at, kind, importance, body, bytes) VALUES (?, ?, ?, ?, ?)';

/** Prepared once for the life of the open file. */
function prepare(db: Database.Database) {
  return {
    insert: db.prepare<[number, Kind, number, string, number]>(INSERT),
    addLost: db.prepare<[number]>('UPDATE tally SET lost = lost + ?'),
    leastImportant: db.prepare<[], { seq: number; bytes: number }>(
      'SELECT seq, bytes FROM record WHERE batch IS NULL ORDER BY importance, seq LIMIT 1',
    ),
    deleteRecord: db.prepare<[number]>('DELETE FROM record WHERE seq = ?'),
    oldest: db.prepare<[number], { seq: number; bytes: number }>(
      'SELECT seq, bytes FROM record ORDER BY seq LIMIT ?',
    ),
    oldestAt: db.prepare<[], { at: number }>('SELECT at FROM record ORDER BY seq LIMIT 1'),
    leaseUpTo: db.prepare<[string, number]>('UPDATE record SET batch = ? WHERE seq <= ?'),
    leased: db.prepare<[], { batch: string }>(
      'SELECT batch FROM record WHERE batch IS NOT NULL LIMIT 1',
    ),
    batchRows: db.prepare<[string], SpoolRow>(
      'SELECT seq, at, kind, body, bytes FROM record WHERE batch = ? ORDER BY seq',
    ),
    batchTotals: db.prepare<[string], { records: number; bytes: number }>(
      'SELECT count(*) AS records, coalesce(sum(bytes), 0) AS bytes FROM record WHERE batch = ?',
    ),
    deleteBatch: db.prepare<[string]>('DELETE FROM record WHERE batch = ?'),
  };
}

export interface OpenSpool {
  readonly db: Database.Database;
  readonly statements: ReturnType<typeof prepare>;
  readonly totals: SpoolTotals;
}

/**
 * Opens or makes the spool. Throws SqliteError: SQLITE_BUSY when another process has it, see
 * isDamage for a file that is of no use.
 */
export function openSpoolFile(file: string, now: number): OpenSpool {
  const db = new Database(file, { timeout: limits.spoolLockWaitMs });
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = FULL');
    db.pragma('wal_autocheckpoint = 64'); // The log stays near 256 KiB.
    db.pragma('journal_size_limit = 524288');
    if (db.pragma('user_version', { simple: true }) === 0) create(db, file, now);
    if (db.pragma('quick_check', { simple: true }) !== 'ok')
      throw new Database.SqliteError('quick_check failed', 'SQLITE_CORRUPT');
    const totals = db
      .prepare<[], SpoolTotals>(
        'SELECT count(*) AS records, coalesce(sum(bytes), 0) AS bytes, ' +
          '(SELECT lost FROM tally) AS lost FROM record',
      )
      .get();
    return {
      db,
      statements: prepare(db),
      totals: { ...(totals ?? { records: 0, bytes: 0, lost: 0 }) },
    };
  } catch (error) {
    db.close();
    throw error;
  }
}

/** A spool that follows a damaged one starts with a security event that says so. */
function create(db: Database.Database, file: string, now: number): void {
  const copy = Math.max(0, ...damagedCopies(file));
  const at = Math.max(0, Math.floor(now));
  db.transaction(() => {
    db.exec(SCHEMA);
    if (copy > 0) {
      const before = Math.max(copy * SEQ_PER_SPOOL, at);
      db.prepare("INSERT INTO sqlite_sequence (name, seq) VALUES ('record', ?)").run(before);
      const body: SecurityBody = {
        code: 'disk_failed',
        detail:
          `the telemetry spool was damaged and is kept as ${basename(file)}${DAMAGED}${copy}: ` +
          'its records are lost, how many is not known',
      };
      const text = JSON.stringify(body);
      const bytes = utf8(text).length + limits.recordExtraBytes;
      db.prepare(INSERT).run(at, 'security', IMPORTANCE.security, text, bytes);
    }
    db.pragma(`user_version = ${SCHEMA_VERSION}`);
  }).immediate();
}

/**
 * Renames the closed, damaged file and its log, and removes earlier damaged copies. Returns the new
 * name. Throws the system's error when the disk refuses.
 */
export function setSpoolAside(file: string): string {
  const before = damagedCopies(file);
  const aside = `${file}${DAMAGED}${Math.max(0, ...before) + 1}`;
  if (existsSync(`${file}-wal`)) renameSync(`${file}-wal`, `${aside}-wal`);
  renameSync(file, aside);
  for (const copy of before) {
    rmSync(`${file}${DAMAGED}${copy}`, { force: true });
    rmSync(`${file}${DAMAGED}${copy}-wal`, { force: true });
  }
  return aside;
}

function damagedCopies(file: string): number[] {
  const prefix = basename(file) + DAMAGED;
  return readdirSync(dirname(file))
    .filter((name) => name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length)))
    .map((name) => Number(name.slice(prefix.length)));
}

/**
 * True when the file is of no use any more. While opening, SQLITE_ERROR means a schema that is not
 * this one ("no such table").
 */
export function isDamage(
  error: InstanceType<typeof Database.SqliteError>,
  opening: boolean,
): boolean {
  return (
    error.code.startsWith('SQLITE_CORRUPT') ||
    error.code === 'SQLITE_NOTADB' ||
    (opening && error.code === 'SQLITE_ERROR')
  );
}

/** Why the native module of SQLite does not load; null when it does. */
export function sqliteFailure(): string | null {
  try {
    new Database(':memory:').close();
    return null;
  } catch (error) {
    return reason(error);
  }
}
