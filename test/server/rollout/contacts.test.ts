// Devices that ask, on a real SQLite store with two components: a device has one undecided take.
import { beforeEach, describe, expect, it } from 'vitest';
import { Contacts } from '../../../server/rollout/contacts.js';
import { Reception } from '../../../server/rollout/reception.js';
import { SituationReader } from '../../../server/rollout/situation-reader.js';
import type { Store } from '../../../server/store/store.js';
import { openTestStore } from '../../support/test-store.js';
import { duringTurns } from '../../support/turns.js';
import type { RolloutRow } from '../../../server/interfaces.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import type { MemberState } from '../../../shared/protocol/states.js';
import { by } from '../../support/audit-actions.js';
import { newDevice, type TestDevice } from '../../support/fleet-server.js';
import { policyOf, releaseOf, VirtualClock } from '../../sim/fleet.js';
import { rollout as rowOf, waiting } from '../../support/rollout-rows.js';

const clock = new VirtualClock();
const NOW = clock.now();
let store: Store;
let contacts: Contacts;
let camera: TestDevice;

const refOf = (component: string, version: string): ReleaseRef => ({
  ...releaseOf(version),
  component,
});

beforeEach(async () => {
  store = await openTestStore();
  camera = await enrol('camera');
  for (const component of ['digits', 'texts'])
    await store.db
      .insertInto('releases')
      .values({
        ...refOf(component, '1.1.0'),
        published_at: NOW,
        bytes: 1,
        description: '',
        manifest_json: JSON.stringify({ hardware: ['pi4'] }),
      })
      .execute();
  const { rollouts } = store;
  const reception = new Reception({ clock });
  const situations = new SituationReader({
    store: rollouts,
    reception,
    clock,
    floorOf: () => null,
  });
  const security = { report: () => undefined };
  contacts = new Contacts({ store: rollouts, situations, clock, log: silentLog, security });
  return () => store.close();
});

async function enrol(name: string): Promise<TestDevice> {
  const device = newDevice(name);
  const request = {
    publicKey: device.key.publicKey,
    name,
    hardware: 'pi4',
    components: ['digits', 'texts'],
    signature: 'not checked here',
  };
  await store.devices.enrol(device.id, request, null, NOW);
  await store.devices.approve(device.id, by('anna'), NOW);
  return device;
}

const insert = (id: string, component: string, change: Partial<RolloutRow> = {}) =>
  store.rollouts.insertRollout(
    rowOf({ id, release: refOf(component, '1.1.0'), revision: 0, ...change }),
    change.state === 'completed' ? [] : [waiting(0, { rollout: id, device: camera.id })],
  );

async function decide(id: string, state: MemberState): Promise<void> {
  const row = (await store.rollouts.rollout(id)) as RolloutRow;
  const member = await store.rollouts.member(id, camera.id);
  const members = member === null ? [] : [{ ...member, state }];
  await store.rollouts.commit({ rollout: row, members, assignments: [] }, NOW);
}

const assigned = async (): Promise<string[]> =>
  (await store.assignments.assignments(camera.id)).assignments
    .map(({ component, assignmentId }) => `${component} ${assignmentId}`)
    .sort();

describe('two components', () => {
  it('a_device_has_one_undecided_take', async () => {
    await insert('ro-1', 'digits');
    await insert('ro-2', 'texts', { createdAt: NOW + 1 });
    await contacts.contact(camera.id);
    expect(await assigned()).toEqual(['digits 1']);
    for (const state of ['taken', 'trial', 'silent', 'unproven'] as const) {
      await decide('ro-1', state);
      await contacts.contact(camera.id);
      expect([state, await assigned()]).toEqual([state, ['digits 1']]);
    }
    await decide('ro-1', 'confirmed');
    await contacts.contact(camera.id);
    expect(await assigned()).toEqual(['digits 1', 'texts 1']);
    expect(await store.rollouts.member('ro-2', camera.id)).toMatchObject({ state: 'taken' });
  });

  it('two_standing_releases_come_one_after_the_other', async () => {
    await insert('ro-1', 'digits', { state: 'completed' });
    await insert('ro-2', 'texts', { state: 'completed', createdAt: NOW + 1 });
    await contacts.contact(camera.id);
    expect(await assigned()).toEqual(['digits 1']);
    await decide('ro-1', 'failed');
    await contacts.contact(camera.id);
    expect(await assigned()).toEqual(['digits 1', 'texts 1']);
  });
});

