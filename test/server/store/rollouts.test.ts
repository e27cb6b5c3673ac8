// What the store promises about takes, offers and counts, on real SQLite; and that the store in
// memory, on which whole rollouts are tested, keeps the same promises.
// Over 400 lines because both stores are held against the same rows.
import { beforeEach, describe, expect, it } from 'vitest';
import type {
  MemberFilter,
  MemberCount,
  MemberRow,
  RolloutChange,
  RolloutRow,
  RolloutStore,
} from '../../../server/interfaces.js';
import type { Selector } from '../../../shared/protocol/operator-api.js';
import { assignmentOf } from '../../../server/rollout/situation.js';
import type { Store } from '../../../server/store/store.js';
import { isOnPostgres, openTestStore } from '../../support/test-store.js';
import { MEMBER_STATES, ROLLOUT_STATES } from '../../../shared/protocol/states.js';
import { by } from '../../support/audit-actions.js';
import { newDevice, type TestDevice } from '../../support/fleet-server.js';
import { MemoryRolloutStore, policyOf, releaseOf } from '../../sim/fleet.js';
import { seeded } from '../../support/random.js';
import { rollout as rowOf, T0, waiting } from '../../support/rollout-rows.js';
import { orEach } from '../../support/whole.js';

const KINDS = ['pi4', 'jetson'];
const GROUPS = ['canary', 'fleet'];
let store: Store;
let devices: TestDevice[];

beforeEach(async () => {
  store = await openTestStore();
  devices = [];
  for (let n = 0; n < 6; n++) devices.push(await enrol(n, ['digits', 'texts']));
  return () => store.close();
});

async function enrol(n: number, components: string[]): Promise<TestDevice> {
  const device = newDevice(`d${n}`);
  const request = {
    publicKey: device.key.publicKey,
    name: device.name,
    hardware: KINDS[n % 2] ?? '',
    components,
    signature: 'not checked here',
  };
  await store.devices.enrol(device.id, request, null, T0);
  await store.devices.approve(device.id, by('anna'), T0);
  const group = GROUPS[n < 2 ? 0 : 1];
  await store.devices.change(device.id, { group }, by('anna'), T0);
  return device;
}

const idOf = (n: number): string => (devices[n] as TestDevice).id;
const memberOf = (id: string, n: number, change: Partial<MemberRow> = {}): MemberRow =>
  waiting(n, { rollout: id, device: idOf(n), hardware: KINDS[n % 2] ?? '', ...change });
const numberOf = (id: string): number => devices.findIndex((device) => device.id === id);

async function insert(
  id: string,
  members: readonly MemberRow[],
  change: Partial<RolloutRow> = {},
): Promise<void> {
  await store.rollouts.insertRollout(rowOf({ id, revision: 0, ...change }), members);
}

async function commit(
  id: string,
  change: Partial<Omit<RolloutChange, 'rollout'>>,
  row: Partial<RolloutRow> = {},
): Promise<boolean> {
  const read = (await store.rollouts.rollout(id)) as RolloutRow;
  const whole = { members: [], assignments: [], ...change, rollout: { ...read, ...row } };
  return store.rollouts.commit(whole, T0 + 1);
}

it('assignments_that_lag_behind_a_go_are_found_in_pages_and_keep_their_ids', async () => {
  const policy = policyOf({ strategy: 'blue-green', blueGreen: { go: 'ask' } });
  await insert(
    'r1',
    [0, 1, 2].map((n) => memberOf('r1', n)),
    { policy },
  );
  const of = (n: number) => store.assignments.assignments(idOf(n));
  const row = rowOf({ id: 'r1', policy });
  const forth = (n: number) => assignmentOf(row, idOf(n), releaseOf('1.1.0'), false);
  const back = assignmentOf(row, idOf(2), releaseOf('1.0.0'), true);
  await commit('r1', { assignments: [forth(0), forth(1), back] });
  const lagging = async (limit: number, after: string | null = null): Promise<string[]> => {
    const read = (await store.rollouts.rollout('r1')) as RolloutRow;
    return (await store.rollouts.lagging(read, { limit, after })).map(({ device }) => device);
  };
  expect(await lagging(10)).toEqual([]);
  const before = await of(0);
  expect(before.assignments).toMatchObject([{ activation: 'hold' }]);
  expect(await commit('r1', {}, { goAt: T0 })).toBe(true);
  const both = await lagging(10);
  expect([...both].sort()).toEqual([idOf(0), idOf(1)].sort());
  expect(await lagging(1)).toEqual(both.slice(0, 1));
  expect(await lagging(10, both[0])).toEqual(both.slice(1));
  expect(await commit('r1', { updated: [idOf(0)] })).toBe(true);
  expect(await of(0)).toEqual({
    revision: before.revision + 1,
    assignments: [{ ...before.assignments[0], activation: 'swap' }],
  });
  expect(await lagging(10)).toEqual([idOf(1)]);
  expect((await of(2)).revision).toBe(1);
});

