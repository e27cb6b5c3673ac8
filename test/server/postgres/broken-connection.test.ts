// A connection to PostgreSQL that ends while a transaction holds it: after an idle-in-transaction
// timeout (the machine was suspended), or a restart of the database.
import { sql } from 'kysely';
import { expect, it } from 'vitest';
import { isOnPostgres, openTestStore } from '../../support/test-store.js';

it.runIf(isOnPostgres())('connection_that_ends_inside_a_transaction_fails_it_alone', async () => {
  const store = await openTestStore();
  const { db } = store;
  const failed = db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(trx);
    await sql`select pg_terminate_backend(${rows[0]?.pid}::integer)`.execute(db);
    // Until its end has arrived here; nobody waits for an answer of it meanwhile.
    for (let turn = 0; turn < 50; turn += 1) await sql`select pg_sleep(0.01)`.execute(db);
    await sql`select 1`.execute(trx);
  });
  await expect(failed).rejects.toThrow();
  const { rows } = await sql<{ one: number }>`select 1 as one`.execute(db);
  expect(rows).toEqual([{ one: 1 }]);
  await store.close();
});
