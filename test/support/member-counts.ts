// The counts of members that the database's triggers keep, and what they have to be.
import { sql } from 'kysely';
import type { Store } from '../../server/store/store.js';

export async function memberCountsIn({ db }: Store): Promise<{ kept: unknown; real: unknown }> {
  const columns = sql.raw('rollout, wave, hardware, state, proven');
  const kept = await sql`
    select ${columns}, count from member_counts where count > 0 order by ${columns}`.execute(db);
  const real = await sql`
    select ${columns}, count(*) as count from members group by ${columns} order by ${columns}
  `.execute(db);
  return { kept: kept.rows, real: real.rows };
}