it('assignments_with_the_trial_of_before_lag_behind_an_accepted_difference', async () => {
  await insert('r1', [memberOf('r1', 0)]);
  const row = rowOf({ id: 'r1' });
  await commit('r1', { assignments: [assignmentOf(row, idOf(0), releaseOf('1.1.0'), false)] });
  const trial = { ...row.policy.trial, acceptedDifferencePermille: 150 };
  await commit('r1', {}, { policy: { ...row.policy, trial } });
  const read = (await store.rollouts.rollout('r1')) as RolloutRow;
  expect(await store.rollouts.lagging(read, { limit: 10, after: null })).toHaveLength(1);
  await commit('r1', { updated: [idOf(0)] });
  expect((await store.assignments.assignments(idOf(0))).assignments).toMatchObject([{ trial }]);
  expect(await store.rollouts.lagging(read, { limit: 10, after: null })).toEqual([]);
});

it('what_stood_before_a_rollout_is_the_last_completed_one_for_the_same_devices', async () => {
  const release = (version: string) => ({
    release: releaseOf(version),
    state: 'completed' as const,
  });
  const canary = { groups: ['canary'] };
  await insert('r1', [], { ...release('1.0.0'), createdAt: T0 });
  await insert('r2', [], { ...release('1.1.0'), createdAt: T0 + 1, selector: canary });
  await insert('r3', [], { ...release('1.2.0'), createdAt: T0 + 2, state: 'reverted' });
  const before = async (id: string, selector: Selector) =>
    (await store.rollouts.standingBefore(rowOf({ id, selector, createdAt: T0 + 3 })))?.version;
  expect(await before('r4', canary)).toBe('1.1.0');
  expect(await before('r4', {})).toBe('1.0.0');
  expect(await before('r1', {})).toBeUndefined();
  expect(await before('r4', { groups: ['fleet'] })).toBe('1.0.0');
});

