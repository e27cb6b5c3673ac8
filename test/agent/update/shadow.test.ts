// An assignment that is a shadow: the candidate never serves. It runs beside what serves, the
// comparison is reported like a trial, and its verdict is the outcome.
import { beforeEach, describe, expect, it } from 'vitest';
import type { TrialBody, UpdateBody } from '../../../shared/protocol/telemetry.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { ModelHandler } from '../../../agent/update/payload/model.js';
import {
  bootDevice,
  settle,
  SimRuntime,
  type BootOptions,
  type SimDevice,
} from '../../sim/device.js';
import { SimDisk } from '../../sim/disk.js';
import { FileHandler, fileRelease } from '../../sim/file-handler.js';
import { assignmentFor, simRelease, type AnySimRelease } from '../../sim/release.js';
import { seeded } from '../../support/random.js';
import { rehearsedEvidence, trialEvidence } from '../../support/trial-evidence.js';

const v1 = simRelease('1.0.0');
const v2 = simRelease('1.1.0');
const v3 = simRelease('1.2.0');
const releases = [v1, v2, v3];
const shadowOf = (release: AnySimRelease, id: number) =>
  assignmentFor(release, id, { activation: 'shadow' });
const SHADOW = shadowOf(v2, 2);
const MEASURING = trialEvidence({ seconds: 0 });

let disk: SimDisk;
let device: SimDevice;

async function boot(options: BootOptions = {}): Promise<void> {
  disk.restart();
  device = await bootDevice(disk, releases, options);
}

beforeEach(async () => {
  disk = new SimDisk(seeded(1));
  await boot();
  await settle(device, assignmentFor(v1, 1));
});

const outcome = () => device.driver.record.outcome;
const bodies = <B>(wanted: 'update' | 'trial' | 'security') =>
  device.reports.filter(({ kind }) => kind === wanted).map(({ body }) => body as B);

/** A shadow that has no verdict yet. */
async function shadow(): Promise<void> {
  device.runtime.evidenceNow = MEASURING;
  await settle(device, SHADOW, 20);
  expect(device.driver.record.state).toBe('shadowing');
}

/** What serves, and what the record says of it, is as before the shadow. */
function expectUntouched(): void {
  expect(device.driver.record).toMatchObject({
    state: 'idle',
    active: 'a',
    slots: { a: { version: '1.0.0' }, b: null },
    floor: '1.0.0',
    first: true,
    writes: 0,
  });
  expect(device.runtime).toMatchObject({ serving: '1.0.0', candidate: null });
  expect(device.runtime.history).toEqual(['1.0.0']);
  expect(disk.files.get('/data/components/digits/slots/b/model.onnx')).toBeUndefined();
}

