// An assignment that is a hold: the device goes up to `rehearsed` and waits there until the same
// assignment says swap.
import { beforeEach, describe, expect, it } from 'vitest';
import type { UpdateBody } from '../../../shared/protocol/telemetry.js';
import { limits } from '../../../shared/base/limits.js';
import { bootDevice, settle, type BootOptions, type SimDevice } from '../../sim/device.js';
import { SimDisk } from '../../sim/disk.js';
import { assignmentFor, simRelease } from '../../sim/release.js';
import { seeded } from '../../support/random.js';
import { rehearsedEvidence, trialEvidence } from '../../support/trial-evidence.js';

const v1 = simRelease('1.0.0');
const v2 = simRelease('1.1.0');
const v3 = simRelease('1.2.0');
const releases = [v1, v2, v3];
const HOLD = assignmentFor(v2, 2, { activation: 'hold' });
const GO = assignmentFor(v2, 2);
const HOUR_MS = 3_600_000;

let disk: SimDisk;
let device: SimDevice;
let options: { -readonly [K in keyof BootOptions]: BootOptions[K] };

beforeEach(async () => {
  disk = new SimDisk(seeded(1));
  options = {};
  device = await bootDevice(disk, releases, options);
  await settle(device, assignmentFor(v1, 1));
});

const outcome = () => device.driver.record.outcome;
const body = () =>
  device.reports.filter(({ kind }) => kind === 'update').at(-1)?.body as UpdateBody;

/** The assignment is a hold, and the device has come as far as that goes. */
async function hold(): Promise<void> {
  await settle(device, HOLD, 20);
  expect(device.driver.record).toMatchObject({ state: 'rehearsed', active: 'a' });
}

async function restart(): Promise<void> {
  disk.restart();
  device = await bootDevice(disk, releases, options);
}

describe('a hold', () => {
  it('waits_in_rehearsed_without_a_write_while_the_old_release_serves', async () => {
    await hold();
    const written = disk.operations;
    expect(await device.driver.tick()).toBe(limits.idlePauseMs);
    await settle(device, HOLD, 3 * limits.recordWritesMaxCount);
    expect(disk.operations).toBe(written);
    expect(device.driver.record).toMatchObject({ state: 'rehearsed', outcome: null });
    expect(device.runtime).toMatchObject({ serving: '1.0.0', beside: null, rehearsals: 1 });
  });

  it('is_reported_as_an_update_that_has_no_trouble_with_every_heartbeat', async () => {
    await hold();
    const before = device.reports.length;
    device.clock.at += limits.healthEveryMs;
    await device.driver.tick();
    expect(device.reports).toHaveLength(before + 1);
    expect(body()).toMatchObject({
      state: 'rehearsed',
      running: { version: '1.0.0' },
      updatingTo: { version: '1.1.0' },
      assignmentId: 2,
      outcome: null,
      trouble: null,
    });
  });

  it('go_swaps_in_the_next_tick_and_the_release_is_confirmed_in_its_trial', async () => {
    await hold();
    device.driver.assign(GO);
    await device.driver.tick();
    expect(device.driver.record).toMatchObject({ state: 'swapped', active: 'b', trialFaults: 0 });
    await settle(device, GO);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(device.runtime.history).toEqual(['1.0.0', '1.1.0']);
  });

  it('release_that_fails_its_trial_after_the_go_is_rolled_back', async () => {
    await hold();
    device.runtime.evidenceNow = trialEvidence({ pairs: 200, differing: 80 });
    await settle(device, GO);
    expect(outcome()).toMatchObject({ result: 'rolled_back', code: 'trial_disagreement' });
    expect(device.runtime.history).toEqual(['1.0.0', '1.1.0', '1.0.0']);
  });

  it('release_that_fails_its_rehearsal_is_refused_and_not_held', async () => {
    device.runtime.rehearsed = { evidence: rehearsedEvidence(180, 94) };
    await settle(device, HOLD);
    expect(outcome()).toMatchObject({ result: 'refused', code: 'rehearsal_differs' });
  });

  it('candidate_that_is_damaged_while_it_waits_is_refused_at_the_go_and_never_serves', async () => {
    await hold();
    disk.damage('/data/components/digits/slots/b/model.onnx');
    await settle(device, GO);
    expect(outcome()).toMatchObject({ result: 'refused', code: 'file_digest' });
    expect(device.runtime.history).toEqual(['1.0.0']);
  });

  it('go_that_came_before_the_hold_was_reached_swaps_without_a_pause', async () => {
    await settle(device, HOLD, 2);
    expect(device.driver.record.state).toBe('downloaded');
    await settle(device, GO);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });

  it('another_assignment_supersedes_it', async () => {
    await hold();
    await settle(device, assignmentFor(v3, 3));
    expect(device.runtime.history).toEqual(['1.0.0', '1.2.0']);
  });

  it('release_that_serves_already_is_confirmed_at_once', async () => {
    await settle(device, assignmentFor(v1, 2, { activation: 'hold' }), 2);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });

  it('withdrawn_leaves_its_slot_and_what_serves', async () => {
    await settle(device, assignmentFor(v3, 2));
    device = await bootDevice(disk, [...releases, simRelease('1.3.0')]);
    await settle(device, assignmentFor(simRelease('1.3.0'), 3, { activation: 'hold' }), 20);
    expect(device.driver.record.state).toBe('rehearsed');
    await settle(device, null, 3);
    expect(device.driver.record).toMatchObject({ state: 'idle', active: 'b', slots: { a: null } });
    expect(device.runtime.serving).toBe('1.2.0');
  });

  it.each(['hold', 'shadow'] as const)(
    'swap_that_becomes_a_%s_is_another_assignment',
    async (activation) => {
      await settle(device, GO, 2);
      await settle(device, assignmentFor(v2, 2, { activation }), 10);
      expect(device.driver.record).toMatchObject({ state: 'idle', active: 'a', outcome: null });
      expect(device.runtime.history).toEqual(['1.0.0']);
    },
  );
});