describe('takes', () => {
  const { digest } = releaseOf('1.1.0');
  const takes = async (): Promise<string[]> =>
    (await store.rollouts.takes(digest)).map(
      (take) => `${numberOf(take.device)} ${take.hardware}${take.failed ? ' failed' : ''}`,
    );
  const take = (id: string, ...numbers: number[]) =>
    commit(id, {
      members: numbers.map((n) => memberOf(id, n, { state: 'taken' })),
      takes: numbers.map(idOf),
    });
  beforeEach(() => insert('r1', []));

  it('stand_in_the_order_of_taking_over_all_rollouts_of_a_release', async () => {
    await take('r1', 3, 1);
    await take('r1', 0);
    await insert('r2', [], { createdAt: T0 + 1, state: 'completed' });
    await take('r2', 2);
    expect(await takes()).toEqual(['3 jetson', '1 jetson', '0 pi4', '2 pi4']);
    expect(await store.rollouts.takes(releaseOf('1.2.0').digest)).toEqual([]);
  });

  it('of_a_shadow_are_counted_for_itself', async () => {
    const policy = policyOf({ strategy: 'shadow' });
    await insert('s1', [], { policy, state: 'reported' });
    await take('s1', 3);
    expect(await takes()).toEqual([]);
    expect(await store.rollouts.takes('s1')).toMatchObject([{ device: idOf(3) }]);
  });

  it('keep_their_place_when_a_device_takes_the_release_again', async () => {
    await take('r1', 0, 1);
    await insert('r2', [], { createdAt: T0 + 1, state: 'completed' });
    await take('r2', 1, 0);
    expect(await takes()).toEqual(['0 pi4', '1 jetson']);
  });

  it('a_failure_stays_for_good', async () => {
    await take('r1', 0, 1);
    await commit('r1', { members: [memberOf('r1', 1, { state: 'failed', failed: true })] });
    expect(await takes()).toEqual(['0 pi4', '1 jetson failed']);
    await commit('r1', { members: [memberOf('r1', 1, { state: 'reverted', failed: false })] });
    await commit('r1', { untaken: [idOf(1)] });
    expect(await takes()).toEqual(['0 pi4', '1 jetson failed']);
  });

  it('a_withdrawn_take_is_gone_and_only_where_it_was_of_that_rollout', async () => {
    await take('r1', 0, 1);
    await commit('r1', { untaken: [idOf(0)] });
    expect(await takes()).toEqual(['1 jetson']);
    await insert('r2', [], { createdAt: T0 + 1, state: 'completed' });
    await take('r2', 1, 0);
    await commit('r2', { untaken: [idOf(1), idOf(0)] });
    expect(await takes()).toEqual(['1 jetson']);
  });

  it('a_commit_that_lost_its_race_takes_nothing', async () => {
    const read = (await store.rollouts.rollout('r1')) as RolloutRow;
    const change = {
      rollout: read,
      members: [memberOf('r1', 0, { state: 'taken' })],
      assignments: [],
      takes: [idOf(0)],
    };
    expect(await store.rollouts.commit(change, T0)).toBe(true);
    const again = { ...change, members: [memberOf('r1', 1)], takes: [idOf(1)] };
    expect(await store.rollouts.commit(again, T0)).toBe(false);
    expect(await takes()).toEqual(['0 pi4']);
  });
});

