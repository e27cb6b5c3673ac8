// Servers on one PostgreSQL, of which the one that conducts is killed with -9 again and again while
// it assigns devices and all of them store telemetry (test/sim/failover-child.ts). No device is
// assigned twice, nothing that was acknowledged is lost, and another server conducts soon.
// LINNET_KILLS: how often (`npm run sim:failover`); LINNET_SEED: when.
import { spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, describe, expect, it } from 'vitest';
import { portions } from '../../../server/store/database.js';
import { Store } from '../../../server/store/store.js';
import { seeded } from '../../support/random.js';
import { member, rollout } from '../../support/rollout-rows.js';
import { tempFolder } from '../../support/temp-folders.js';
import { isOnPostgres, testTarget } from '../../support/test-store.js';
import { isWhole } from '../../support/whole.js';

const KILLS = Number(process.env['LINNET_KILLS'] ?? (isWhole ? 5 : 1));
const SEED = Number(process.env['LINNET_SEED'] ?? 42);
const DEVICES = KILLS * 200;
/** The aim is limits.leaseTakeoverMaxMs; on a loaded machine the processes themselves are late. */
const TAKEOVER_MAX_MS = 15_000;
const CHILD = join('dist', 'test', 'sim', 'failover-child.js');

const servers = new Map<string, ChildProcess>();
const acknowledged = { assigned: [] as string[], stored: [] as string[] };
let onConducts: (holder: string, at: number) => void = () => {};

afterEach(() => {
  for (const server of servers.values()) server.kill('SIGKILL');
  servers.clear();
});

function startServerProcess(url: string, holder: string): void {
  const child = spawn(process.execPath, [CHILD, url, holder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  servers.set(holder, child);
  createInterface(child.stdout as NodeJS.ReadableStream).on('line', (line) => {
    const [what, of = ''] = line.split(' ');
    if (what === 'assigned') acknowledged.assigned.push(of);
    if (what === 'stored') acknowledged.stored.push(of);
    if (what === 'conducts') onConducts(holder, Number(of));
  });
}

async function fill(store: Store): Promise<void> {
  const ids = Array.from({ length: DEVICES }, (_, index) => `device-${index}`);
  for (const portion of portions(ids))
    await store.db
      .insertInto('devices')
      .values(
        portion.map((id) => ({
          ...{ id, name: id, hardware: 'pi4', components_json: '["digits"]', public_key: '00' },
          ...{ status: 'enrolled' as const, group_name: 'fleet', labels_json: '{}' },
          ...{ first_seen_at: 1, enrolled_at: 1, last_seen_at: null, pending_reason: null },
          ...{ cloned_at: null, assignment_revision: 0 },
        })),
      )
      .execute();
  const members = ids.map((device, rank) =>
    member(rank, { device, state: 'waiting', assignmentId: null, assignedAt: null }),
  );
  await store.rollouts.insertRollout(rollout(), members);
}

async function expectNothingLostOrDoubled(store: Store): Promise<void> {
  const devices = await store.db
    .selectFrom('devices')
    .select(['id', 'assignment_revision as revision'])
    .where('assignment_revision', '>', 0)
    .execute();
  const assigned = new Set(devices.map(({ id }) => id));
  const records = await store.db.selectFrom('telemetry').select('body_json').execute();
  const stored = new Set(
    records.map(({ body_json }) => (JSON.parse(body_json) as { detail: string }).detail),
  );
  expect(devices.filter(({ revision }) => revision !== 1)).toEqual([]);
  expect(new Set(acknowledged.assigned).size).toBe(acknowledged.assigned.length);
  expect(acknowledged.assigned.filter((id) => !assigned.has(id))).toEqual([]);
  expect(acknowledged.stored.filter((batch) => !stored.has(batch))).toEqual([]);
  expect(await unequalSteps(store)).toBe(0);
  expect(assigned.size).toBeGreaterThan(KILLS);
  expect(stored.size).toBeGreaterThan(KILLS);
}

/**
 * Steps of the rollout without an assignment, and assignments without a step; one statement,
 * because PostgreSQL may still be committing for a server that was just killed.
 */
async function unequalSteps(store: Store): Promise<number> {
  const { difference } = await store.db
    .selectFrom('rollouts')
    .select((eb) =>
      eb(
        eb('revision', '-', eb.lit(rollout().revision)),
        '-',
        eb.selectFrom('assignments').select((inner) => inner.fn.countAll<number>().as('count')),
      ).as('difference'),
    )
    .executeTakeFirstOrThrow();
  return difference;
}

describe.runIf(isOnPostgres())('conductor_that_is_killed_at_random', () => {
  it(
    'is_replaced_soon_and_nothing_is_assigned_twice_or_lost',
    { timeout: KILLS * 60_000 },
    async () => {
      const target = await testTarget(tempFolder());
      if (typeof target === 'string') throw new Error('not on PostgreSQL');
      const store = await Store.open(target);
      await fill(store);
      const random = seeded(SEED);
      const takeovers: number[] = [];
      let conducts = nextConductor();
      for (let number = 0; number < 3; number += 1) startServerProcess(target.url, `s${number}`);
      for (let kill = 0; kill < KILLS; kill += 1) {
        const { holder } = await conducts;
        await new Promise((resolve) => setTimeout(resolve, random() * 2_000));
        conducts = nextConductor();
        const killedAt = Date.now();
        servers.get(holder)?.kill('SIGKILL');
        servers.delete(holder);
        startServerProcess(target.url, `s${kill + 3}`);
        takeovers.push((await conducts).at - killedAt);
      }
      await stopServers();
      console.log(
        `seed ${SEED}: ${KILLS} kills, takeover in ms: ${takeovers.join(', ')}; ` +
          `${acknowledged.assigned.length} assigned, ${acknowledged.stored.length} batches stored`,
      );
      await expectNothingLostOrDoubled(store);
      expect(Math.max(...takeovers)).toBeLessThan(TAKEOVER_MAX_MS);
      await store.close();
    },
  );
});

function nextConductor(): Promise<{ holder: string; at: number }> {
  return new Promise((resolve) => {
    onConducts = (holder, at) => resolve({ holder, at });
  });
}

/** Also reads what they have still said. */
async function stopServers(): Promise<void> {
  const closed = [...servers.values()].map(
    (server) => new Promise((resolve) => server.once('close', resolve)),
  );
  for (const server of servers.values()) server.kill('SIGKILL');
  await Promise.all(closed);
}
