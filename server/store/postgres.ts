// The connection to PostgreSQL: a bounded pool of connections with bounded statements. 64-bit
// integers come back as numbers, because times, ids and counts of the fleet are below 2^53; one
// that is not is an error and never rounded. Zero characters, which PostgreSQL's text cannot hold,
// are replaced on the way in: what a hostile device reports must not be what stops its batch. Short
// statements stay prepared in their connection, so that they are parsed and planned once.
import pg from 'pg';
import {
  PostgresDialect,
  PostgresDriver,
  type DatabaseConnection,
  type PostgresDialectConfig,
  type PostgresPool,
  type PostgresPoolClient,
} from 'kysely';
import { systemCode } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { RecentMap } from '../../shared/base/recent-map.js';

export interface PostgresTarget {
  /** postgresql://user@host:port/database */
  readonly url: string;
  /** Instead of one in the URL or in PGPASSWORD. */
  readonly password?: string | undefined;
}

/** For messages: without the user, the password and the parameters. */
export function databaseName({ url }: PostgresTarget): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  return parsed === null ? 'PostgreSQL' : `postgresql://${parsed.host}${parsed.pathname}`;
}

export class LinnetPostgresDialect extends PostgresDialect {
  readonly #config: PostgresDialectConfig;

  /** `statementMs` null: as long as it takes, for migrations. */
  constructor(target: PostgresTarget, statementMs: number | null) {
    const config = { pool: openPool(target, statementMs) };
    super(config);
    this.#config = config;
  }

  override createDriver(): PostgresDriver {
    return new Driver(this.#config);
  }
}

/**
 * PostgreSQL itself rolls back the transaction of a connection that broke. Kysely's ROLLBACK would
 * fail there, and that failure would be reported instead of the first one.
 */
class Driver extends PostgresDriver {
  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await super.rollbackTransaction(connection).catch(() => {});
  }
}

function openPool({ url, password }: PostgresTarget, statementMs: number | null): PostgresPool {
  const pool = new pg.Pool({
    ...connectionOf({ url, password }),
    max: limits.postgresConnectionsMaxCount,
    connectionTimeoutMillis: limits.databaseLockWaitMs,
    application_name: 'linnet',
    types: { getTypeParser },
    ...(statementMs === null
      ? {}
      : { statement_timeout: statementMs, idle_in_transaction_session_timeout: statementMs }),
  });
  // An idle connection broke. The pool has dropped it; the next statement opens another one.
  pool.on('error', () => {});
  return {
    connect: async () => guarded(await pool.connect()),
    end: () => pool.end(),
  };
}

export type SingleConnection = pg.Client;

/** A connection outside the pool, not opened yet; `name` is what the database shows of it. */
export function singleConnection(target: PostgresTarget, name: string): SingleConnection {
  return new pg.Client({
    ...connectionOf(target),
    connectionTimeoutMillis: limits.databaseLockWaitMs,
    keepAlive: true,
    application_name: name,
  });
}

/** A connection string prevails over every other setting of pg, so the password goes into it. */
function connectionOf({ url, password }: PostgresTarget): { connectionString: string } {
  if (password === undefined) return { connectionString: url };
  const whole = new URL(url);
  whole.password = encodeURIComponent(password);
  return { connectionString: whole.href };
}

const wrapped = new WeakMap<pg.PoolClient, PostgresPoolClient>();

/** Kysely recognises a connection by its object: one wrapper for each. */
function guarded(client: pg.PoolClient): PostgresPoolClient {
  const known = wrapped.get(client);
  if (known !== undefined) return known;
  // While it is taken, the pool does not listen, and a connection that breaks between two
  // statements would end the process. The next statement fails, and the pool drops the connection.
  client.on('error', () => {});
  const statements = new PreparedStatements(client);
  const wrapper = {
    query: (text: string, parameters: readonly unknown[]) =>
      statements.query(text, parameters.map(withoutZeros)),
    release: () => client.release(),
  } as unknown as PostgresPoolClient;
  wrapped.set(client, wrapper);
  return wrapper;
}

/** "cached plan must not change result type": another server has migrated a table. */
export const PLAN_IS_OLD = '0A000';

/** The statements of one connection. PostgreSQL keeps those that have a name. */
class PreparedStatements {
  readonly #client: pg.PoolClient;
  readonly #names = new Map<string, string>();
  /** Those that ran once: many never run again. */
  readonly #seen = new RecentMap<string, true>(limits.postgresPreparedMaxCount);
  /** Rises when the plans are old: pg knows a name's text for ever, so the names change. */
  #edition = 1;
  #isInTransaction = false;

  constructor(client: pg.PoolClient) {
    this.#client = client;
  }

  /**
   * Where a plan is old, the statement runs again without it; in a transaction, which has failed by
   * then, the transaction has to (database.ts).
   */
  async query(text: string, values: unknown[]): Promise<pg.QueryResult> {
    if (/^(?:begin|start transaction)/.test(text)) this.#isInTransaction = true;
    if (text === 'commit' || text === 'rollback') this.#isInTransaction = false;
    const name = this.#nameOf(text, values);
    if (name === null) return this.#client.query(text, values);
    try {
      return await this.#client.query({ name, text, values });
    } catch (error) {
      if (systemCode(error) !== PLAN_IS_OLD) throw error;
      this.#names.clear();
      this.#edition += 1;
      if (this.#isInTransaction) throw error;
      return this.#client.query(text, values);
    }
  }

  #nameOf(text: string, values: readonly unknown[]): string | null {
    const known = this.#names.get(text);
    if (known !== undefined) return known;
    if (values.length === 0 || values.length > limits.postgresPreparedParametersMaxCount)
      return null;
    if (!this.#seen.has(text)) {
      this.#seen.set(text, true);
      return null;
    }
    if (this.#names.size >= limits.postgresPreparedMaxCount) return null;
    const name = `linnet_${this.#edition}_${this.#names.size}`;
    this.#names.set(text, name);
    return name;
  }
}

function withoutZeros(parameter: unknown): unknown {
  if (Array.isArray(parameter)) return parameter.map(withoutZeros);
  return typeof parameter === 'string' ? parameter.replaceAll('\0', '\ufffd') : parameter;
}

/** bigint, and numeric: what sum() of bigints gives. The schema has no fractions. */
const INTEGERS = [20, 1700];
const parserOf = pg.types.getTypeParser as (oid: number, format?: 'text' | 'binary') => unknown;

const getTypeParser = ((oid: number, format?: 'text' | 'binary'): unknown =>
  INTEGERS.includes(oid) && format !== 'binary'
    ? safeInteger
    : parserOf(oid, format)) as typeof pg.types.getTypeParser;

function safeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value))
    throw new RangeError(`the database holds ${text}, which is not below 2^53`);
  return value;
}