describe('offers', () => {
  const offers = (n = 0): Promise<string[]> => store.rollouts.offersTo(idOf(n));
  const texts = { ...releaseOf('1.1.0'), component: 'texts' };

  it('a_rolling_rollout_in_whose_open_wave_the_device_waits', async () => {
    await insert('r1', [memberOf('r1', 0), memberOf('r1', 1, { wave: 1 })]);
    expect([await offers(0), await offers(1), await offers(2)]).toEqual([['r1'], [], []]);
    await commit('r1', {}, { wave: 1 });
    expect(await offers(1)).toEqual(['r1']);
    for (const state of MEMBER_STATES) {
      await commit('r1', { members: [memberOf('r1', 0, { state })] });
      expect([state, await offers(0)]).toEqual([state, state === 'waiting' ? ['r1'] : []]);
    }
  });

  it('only_a_rolling_one_and_the_last_completed_one', async () => {
    await insert('r1', [memberOf('r1', 0)], { state: 'draft' });
    for (const state of ROLLOUT_STATES) {
      await commit('r1', {}, { state });
      expect([state, await offers()]).toEqual([
        state,
        state === 'rolling' || state === 'completed' ? ['r1'] : [],
      ]);
    }
  });

  it('one_of_each_component_the_oldest_first', async () => {
    await insert('r2', [memberOf('r2', 0)], { release: texts, createdAt: T0 + 1 });
    await insert('r1', [memberOf('r1', 0)]);
    expect(await offers()).toEqual(['r1', 'r2']);
  });

  it('the_last_completed_one_to_a_device_that_is_no_member_or_waits_in_it', async () => {
    await insert('r1', [], { state: 'completed' });
    expect(await offers()).toEqual(['r1']);
    await insert('r2', [memberOf('r2', 0)], { state: 'completed', createdAt: T0 + 1 });
    expect([await offers(0), await offers(1)]).toEqual([['r2'], ['r2']]);
    await commit('r2', { members: [memberOf('r2', 0, { state: 'confirmed' })] });
    // Decided in the last one: an older one is no wish any more.
    expect(await offers(0)).toEqual([]);
  });

  it('no_standing_one_while_a_rollout_of_the_component_is_under_way', async () => {
    await insert('r1', [], { state: 'completed' });
    await insert('r2', [], { state: 'draft', createdAt: T0 + 1 });
    expect(await offers()).toEqual(['r1']);
    for (const state of ['rolling', 'held', 'reverting'] as const) {
      await commit('r2', {}, { state });
      expect(await offers()).toEqual([]);
    }
    await commit('r2', {}, { state: 'reverted' });
    expect(await offers()).toEqual(['r1']);
  });

  it('of_another_component_does_not_stand_in_the_way', async () => {
    await insert('r1', [], { state: 'completed' });
    await insert('r2', [], { state: 'rolling', release: texts, createdAt: T0 + 1 });
    expect(await offers()).toEqual(['r1']);
  });

  it('only_to_its_groups_and_of_a_component_that_the_device_carries', async () => {
    await insert('r1', [], { state: 'completed', selector: { groups: ['canary'] } });
    await insert('r2', [], { state: 'completed', release: texts, createdAt: T0 + 1 });
    expect([await offers(0), await offers(2)]).toEqual([['r1', 'r2'], ['r2']]);
    devices.push(await enrol(6, ['texts']));
    await store.devices.change(idOf(6), { group: 'canary' }, by('anna'), T0);
    expect(await offers(6)).toEqual(['r2']);
  });

  it('the_last_one_of_its_own_groups_although_a_later_one_was_for_others', async () => {
    await insert('r1', [], { state: 'completed' });
    await insert('r2', [], {
      state: 'completed',
      selector: { groups: ['canary'] },
      createdAt: T0 + 1,
    });
    expect([await offers(0), await offers(2)]).toEqual([['r2'], ['r1']]);
  });

  it('only_to_devices_with_its_labels_and_hardware_also_when_they_get_them_later', async () => {
    const selector = { labels: { region: 'north' }, hardware: ['pi4'] };
    await insert('r1', [], { state: 'completed', selector });
    expect([await offers(0), await offers(1)]).toEqual([[], []]);
    for (const n of [0, 1])
      await store.devices.change(idOf(n), { labels: { region: 'north' } }, by('anna'), T0);
    expect([await offers(0), await offers(1)]).toEqual([['r1'], []]);
  });

  it('no_standing_one_to_a_revoked_or_unknown_device', async () => {
    await insert('r1', [], { state: 'completed' });
    await store.devices.revoke(idOf(0), by('anna'), T0);
    expect(await offers(0)).toEqual([]);
    expect(await store.rollouts.offersTo('dev-unknown')).toEqual([]);
  });
});