describe('a restart during a hold', () => {
  it('probes_and_rehearses_again_and_holds_until_it_hears_the_go', async () => {
    await hold();
    await restart();
    expect(device.driver.record.state).toBe('staged');
    // Nothing was heard since the start.
    for (let tick = 0; tick < 10; tick += 1) await device.driver.tick();
    expect(device.driver.record.state).toBe('rehearsed');
    expect(device.runtime).toMatchObject({ serving: '1.0.0', rehearsals: 1 });
    await hold();
    await settle(device, GO);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });

  it('swaps_when_the_go_has_come_meanwhile', async () => {
    await hold();
    await restart();
    await settle(device, GO);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });

  it('any_number_of_them_does_not_spend_the_writes_of_the_update', async () => {
    await hold();
    for (let times = 0; times < limits.recordWritesMaxCount; times += 1) {
      await restart();
      await hold();
    }
    await settle(device, GO);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });

  it('after_the_swap_continues_the_trial', async () => {
    await hold();
    options.evidence = trialEvidence({ seconds: 0 });
    device.runtime.evidenceNow = options.evidence;
    await settle(device, GO, 5);
    await restart();
    device.runtime.evidenceNow = {};
    expect(device.driver.record).toMatchObject({ state: 'swapped', active: 'b' });
    await settle(device, GO);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });
});

describe('the update hours', () => {
  it('go_outside_of_them_waits_and_says_so_and_a_restart_changes_nothing', async () => {
    await hold();
    options.opensAt = HOUR_MS;
    for (let lives = 0; lives < 2; lives += 1) {
      await settle(device, GO, 20);
      expect(device.driver.record.state).toBe('rehearsed');
      expect(body().trouble).toMatchObject({
        code: 'deferred',
        detail: 'digits 1.1.0: deferred until 1970-01-01T01:00:00.000Z',
      });
      await restart();
    }
    options.opensAt = null;
    await settle(device, GO);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(body().trouble).toBeNull();
  });

  it('swap_that_was_never_a_hold_is_not_kept_by_them_once_it_is_under_way', async () => {
    await settle(device, GO, 2);
    options.opensAt = HOUR_MS;
    await settle(device, GO);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });

  it('device_that_lost_what_it_served_does_not_wait_for_them', async () => {
    disk.damage('/data/components/digits/slots/a/model.onnx');
    await restart();
    expect(device.driver.record.state).toBe('stranded');
    await settle(device, HOLD, 20);
    expect(device.driver.record.state).toBe('rehearsed');
    options.opensAt = HOUR_MS;
    await settle(device, GO);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });
});
