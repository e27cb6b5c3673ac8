// The cold start that a release comes through before its trial ends confirmed.
import { beforeEach, describe, expect, it } from 'vitest';
import type { TrialBody, UpdateBody } from '../../../shared/protocol/telemetry.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { bootDevice, settle, type BootOptions, type SimDevice } from '../../sim/device.js';
import { SimDisk } from '../../sim/disk.js';
import { assignmentFor, simRelease } from '../../sim/release.js';
import { seeded } from '../../support/random.js';
import { trialEvidence } from '../../support/trial-evidence.js';

const v1 = simRelease('1.0.0');
const v2 = simRelease('1.1.0');
const v3 = simRelease('1.2.0');
const UPDATE = assignmentFor(v2, 2);
const MEASURING = trialEvidence({ seconds: 0 });
const dies = (): Fault => new Fault('host_start', 'the process ended while it started');

let disk: SimDisk;
let device: SimDevice;

async function boot(options: BootOptions = {}): Promise<void> {
  disk.restart();
  device = await bootDevice(disk, [v1, v2, v3], options);
}

beforeEach(async () => {
  disk = new SimDisk(seeded(1));
  await boot();
  await settle(device, assignmentFor(v1, 1));
  device.runtime.coldStarts = 0;
});

const outcome = () => device.driver.record.outcome;
const bodies = <B>(wanted: 'update' | 'trial') =>
  device.reports.filter(({ kind }) => kind === wanted).map(({ body }) => body as B);

/** The trial of 1.1.0 without a verdict. */
async function onTrial(): Promise<void> {
  device.runtime.evidenceNow = MEASURING;
  await settle(device, UPDATE, 20);
  expect(device.driver.record.state).toBe('swapped');
  expect(device.runtime).toMatchObject({ beside: '1.0.0', coldStarts: 0 });
}

describe('a trial that passes', () => {
  it('is_confirmed_after_one_cold_start_beside_nothing_else_and_says_how_long_it_took', async () => {
    await onTrial();
    device.runtime.evidenceNow = {};
    device.runtime.onColdStart = () => {
      expect(device.runtime).toMatchObject({ serving: '1.1.0', beside: null });
      expect(device.driver.record).toMatchObject({
        state: 'swapped',
        slots: { a: { version: '1.0.0' }, b: { version: '1.1.0' } },
      });
      return { tookMs: 812 };
    };
    await settle(device, UPDATE);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(outcome()?.detail).toMatch(/; accepted; came through a cold start in 812 ms$/);
    expect(device.runtime.coldStarts).toBe(1);
    expect(device.runtime.history).toEqual(['1.0.0', '1.1.0']);
  });

  it('is_judged_again_on_what_happened_during_the_cold_start', async () => {
    device.runtime.onColdStart = () => {
      device.runtime.evidenceNow = { modelFaults: limits.trialFaultsMaxCount };
      return { tookMs: 1 };
    };
    await settle(device, UPDATE);
    expect(outcome()).toMatchObject({ result: 'rolled_back', code: 'trial_crashes' });
    expect(device.runtime.serving).toBe('1.0.0');
  });

  it('goes_on_beside_the_old_release_where_the_answers_since_leave_it_open', async () => {
    device.runtime.onColdStart = () => {
      device.runtime.evidenceNow = MEASURING;
      return { tookMs: 1 };
    };
    await settle(device, UPDATE, 20);
    expect(device.driver.record.state).toBe('swapped');
    expect(device.runtime.beside).toBe('1.0.0');
    device.runtime.evidenceNow = {};
    await settle(device, UPDATE);
    expect(outcome()?.detail).toMatch(/came through a cold start in 1 ms$/);
    expect(device.runtime.coldStarts).toBe(1);
  });

  it('waits_for_a_process_that_is_down_and_reports_what_it_measures', async () => {
    await onTrial();
    device.runtime.evidenceNow = {};
    device.runtime.onColdStart = () => 'later';
    device.clock.at += limits.inferenceEveryMs;
    await settle(device, UPDATE, 20);
    expect(device.driver.record).toMatchObject({ state: 'swapped', trialFaults: 0 });
    expect(bodies<TrialBody>('trial').at(-1)).toMatchObject({
      assignmentId: 2,
      evidence: { seconds: 60 },
    });
    device.runtime.onColdStart = null;
    await settle(device, UPDATE);
    expect(outcome()).toMatchObject({ result: 'confirmed' });
  });

  it('says_why_there_was_no_cold_start_without_the_memory_for_a_second_process', async () => {
    let bytes = 1e10;
    await boot({ memory: () => bytes, evidence: MEASURING });
    await onTrial();
    bytes = 3 * 1024 * 1024;
    device.runtime.evidenceNow = {};
    await settle(device, UPDATE);
    expect(outcome()).toMatchObject({ result: 'confirmed' });
    expect(outcome()?.detail).toMatch(/no cold start: it may take \d+ MiB, 3 MiB are available$/);
    expect(device.runtime.coldStarts).toBe(0);
  });

  it('is_withdrawn_by_an_assignment_that_comes_during_the_cold_start', async () => {
    device.runtime.onColdStart = () => {
      device.driver.assign(assignmentFor(v3, 3));
      return { tookMs: 1 };
    };
    device.driver.assign(UPDATE);
    for (let i = 0; i < 20 && outcome()?.assignmentId !== 2; i += 1) await device.driver.tick();
    expect(outcome()).toMatchObject({ result: 'rolled_back', code: 'trial_withdrawn' });
    expect(device.runtime.serving).toBe('1.0.0');
    device.runtime.onColdStart = null;
    await settle(device, assignmentFor(v3, 3));
    expect(outcome()?.detail).toMatch(/came through a cold start in 812 ms$/);
    expect(device.runtime.coldStarts).toBe(2);
  });
});

