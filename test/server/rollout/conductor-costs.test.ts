// What the conductor and a device's contact cost the database, in statements: the same for 100, for
// 1,000 and for 10,000 members.
import { beforeAll, describe, expect, it } from 'vitest';
import type { MemberRow } from '../../../server/interfaces.js';
import { Conductor } from '../../../server/rollout/conductor.js';
import { Contacts } from '../../../server/rollout/contacts.js';
import { Reception } from '../../../server/rollout/reception.js';
import { SituationReader } from '../../../server/rollout/situation-reader.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { deviceId, policyOf } from '../../sim/fleet.js';
import { ManualClock } from '../../sim/manual-clock.js';
import { devicesFrom } from '../../support/device-rows.js';
import { member, rollout, T0, update, waiting } from '../../support/rollout-rows.js';
import { countedStore, type CountedStore } from '../../support/statements.js';

const SIZES = [100, 1_000, 10_000];
const TAKEN = 3;

interface Fleet extends CountedStore {
  readonly clock: ManualClock;
  readonly conductor: Conductor;
  readonly contacts: Contacts;
  readonly hints: string[];
}

const fleets: Fleet[] = [];

beforeAll(async () => {
  for (const size of SIZES) fleets.push(await fleetOf(size));
  return async () => {
    for (const { store } of fleets) await store.close();
  };
});

async function fleetOf(size: number): Promise<Fleet> {
  const counted = await countedStore();
  const { store } = counted;
  const clock = new ManualClock(T0);
  for (let first = 0; first < size; first += 100)
    await store.db.insertInto('devices').values(devicesFrom(first)).execute();
  const members = Array.from({ length: size }, (_, n): MemberRow =>
    n < TAKEN ? member(n) : waiting(n),
  );
  const policy = policyOf({
    waves: [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }],
    silentAfterSeconds: 3600,
    deviceDeadlineSeconds: 3600,
    startWindow: TAKEN + 3,
    kindWindow: TAKEN + 3,
  });
  await store.rollouts.insertRollout(rollout({ policy, since: T0 }), members);
  const reception = new Reception({ clock });
  const situations = new SituationReader({
    store: store.rollouts,
    reception,
    clock,
    floorOf: () => null,
  });
  const hints: string[] = [];
  const common = {
    store: store.rollouts,
    situations,
    clock,
    log: silentLog,
    security: { report: () => {} },
  };
  const conductor = new Conductor({ ...common, reception, hint: (one) => hints.push(one) });
  const fleet = { ...counted, clock, conductor, contacts: new Contacts(common), hints };
  await pass(fleet);
  await pass(fleet);
  return fleet;
}

async function pass({ clock, conductor }: Fleet): Promise<void> {
  clock.pass(limits.conductorEveryMs);
  await conductor.pass();
}

async function report({ store, clock }: Fleet, n: number): Promise<void> {
  const body = update({ state: 'swapped', running: null });
  const columns = { at: clock.now(), body_json: JSON.stringify(body) };
  await store.db
    .insertInto('facts')
    .values({ device: deviceId(n), component: 'digits', kind: 'update', ...columns })
    .onConflict((oc) => oc.columns(['device', 'component', 'kind']).doUpdateSet(columns))
    .execute();
}

/** The same statements for each fleet; returns those of one, without lists of parameters. */
async function costs(act: (fleet: Fleet) => Promise<unknown>): Promise<string[]> {
  const all: string[][] = [];
  for (const fleet of fleets) {
    const seen = await fleet.of(() => act(fleet));
    all.push(seen.map((sql) => sql.replace(/\?(, \?)+/g, '?')));
  }
  for (const seen of all) expect(seen).toEqual(all[0]);
  return all[0]!;
}

describe('statements', () => {
  it('of_a_pass_where_nothing_changed_are_two', async () => {
    const seen = await costs(pass);
    expect(seen).toHaveLength(2);
    expect(seen.filter((sql) => !sql.startsWith('select'))).toEqual([]);
  });

  it('of_a_pass_after_one_report_are_the_same_for_every_size', async () => {
    for (const fleet of fleets) await report(fleet, 0);
    await costs(pass);
    for (const { store } of fleets)
      expect(await store.rollouts.member('ro-1', deviceId(0))).toMatchObject({ state: 'trial' });
  });

  it('of_a_contact_that_takes_the_release_are_the_same_for_every_size', async () => {
    // The first take also begins the silence test.
    for (const fleet of fleets) await fleet.contacts.contact(deviceId(50)).then(() => pass(fleet));
    await costs(({ contacts }) => contacts.contact(deviceId(51)));
    for (const { store } of fleets)
      expect(await store.rollouts.member('ro-1', deviceId(51))).toMatchObject({ state: 'taken' });
    await costs(pass);
  });

  it('of_a_pass_that_asks_devices_again_are_the_same_for_every_size', async () => {
    for (const fleet of fleets) fleet.hints.length = 0;
    for (let parts = 0; parts < 2; parts++) {
      for (const { clock } of fleets) clock.pass(limits.hintPauseMs / 2);
      await costs(pass);
    }
    for (const { hints } of fleets) expect(hints).toEqual([deviceId(TAKEN)]);
  });
});

describe('the reading of the whole rollout', () => {
  it('comes_again_after_a_while_and_finds_what_nobody_told', async () => {
    for (const fleet of fleets) {
      const { store, clock } = fleet;
      await report(fleet, 1);
      await store.db.deleteFrom('member_looks').execute();
      await pass(fleet);
      const state = async () => (await store.rollouts.member('ro-1', deviceId(1)))?.state;
      expect(await state()).toBe('taken');
      clock.pass(limits.conductorGapMaxMs);
      for (let ms = 0; ms < limits.conductorWholeEveryMs; ms += limits.conductorGapMaxMs)
        await pass(fleet).then(() =>
          clock.pass(limits.conductorGapMaxMs - limits.conductorEveryMs),
        );
      await pass(fleet);
      expect(await state()).toBe('trial');
    }
  });
});
