// The conductor and the contacts of devices on a store that breaks, with two servers on one store,
// and over restarts, over a fleet in memory.
import { describe, expect, it } from 'vitest';
import { Fault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import type { Conductor } from '../../../server/rollout/conductor.js';
import { by } from '../../support/audit-actions.js';
import {
  COMPONENT,
  deviceId,
  policyOf,
  releaseOf,
  SimFleet,
  type MemoryRolloutStore,
} from '../../sim/fleet.js';
import { seeded } from '../../support/random.js';
import {
  assignmentOf,
  isWith,
  onBad,
  oneWave,
  soaking,
  type Natures,
} from '../../support/rollout-fleets.js';

const V1 = releaseOf('1.1.0').digest;

describe('a store that breaks', () => {
  /** Commits that lose their race, throw before writing, or throw after (the answer was lost). */
  function breaking(store: MemoryRolloutStore, seed: number): void {
    const random = seeded(seed);
    store.trouble = (wrote) => {
      if (random() < 0.25) throw new Error(wrote ? 'the answer was lost' : 'the store is away');
    };
  }

  const scenarios: [string, string, number, Natures][] = [
    ['good', '1.1.0', 2, () => 'good'],
    ['bad', '1.2.0', 2, onBad('bad')],
    ['lying', '1.2.0', 2, onBad('liar')],
    ['dead', '1.2.0', 1, onBad('dead')],
  ];

  const outcome = (fleet: SimFleet, id: string) => ({
    state: fleet.row(id).state,
    members: fleet.states(id),
    versions: fleet.versions(),
    assignments: fleet.devices.map(
      (device) => fleet.store.assignments.get(device.id)?.assignmentId ?? 0,
    ),
    takes: (fleet.store.takeRows.get(fleet.row(id).release.digest) ?? [])
      .map(({ device, failed }) => `${device} ${failed}`)
      .sort(),
  });

  it.each(scenarios)(
    'that_fails_at_random_settles_to_the_same_result_%s',
    async (_, version, canaries, nature) => {
      const ended = (fleet: SimFleet, id: string) => () =>
        ['completed', 'reverted', 'held'].includes(fleet.row(id).state);
      const calm = new SimFleet({ nature, canaries });
      const first = await calm.begin(version);
      await calm.until(ended(calm, first));
      for (let seed = 1; seed <= 15; seed++) {
        const fleet = new SimFleet({ nature, canaries });
        const conductors = [fleet.newConductor(), fleet.newConductor()];
        const id = await fleet.begin(version);
        breaking(fleet.store, seed);
        await fleet.until(ended(fleet, id), conductors);
        expect(outcome(fleet, id), `seed ${seed}`).toEqual(outcome(calm, first));
      }
    },
  );

  it('a_crash_between_the_take_and_its_answer_takes_once', async () => {
    const fleet = new SimFleet({ canaries: 1, fleet: 1 });
    const id = await fleet.begin('1.1.0');
    let crashes = 0;
    fleet.store.trouble = (wrote) => {
      if (wrote && crashes++ === 0) throw new Error('crashed after the commit');
    };
    await fleet.operators.contact(deviceId(0));
    expect(crashes).toBe(1);
    expect(fleet.member(id, 0)).toMatchObject({ state: 'taken', assignmentId: 1 });
    // The device got no answer and asks again: the take and its assignment stand.
    await fleet.operators.contact(deviceId(0));
    expect(assignmentOf(fleet, 0)).toMatchObject({ assignmentId: 1, release: releaseOf('1.1.0') });
    expect(fleet.store.takeRows.get(V1)).toHaveLength(1);
    await fleet.until(() => fleet.row(id).state === 'completed');
    expect(assignmentOf(fleet, 0)?.assignmentId).toBe(1);
    expect(fleet.store.takeRows.get(V1)).toHaveLength(2);
  });

  it('a_crash_before_the_take_is_written_gives_nothing_and_the_device_asks_again', async () => {
    const fleet = new SimFleet({ canaries: 1, fleet: 1 });
    const id = await fleet.begin('1.1.0');
    fleet.store.trouble = (wrote) => {
      if (!wrote) throw new Error('the store is away');
    };
    await fleet.operators.contact(deviceId(0));
    expect(assignmentOf(fleet, 0)).toBeUndefined();
    expect(fleet.store.takeRows.get(V1) ?? []).toEqual([]);
    fleet.store.trouble = () => {};
    await fleet.operators.contact(deviceId(0));
    expect(fleet.member(id, 0)).toMatchObject({ state: 'taken', assignmentId: 1 });
  });
});

describe('two servers on one store', () => {
  it('the_older_revision_loses_and_both_together_assign_once', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    const [a, b] = [fleet.newConductor(), fleet.newConductor()];
    const stale = { rollout: fleet.row(id), members: [], assignments: [] };
    await fleet.operators.contact(deviceId(0));
    expect(await fleet.store.commit(stale, fleet.clock.now())).toBe(false);
    for (let second = 0; second < 300 && fleet.row(id).state !== 'completed'; second++) {
      await Promise.all([a.pass(), b.pass()]);
      fleet.clock.advance(1000);
      for (const device of fleet.devices) await device.tick(fleet.clock.now());
    }
    expect(fleet.row(id).state).toBe('completed');
    expect(fleet.devices.map((_, n) => assignmentOf(fleet, n)?.assignmentId)).toEqual([
      1, 1, 1, 1, 1, 1,
    ]);
    expect(fleet.store.takeRows.get(V1)).toHaveLength(6);
  });

  it('devices_that_ask_at_once_never_share_one_place', async () => {
    const fleet = new SimFleet({ canaries: 0, fleet: 20 });
    const id = await fleet.begin('1.1.0', oneWave());
    const contacts = fleet.devices.map((device) => fleet.operators.contact(device.id));
    await Promise.all(contacts);
    expect(isWith(fleet, id, 'taken', 1)()).toBe(true);
    expect(fleet.store.assignments.size).toBe(1);
    expect(fleet.store.takeRows.get(V1)).toHaveLength(1);
  });

  it('one_device_that_asks_twice_at_once_takes_once', async () => {
    const fleet = new SimFleet();
    await fleet.begin('1.1.0');
    await Promise.all([0, 1, 2].map(() => fleet.operators.contact(deviceId(0))));
    expect(assignmentOf(fleet, 0)).toMatchObject({ assignmentId: 1 });
    expect(fleet.store.takeRows.get(V1)).toHaveLength(1);
  });

  it('two_starts_of_one_component_at_once_only_one_wins', async () => {
    const fleet = new SimFleet();
    const make = (version: string) =>
      fleet.operators.create({ component: COMPONENT, version, policy: policyOf() }, by('ann'));
    const views = await Promise.all(['1.1.0', '1.2.0'].map(make));
    const starts = await Promise.allSettled(
      views.map((view) => fleet.operators.command(view.id, 'start', by('ann'))),
    );
    expect(starts.map((start) => start.status).sort()).toEqual(['fulfilled', 'rejected']);
    const lost = starts.find((start) => start.status === 'rejected');
    expect(lost?.reason).toBeInstanceOf(Fault);
    expect(lost?.reason).toMatchObject({ code: 'conflict' });
  });
});

