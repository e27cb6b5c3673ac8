// Opens the fleet server's database: a SQLite file, or PostgreSQL by its URL. A transaction that
// has returned is on the disk, so an acknowledgement may be sent after it (SQLite: WAL with
// synchronous=FULL). Foreign keys are on.
//
// Transactions on SQLite: Kysely holds the one connection from BEGIN to COMMIT and lets every other
// query wait, so code inside `db.transaction().execute(...)` may await queries on its own `trx`,
// and nothing else: awaiting anything that needs `db` itself would never return, and awaiting the
// network would stop the whole server. The rest of the server never writes BEGIN by hand.
//
// Transactions on PostgreSQL run beside those of other servers, at READ COMMITTED: one that writes
// what it read before either locks that row (`for no key update`), or repeats the condition in the
// statement. One that met a deadlock, or a unique key that another one took meanwhile, runs again
// from its start: code inside a transaction changes nothing outside of it.
import Database from 'better-sqlite3';
import {
  HandleEmptyInListsPlugin,
  Kysely,
  SqliteDialect,
  SqliteDriver,
  replaceWithNoncontingentExpression,
  sql,
  type DatabaseConnection,
  type Expression,
  type LogEvent,
  type MigrationProvider,
  type RawBuilder,
  type SqliteDatabase,
  type Transaction,
  type TransactionBuilder,
} from 'kysely';
import { limits } from '../../shared/base/limits.js';
import { databaseFault } from '../database-fault.js';
import { RecentMap } from '../../shared/base/recent-map.js';
import { reason, systemCode } from '../../shared/base/fault-codes.js';
import {
  databaseName,
  LinnetPostgresDialect,
  PLAN_IS_OLD,
  type PostgresTarget,
} from './postgres.js';
import { migrate } from './schema-version.js';
import type { Tables } from './tables.js';

export type Db = Kysely<Tables>;
/** A transaction, or the database where a single statement is enough. */
export type Queries = Db | Transaction<Tables>;

export interface DatabaseOptions {
  /** Told each statement that was run, BEGIN and COMMIT among them. */
  readonly onStatement?: (sql: string) => void;
  /** Instead of those of migrations.ts, in tests. */
  readonly provider?: MigrationProvider;
}

/** A SQLite file (`:memory:` for a temporary database), or a PostgreSQL database. */
export type DatabaseTarget = string | PostgresTarget;

/**
 * Opens (and creates or migrates) the database. Faults: disk_failed, disk_full, schema_newer,
 * database_unreachable.
 */
export async function openDatabase(
  target: DatabaseTarget,
  { onStatement, ...steps }: DatabaseOptions = {},
): Promise<Db> {
  const log = onStatement === undefined ? {} : { log: statementLog(onStatement) };
  if (typeof target === 'string') {
    const db = new FleetDatabase({ dialect: new Dialect(openFile(target)), plugins, ...log });
    await migrateOrClose(db, target, steps);
    return db;
  }
  // Of several servers that start at once one migrates (Kysely takes an advisory lock), and the
  // others wait for it: longer than any other statement may.
  const migrating = new Kysely<Tables>({ dialect: new LinnetPostgresDialect(target, null) });
  await migrateOrClose(migrating, databaseName(target), steps);
  await migrating.destroy();
  const dialect = new LinnetPostgresDialect(target, limits.statementMaxMs);
  return new FleetDatabase({ dialect, plugins, ...log });
}

const statementLog =
  (onStatement: (sql: string) => void) =>
  ({ query }: LogEvent): void =>
    onStatement(query.sql);

/** `in ()` selects nothing; PostgreSQL would refuse it. */
const plugins = [new HandleEmptyInListsPlugin({ strategy: replaceWithNoncontingentExpression })];

async function migrateOrClose(
  db: Db,
  name: string,
  steps: { readonly provider?: MigrationProvider },
): Promise<void> {
  try {
    await migrate(db, name, steps);
  } catch (error) {
    await db.destroy();
    throw error;
  }
}

/**
 * A database as it is, for its backup and its restore: nothing is migrated, and a statement may
 * take as long as it needs. A file must exist unless it `isNew`; a new one has no write-ahead log
 * yet, so that filling it in one transaction takes no more room than its rows. Faults: disk_failed,
 * database_unreachable.
 */
export function openUnmigrated(
  target: DatabaseTarget,
  { isNew = false } = {},
): { db: Db; name: string } {
  if (typeof target !== 'string') {
    const dialect = new LinnetPostgresDialect(target, null);
    return { db: new Kysely<Tables>({ dialect }), name: databaseName(target) };
  }
  try {
    const timeout = limits.databaseLockWaitMs;
    const sqlite = new Database(target, { timeout, fileMustExist: !isNew });
    sqlite.pragma('synchronous = FULL');
    sqlite.pragma('foreign_keys = ON');
    return { db: new Kysely<Tables>({ dialect: new Dialect(sqlite) }), name: target };
  } catch (error) {
    throw databaseFault(error, `opening ${target}`);
  }
}

/** Runs a transaction again that lost against another one. */
class FleetDatabase extends Kysely<Tables> {
  override transaction(): TransactionBuilder<Tables> {
    const builder = super.transaction();
    const execute = builder.execute.bind(builder);
    builder.execute = async (work) => {
      for (let tries = 1; ; tries += 1) {
        try {
          return await execute(work);
        } catch (error) {
          if (tries === limits.transactionTriesMaxCount || !isLost(error)) throw error;
        }
      }
    };
    return builder;
  }
}

/**
 * PostgreSQL's codes: serialization failure, deadlock, a unique key that exists by now, a plan that
 * is older than its table.
 */
function isLost(error: unknown): boolean {
  return ['40001', '40P01', '23505', PLAN_IS_OLD].includes(systemCode(error) ?? '');
}

/**
 * SQLite itself rolls back a transaction that met a full or failing disk. Kysely's own ROLLBACK
 * would then fail, and that failure would be reported instead of the disk's.
 */
class Driver extends SqliteDriver {
  readonly #sqlite: Database.Database;

  constructor(sqlite: Database.Database) {
    super({ database: withKeptStatements(sqlite) });
    this.#sqlite = sqlite;
  }

  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    if (this.#sqlite.inTransaction) await super.rollbackTransaction(connection);
  }
}

/**
 * Kysely prepares a statement each time that it runs one; the server runs the same ones all the
 * time. None of them is iterated, so none is busy when it is run again.
 */
function withKeptStatements(sqlite: Database.Database): SqliteDatabase {
  const kept = new RecentMap<string, Database.Statement>(limits.preparedStatementsMaxCount);
  return {
    close: () => void sqlite.close(),
    prepare: (text) => {
      const known = kept.get(text);
      if (known !== undefined) return known;
      const statement = sqlite.prepare(text);
      kept.set(text, statement);
      return statement;
    },
  };
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
    sqlite.pragma(`wal_autocheckpoint = ${limits.sqliteLogMaxPages}`);
    sqlite.pragma(`cache_size = -${limits.sqliteCacheMaxBytes / 1024}`);
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

/** Why the native module of SQLite does not load; null when it does. */
export function databaseModuleFailure(): string | null {
  try {
    new Database(':memory:').close();
    return null;
  } catch (error) {
    return reason(error);
  }
}
