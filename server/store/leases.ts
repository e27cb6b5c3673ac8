// Leases: at most one server holds one by its name, until a time that it has to renew. All times
// are the database's, so that servers whose clocks differ agree on who holds it. The revision rises
// whenever the holder changes; a transaction that only the holder may commit checks holder and
// revision inside itself (`requireLease`), and a takeover waits for it.
import { sql, type RawBuilder } from 'kysely';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Fence, LeaseStore } from '../interfaces.js';
import type { Db, Queries } from './database.js';
import { isPostgres } from './dialect.js';

export class SqlLeaseStore implements LeaseStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  async acquire(name: string, holder: string, forMs: number): Promise<Fence | null> {
    const now = databaseNow(this.#db);
    const until = sql<number>`${now} + ${sql.lit(forMs)}`;
    const row = await this.#db
      .insertInto('leases')
      .values({ name, holder, until, revision: 1 })
      .onConflict((oc) =>
        oc
          .column('name')
          .doUpdateSet((eb) => ({
            holder: eb.ref('excluded.holder'),
            until: eb.ref('excluded.until'),
            revision: eb
              .case()
              .when('leases.holder', '=', eb.ref('excluded.holder'))
              .then(eb.ref('leases.revision'))
              .else(eb('leases.revision', '+', 1))
              .end(),
          }))
          .where((eb) =>
            eb.or([
              eb('leases.holder', '=', eb.ref('excluded.holder')),
              eb('leases.until', '<=', now),
            ]),
          ),
      )
      .returning('revision')
      .executeTakeFirst();
    return row === undefined ? null : { name, holder, revision: row.revision };
  }

  async release({ name, holder, revision }: Fence): Promise<void> {
    await this.#db
      .updateTable('leases')
      .set({ until: 0 })
      .where('name', '=', name)
      .where('holder', '=', holder)
      .where('revision', '=', revision)
      .execute();
  }
}

/**
 * In the transaction of a write that only the holder may make: nobody else gets the lease before
 * the transaction has ended. Fault: conflict.
 */
export async function requireLease(queries: Queries, fence: Fence | null): Promise<void> {
  const row =
    fence === null
      ? undefined
      : await queries
          .selectFrom('leases')
          .select('revision')
          .where('name', '=', fence.name)
          .where('holder', '=', fence.holder)
          .where('revision', '=', fence.revision)
          .where('until', '>', databaseNow(queries))
          .$if(isPostgres(queries), (query) => query.forShare())
          .executeTakeFirst();
  if (row === undefined)
    throw new Fault('conflict', 'another server conducts the rollouts by now; nothing was written');
}

/** Ms since the epoch, at the time of the statement and not of its transaction's begin. */
function databaseNow(queries: Queries): RawBuilder<number> {
  return isPostgres(queries)
    ? sql<number>`(extract(epoch from clock_timestamp()) * 1000)::bigint`
    : sql<number>`cast(unixepoch('subsec') * 1000 as integer)`;
}
