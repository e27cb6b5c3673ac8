// Fills an empty database with the rows of an export, in one transaction: after a crash it has all
// of them or none. The tables are made by the steps that the exported database had; later steps run
// when a server starts on it. Each value must be of its column's type, because PostgreSQL and
// SQLite would otherwise convert it, each in its own way.
import { sql, type Transaction } from 'kysely';
import { Fault } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { databaseFault } from '../database-fault.js';
import { openUnmigrated, type DatabaseTarget, type Db } from './database.js';
import { isPostgres } from './dialect.js';
import { schemaTables, type Column, type SchemaTable } from './schema-tables.js';
import { appliedSteps, knownSteps, migrate, requireKnown } from './schema-version.js';
import type { Tables } from './tables.js';

type RowCounts = Readonly<Record<string, number>>;
interface OpenedDatabase {
  readonly db: Db;
  readonly name: string;
  readonly schema: string;
  readonly tables: readonly SchemaTable[];
}
type Value = string | number | Buffer | null;

/** Fault schema_newer. */
export async function requireKnownSchema(what: string, step: string): Promise<void> {
  requireKnown(what, [step], await knownSteps());
}

export class DatabaseImport {
  readonly #db: Db;
  readonly #name: string;
  readonly #schema: string;
  readonly #tables: ReadonlyMap<string, SchemaTable>;

  private constructor({ db, name, schema, tables }: OpenedDatabase) {
    this.#db = db;
    this.#name = name;
    this.#schema = schema;
    this.#tables = new Map(tables.map((table) => [table.name, table] as const));
  }

  /** `schema`: the last step of the exported database. A SQLite file is created. */
  static async open(target: DatabaseTarget, schema: string): Promise<DatabaseImport> {
    const tables = await schemaTables(schema);
    const { db, name } = openUnmigrated(target, { isNew: true });
    return new DatabaseImport({ db, name, schema, tables });
  }

  /** Rows of each table that has some; null when there are no tables at all. */
  async rowCounts(): Promise<RowCounts | null> {
    const steps = await appliedSteps(this.#db, this.#name);
    const last = steps.at(-1);
    if (last === undefined) return null;
    requireKnown(this.#name, steps, await knownSteps());
    return this.#faults(() => countRows(this.#db, [...this.#tables.keys()]));
  }

  /**
   * Takes all parts of the export, or nothing: also when `check` throws, which is told how many
   * rows there are then. Faults: backup_invalid (a value is not of its column's type), disk_*,
   * database_unreachable.
   */
  async fill(
    parts: AsyncIterable<{ readonly table: string; readonly bytes: Uint8Array }>,
    check: (counts: RowCounts) => void,
  ): Promise<void> {
    await migrate(this.#db, this.#name, { last: this.#schema });
    await this.#faults(() =>
      this.#db.transaction().execute(async (trx) => {
        const triggersOn = await switchTriggersOff(trx, [...this.#tables.keys()]);
        for await (const { table: name, bytes } of parts) {
          const table = this.#tables.get(name);
          if (table === undefined)
            throw new Fault('backup_invalid', `the schema ${this.#schema} has no table ${name}`);
          await insert(trx, table, rowsOf(bytes, table));
        }
        await triggersOn();
        if (isPostgres(trx)) await continueKeys(trx);
        check(await countRows(trx, [...this.#tables.keys()]));
      }),
    );
  }

  close(): Promise<void> {
    return this.#db.destroy();
  }

  async #faults<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw databaseFault(error, `restoring ${this.#name}`);
    }
  }
}

/**
 * What triggers would write for the rows is among the rows already. The returned function puts them
 * back.
 */
async function switchTriggersOff(
  trx: Transaction<Tables>,
  tables: readonly string[],
): Promise<() => Promise<void>> {
  if (isPostgres(trx)) {
    const switched = async (which: 'enable' | 'disable'): Promise<void> => {
      for (const table of tables)
        await sql`alter table ${sql.table(table)} ${sql.raw(which)} trigger user`.execute(trx);
    };
    await switched('disable');
    return () => switched('enable');
  }
  const { rows } = await sql<{ name: string; sql: string }>`
    select name, sql from sqlite_master where type = 'trigger' order by name`.execute(trx);
  for (const { name } of rows) await sql`drop trigger ${sql.table(name)}`.execute(trx);
  return async () => {
    for (const trigger of rows) await sql.raw(trigger.sql).execute(trx);
  };
}

async function countRows(
  queries: Db | Transaction<Tables>,
  names: readonly string[],
): Promise<RowCounts> {
  const counts: Record<string, number> = {};
  for (const name of names) {
    const { rows } = await sql<{ count: number }>`
      select count(*) as count from ${sql.table(name)}`.execute(queries);
    const count = rows[0]?.count ?? 0;
    if (count > 0) counts[name] = count;
  }
  return counts;
}

function rowsOf(bytes: Uint8Array, table: SchemaTable): Value[][] {
  const lines = Buffer.from(bytes).toString('utf8').trimEnd().split('\n');
  return lines.map((line) => {
    const values = jsonArray(line);
    if (values?.length !== table.columns.length)
      throw new Fault('backup_invalid', `a row of ${table.name} has not its columns`);
    return table.columns.map((column, index) => imported(values[index], column, table.name));
  });
}

function jsonArray(line: string): unknown[] | null {
  try {
    const value = JSON.parse(line) as unknown;
    return Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

function imported(value: unknown, { name, type }: Column, table: string): Value {
  if (value === null) return null;
  if (type === 'text' && typeof value === 'string') return value;
  if (type === 'integer' && Number.isSafeInteger(value)) return value as number;
  const base64 = type === 'blob' ? (value as { base64?: unknown } | undefined)?.base64 : undefined;
  if (typeof base64 === 'string') return Buffer.from(base64, 'base64');
  throw new Fault('backup_invalid', `${table}.${name} has a value that is not ${type}`);
}

/** As many rows in one statement as its parameters allow. */
async function insert(
  trx: Transaction<Tables>,
  { name, columns }: SchemaTable,
  rows: readonly Value[][],
): Promise<void> {
  const most = Math.floor(limits.statementParametersMaxCount / columns.length);
  const into = sql.join(columns.map((column) => sql.ref(column.name)));
  // Keys that PostgreSQL makes itself are taken over as well.
  const keys = isPostgres(trx) ? sql`overriding system value` : sql``;
  for (let start = 0; start < rows.length; start += most) {
    const values = rows.slice(start, start + most).map((row) => sql`(${sql.join(row)})`);
    await sql`
      insert into ${sql.table(name)} (${into}) ${keys} values ${sql.join(values)}`.execute(trx);
  }
}

/** The keys that PostgreSQL makes itself go on after the highest one, as SQLite's do. */
async function continueKeys(trx: Transaction<Tables>): Promise<void> {
  const { rows } = await sql<{ table_name: string; column_name: string }>`
    select table_name, column_name from information_schema.columns
    where table_schema = current_schema() and is_identity = 'YES'`.execute(trx);
  for (const { table_name: table, column_name: column } of rows)
    await sql`
      select setval(pg_get_serial_sequence(${table}, ${column}),
        (select coalesce(max(${sql.ref(column)}), 0) + 1 from ${sql.table(table)}), false)
    `.execute(trx);
}