describe('a server that was away', () => {
  it('blames_no_device', async () => {
    const states = async (back: (fleet: SimFleet) => Conductor): Promise<string> => {
      const fleet = new SimFleet({ canaries: 1 });
      const id = await fleet.begin('1.1.0', soaking(7200));
      await fleet.until(isWith(fleet, id, 'confirmed', 1));
      fleet.clock.advance(36_000_000); // Longer than the soak: of which nothing was heard.
      await back(fleet).pass();
      expect(fleet.row(id)).toMatchObject({ state: 'rolling', wave: 0 });
      expect(fleet.member(id, 0).proven).toBe(false);
      return fleet.states(id);
    };
    const soak = 'confirmed waiting waiting waiting waiting';
    expect(await states((fleet) => fleet.newConductor())).toBe(soak); // Restarted.
    // Suspended, or its clock was set.
    expect(await states((fleet) => fleet.conductor)).toBe(soak);
  });

  it('without_its_broker_hears_nobody_and_blames_nobody', async () => {
    const fleet = new SimFleet({ canaries: 1 });
    const id = await fleet.begin('1.1.0', soaking(7200));
    await fleet.until(isWith(fleet, id, 'confirmed', 1));
    for (const device of fleet.devices) device.silent = true;
    fleet.reception.disconnected();
    await fleet.seconds(300);
    expect(fleet.states(id)).toBe('confirmed waiting waiting waiting waiting');
    fleet.reception.connected();
    await fleet.seconds(30);
    expect(fleet.row(id).state).toBe('rolling');
    expect(fleet.states(id)).toBe('confirmed waiting waiting waiting waiting');
    // Those who stay silent now are: that holds, and reverts nothing.
    await fleet.until(() => fleet.row(id).state === 'held');
    expect(fleet.states(id)).toBe('silent waiting waiting waiting waiting');
  });

  it('withdraws_no_take_that_it_could_not_hear_an_answer_to', async () => {
    const fleet = new SimFleet({ canaries: 1, nature: () => 'dead' });
    const id = await fleet.begin('1.1.0');
    await fleet.until(isWith(fleet, id, 'taken', 1));
    fleet.clock.advance(limits.takeWaitMs + 1000);
    await fleet.newConductor().pass();
    expect(fleet.member(id, 0)).toMatchObject({ state: 'taken', assignmentId: 1 });
  });
});

