// Opens the fleet server's SQLite database. WAL with synchronous=FULL: a transaction that has
// returned is on the disk, so an acknowledgement may be sent after it. Foreign keys are on.
//
// Transactions: Kysely holds the one connection from BEGIN to COMMIT and lets every other query
// wait, so code inside `db.transaction().execute(...)` may await queries on its own `trx`, and
// nothing else: awaiting anything that needs `db` itself would never return, and awaiting the
// network would stop the whole server. The rest of the server never writes BEGIN by hand.
import Database from 'better-sqlite3';
import {
  Kysely,
  Migrator,
  SqliteDialect,
  SqliteDriver,
  sql,
  type DatabaseConnection,
  type Expression,
  type RawBuilder,
  type Transaction,
} from 'kysely';
import { limits } from '../../shared/base/limits.js';
import { databaseFault } from '../database-fault.js';
import { migrations } from './migrations.js';
import type { Tables } from './tables.js';

export type Db = Kysely<Tables>;
/** A transaction, or the database where a single statement is enough. */
export type Queries = Db | Transaction<Tables>;

export interface DatabaseOptions {
  /** Told each statement that was run, BEGIN and COMMIT among them. */
  readonly onStatement?: (sql: string) => void;
}

/**
 * Opens (and creates or migrates) the database in `file`; `:memory:` for a temporary one.
 * Faults: disk_failed, disk_full.
 */
export async function openDatabase(
  file: string,
  { onStatement }: DatabaseOptions = {},
): Promise<Db> {
  const sqlite = openFile(file);
  const db = new Kysely<Tables>({
    dialect: new Dialect(sqlite),
    ...(onStatement === undefined ? {} : { log: ({ query }) => onStatement(query.sql) }),
  });
  const { error, results } = await new Migrator({ db, provider: migrations }).migrateToLatest();
  if (error !== undefined) {
    await db.destroy();
    const failed =
      results?.find((result) => result.status === 'Error')?.migrationName ??
      'before the first step';
    throw databaseFault(error, `migrating ${file} (${failed})`);
  }
  return db;
}

/**
 * SQLite itself rolls back a transaction that met a full or failing disk. Kysely's own ROLLBACK
 * would then fail, and that failure would be reported instead of the disk's.
 */
class Driver extends SqliteDriver {
  readonly #sqlite: Database.Database;

  constructor(sqlite: Database.Database) {
    super({ database: sqlite });
    this.#sqlite = sqlite;
  }

  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    if (this.#sqlite.inTransaction) await super.rollbackTransaction(connection);
  }
}

class Dialect extends SqliteDialect {
  readonly #sqlite: Database.Database;

  constructor(sqlite: Database.Database) {
    super({ database: sqlite });
    this.#sqlite = sqlite;
  }

  override createDriver(): Driver {
    return new Driver(this.#sqlite);
  }
}

function openFile(file: string): Database.Database {
  try {
    const sqlite = new Database(file, { timeout: limits.databaseLockWaitMs });
    sqlite.pragma('journal_mode = WAL');
    sqlite.pragma('synchronous = FULL');
    sqlite.pragma('foreign_keys = ON');
    return sqlite;
  } catch (error) {
    throw databaseFault(error, `opening ${file}`);
  }
}

/** Rows are written, and ids looked up, in portions that fit one statement. */
export function portions<T>(items: readonly T[]): T[][] {
  const found: T[][] = [];
  for (let start = 0; start < items.length; start += limits.databaseRowsMaxCount)
    found.push(items.slice(start, start + limits.databaseRowsMaxCount));
  return found;
}

/** The first `maxChars` characters of a text column, so that a list reads no long texts. */
export function cut(text: Expression<string>, maxChars: number): RawBuilder<string> {
  return sql<string>`substr(${text}, 1, ${maxChars})`;
}
