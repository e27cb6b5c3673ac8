// All rows of a database as it is at one moment, while servers go on writing: one read transaction
// on SQLite, one at REPEATABLE READ on PostgreSQL. Both give the same text, so that the backup of
// one is restored into the other. A part is some rows of one table, a JSON array a line, in the
// order of the schema's columns; a binary value is {"base64": "..."}. No more than one part is in
// memory.
import { sql, type ControlledTransaction } from 'kysely';
import { utf8 } from '../../shared/base/bytes.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { databaseFault } from '../database-fault.js';
import { openUnmigrated, type DatabaseTarget, type Db } from './database.js';
import { isPostgres } from './dialect.js';
import { schemaTables, type SchemaTable } from './schema-tables.js';
import { appliedSteps, knownSteps, requireKnown } from './schema-version.js';
import type { Tables } from './tables.js';

interface DatabasePart {
  readonly table: string;
  readonly rows: number;
  readonly bytes: Uint8Array;
}

export interface DatabaseExport {
  /** The last step of migrations.ts that the database has. */
  readonly schema: string;
  /** Names of the tables, those that others refer to first. */
  readonly tables: readonly string[];
  parts(): AsyncIterable<DatabasePart>;
  close(): Promise<void>;
}

type Row = Readonly<Record<string, unknown>>;
type Reading = ControlledTransaction<Tables>;

/** Faults: not_found (no tables), schema_newer, disk_failed, database_unreachable. */
export async function openExport(target: DatabaseTarget): Promise<DatabaseExport> {
  const { db, name } = openUnmigrated(target);
  try {
    const steps = await appliedSteps(db, name);
    requireKnown(name, steps, await knownSteps());
    const schema = steps.at(-1);
    if (schema === undefined)
      throw new Fault('not_found', `${name} has no tables: \`linnet server init\` makes them`);
    const tables = await schemaTables(schema);
    return {
      schema,
      tables: tables.map((table) => table.name),
      parts: () => withDatabaseFaults(name, partsOf(db, tables)),
      close: () => db.destroy(),
    };
  } catch (error) {
    await db.destroy();
    throw error;
  }
}

async function* withDatabaseFaults<T>(name: string, items: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* items;
  } catch (error) {
    throw databaseFault(error, `reading ${name}`);
  }
}

async function* partsOf(db: Db, tables: readonly SchemaTable[]): AsyncIterable<DatabasePart> {
  const reading = await (
    isPostgres(db)
      ? db.startTransaction().setIsolationLevel('repeatable read').setAccessMode('read only')
      : db.startTransaction()
  ).execute();
  try {
    for (const table of tables) yield* partsOfTable(reading, table);
  } finally {
    await reading.rollback().execute();
  }
}

async function* partsOfTable(reading: Reading, table: SchemaTable): AsyncIterable<DatabasePart> {
  let lines: string[] = [];
  let chars = 0;
  const part = (): DatabasePart => {
    const done = { table: table.name, rows: lines.length, bytes: utf8(lines.join('')) };
    lines = [];
    chars = 0;
    return done;
  };
  const pages = isPostgres(reading)
    ? pagesOfPostgres(reading, table.name)
    : pagesOfSqlite(reading, table.name);
  for await (const page of pages)
    for (const row of page) {
      const line = `${JSON.stringify(table.columns.map(({ name }) => exported(row[name])))}\n`;
      lines.push(line);
      chars += line.length;
      if (chars >= limits.backupPartBytes) yield part();
    }
  if (lines.length > 0) yield part();
}

function exported(value: unknown): unknown {
  return value instanceof Uint8Array ? { base64: Buffer.from(value).toString('base64') } : value;
}

async function* pagesOfSqlite(reading: Reading, table: string): AsyncIterable<Row[]> {
  for (let last = Number.MIN_SAFE_INTEGER; ;) {
    const { rows } = await sql<Row & { rowid_: number }>`
      select rowid as rowid_, * from ${sql.table(table)} where rowid > ${last}
      order by rowid limit ${limits.backupRowsMaxCount}`.execute(reading);
    const end = rows.at(-1);
    if (end === undefined) return;
    yield rows;
    last = end.rowid_;
  }
}

async function* pagesOfPostgres(reading: Reading, table: string): AsyncIterable<Row[]> {
  await sql`declare whole no scroll cursor for select * from ${sql.table(table)}`.execute(reading);
  for (;;) {
    const { rows } = await sql<Row>`
      fetch ${sql.lit(limits.backupRowsMaxCount)} from whole`.execute(reading);
    if (rows.length === 0) break;
    yield rows;
  }
  await sql`close whole`.execute(reading);
}