describe('counts', () => {
  it('undecided_elsewhere_are_devices_of_other_rollouts_of_any_component', async () => {
    const texts = { ...releaseOf('1.1.0'), component: 'texts' };
    await insert('r1', [memberOf('r1', 0, { state: 'trial' })]);
    await insert('r2', [memberOf('r2', 0)], { release: texts });
    const elsewhere = async (id: string): Promise<string[]> => [
      ...(await store.rollouts.undecidedElsewhere(id, [idOf(0), idOf(1)])),
    ];
    expect([await elsewhere('r1'), await elsewhere('r2')]).toEqual([[], [idOf(0)]]);
    for (const state of MEMBER_STATES) {
      await commit('r2', { members: [memberOf('r2', 0, { state })] });
      const isUndecided = ['taken', 'trial', 'unproven', 'silent'].includes(state);
      expect([state, await elsewhere('r1')]).toEqual([state, isUndecided ? [idOf(0)] : []]);
    }
    expect(await store.rollouts.undecidedElsewhere('r1', [idOf(1)])).toEqual(new Set());
  });

  it('members_are_counted_by_wave_kind_state_and_proof', async () => {
    const confirmed = { state: 'confirmed' } as const;
    await insert('r1', [
      memberOf('r1', 0),
      memberOf('r1', 2),
      memberOf('r1', 4, { wave: 1 }),
      memberOf('r1', 1),
      memberOf('r1', 3, confirmed),
      memberOf('r1', 5, { ...confirmed, proven: true }),
    ]);
    const counts = await store.rollouts.memberCounts('r1');
    const count = (wave: number, hardware: string, change: Partial<MemberCount> = {}) => ({
      wave,
      hardware,
      state: 'waiting',
      proven: false,
      count: 1,
      ...change,
    });
    expect(counts).toHaveLength(5);
    expect(counts).toEqual(
      expect.arrayContaining([
        count(0, 'pi4', { count: 2 }),
        count(1, 'pi4'),
        count(0, 'jetson'),
        count(0, 'jetson', confirmed),
        count(0, 'jetson', { ...confirmed, proven: true }),
      ]),
    );
    expect(await store.rollouts.memberCounts('r2')).toEqual([]);
  });

  it('rollouts_of_the_last_year_are_counted_from_the_millisecond', async () => {
    await insert('r1', [], { createdAt: T0 });
    await insert('r2', [], { createdAt: T0 + 5, state: 'dropped' });
    const since = (at: number) => store.rollouts.createdSince(at);
    expect([await since(T0), await since(T0 + 1), await since(T0 + 6)]).toEqual([2, 1, 0]);
  });

  it('a_completed_rollout_is_active_while_a_device_is_undecided_in_it_or_soaks', async () => {
    await insert('r1', [memberOf('r1', 0)], { state: 'completed' });
    const active = async () => (await store.rollouts.active()).map(({ id }) => id);
    for (const state of MEMBER_STATES) {
      await commit('r1', { members: [memberOf('r1', 0, { state })] });
      const isOpen = ['taken', 'trial', 'unproven', 'silent', 'confirmed'].includes(state);
      expect([state, await active()]).toEqual([state, isOpen ? ['r1'] : []]);
    }
    const soaked = memberOf('r1', 0, { state: 'confirmed', proven: true });
    await commit('r1', { members: [soaked] });
    expect(await active()).toEqual([]);
  });

  it('eligible_devices_match_the_selector_have_their_site_and_one_can_be_asked_for_alone', async () => {
    const labels = { site: 'shop-7', region: 'north' };
    await store.devices.change(idOf(0), { labels }, by('anna'), T0);
    await store.devices.revoke(idOf(4), by('anna'), T0);
    const eligible = async (selector: Selector, device?: string): Promise<string[]> =>
      (await store.rollouts.eligible('digits', ['pi4'], selector, device)).map(
        ({ name, site, hardware }) => `${name} ${site} ${hardware}`,
      );
    expect(await eligible({})).toEqual(['d0 shop-7 pi4', 'd2 fleet pi4']);
    expect(await eligible({ groups: ['fleet'] })).toEqual(['d2 fleet pi4']);
    expect(await eligible({}, idOf(2))).toEqual(['d2 fleet pi4']);
    expect(await eligible({ groups: ['canary'] }, idOf(2))).toEqual([]);
    expect(await eligible({}, idOf(1))).toEqual([]);
    expect(await eligible({ labels: { region: 'north' } })).toEqual(['d0 shop-7 pi4']);
    expect(await eligible({ labels: { region: 'north', tier: 'gold' } })).toEqual([]);
    expect(await eligible({ hardware: ['jetson'] })).toEqual([]);
  });
});

