// The few places where SQLite and PostgreSQL need different SQL. Everything else in the stores is
// one text for both.
import {
  PostgresAdapter,
  sql,
  type Expression,
  type InsertObject,
  type InsertQueryBuilder,
  type InsertResult,
  type Kysely,
  type RawBuilder,
  type SqlBool,
} from 'kysely';

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

/** Whether a text has `part` in it, whatever the case of ASCII letters. */
export function contains(
  queries: Pick<Kysely<never>, 'getExecutor'>,
  text: Expression<string>,
  part: string,
): RawBuilder<SqlBool> {
  return isPostgres(queries)
    ? sql<SqlBool>`strpos(lower(${text}), lower(${part}::text collate "C")) > 0`
    : sql<SqlBool>`instr(lower(${text}), lower(${part})) > 0`;
}

/** Whether a JSON text column has, at `key`, no array, or one with the text `value`. */
export function allowsIn(
  queries: Pick<Kysely<never>, 'getExecutor'>,
  column: Expression<string>,
  key: string,
  value: string,
): RawBuilder<SqlBool> {
  const items = isPostgres(queries)
    ? sql`json_array_elements_text(${column}::json -> ${sql.lit(key)}) as item (value)`
    : sql`json_each(${column}, ${sql.lit(`$.${key}`)}) as item`;
  return sql<SqlBool>`(${jsonText(queries, column, [key])} is null
    or exists (select 1 from ${items} where item.value = ${value}))`;
}

/**
 * Whether a column of texts has one of `values`: one text of SQL for any number of them, which
 * stays prepared, where each length of `in (...)` is another text.
 */
export function among(
  queries: Pick<Kysely<never>, 'getExecutor'>,
  column: string,
  values: readonly string[],
): RawBuilder<SqlBool> {
  return isPostgres(queries)
    ? sql<SqlBool>`${sql.ref(column)} = any(${values}::text[])`
    : sql<SqlBool>`${sql.ref(column)} in (select value from json_each(${JSON.stringify(values)}))`;
}

export type Columns = Readonly<Record<string, 'text' | 'bigint' | 'bytea'>>;
type Value = string | number | Uint8Array | null;

/**
 * Rows that a statement brings along, as a table named `given`, with these columns. Of PostgreSQL
 * each column is one array (see inserting).
 */
export function givenRows<C extends Columns>(
  queries: Pick<Kysely<never>, 'getExecutor'>,
  columns: C,
  rows: readonly Readonly<Record<keyof C & string, Value>>[],
): RawBuilder<unknown> {
  const names = Object.keys(columns) as (keyof C & string)[];
  if (isPostgres(queries))
    return unnested(
      names.map((name) => ({
        name,
        type: columns[name] ?? '',
        column: rows.map((row) => row[name]),
      })),
    );
  const list = names.map((name, at) => sql`${sql.ref(`column${at + 1}`)} as ${sql.ref(name)}`);
  const values = rows.map((row) => sql`(${sql.join(names.map((name) => row[name]))})`);
  return sql`(select ${sql.join(list)} from (values ${sql.join(values)})) as given`;
}

/**
 * An `insert` of many rows, column by column on PostgreSQL: it parses and plans each value of a
 * long list by itself, which costs it more than storing them; there a column is one array, and the
 * text is the same for any number of rows. All rows have the columns of the first one, of texts or
 * whole numbers.
 */
export function inserting<DB, T extends keyof DB & string>(
  queries: Pick<Kysely<DB>, 'getExecutor' | 'insertInto'>,
  table: T,
  rows: readonly InsertObject<DB, T>[],
): InsertQueryBuilder<DB, T, InsertResult> {
  const into = queries.insertInto(table);
  if (!isPostgres(queries)) return into.values(rows);
  const values = rows as readonly Readonly<Record<string, Value>>[];
  const names = Object.keys(values[0] ?? {});
  const columns = names.map((name) => {
    const column = values.map((row) => row[name] ?? null);
    const known = column.find((value) => value !== null);
    // An array of nothing but nulls would have no type.
    const type = known === undefined ? null : typeof known === 'number' ? 'bigint' : 'text';
    return { name, type, column };
  });
  const given = columns.flatMap(({ type, ...one }) => (type === null ? [] : [{ ...one, type }]));
  const list = columns.map(({ name, type }) => (type === null ? sql`null` : sql.ref(name)));
  return into
    .columns(names as (keyof DB[T] & string)[])
    .expression(sql`select ${sql.join(list)} from ${unnested(given)}`);
}

/** For PostgreSQL: a table named `given` of one array a column. */
function unnested(
  columns: readonly {
    readonly name: string;
    readonly type: string;
    readonly column: readonly unknown[];
  }[],
): RawBuilder<unknown> {
  const arrays = columns.map(({ type, column }) => sql`${column}::${sql.raw(type)}[]`);
  const names = columns.map(({ name }) => sql.ref(name));
  return sql`unnest(${sql.join(arrays)}) as given (${sql.join(names)})`;
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
