// Statements that stay prepared in a connection to PostgreSQL: a table that another server migrates
// meanwhile fails none of them, and their number has a limit.
import { sql } from 'kysely';
import { describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import type { Db } from '../../../server/store/database.js';
import { isOnPostgres, openTestStore } from '../../support/test-store.js';

const devices = (db: Pick<Db, 'selectFrom'>) =>
  db.selectFrom('devices').selectAll().where('name', '=', 'nobody').execute();

/** In the connection of `db`. */
async function prepared(db: Pick<Db, 'getExecutor'>): Promise<string[]> {
  const { rows } = await sql<{ statement: string }>`
    select statement from pg_prepared_statements where name like 'linnet_%'`.execute(db);
  return rows.map(({ statement }) => statement);
}

const change = (what: 'add' | 'drop', db: Db): Promise<unknown> =>
  sql`alter table devices ${sql.raw(what)} column of_the_next_version ${sql.raw(
    what === 'add' ? 'bigint' : '',
  )}`.execute(db);

describe.runIf(isOnPostgres())('prepared_statements', () => {
  it('are_those_that_come_again_and_long_ones_not_at_all', async () => {
    const store = await openTestStore();
    await store.db.connection().execute(async (db) => {
      for (let n = 0; n < 3; n++) await devices(db);
      const ids = Array.from({ length: limits.postgresPreparedParametersMaxCount + 1 }, String);
      for (let n = 0; n < 3; n++)
        await db.selectFrom('devices').select('id').where('id', 'in', ids).execute();
      await db.selectFrom('devices').select('id').where('id', 'in', ['once']).execute();
      expect((await prepared(db)).filter((text) => text.includes('"devices"'))).toEqual([
        'select * from "devices" where "name" = $1',
      ]);
    });
    await store.close();
  });

  it('have_a_limit_in_each_connection', async () => {
    const store = await openTestStore();
    await store.db.connection().execute(async (db) => {
      for (let n = 0; n < limits.postgresPreparedMaxCount + 10; n++) {
        const one = sql<{ one: number }>`select ${sql.lit(n)} + ${1}::bigint as one`;
        for (let times = 0; times < 2; times++)
          expect((await one.execute(db)).rows).toEqual([{ one: n + 1 }]);
      }
      expect((await prepared(db)).length).toBeLessThanOrEqual(limits.postgresPreparedMaxCount);
    });
    await store.close();
  });

  it('whose_table_was_migrated_by_another_server_run_again', async () => {
    const store = await openTestStore();
    const { db } = store;
    // One connection is idle, so it serves each of these.
    for (let n = 0; n < 3; n++) expect(await devices(db)).toEqual([]);
    await change('add', db);
    expect(await devices(db)).toEqual([]);
    await change('drop', db);
    expect(await devices(db)).toEqual([]);
    await store.close();
  });

  it('in_a_transaction_make_it_run_again', async () => {
    const store = await openTestStore();
    const { db } = store;
    let runs = 0;
    const twice = () =>
      db.transaction().execute(async (trx) => {
        runs += 1;
        await devices(trx);
        return devices(trx);
      });
    await twice();
    await change('add', db);
    expect(await twice()).toEqual([]);
    await change('drop', db);
    expect(await twice()).toEqual([]);
    expect(runs).toBe(5);
    await store.close();
  });
});
