// The few places where SQLite and PostgreSQL need different SQL. Everything else in the stores is
// one text for both.
import { PostgresAdapter, sql, type Expression, type Kysely, type RawBuilder } from 'kysely';

/** Whether statements of `queries` go to PostgreSQL. */
export function isPostgres(queries: Pick<Kysely<never>, 'getExecutor'>): boolean {
  return queries.getExecutor().adapter instanceof PostgresAdapter;
}

/**
 * A text inside a JSON text column; null when it is absent. `json` and not `jsonb`: that would
 * refuse a whole document because of an escaped zero character anywhere in it.
 */
export function jsonText(
  queries: Pick<Kysely<never>, 'getExecutor'>,
  column: Expression<string>,
  path: readonly string[],
): RawBuilder<string> {
  return isPostgres(queries)
    ? sql<string>`(${column}::json #>> ${sql.lit(`{${path.join(',')}}`)})`
    : sql<string>`json_extract(${column}, ${sql.lit(`$.${path.join('.')}`)})`;
}

/**
 * What an `insert` of many rows adds, column by column. PostgreSQL parses and plans each value of a
 * long list by itself, which costs it more than storing them; there a column is one array. The rows
 * have the same columns, of texts or whole numbers, without nulls.
 */
export function rowsByColumn<Row extends Readonly<Record<string, string | number>>>(
  rows: readonly Row[],
): { columns: (keyof Row & string)[]; expression: RawBuilder<Row> } {
  const columns = Object.keys(rows[0] ?? {}) as (keyof Row & string)[];
  const arrays = columns.map((column) => {
    const type = typeof rows[0]?.[column] === 'number' ? 'bigint' : 'text';
    return sql`${rows.map((row) => row[column])}::${sql.raw(type)}[]`;
  });
  return { columns, expression: sql<Row>`select * from unnest(${sql.join(arrays)})` };
}

/**
 * A statement of the schema, which is written once, in SQLite's SQL, for PostgreSQL: numbers are
 * 64-bit there as well, generated keys are identities, and text is compared by its bytes, so that
 * pages have the same order in every database.
 */
export function postgresDdl(statement: string): string {
  return statement
    .replace(/\bid integer primary key,/g, 'id bigint generated always as identity primary key,')
    .replace(/ integer\b/g, ' bigint')
    .replace(/ blob\b/g, ' bytea')
    .replace(/ text\b/g, ' text collate "C"')
    .replace(/\) strict$/, ')');
}