describe('many devices that ask at once', () => {
  const COUNT = 40;

  async function ask(
    places = COUNT,
    change: Partial<RolloutRow['policy']> = {},
  ): Promise<{ states: string[]; turns: number; commits: number }> {
    const devices = await Promise.all(
      Array.from({ length: COUNT }, (_, n) => enrol(`asks-${String(n).padStart(2, '0')}`)),
    );
    const policy = { ...policyOf(), startWindow: places, kindWindow: places, ...change };
    await store.rollouts.insertRollout(
      rowOf({ id: 'ro-1', release: refOf('digits', '1.1.0'), revision: 0, policy }),
      devices.map(({ id }, n) => waiting(n, { rollout: 'ro-1', device: id })),
    );
    let turns = 0;
    await duringTurns(
      () => Promise.all(devices.map(({ id }) => contacts.contact(id))),
      (count) => (turns = count),
    );
    const states = (await store.rollouts.members('ro-1')).map(({ state }) => state);
    return { states, turns, commits: (await store.rollouts.rollout('ro-1'))?.revision ?? 0 };
  }

  it('all_take_it_when_the_window_has_room_for_all', async () => {
    expect((await ask()).states).toEqual(new Array(COUNT).fill('taken'));
  });

  it('share_commits_and_leave_the_event_loop_a_turn_between_them', async () => {
    const { turns, commits } = await ask();
    expect(turns).toBeGreaterThanOrEqual(COUNT / limits.takesTogetherMaxCount);
    expect(commits).toBeLessThan(COUNT / 2);
  });

  it('take_no_more_places_than_the_window_has', async () => {
    expect((await ask(7)).states.filter((state) => state === 'taken')).toHaveLength(7);
  });

  it('take_it_one_by_one_where_the_pace_counts_takes', async () => {
    const { states } = await ask(COUNT, { takesPerHour: 1 });
    expect(states.filter((state) => state === 'taken')).toHaveLength(1);
  });
});

describe('a take', () => {
  it('is_durable_with_its_assignment_when_the_answer_leaves', async () => {
    await insert('ro-1', 'digits');
    await contacts.contact(camera.id);
    const member = await store.rollouts.member('ro-1', camera.id);
    expect(member).toMatchObject({ state: 'taken', assignmentId: 1, assignedAt: clock.now() });
    expect(await store.rollouts.takes(refOf('digits', '1.1.0').digest)).toEqual([
      { device: camera.id, hardware: 'pi4', failed: false },
    ]);
    // Asked again: the same.
    await contacts.contact(camera.id);
    expect(await assigned()).toEqual(['digits 1']);
    expect(await store.rollouts.member('ro-1', camera.id)).toEqual(member);
  });

  it('of_a_late_device_makes_it_a_member_of_the_last_wave', async () => {
    await insert('ro-1', 'digits', { state: 'completed', wave: 2 });
    const late = await enrol('late');
    await contacts.contact(late.id);
    expect(await store.rollouts.member('ro-1', late.id)).toMatchObject({
      name: 'late',
      wave: 2,
      state: 'taken',
      assignmentId: 1,
    });
  });

  it('is_not_given_while_the_window_is_full_and_is_when_a_place_is_free_again', async () => {
    const second = await enrol('second');
    await store.rollouts.insertRollout(
      rowOf({ id: 'ro-1', release: refOf('digits', '1.1.0'), revision: 0 }),
      [camera, second].map(({ id }, n) => waiting(n, { rollout: 'ro-1', device: id })),
    );
    await contacts.contact(camera.id);
    await contacts.contact(second.id);
    await contacts.contact(second.id);
    expect(await store.rollouts.member('ro-1', second.id)).toMatchObject({ state: 'waiting' });
    await decide('ro-1', 'failed');
    await contacts.contact(second.id);
    expect(await store.rollouts.member('ro-1', second.id)).toMatchObject({ state: 'taken' });
  });

  it('is_not_given_to_a_device_of_other_hardware_or_unknown_to_the_server', async () => {
    await insert('ro-1', 'digits', { state: 'completed' });
    await store.db.updateTable('devices').set({ hardware: 'jetson' }).execute();
    await contacts.contact(camera.id);
    expect(await assigned()).toEqual([]);
    await expect(contacts.contact('dev-unknown')).resolves.toBeUndefined();
  });
});
