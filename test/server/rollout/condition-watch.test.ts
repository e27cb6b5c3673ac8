// The watch of a fleet over its standing releases, on a real database: when it alarms, when not.
import { beforeEach, describe, expect, it } from 'vitest';
import type { SecurityReport } from '../../../server/interfaces.js';
import { FleetConditionWatch } from '../../../server/rollout/condition-watch.js';
import type { Store } from '../../../server/store/store.js';
import { openTestStore } from '../../support/test-store.js';
import { limits } from '../../../shared/base/limits.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import type { UpdateBody } from '../../../shared/protocol/telemetry.js';
import { releaseOf, VirtualClock } from '../../sim/fleet.js';
import { by } from '../../support/audit-actions.js';
import { batchOf, idleUpdate, newDevice } from '../../support/fleet-server.js';

const DEVICES = 40;
let store: Store;
let clock: VirtualClock;
let watch: FleetConditionWatch;
let alarms: SecurityReport[];
let ids: string[];
let seq = 0;

beforeEach(async () => {
  store = await openTestStore();
  clock = new VirtualClock();
  alarms = [];
  seq = 0;
  const security = { report: (event: SecurityReport) => void alarms.push(event) };
  watch = new FleetConditionWatch({ store: store.conditions, security, clock, log: silentLog });
  ids = [];
  for (let n = 0; n < DEVICES; n++) {
    const { id, key } = newDevice(`d${n}`);
    const request = {
      publicKey: key.publicKey,
      name: `d${n}`,
      hardware: 'pi4',
      components: ['digits'],
      signature: 'not checked here',
    };
    await store.devices.enrol(id, request, null, clock.now());
    await store.devices.approve(id, by('anna'), clock.now());
    ids.push(id);
  }
  return () => store.close();
});

type Code = UpdateBody['conditions'][number]['code'];

async function report(n: number, codes: readonly Code[], version = '1.1.0'): Promise<void> {
  seq += 1;
  const conditions = codes.map((code) => ({ code, count: 3, since: 1, detail: `${code} seen` }));
  const body = idleUpdate({ running: releaseOf(version), conditions });
  const batch = batchOf([{ seq, at: seq, kind: 'update', body }]);
  await store.telemetry.insertBatches([{ device: ids[n]!, batch }], clock.now());
}

/** An hour in which all devices are heard; those listed have the condition. */
async function hour(crashing: readonly number[] = [], version = '1.1.0'): Promise<void> {
  clock.advance(limits.conditionSlotMs);
  for (let n = 0; n < DEVICES; n++)
    await report(n, crashing.includes(n) ? ['crashes'] : [], version);
  await watch.pass();
}

describe('the watch over conditions', () => {
  it('alarms_once_when_several_devices_newly_crash_within_hours', async () => {
    await hour();
    await hour([3]);
    await hour([3, 7, 9]);
    expect(alarms).toEqual([
      {
        source: { kind: 'server' },
        code: 'release_unhealthy',
        detail: expect.stringMatching(
          /^digits 1\.1\.0 \(\w+\): 2 of 40 devices newly report crashes; .*detector .* >= 10800/,
        ) as string,
      },
    ]);
    await hour([3, 7, 9]);
    expect(alarms).toHaveLength(1);
  });

  it('counts_a_condition_that_stays_once', async () => {
    await hour();
    for (let n = 0; n < 30; n++) await hour([3]);
    expect(alarms).toEqual([]);
  });

  it('does_not_alarm_about_one_device_in_a_fleet', async () => {
    await hour();
    for (let n = 0; n < 10; n++) await hour();
    await hour([5]);
    expect(alarms).toEqual([]);
  });

  it('counts_each_release_for_itself', async () => {
    await hour();
    await hour([1], '1.0.0');
    await hour([], '1.1.0');
    await hour([2], '1.1.0');
    const streams = await store.conditions.streams();
    expect(new Set(streams.map(({ digest }) => digest))).toEqual(
      new Set([releaseOf('1.1.0').digest]),
    );
    expect(alarms).toEqual([]);
  });

  it('counts_no_slot_twice_and_one_slot_after_a_pause', async () => {
    await hour();
    const before = await store.conditions.streams();
    await watch.pass();
    expect(await store.conditions.streams()).toEqual(before);
    clock.advance(48 * limits.conditionSlotMs);
    await watch.pass();
    expect(await store.conditions.lastSlot()).toBe(clock.now());
  });

  it('goes_on_from_the_database_after_a_restart', async () => {
    await hour();
    await hour([3]);
    const security = { report: (event: SecurityReport) => void alarms.push(event) };
    watch = new FleetConditionWatch({ store: store.conditions, security, clock, log: silentLog });
    await hour([3, 7, 9]);
    expect(alarms).toHaveLength(1);
  });

  it('keeps_what_it_gathered_through_a_night_without_contact', async () => {
    await hour();
    await hour([3]);
    const evening = await store.conditions.streams();
    for (let n = 0; n < 8; n++) {
      clock.advance(limits.conditionSlotMs);
      await watch.pass();
    }
    expect(await store.conditions.streams()).toEqual(evening);
    expect(evening.map(({ detector }) => detector)).not.toHaveLength(0);
    await hour([3, 7, 9]);
    expect(alarms).toHaveLength(1);
  });

  it('forgets_a_release_that_no_enrolled_device_runs', async () => {
    await hour();
    for (const id of ids) await store.devices.revoke(id, by('anna'), clock.now());
    clock.advance(limits.conditionSlotMs);
    await watch.pass();
    expect(await store.conditions.streams()).toEqual([]);
  });
});