describe('a shadow', () => {
  it('runs_beside_what_serves_and_is_reported_as_a_trial_of_the_candidate_against_it', async () => {
    device.clock.at += limits.inferenceEveryMs;
    await shadow();
    expect(device.runtime).toMatchObject({ serving: '1.0.0', beside: null, candidate: '1.1.0' });
    expect(device.driver.record).toMatchObject({ active: 'a', slots: { b: { version: '1.1.0' } } });
    expect(bodies<UpdateBody>('update').at(-1)).toMatchObject({
      state: 'shadowing',
      running: { version: '1.0.0' },
      updatingTo: { version: '1.1.0' },
      assignmentId: 2,
      outcome: null,
      trouble: null,
    });
    expect(bodies<TrialBody>('trial').at(-1)).toMatchObject({
      release: { version: '1.1.0', digest: v2.digest },
      previous: { version: '1.0.0', digest: v1.digest },
      assignmentId: 2,
      evidence: { replaces: true, comparable: true, seconds: 0 },
    });
  });

  it('goes_on_without_a_write_and_its_candidate_is_started_once', async () => {
    await shadow();
    const written = disk.operations;
    await settle(device, SHADOW, 3 * limits.recordWritesMaxCount);
    expect(disk.operations).toBe(written);
    expect(device.driver.record.state).toBe('shadowing');
    expect(device.runtime).toMatchObject({ candidates: ['1.1.0'], history: ['1.0.0'] });
  });

  it.each([
    ['that_is_as_good_passes', { pairs: 500, differing: 10, seconds: 60 }, null, /accepted$/],
    [
      'that_differs_more_than_declared_says_so',
      { pairs: 800, differing: 128, seconds: 60 },
      'trial_differs',
      /differ by 16 % .*: not accepted$/,
    ],
    [
      'that_answers_wrong_fails',
      { pairs: 200, differing: 80, seconds: 60 },
      'trial_disagreement',
      /differ by 40 % .*: not accepted$/,
    ],
    ['that_crashes_fails', { pairs: 20, seconds: 9, modelFaults: 3 }, 'trial_crashes', /crashed/],
    ['with_too_little_traffic', { pairs: 5, seconds: 86_400 }, 'trial_unproven', /5 of|95 of/],
  ] as const)('candidate_%s_and_never_serves', async (_, evidence, code, detail) => {
    device.runtime.evidenceNow = trialEvidence(evidence);
    await settle(device, SHADOW);
    expect(outcome()).toMatchObject({ result: 'shadowed', code, assignmentId: 2 });
    expect(outcome()?.detail).toMatch(detail);
    expect(device.runtime.candidates).toEqual(['1.1.0']);
    expectUntouched();
    // The evidence of the verdict is the last that is reported.
    expect(bodies<TrialBody>('trial').at(-1)).toMatchObject({
      assignmentId: 2,
      evidence: { seconds: evidence.seconds },
    });
  });

  it('that_has_ended_is_not_taken_again_and_its_release_may_be_assigned_as_a_swap', async () => {
    await settle(device, SHADOW);
    await settle(device, SHADOW, 20);
    expectUntouched();
    expect(outcome()).toMatchObject({ result: 'shadowed', code: null });
    expect(outcome()?.detail).toMatch(/\); /);
    await settle(device, assignmentFor(v2, 3));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 3 });
    expect(device.runtime.history).toEqual(['1.0.0', '1.1.0']);
  });

  it.each(['refused', 'differs'] as const)(
    'candidate_that_is_%s_in_its_rehearsal_never_runs_beside_what_serves',
    async (result) => {
      const differing = result === 'refused' ? 94 : 128;
      const pairs = result === 'refused' ? 180 : 800;
      device.runtime.rehearsed = { evidence: rehearsedEvidence(pairs, differing) };
      await settle(device, SHADOW);
      expect(outcome()).toMatchObject({ result, assignmentId: 2 });
      expect(device.runtime.candidates).toEqual([]);
      expectUntouched();
    },
  );

  it('candidate_that_does_not_start_three_times_ends_it', async () => {
    device.runtime.failShadow = () => new Fault('host_start', 'the model process died');
    await settle(device, SHADOW);
    expect(outcome()).toMatchObject({
      result: 'shadowed',
      code: 'trial_crashes',
      detail: 'the model process died (start 3)',
    });
    expectUntouched();
  });

  it('candidate_that_starts_the_second_time_is_compared_and_the_failed_start_counts', async () => {
    const faults = [new Fault('host_start', 'no more processes')];
    device.runtime.failShadow = () => faults.pop() ?? null;
    await shadow();
    await settle(device, SHADOW, 3);
    expect(device.runtime.candidates).toEqual(['1.1.0']);
    device.runtime.evidenceNow = trialEvidence({ pairs: 20, modelFaults: 2 });
    await settle(device, SHADOW);
    expect(outcome()).toMatchObject({ result: 'shadowed', code: 'trial_crashes' });
  });

  it('candidate_that_the_model_process_refuses_is_refused', async () => {
    device.runtime.failShadow = () => new Fault('model_tensors_differ', 'other tensors');
    await settle(device, SHADOW);
    expect(outcome()).toMatchObject({ result: 'refused', code: 'model_tensors_differ' });
    expectUntouched();
  });

  it('installation_that_lost_its_files_is_waited_for', async () => {
    device.runtime.failShadow = () => new Fault('installation_incomplete', 'no host-child.js');
    await settle(device, SHADOW, 60);
    expect(device.driver.record).toMatchObject({ state: 'shadowing', trialFaults: 0 });
    expect(bodies<UpdateBody>('update').at(-1)?.trouble?.code).toBe('installation_incomplete');
    device.runtime.failShadow = null;
    await settle(device, SHADOW);
    expect(outcome()).toMatchObject({ result: 'shadowed', code: null });
  });

  it('conditions_that_are_reported_are_of_what_serves', async () => {
    await shadow();
    const hang = { code: 'hangs' as const, count: 1, since: 1, detail: 'hung and was killed' };
    device.runtime.standings.set('1.1.0', { conditions: [hang], crashLoop: 'never seen' });
    await device.driver.tick();
    expect(bodies<UpdateBody>('update').at(-1)?.conditions).toEqual([]);
    device.runtime.standings.set('1.0.0', { conditions: [hang], crashLoop: null });
    await device.driver.tick();
    expect(bodies<UpdateBody>('update').at(-1)?.conditions).toEqual([hang]);
  });
});

