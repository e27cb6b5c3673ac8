// Stores of tests: on SQLite, or on PostgreSQL in the Vitest project `postgres`, where each one has
// a database of its own. The same path is the same database in both.
import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import pg from 'pg';
import { inject } from 'vitest';
import { Store, type DatabaseTarget } from '../../server/store/store.js';
import { isWhole } from './whole.js';

/** The database that all others are copied from. */
export const TEMPLATE = 'linnet_template';

const MEMORY = ':memory:';
/** The databases of files; dropped when the tests of a file have ended. */
const databases = new Map<string, string>();
/** Databases of temporary stores that were closed: emptied, for the next ones. */
const spare: string[] = [];

export function isOnPostgres(): boolean {
  return process.env['LINNET_TEST_DATABASE'] === 'postgresql';
}

/** What costs many transactions runs on SQLite; on PostgreSQL with `npm run test:whole` only. */
export const isShortOnPostgres = !isWhole && isOnPostgres();

/** Opens the store in `file`, or a temporary one. */
export async function openTestStore(file = MEMORY): Promise<Store> {
  if (!isOnPostgres()) return Store.open(file);
  if (file !== MEMORY) return Store.open(await testTarget(file));
  const url = spare.pop() ?? (await createDatabase());
  const store = await Store.open({ url });
  const close = store.close.bind(store);
  store.close = async () => {
    await close();
    await runSql(url, EMPTY);
    spare.push(url);
  };
  return store;
}

/** Where the store of `file` is; created when it is new, with the tables unless it `isEmpty`. */
export async function testTarget(file: string, { isEmpty = false } = {}): Promise<DatabaseTarget> {
  if (!isOnPostgres()) return file;
  const url = databases.get(file) ?? (await createDatabase(isEmpty ? 'template1' : TEMPLATE));
  databases.set(file, url);
  return { url };
}

async function createDatabase(template = TEMPLATE): Promise<string> {
  const name = `t_${randomBytes(8).toString('hex')}`;
  const server = inject('postgresUrl');
  await runSql(server, `create database ${name} template ${template}`);
  return onDatabase(server, name);
}

/** When the tests of a file have ended (setup.ts). */
export async function dropTestDatabases(): Promise<void> {
  for (const url of databases.values()) {
    const name = new URL(url).pathname.slice(1);
    await runSql(inject('postgresUrl'), `drop database ${name} with (force)`);
  }
  databases.clear();
}

const EMPTY = `
  do $$ begin execute (
    select 'truncate ' || string_agg(quote_ident(tablename), ', ') || ' restart identity cascade'
    from pg_tables where schemaname = 'public' and tablename not like 'kysely%');
  end $$`;

/** Until the returned function is called, every statement that adds to `table` fails. */
export async function breakInsertsInto(
  store: Store,
  table: string,
  text: string,
): Promise<() => Promise<void>> {
  const run = async (statement: string): Promise<void> => {
    await sql.raw(statement).execute(store.db);
  };
  if (!isOnPostgres()) {
    await run(
      `create trigger broken before insert on ${table} begin select raise(abort, '${text}'); end`,
    );
    return () => run('drop trigger broken');
  }
  await run(
    `create function broken() returns trigger language plpgsql as ` +
      `$$ begin raise exception '${text}'; end $$`,
  );
  await run(
    `create trigger broken before insert on ${table} for each row execute function broken()`,
  );
  return () => run('drop function broken cascade');
}

export function onDatabase(server: string, name: string): string {
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

export async function runSql(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}
