// One server of the failover simulation: its store, its lease and a conductor that assigns one
// device after the other; beside that it stores telemetry. It prints what is durable, after it is.
// It always tries to conduct, lease or not: the store must refuse it.
import { isFault } from '../../shared/base/fault-codes.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { realClock } from '../../shared/platform/clock.js';
import type { MemberRow, RolloutRow } from '../../server/interfaces.js';
import { ConductorLease } from '../../server/rollout/conductor-lease.js';
import { Store } from '../../server/store/store.js';

const [url = '', holder = ''] = process.argv.slice(2);
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const store = await Store.open({ url });
const lease = new ConductorLease({
  store: store.leases,
  holder,
  clock: realClock,
  log: silentLog,
  onGain: () => say(`conducts ${realClock.now()}`),
  onLoss: () => Promise.resolve(),
});
const { rollouts } = store.fenced(() => lease.fence());

async function assignNext(): Promise<void> {
  const rollout = (await store.rollouts.rollout('ro-1')) as RolloutRow;
  const next = await store.db
    .selectFrom('members')
    .select('device')
    .where('state', '=', 'waiting')
    .orderBy('rank')
    .limit(1)
    .executeTakeFirst();
  if (next === undefined) return;
  const member = (await store.rollouts.member('ro-1', next.device)) as MemberRow;
  const { component } = rollout.release;
  const assignment = {
    ...{ device: next.device, component, release: rollout.release, rollback: false },
    ...({ activation: 'swap', rollout: 'ro-1', trial: rollout.policy.trial } as const),
  };
  const step = { rollout, members: [{ ...member, state: 'taken' as const }] };
  if (await rollouts.commit({ ...step, assignments: [assignment] }, realClock.now()))
    say(`assigned ${next.device}`);
}

async function storeBatch(number: number): Promise<void> {
  const batch = `${holder}-${number}`;
  const device = `device-${number % 10}`;
  const body = { code: 'auth_denied', detail: batch };
  // Devices are shared, and one sends no number twice in a millisecond.
  const seq = number * 1_000 + Number(holder.slice(1));
  const records = [{ seq, at: realClock.now(), kind: 'security' as const, body }];
  const format = 'linnet.telemetry/1' as const;
  const told = { format, batch, instance: holder, records };
  const group = [{ device, batch: told }];
  const [result] = await store.telemetry.insertBatches(group, realClock.now());
  if (result === 'stored') say(`stored ${batch}`);
}

lease.start();
for (let number = 0; ; number += 1) {
  await storeBatch(number);
  await assignNext().catch((error: unknown) => {
    if (!isFault(error, 'conflict')) throw error;
  });
}
