// `npm run bench:conductor`: what a pass of the conductor costs over 100,000 members, on SQLite,
// and how long it keeps the event loop: where nothing changed, after one report, where the whole
// rollout is read, and where 1,000 devices are assigned what they ran before. Nothing here passes
// or fails.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MemberRow } from '../../server/interfaces.js';
import { Conductor } from '../../server/rollout/conductor.js';
import { Reception } from '../../server/rollout/reception.js';
import { SituationReader } from '../../server/rollout/situation-reader.js';
import { Store } from '../../server/store/store.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { realClock } from '../../shared/platform/clock.js';
import { turn } from '../../shared/platform/turn.js';
import { deviceId } from '../sim/fleet.js';
import { deviceRow } from '../support/device-rows.js';
import { member, rollout, update, waiting } from '../support/rollout-rows.js';

const DEVICES = 100_000;
const ASSIGNED = 1_000;
const IDLE_PASSES = 200;
const PORTION = 500;

interface Cost {
  readonly ms: number;
  readonly stallMs: number;
}

/** The longest stall is the longest time between two turns of an event loop that never waits. */
async function costOf(act: () => Promise<void>): Promise<Cost> {
  let isOver = false;
  let stallMs = 0;
  const watch = async (): Promise<void> => {
    for (let last = performance.now(); !isOver;) {
      await turn();
      const now = performance.now();
      stallMs = Math.max(stallMs, now - last);
      last = now;
    }
  };
  const watched = watch();
  await turn();
  const from = performance.now();
  await act();
  const ms = performance.now() - from;
  await turn();
  isOver = true;
  await watched;
  return { ms, stallMs };
}

const line = (what: string, { ms, stallMs }: Cost): void =>
  console.log(`| ${what} | ${ms.toFixed(1)} | ${stallMs.toFixed(1)} |`);

async function addDevices(store: Store): Promise<void> {
  for (let first = 0; first < DEVICES; first += PORTION)
    await store.db
      .insertInto('devices')
      .values(
        Array.from({ length: PORTION }, (_, n) =>
          deviceRow(first + n, { last_seen_at: realClock.now() }),
        ),
      )
      .execute();
}

async function report(store: Store, n: number, directorVersion: number): Promise<void> {
  const body = update({ state: 'swapped', directorVersion });
  const columns = { at: realClock.now(), body_json: JSON.stringify(body) };
  await store.db
    .insertInto('facts')
    .values({ device: deviceId(n), component: 'digits', kind: 'update', ...columns })
    .onConflict((oc) => oc.columns(['device', 'component', 'kind']).doUpdateSet(columns))
    .execute();
}

const folder = mkdtempSync(join(tmpdir(), 'linnet-conductor-'));
const store = await Store.open(join(folder, 'fleet.sqlite'));
const reception = new Reception({ clock: realClock });
const conductor = new Conductor({
  store: store.rollouts,
  situations: new SituationReader({
    store: store.rollouts,
    reception,
    clock: realClock,
    floorOf: () => null,
  }),
  reception,
  clock: realClock,
  log: silentLog,
  security: { report: () => {} },
  hint: () => {},
});
await addDevices(store);
for (let n = 0; n < ASSIGNED; n++) await report(store, n, 0);
const now = realClock.now();
const taken = (n: number): Partial<MemberRow> => ({ since: now, assignedAt: now, rank: n });
const members = Array.from({ length: DEVICES }, (_, n) =>
  n < ASSIGNED ? member(n, taken(n)) : waiting(n),
);
const row = rollout({ since: now, createdAt: now });
console.log(`${DEVICES} members\n\n| | ms | longest stall, ms |\n|---|---|---|`);
line('create the rollout', await costOf(() => store.rollouts.insertRollout(row, members)));
line('first pass: all are read', await costOf(() => conductor.pass()));
await conductor.pass();
const idle: number[] = [];
const passes = await costOf(async () => {
  for (let pass = 0; pass < IDLE_PASSES; pass++) {
    const from = performance.now();
    await conductor.pass();
    idle.push(performance.now() - from);
    await turn();
  }
});
idle.sort((a, b) => a - b);
line('pass, nothing changed (median)', { ...passes, ms: idle[IDLE_PASSES / 2] ?? NaN });
line('pass, nothing changed (largest)', { ...passes, ms: idle.at(-1) ?? NaN });
await report(store, 0, 1);
line('pass, one device reported', await costOf(() => conductor.pass()));
for (let n = 0; n < ASSIGNED; n++) await report(store, n, 2);
line(`pass, ${ASSIGNED} devices reported`, await costOf(() => conductor.pass()));
const before = await store.rollouts.rollout(row.id);
if (before === null) throw new Error('the rollout is gone');
await store.rollouts.commit(
  {
    rollout: { ...before, state: 'reverting', reasons: ['aborted'] },
    members: [],
    assignments: [],
  },
  now,
);
line(`pass that assigns ${ASSIGNED} devices`, await costOf(() => conductor.pass()));
const counts = await store.rollouts.memberCounts(row.id);
console.log(`\nafter it: ${counts.map(({ state, count }) => `${count} ${state}`).join(', ')}`);
await store.close();
rmSync(folder, { recursive: true });