describe('hints', () => {
  it('a_server_that_died_before_its_hints_hints_again', async () => {
    const fleet = new SimFleet();
    const id = await fleet.begin('1.1.0');
    await fleet.operators.contact(deviceId(0));
    fleet.hints.length = 0;
    const reborn = fleet.newConductor();
    await reborn.pass();
    await reborn.pass();
    expect(fleet.hints).toEqual([deviceId(0)]);
    expect(fleet.row(id).state).toBe('rolling');
  });

  it('a_device_is_told_again_to_ask_only_after_a_pause', async () => {
    const fleet = new SimFleet({ canaries: 1 });
    await fleet.begin('1.1.0');
    const told = async (ms: number): Promise<number> => {
      fleet.clock.advance(ms);
      for (const device of fleet.devices) device.report(fleet.clock.now());
      await fleet.conductor.pass();
      return fleet.hints.length;
    };
    expect(await told(0)).toBe(1);
    expect(await told(limits.hintPauseMs - 1)).toBe(1);
    expect(await told(1)).toBe(2);
  });
});

it('it_works_by_itself_once_started_and_stops_when_told', async () => {
  const fleet = new SimFleet();
  const id = await fleet.begin('1.1.0');
  const conductor: Conductor = fleet.conductor;
  conductor.start();
  conductor.wake();
  conductor.wake();
  expect(fleet.clock.timers).toBe(1);
  for (let turn = 0; turn < 600 && fleet.row(id).state !== 'completed'; turn++) {
    fleet.clock.advance(500);
    for (let n = 0; n < 400 && fleet.clock.timers === 0; n++)
      await new Promise((resolve) => setImmediate(resolve));
    if (turn % 2 === 0) for (const device of fleet.devices) await device.tick(fleet.clock.now());
  }
  expect(fleet.row(id).state).toBe('completed');
  await conductor.stop();
  expect(fleet.clock.timers).toBe(0);
  conductor.wake();
  expect(fleet.clock.timers).toBe(0);
});