describe('the early end of a shadow', () => {
  it('newer_assignment_supersedes_it_and_the_candidate_runs_no_longer', async () => {
    await shadow();
    device.runtime.evidenceNow = {};
    device.driver.assign(assignmentFor(v3, 3));
    await device.driver.tick();
    expectUntouched();
    await settle(device, assignmentFor(v3, 3));
    expect(device.runtime.history).toEqual(['1.0.0', '1.2.0']);
  });

  it.each(['swap', 'hold'] as const)(
    'same_assignment_as_a_%s_supersedes_it',
    async (activation) => {
      await shadow();
      await settle(device, assignmentFor(v2, 2, { activation }), 10);
      expectUntouched();
      expect(outcome()).toBeNull();
    },
  );

  it('withdrawn_shadow_keeps_a_first_release_serving_also_after_a_restart', async () => {
    await shadow();
    await settle(device, null, 5);
    expectUntouched();
    await boot();
    await settle(device, null, 5);
    expect(device.runtime.serving).toBe('1.0.0');
    // Once it is assigned again, its own assignment may be withdrawn.
    await settle(device, assignmentFor(v1, 3));
    await settle(device, null, 5);
    expect(device.runtime.serving).toBeNull();
  });

  it('record_that_cannot_be_written_keeps_comparing_until_it_can', async () => {
    await shadow();
    device.runtime.evidenceNow = {};
    disk.freeBytesLeft = 0;
    const replace = disk.replace.bind(disk);
    disk.replace = () => Promise.reject(new Fault('disk_full', 'no space left'));
    await settle(device, SHADOW, 12);
    expect(device.driver.record.state).toBe('shadowing');
    expect(device.runtime).toMatchObject({ serving: '1.0.0', candidate: '1.1.0' });
    disk.replace = replace;
    await settle(device, SHADOW);
    expectUntouched();
  });
});

describe('a restart during a shadow', () => {
  it('stages_again_serves_the_same_release_and_compares_anew', async () => {
    await shadow();
    await boot({ evidence: MEASURING });
    expect(device.driver.record.state).toBe('staged');
    expect(device.runtime).toMatchObject({ serving: '1.0.0', candidate: null });
    await shadow();
    expect(device.runtime.candidates).toEqual(['1.1.0']);
    device.runtime.evidenceNow = {};
    await settle(device, SHADOW);
    expect(outcome()).toMatchObject({ result: 'shadowed', code: null });
    expectUntouched();
  });

  it('while_what_serves_does_not_start_waits_for_it', async () => {
    await shadow();
    await boot({ failServe: () => new Fault('host_start', 'not yet') });
    await settle(device, SHADOW, 20);
    expect(device.driver.record.state).toBe('shadowing');
    expect(device.runtime).toMatchObject({ serving: null, candidate: null });
    expect(bodies<UpdateBody>('update').at(-1)?.trouble?.code).toBe('host_start');
    device.runtime.failServe = null;
    device.clock.at += limits.stepBackoffMaxMs;
    await settle(device, SHADOW);
    expect(outcome()).toMatchObject({ result: 'shadowed', code: null });
    expectUntouched();
  });

  it('with_an_agent_that_dies_of_it_again_and_again_is_spent', async () => {
    await shadow();
    for (let lives = 0; lives < limits.recordWritesMaxCount && outcome() === null; lives += 1) {
      await boot({ evidence: MEASURING });
      await settle(device, SHADOW, 20);
    }
    expect(outcome()).toMatchObject({ result: 'spent', code: 'writes_spent' });
    expectUntouched();
  });
});

