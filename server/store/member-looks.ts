// Which members of a rollout the conductor looks at, and when. Triggers make a member due when it
// or what its device reported changes (conductor-migration.ts); the conductor puts it aside until
// its time.
import type { LookedAt, MemberLook } from '../interfaces.js';
import { portions, type Db } from './database.js';

/** A look that nothing but a report makes due has no row. */
const NEVER = Number.MAX_SAFE_INTEGER;

export async function dueRollouts(db: Db, now: number): Promise<string[]> {
  const rows = await db
    .selectFrom('member_looks')
    .select('rollout')
    .distinct()
    .where('at', '<=', now)
    .execute();
  return rows.map(({ rollout }) => rollout);
}

export function dueLooks(
  db: Db,
  rollout: string,
  now: number,
  limit: number,
): Promise<MemberLook[]> {
  return db
    .selectFrom('member_looks')
    .select(['device', 'mark'])
    .where('rollout', '=', rollout)
    .where('at', '<=', now)
    .orderBy('at')
    .orderBy('device')
    .limit(limit)
    .execute();
}

export function noteLooks(db: Db, rollout: string, looks: readonly LookedAt[]): Promise<void> {
  return db.transaction().execute(async (trx) => {
    for (const some of portions(looks))
      await trx
        .insertInto('member_looks')
        .values(some.map(({ device, mark, at }) => ({ rollout, device, mark, at: at ?? NEVER })))
        .onConflict((oc) =>
          oc
            .columns(['rollout', 'device'])
            .doUpdateSet((eb) => ({ at: eb.ref('excluded.at') }))
            .whereRef('member_looks.mark', '=', 'excluded.mark'),
        )
        .execute();
    await trx
      .deleteFrom('member_looks')
      .where('at', '=', NEVER)
      .where('rollout', '=', rollout)
      .execute();
  });
}

export async function forgetLooks(db: Db, rollout: string, limit: number): Promise<void> {
  await db
    .deleteFrom('member_looks')
    .where('rollout', '=', rollout)
    .where('device', 'in', (eb) =>
      eb.selectFrom('member_looks').select('device').where('rollout', '=', rollout).limit(limit),
    )
    .execute();
}