describe('a cold start that fails', () => {
  it('three_times_rolls_the_release_back_which_serves_until_then', async () => {
    device.runtime.onColdStart = () => {
      expect(device.runtime.serving).toBe('1.1.0');
      expect(device.driver.record.trialFaults).toBe(device.runtime.coldStarts - 1);
      return dies();
    };
    await settle(device, UPDATE);
    expect(outcome()).toMatchObject({ result: 'rolled_back', code: 'trial_crashes' });
    expect(outcome()?.detail).toBe('the process ended while it started (start 3)');
    expect(device.runtime.coldStarts).toBe(3);
    expect(device.runtime.history).toEqual(['1.0.0', '1.1.0', '1.0.0']);
    expect(device.driver.record.slots.b).toBeNull();
  });

  it('once_is_tried_again_with_the_old_release_beside_it_in_between', async () => {
    device.runtime.onColdStart = () => (device.runtime.coldStarts === 1 ? dies() : { tookMs: 7 });
    device.driver.assign(UPDATE);
    while (device.runtime.coldStarts === 0) await device.driver.tick();
    expect(device.driver.record).toMatchObject({ state: 'swapped', trialFaults: 1 });
    device.runtime.evidenceNow = MEASURING;
    await device.driver.tick();
    expect(device.runtime).toMatchObject({ serving: '1.1.0', beside: '1.0.0', coldStarts: 1 });
    device.runtime.evidenceNow = {};
    await settle(device, UPDATE);
    expect(outcome()?.detail).toMatch(/came through a cold start in 7 ms$/);
  });

  it('with_a_refusal_rolls_the_release_back_at_once', async () => {
    device.runtime.onColdStart = () => new Fault('file_digest', 'model.onnx was changed');
    await settle(device, UPDATE);
    expect(outcome()).toMatchObject({ result: 'rolled_back', code: 'file_digest' });
    expect(device.runtime.coldStarts).toBe(1);
  });

  it('for_the_installation_waits_and_is_no_fault_of_the_release', async () => {
    device.runtime.onColdStart = () => new Fault('installation_incomplete', 'no host-child.js');
    await settle(device, UPDATE, 40);
    expect(device.driver.record).toMatchObject({ state: 'swapped', trialFaults: 0 });
    expect(bodies<UpdateBody>('update').at(-1)?.trouble?.code).toBe('installation_incomplete');
    device.runtime.onColdStart = null;
    await settle(device, UPDATE);
    expect(outcome()).toMatchObject({ result: 'confirmed' });
  });
});

describe('an agent that is killed', () => {
  it('in_the_trial_has_started_the_release_cold_itself', async () => {
    await onTrial();
    await boot();
    await settle(device, UPDATE);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(outcome()?.detail).toMatch(/; came through a start of the agent$/);
    expect(device.runtime.coldStarts).toBe(0);
  });

  it('during_the_cold_start_boots_into_the_trial_and_confirms', async () => {
    device.runtime.onColdStart = () => new Promise(() => {});
    device.driver.assign(UPDATE);
    while (device.driver.record.state !== 'swapped') await device.driver.tick();
    void device.driver.tick();
    while (device.runtime.coldStarts === 0) await new Promise(setImmediate);
    await boot({ evidence: MEASURING });
    expect(device.driver.record).toMatchObject({ state: 'swapped', active: 'b', trialFaults: 0 });
    device.runtime.evidenceNow = {};
    await settle(device, UPDATE);
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });

  it('before_the_trial_owes_the_cold_start_as_before', async () => {
    await boot();
    await settle(device, UPDATE);
    expect(outcome()?.detail).toMatch(/came through a cold start in 812 ms$/);
  });
});

describe('no cold start', () => {
  it('is_made_for_a_way_back_or_a_shadow', async () => {
    await settle(device, UPDATE);
    device.runtime.coldStarts = 0;
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(outcome()).toMatchObject({ result: 'reverted' });
    await settle(device, assignmentFor(v2, 4, { activation: 'shadow' }));
    expect(outcome()).toMatchObject({ result: 'shadowed' });
    expect(device.runtime.coldStarts).toBe(0);
  });
});