describe('nothing to compare with', () => {
  it('device_that_serves_nothing_refuses_a_shadow_at_once_and_takes_none_later', async () => {
    disk = new SimDisk(seeded(2));
    await boot();
    await settle(device, shadowOf(v1, 1), 20);
    expect(outcome()).toMatchObject({
      result: 'refused',
      code: 'shadow_needs_serving',
      assignmentId: 1,
    });
    expect(device.fetcher.opened).toEqual([]);
    expect(device.driver.record).toMatchObject({ state: 'idle', active: null, assignmentId: 1 });
    await settle(device, assignmentFor(v1, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });

  it('stranded_device_waits_for_something_to_serve', async () => {
    disk.damage('/data/components/digits/slots/a/model.onnx');
    await boot();
    expect(device.driver.record.state).toBe('stranded');
    await settle(device, shadowOf(v2, 2), 20);
    expect(device.driver.record).toMatchObject({ state: 'stranded', assignmentId: 1 });
    await settle(device, assignmentFor(v2, 3));
    expect(device.runtime.serving).toBe('1.1.0');
  });

  it('release_that_serves_already_ends_its_shadow_at_once', async () => {
    await settle(device, shadowOf(v1, 2), 2);
    expect(outcome()).toMatchObject({
      result: 'shadowed',
      code: null,
      detail: 'this release is serving already',
      assignmentId: 2,
    });
    expect(device.driver.record).toMatchObject({ active: 'a', floor: '1.0.0', first: true });
    expect(device.runtime.candidates).toEqual([]);
  });

  it('kind_that_cannot_run_beside_what_serves_is_refused_and_the_spare_slot_kept', async () => {
    disk = new SimDisk(seeded(2));
    const handler = new FileHandler(disk);
    const files = [fileRelease('1.0.0'), fileRelease('1.1.0'), fileRelease('1.2.0')] as const;
    device = await bootDevice(disk, files, { handlers: [handler] });
    await settle(device, assignmentFor(files[0], 1));
    await settle(device, assignmentFor(files[1], 2));
    await settle(device, shadowOf(files[2], 3));
    expect(outcome()).toMatchObject({
      result: 'refused',
      code: 'shadow_needs_serving',
      detail: 'digits 1.2.0: releases of kind file cannot run beside what serves',
    });
    expect(handler.history).toEqual(['1.0.0', '1.1.0']);
    expect(device.driver.record.slots).toMatchObject({ a: { version: '1.0.0' } });
  });

  it('what_serves_is_of_another_kind_is_refused_and_says_so', async () => {
    disk = new SimDisk(seeded(2));
    const file = fileRelease('1.0.0');
    const handler = new FileHandler(disk);
    const runtime = new SimRuntime(disk);
    const resources = { memoryAvailableBytes: () => Promise.resolve(1e10) };
    const handlers = [handler, new ModelHandler({ runtime, resources })];
    device = await bootDevice(disk, [file, v2], { handlers });
    await settle(device, assignmentFor(file, 1));
    await settle(device, shadowOf(v2, 2));
    expect(outcome()).toMatchObject({
      result: 'refused',
      code: 'shadow_needs_serving',
      detail: 'digits 1.1.0: it is of kind model; what serves is of kind file',
    });
    expect(handler.serving).toBe('1.0.0');
  });
});
