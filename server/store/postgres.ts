// The connection to PostgreSQL: a bounded pool of connections with bounded statements. 64-bit
// integers come back as numbers, because times, ids and counts of the fleet are below 2^53; one
// that is not is an error and never rounded. Zero characters, which PostgreSQL's text cannot hold,
// are replaced on the way in: what a hostile device reports must not be what stops its batch.
import pg from 'pg';
import {
  PostgresDialect,
  PostgresDriver,
  type DatabaseConnection,
  type PostgresDialectConfig,
  type PostgresPool,
  type PostgresPoolClient,
} from 'kysely';
import { limits } from '../../shared/base/limits.js';

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
  const wrapper = {
    query: (text: string, parameters: readonly unknown[]) =>
      client.query(text, parameters.map(withoutZeros)),
    release: () => client.release(),
  } as unknown as PostgresPoolClient;
  wrapped.set(client, wrapper);
  return wrapper;
}

function withoutZeros(parameter: unknown): unknown {
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