describe('SQLite and memory', () => {
  /** What a conductor and a contact can see of a store. */
  async function view(of: RolloutStore): Promise<unknown> {
    const seen: unknown[] = [(await of.active()).map(({ id }) => id)];
    for (const version of ['1.1.0', '1.2.0'])
      seen.push(
        await of.takes(releaseOf(version).digest),
        await of
          .takePage(releaseOf(version).digest, 0, 9)
          .then((all) => all.map(({ device }) => device)),
        await of.takeSigns(releaseOf(version).digest),
        await of.createdSince(T0 + 1),
      );
    for (const id of ['r1', 'r2', 'r3']) {
      seen.push(
        await of.lastTake(id, 1),
        await of.lastTake(id, 3),
        await of.takesSince(id, T0 + 5),
      );
      const turnOf = { wave: 0, hardware: ['pi4'] };
      seen.push(await of.inTurn(id, turnOf, { limit: 2, after: null }));
      seen.push(await of.assigned(id, ['trial', 'failed', 'silent'], 2));
      seen.push(await of.membersOf(id, [idOf(1), idOf(0)]));
      seen.push(await of.rollout(id), await of.members(id), await of.history(id));
      const counts = (await of.memberCounts(id)).map((one) =>
        JSON.stringify(Object.entries(one).sort()),
      );
      seen.push(counts.sort());
      const filters: readonly MemberFilter[] = [
        {},
        { wave: 1 },
        { state: 'trial' },
        { wave: 0, state: 'waiting' },
        { failed: true },
        { wave: 0, failed: false },
      ];
      for (const filter of filters) {
        const first = await of.memberPage(id, filter, { limit: 2, after: null });
        const last = first.at(-1);
        const after = last === undefined ? null : ([last.wave, last.rank, last.device] as const);
        seen.push(first, await of.memberPage(id, filter, { limit: 9, after }));
      }
      for (const { id: device } of devices) seen.push(await of.member(id, device));
      const elsewhere = await of.undecidedElsewhere(
        id,
        devices.map((one) => one.id),
      );
      seen.push([...elsewhere].sort());
    }
    for (const { id: device } of devices) seen.push(await of.offersTo(device));
    return seen;
  }

  const seeds = orEach(
    isOnPostgres() ? 6 : 3,
    Array.from({ length: 12 }, (_, n) => n + 1),
  );
  it.each(seeds)('agree_after_random_changes_seed_%i', async (seed) => {
    const random = seeded(seed);
    const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T;
    const memory = new MemoryRolloutStore();
    for (const [n, { id, name }] of devices.entries())
      memory.devices.set(id, {
        id,
        name,
        group: GROUPS[n < 2 ? 0 : 1] ?? '',
        hardware: KINDS[n % 2] ?? '',
        site: '',
        lastSeenAt: null,
      });
    for (const [at, id] of ['r1', 'r2', 'r3'].entries()) {
      const row = rowOf({
        id,
        revision: 0,
        state: 'draft',
        createdAt: T0 + at,
        selector: id === 'r2' ? { groups: ['canary'] } : {},
        release: releaseOf(id === 'r2' ? '1.2.0' : '1.1.0'),
      });
      const members = [0, 1, 2, 3, 4].map((n) => memberOf(id, n, { wave: n % 2 }));
      for (const one of [memory, store.rollouts]) await one.insertRollout(row, members);
    }
    for (let step = 0; step < 40; step++) {
      const id = pick(['r1', 'r2', 'r3']);
      const read = (await store.rollouts.rollout(id)) as RolloutRow;
      const chosen = [0, 1, 2, 3, 4, 5].filter(() => random() < 0.3);
      const some = (share: number) => chosen.filter(() => random() < share).map(idOf);
      const change: RolloutChange = {
        rollout: {
          ...read,
          state: random() < 0.3 ? pick(ROLLOUT_STATES) : read.state,
          wave: pick([0, 1]),
          reasons: [pick(['a', 'b'])],
          pool: pick([
            null,
            { wave: step, outputs: { a: { limit: 0.1, rounds: [[0, 1]] } }, told: false },
          ]),
          arms: pick([null, { done: ['d1'], metrics: {}, told: step % 2 === 0 }]),
          revision: read.revision - (random() < 0.1 ? 1 : 0),
        },
        members: chosen.map((n) =>
          memberOf(id, n, {
            wave: n % 2,
            state: pick(MEMBER_STATES),
            proven: random() < 0.3,
            assignedAt: random() < 0.5 ? T0 + step : null,
            silence: random() < 0.3 ? { instance: 'i1', modelFaults: step } : null,
            failed: random() < 0.2,
          }),
        ),
        assignments: [],
        takes: some(0.5),
        untaken: some(0.2),
      };
      const answers = [];
      for (const one of [memory, store.rollouts])
        answers.push(await one.commit(change, T0 + 10 + step));
      expect(answers[0], `step ${step}`).toBe(answers[1]);
      expect(await view(memory), `step ${step}`).toEqual(await view(store.rollouts));
    }
  });
});
