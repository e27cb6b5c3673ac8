// The update machine on a simulated device: each situation by name. Over 400 lines because each
// situation of the update machine has its own test over one simulated device.
import { beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { ImpossibleTransition, next, type Table } from '../../../shared/base/state-machine.js';
import { UPDATE_STATES, type UpdateState } from '../../../shared/protocol/states.js';
import { updateTransitions, type UpdateEvent } from '../../../agent/update/transitions.js';
import { decodeRecord, encodeRecord, freshRecord } from '../../../agent/update/record.js';
import { SimDisk } from '../../sim/disk.js';
import { seeded } from '../../support/random.js';
import type { UpdateBody } from '../../../shared/protocol/telemetry.js';
import { bootDevice, settle, type SimDevice, type SimRuntime } from '../../sim/device.js';
import { assignmentFor, simRelease } from '../../sim/release.js';
import { manifestBytes, RELEASE_PAYLOAD_TYPE } from '../../../shared/release/manifest.js';
import { sha256, utf8 } from '../../../shared/base/bytes.js';
import { signEnvelope } from '../../../shared/trust/envelope.js';
import { signerFromSeed } from '../../../shared/trust/signer.js';
import { rehearsedEvidence, trialEvidence } from '../../support/trial-evidence.js';

const v1 = simRelease('1.0.0');
const v2 = simRelease('1.1.0');
const v3 = simRelease('1.2.0');
const releases = [v1, v2, v3];
const SLOT_A_MODEL = '/data/components/digits/slots/a/model.onnx';
const RECORD = '/data/components/digits/record.json';

let disk: SimDisk;
let device: SimDevice;

beforeEach(async () => {
  disk = new SimDisk(seeded(1));
  device = await bootDevice(disk, releases);
  await settle(device, assignmentFor(v1, 1));
});

const outcome = () => device.driver.record.outcome;
const securityCodes = () =>
  device.reports
    .filter(({ kind }) => kind === 'security')
    .map(({ body }) => (body as { code: string }).code);

const table: Table<UpdateState, UpdateEvent> = updateTransitions;

describe('the transitions', () => {
  it('unlisted_event_is_a_bug', () => {
    expect(() => next(table, 'idle', 'swapped')).toThrow(ImpossibleTransition);
  });

  it('every_event_leads_to_a_state_of_the_table_and_every_state_boots', () => {
    for (const state of UPDATE_STATES) {
      expect(UPDATE_STATES).toContain(updateTransitions[state].boot);
      for (const event of Object.keys(updateTransitions[state].on) as UpdateEvent[])
        expect(UPDATE_STATES).toContain(next(table, state, event));
    }
  });
});

describe('the boot column', () => {
  it('power_loss_in_any_state_continues_where_the_disk_is_true', () => {
    const boots = Object.fromEntries(
      UPDATE_STATES.map((state) => [state, updateTransitions[state].boot]),
    );
    expect(boots).toEqual({
      idle: 'idle',
      assigned: 'assigned',
      downloaded: 'downloaded',
      verified: 'downloaded',
      staged: 'staged',
      probed: 'staged',
      rehearsed: 'staged',
      shadowing: 'staged',
      swapped: 'swapped',
      stranded: 'stranded',
    });
  });

  it('power_loss_in_a_trial_continues_the_trial', async () => {
    device.runtime.evidenceNow = trialEvidence({ seconds: 0 });
    await settle(device, assignmentFor(v2, 2), 20);
    device = await bootDevice(disk, releases, {
      evidence: trialEvidence({ pairs: 200, differing: 80 }),
    });
    // The verdict of the continued trial; a forgotten trial would keep serving 1.1.0.
    await settle(device, assignmentFor(v2, 2));
    expect(device.runtime.serving).toBe('1.0.0');
    expect(outcome()).toMatchObject({ result: 'rolled_back', code: 'trial_disagreement' });
  });

  it('power_loss_in_a_trial_without_a_verdict_boots_into_the_trial', async () => {
    device.runtime.evidenceNow = trialEvidence({ seconds: 0 });
    await settle(device, assignmentFor(v2, 2), 20);
    const undecided = trialEvidence({ seconds: 0 });
    device = await bootDevice(disk, releases, { evidence: undecided });
    expect(device.driver.record).toMatchObject({ state: 'swapped', active: 'b' });
    expect(device.driver.record.assignment?.assignmentId).toBe(2);
    expect(device.runtime).toMatchObject({ serving: '1.1.0', beside: '1.0.0' });
  });
});

describe('an update', () => {
  it('every_step_is_reported_and_the_record_says_what_is_true_in_each', async () => {
    const seen: unknown[] = [];
    device.driver.assign(assignmentFor(v2, 2));
    for (let tick = 0; tick < 20 && outcome()?.assignmentId !== 2; tick += 1) {
      const { state } = device.driver.record;
      await device.driver.tick();
      const { state: now, active, slots, assignment } = device.driver.record;
      if (now === state) continue;
      const held = [slots.a?.version ?? null, slots.b?.version ?? null];
      seen.push([now, active, ...held, assignment?.version ?? null, device.runtime.serving]);
    }
    expect(seen).toEqual([
      ['assigned', 'a', '1.0.0', null, '1.1.0', '1.0.0'],
      ['downloaded', 'a', '1.0.0', null, '1.1.0', '1.0.0'],
      ['verified', 'a', '1.0.0', null, '1.1.0', '1.0.0'],
      ['staged', 'a', '1.0.0', '1.1.0', '1.1.0', '1.0.0'],
      ['probed', 'a', '1.0.0', '1.1.0', '1.1.0', '1.0.0'],
      ['rehearsed', 'a', '1.0.0', '1.1.0', '1.1.0', '1.0.0'],
      ['swapped', 'b', '1.0.0', '1.1.0', '1.1.0', '1.0.0'],
      ['idle', 'b', '1.0.0', '1.1.0', null, '1.1.0'],
    ]);
    const reported = device.reports
      .filter(({ kind }) => kind === 'update')
      .map(({ body }) => (body as { state: string }).state);
    expect(reported.slice(-8)).toEqual([
      'assigned',
      'downloaded',
      'verified',
      'staged',
      'probed',
      'rehearsed',
      'swapped',
      'idle',
    ]);
    expect(device.driver.record).toMatchObject({ floor: '1.1.0', first: false, writes: 0 });
  });

  it('trial_report_names_the_release_on_trial_and_the_one_to_roll_back_to', async () => {
    device.clock.at += limits.inferenceEveryMs;
    device.runtime.evidenceNow = trialEvidence({ seconds: 0 });
    await settle(device, assignmentFor(v2, 2), 20);
    const trials = device.reports.filter(({ kind }) => kind === 'trial');
    expect(trials.at(-1)?.body).toMatchObject({
      release: { component: 'digits', version: '1.1.0', digest: v2.digest },
      previous: { component: 'digits', version: '1.0.0', digest: v1.digest },
      assignmentId: 2,
      evidence: { replaces: true, comparisons: [{ pairs: 0 }] },
    });
  });

  it('trial_of_a_first_install_reports_nothing_to_roll_back_to', () => {
    const trials = device.reports.filter(({ kind }) => kind === 'trial');
    expect(trials.at(-1)?.body).toMatchObject({
      release: { digest: v1.digest },
      previous: null,
      assignmentId: 1,
      evidence: { replaces: false },
    });
  });

  it('same_version_with_other_bytes_is_a_new_release', async () => {
    const other = simRelease('1.0.0', { body: utf8('other bytes '.repeat(20)) });
    expect(other.digest).not.toBe(v1.digest);
    device = await bootDevice(disk, [...releases, other]);
    await settle(device, assignmentFor(other, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(outcome()?.detail).not.toMatch(/running already/);
    expect(device.driver.record.slots.b?.digest).toBe(other.digest);
    expect(device.driver.record.active).toBe('b');
  });

  it('release_that_runs_already_is_confirmed_without_work', async () => {
    await settle(device, assignmentFor(v1, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(outcome()?.detail).toMatch(/running already/);
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(outcome()).toMatchObject({ result: 'reverted', assignmentId: 3 });
    expect(device.runtime.history).toEqual(['1.0.0']);
  });
  it('first_install_is_confirmed_without_anything_to_compare', () => {
    expect(device.runtime.serving).toBe('1.0.0');
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 1 });
  });

  it('better_release_goes_through_a_trial_with_the_old_one_in_its_shadow', async () => {
    device.runtime.evidenceNow = trialEvidence({ seconds: 0 });
    await settle(device, assignmentFor(v2, 2), 20);
    expect(device.driver.record.state).toBe('swapped');
    expect(device.runtime).toMatchObject({ serving: '1.1.0', beside: '1.0.0' });
    device.runtime.evidenceNow = {};
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(device.runtime).toMatchObject({ serving: '1.1.0', beside: null });
  });

  it('assignment_accepted_once_is_not_accepted_again', async () => {
    await settle(device, assignmentFor(v2, 2));
    const writes = disk.operations;
    await settle(device, assignmentFor(v2, 2));
    expect(disk.operations).toBe(writes);
  });

  it('silently_wrong_release_is_rolled_back_and_says_why', async () => {
    device.runtime.evidenceNow = trialEvidence({ pairs: 200, differing: 80 });
    await settle(device, assignmentFor(v3, 2));
    expect(device.runtime.serving).toBe('1.0.0');
    expect(outcome()).toMatchObject({ result: 'rolled_back', code: 'trial_disagreement' });
    expect(outcome()?.detail).toMatch(/differ by 40 % on live inputs .*200 blocks/);
  });

  it('a_release_that_answers_wrong_in_rehearsal_is_refused_and_never_serves', async () => {
    device.runtime.rehearsed = { evidence: rehearsedEvidence(180, 94) };
    await settle(device, assignmentFor(v3, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'rehearsal_differs' });
    expect(outcome()?.detail).toMatch(
      /^answers of logits differ by 52 % on 180 of its own recent inputs .* no live request$/,
    );
    expect(device.runtime.history).toEqual(['1.0.0']);
    expect(device.driver.record).toMatchObject({ active: 'a', slots: { b: null } });
  });

  it('a_release_that_differs_more_than_declared_in_rehearsal_waits_for_a_person', async () => {
    device.runtime.rehearsed = { evidence: rehearsedEvidence(800, 128) };
    await settle(device, assignmentFor(v3, 2));
    expect(outcome()).toMatchObject({ result: 'differs', code: 'trial_differs' });
    expect(outcome()?.detail).toContain('it has answered no live request');
    expect(device.runtime.history).toEqual(['1.0.0']);
    expect(device.driver.record).toMatchObject({ active: 'a', slots: { b: null } });
  });

  it('a_rehearsal_that_flakes_is_tried_again', async () => {
    device.runtime.rehearse = () => {
      delete (device.runtime as Partial<SimRuntime>).rehearse;
      return Promise.reject(new Fault('host_start', 'no more processes'));
    };
    await settle(device, assignmentFor(v2, 2));
    expect(device.runtime).toMatchObject({ serving: '1.1.0', rehearsals: 1 });
  });

  it('a_way_back_and_a_first_release_are_not_rehearsed', async () => {
    await settle(device, assignmentFor(v2, 2));
    expect(device.runtime.rehearsals).toBe(1);
    device.runtime.rehearsed = { evidence: rehearsedEvidence(180, 94) };
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(outcome()).toMatchObject({ result: 'reverted' });
    expect(device.runtime.rehearsals).toBe(1);
  });

  it('a_release_is_not_rehearsed_without_the_memory_for_it', async () => {
    const other = new SimDisk(seeded(2));
    const roomy = await bootDevice(other, releases);
    await settle(roomy, assignmentFor(v1, 1));
    let asked = 0;
    // Enough for the admission, too little once the update has begun.
    const memory = () => ((asked += 1) > 1 ? 10 * 1024 * 1024 : 1e10);
    const tight = await bootDevice(other, releases, { memory });
    await settle(tight, assignmentFor(v2, 2));
    expect(tight.runtime).toMatchObject({ serving: '1.1.0', rehearsals: 0 });
  });

  it('a_release_that_differs_more_than_declared_goes_back_and_has_not_failed', async () => {
    device.runtime.evidenceNow = trialEvidence({ pairs: 800, differing: 128 });
    await settle(device, assignmentFor(v3, 2));
    expect(device.runtime.serving).toBe('1.0.0');
    expect(outcome()).toMatchObject({ result: 'differs', code: 'trial_differs' });
    expect(outcome()?.detail).toContain('up to 20 % is for a person to decide');
  });

  it('a_difference_that_a_person_accepted_meanwhile_is_judged_by_the_new_limit', async () => {
    const cap = { differenceCapPermille: 500 };
    device.runtime.evidenceNow = trialEvidence({ pairs: 5, seconds: 10 });
    await settle(device, assignmentFor(v3, 2, { trial: cap }), 20);
    expect(device.driver.record.state).toBe('swapped');
    device.runtime.evidenceNow = trialEvidence({ pairs: 800, differing: 128 });
    const trial = { ...cap, acceptedDifferencePermille: 400 };
    await settle(device, assignmentFor(v3, 2, { trial }));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(outcome()?.detail).toContain('the limit is 40 %');
  });

  it('too_little_traffic_keeps_the_release_and_the_trial_open', async () => {
    device.runtime.evidenceNow = trialEvidence({ pairs: 5, seconds: 10 });
    await settle(device, assignmentFor(v2, 2), 20);
    const trials = () => device.reports.filter(({ kind }) => kind === 'trial').length;
    const before = trials();
    device.runtime.evidenceNow = trialEvidence({ pairs: 5, seconds: 86_400 });
    await settle(device, assignmentFor(v2, 2), 20);
    expect(device.driver.record).toMatchObject({ state: 'swapped', outcome: null });
    expect(device.runtime).toMatchObject({ serving: '1.1.0', beside: '1.0.0' });
    // Reported once when it becomes open, then slowly.
    expect(trials()).toBe(before + 1);
    device.clock.at += limits.openTrialEveryMs;
    await settle(device, assignmentFor(v2, 2), 20);
    expect(trials()).toBe(before + 2);
    device.runtime.evidenceNow = trialEvidence({ pairs: 400, seconds: 90_000 });
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });

  it('release_that_crashes_its_process_three_times_is_rolled_back', async () => {
    device.runtime.failServe = (version) =>
      version === '1.2.0' ? new Fault('host_start', 'the model process died') : null;
    await settle(device, assignmentFor(v3, 2));
    expect(device.runtime.serving).toBe('1.0.0');
    expect(outcome()).toMatchObject({ result: 'rolled_back', code: 'trial_crashes' });
  });

  it('failed_probe_never_serves', async () => {
    device.runtime.probeReport = {
      passed: false,
      code: 'probe_differs',
      reasons: 'probe 3 differs by 0.4, tolerance 0.001',
    };
    await settle(device, assignmentFor(v2, 2));
    expect(device.runtime.history).toEqual(['1.0.0']);
    expect(outcome()).toMatchObject({ result: 'refused', code: 'probe_differs' });
  });

  it('withdrawn_during_trial_rolls_back_and_answers_both_assignments', async () => {
    device.runtime.evidenceNow = trialEvidence({ seconds: 0 });
    await settle(device, assignmentFor(v2, 2), 20);
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(device.runtime.serving).toBe('1.0.0');
    expect(outcome()).toMatchObject({ result: 'reverted', assignmentId: 3 });
    const outcomes = device.reports.flatMap(({ kind, body }) =>
      kind === 'update'
        ? [(body as { outcome: { code: string | null } | null }).outcome?.code]
        : [],
    );
    expect(outcomes).toContain('trial_withdrawn');
  });

  it('confirmed_release_is_rolled_back_by_a_signed_assignment_without_the_network', async () => {
    await settle(device, assignmentFor(v2, 2));
    device.fetcher.down = true;
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(device.runtime.serving).toBe('1.0.0');
    expect(outcome()).toMatchObject({ result: 'reverted', assignmentId: 3 });
  });

  it('assignment_withdrawn_from_a_first_release_stops_serving', async () => {
    await settle(device, null, 3);
    expect(device.runtime.serving).toBeNull();
    expect(device.driver.record.active).toBeNull();
  });

  it('assignment_withdrawn_after_a_second_release_changes_nothing', async () => {
    await settle(device, assignmentFor(v2, 2));
    await settle(device, null, 3);
    expect(device.runtime.serving).toBe('1.1.0');
  });

  it('release_that_was_never_assigned_keeps_serving_when_nothing_is_assigned', async () => {
    disk.damage(RECORD, 40);
    device = await bootDevice(disk, releases);
    await settle(device, null, 3);
    expect(device.runtime.serving).toBe('1.0.0');
  });

  it('failed_rollback_is_retried_after_a_pause_and_a_failed_update_is_not', async () => {
    await settle(device, assignmentFor(v2, 2));
    device.runtime.probeReport = { passed: false, code: 'probe_differs', reasons: 'for a moment' };
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'probe_differs' });
    device.runtime.probeReport = {};
    await settle(device, assignmentFor(v1, 3, { rollback: true }), 10);
    expect(device.runtime.serving).toBe('1.1.0');
    device.clock.at += 2 * limits.assignmentRetryFirstMs;
    await device.driver.tick();
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(device.runtime.serving).toBe('1.0.0');

    device.runtime.probeReport = { passed: false, code: 'probe_differs', reasons: 'for good' };
    await settle(device, assignmentFor(v3, 4));
    device.clock.at += 2 * limits.assignmentRetryMaxMs;
    await device.driver.tick();
    expect(device.driver.record.state).toBe('idle');
  });

  it('rollback_is_done_by_a_device_that_is_slow_and_short_of_memory', async () => {
    await settle(device, assignmentFor(v2, 2));
    device = await bootDevice(disk, releases, { memory: 1e6 });
    device.runtime.probeReport = { passed: false, code: 'probe_slow', reasons: 'slow today' };
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(device.runtime.serving).toBe('1.0.0');
  });

  it('download_torn_once_is_fetched_again_and_confirmed', async () => {
    let torn = 0;
    device.fetcher.tamper = (bytes) => {
      const copy = Uint8Array.from(bytes);
      if (torn++ === 0) copy[5] = (copy[5] ?? 0) ^ 1;
      return copy;
    };
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed' });
    expect(securityCodes()).toContain('file_digest');
  });

  it('network_away_waits_without_spending_tries', async () => {
    device.fetcher.down = true;
    await settle(device, assignmentFor(v2, 2), 30);
    expect(device.driver.record.state).toBe('assigned');
    device.fetcher.down = false;
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed' });
  });

  it('newer_assignment_supersedes_the_one_under_way', async () => {
    device.fetcher.down = true;
    await settle(device, assignmentFor(v2, 2), 5);
    device.fetcher.down = false;
    await settle(device, assignmentFor(v3, 3));
    expect(device.runtime.history).toEqual(['1.0.0', '1.2.0']);
  });
});

describe('what is refused, with nothing lost', () => {
  it('older_version_is_refused', async () => {
    await settle(device, assignmentFor(v2, 2));
    await settle(device, assignmentFor(v1, 3));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'version_floor' });
    expect(device.runtime.serving).toBe('1.1.0');
  });

  it('rollback_to_a_release_that_never_ran_here_is_refused', async () => {
    await settle(device, assignmentFor(v3, 2));
    await settle(device, assignmentFor(v2, 3, { rollback: true }));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'version_floor' });
    expect(device.runtime.serving).toBe('1.2.0');
  });

  it('wrong_hardware_is_refused_before_its_files_are_fetched', async () => {
    const other = simRelease('2.0.0', { hardware: ['other-board'] });
    device = await bootDevice(disk, [...releases, other]);
    await settle(device, assignmentFor(other, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'hardware_unsupported' });
    expect(device.fetcher.opened).toEqual([]);
  });

  it('tampered_model_bytes_are_refused_and_reported', async () => {
    device.fetcher.tamper = (bytes) => {
      const copy = Uint8Array.from(bytes);
      copy[5] = (copy[5] ?? 0) ^ 1;
      return copy;
    };
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'file_digest' });
    expect(device.runtime.history).toEqual(['1.0.0']);
    expect(securityCodes()).toContain('file_digest');
  });

  it('release_signed_by_a_key_that_is_no_release_key_is_refused', async () => {
    const stranger = signerFromSeed(new Uint8Array(32).fill(9));
    const { manifest, files } = simRelease('1.3.0');
    const envelope = utf8(
      JSON.stringify(await signEnvelope(RELEASE_PAYLOAD_TYPE, manifestBytes(manifest), [stranger])),
    );
    const forged = { manifest, envelope, digest: sha256(envelope), files };
    device = await bootDevice(disk, [...releases, forged]);
    await settle(device, assignmentFor(forged, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'signature_invalid' });
    expect(device.fetcher.opened).toEqual([]);
    expect(securityCodes()).toContain('signature_invalid');
  });

  it('source_without_the_file_is_waited_for_and_never_ends_the_update', async () => {
    device.fetcher.missing = true;
    await settle(device, assignmentFor(v2, 2), 30);
    expect(device.driver.record.state).toBe('assigned');
    device.fetcher.missing = false;
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed' });
  });

  it('endless_file_is_cut_off', async () => {
    device.fetcher.tamper = (bytes) => Uint8Array.from([...bytes, ...bytes]);
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'file_length' });
  });

  it('full_disk_is_refused_before_the_download', async () => {
    disk.freeBytesLeft = 100;
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'contract_disk' });
    expect(device.runtime.serving).toBe('1.0.0');
  });

  it('too_little_memory_is_refused', async () => {
    device = await bootDevice(disk, releases, { memory: 1e6 });
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'contract_memory' });
  });
});

describe('starting', () => {
  it('damaged_active_slot_is_never_loaded_and_the_previous_release_serves', async () => {
    await settle(device, assignmentFor(v2, 2));
    disk.damage('/data/components/digits/slots/b/model.onnx');
    device = await bootDevice(disk, releases);
    expect(device.runtime.history).toEqual(['1.0.0']);
    expect(securityCodes()).toContain('file_digest');
  });

  it('sector_that_does_not_read_falls_back_to_the_slot_that_does', async () => {
    await settle(device, assignmentFor(v2, 2));
    disk.unreadable.add('/data/components/digits/slots/b/model.onnx');
    device = await bootDevice(disk, releases);
    expect(device.runtime.history).toEqual(['1.0.0']);
    expect(securityCodes()).toContain('disk_failed');
    disk.unreadable.add(RECORD);
    device = await bootDevice(disk, releases);
    expect(device.runtime.history).toEqual(['1.0.0']);
  });

  it('signature_changed_on_disk_is_never_loaded', async () => {
    await settle(device, assignmentFor(v2, 2));
    const path = '/data/components/digits/slots/b/release.dsse.json';
    disk.damage(path, (disk.files.get(path)?.data.indexOf('"sig":"') ?? 0) + 10);
    device = await bootDevice(disk, releases);
    expect(device.runtime.history).toEqual(['1.0.0']);
  });

  it('no_slot_verifies_is_stranded_and_any_assignment_recovers_it', async () => {
    disk.damage(SLOT_A_MODEL);
    device = await bootDevice(disk, releases);
    expect(device.driver.record.state).toBe('stranded');
    expect(device.runtime.serving).toBeNull();
    await settle(device, assignmentFor(v1, 1));
    expect(device.runtime.serving).toBe('1.0.0');
  });

  it('release_that_does_not_start_at_boot_is_tried_again_and_keeps_no_successor_out', async () => {
    device = await bootDevice(disk, releases, {
      failServe: (version) => (version === '1.0.0' ? new Fault('host_start', 'not yet') : null),
    });
    expect(device.runtime.serving).toBeNull();
    await settle(device, assignmentFor(v1, 1), 3);
    expect(device.runtime.serving).toBeNull();
    device.runtime.failServe = null;
    device.clock.at += limits.stepBackoffMaxMs;
    await device.driver.tick();
    expect(device.runtime.serving).toBe('1.0.0');
    device = await bootDevice(disk, releases, {
      failServe: (version) => (version === '1.0.0' ? new Fault('host_start', 'never') : null),
    });
    await settle(device, assignmentFor(v2, 2));
    expect(device.runtime.serving).toBe('1.1.0');
  });

  it('release_refused_at_boot_gives_way_to_the_previous_one', async () => {
    await settle(device, assignmentFor(v2, 2));
    device = await bootDevice(disk, releases, {
      failServe: (version) =>
        version === '1.1.0' ? new Fault('model_tensors_differ', 'no longer loads here') : null,
    });
    expect(device.runtime.serving).toBe('1.0.0');
    expect(outcome()).toMatchObject({ result: 'rolled_back', code: 'model_tensors_differ' });
  });

  it('torn_record_falls_back_to_the_older_release_and_the_newer_comes_again', async () => {
    await settle(device, assignmentFor(v2, 2));
    disk.damage(RECORD, 40);
    device = await bootDevice(disk, releases);
    expect(device.runtime.serving).toBe('1.0.0');
    await settle(device, assignmentFor(v2, 2));
    expect(device.runtime.serving).toBe('1.1.0');
    await settle(device, assignmentFor(v3, 3));
    expect(device.runtime.serving).toBe('1.2.0');
  });

  it('torn_record_never_restores_a_release_that_was_rolled_back', async () => {
    device.runtime.evidenceNow = trialEvidence({ pairs: 200, differing: 80 });
    await settle(device, assignmentFor(v3, 2));
    expect(outcome()).toMatchObject({ result: 'rolled_back' });
    disk.damage(RECORD, 40);
    device = await bootDevice(disk, releases);
    expect(device.runtime.history).toEqual(['1.0.0']);
    expect(device.driver.record.slots.b).toBeNull();
  });

  it('record_with_a_wrong_checksum_is_unreadable', () => {
    const bytes = Buffer.from(encodeRecord(freshRecord('digits', 'sim')))
      .toString('utf8')
      .replace('"assignmentId": 0', '"assignmentId": 9');
    expect(decodeRecord(Buffer.from(bytes))).toMatchObject({
      unreadable: expect.stringMatching(/checksum/) as string,
    });
  });
});

describe('an installation that lost its files', () => {
  const lost = new Fault('installation_incomplete', 'this installation lacks host-child.js');
  const trouble = () =>
    (device.reports.filter(({ kind }) => kind === 'update').at(-1)?.body as UpdateBody).trouble;

  it('trial_waits_for_them_and_the_release_is_not_at_fault', async () => {
    device.runtime.failServe = (version) => (version === '1.1.0' ? lost : null);
    await settle(device, assignmentFor(v2, 2), 40);
    expect(device.driver.record).toMatchObject({ state: 'swapped', trialFaults: 0 });
    expect(trouble()?.code).toBe('installation_incomplete');
    device.runtime.failServe = null;
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(trouble()).toBeNull();
  });

  it('probe_is_tried_for_as_long_as_they_are_missing', async () => {
    const probe = device.runtime.probe.bind(device.runtime);
    device.runtime.probe = () => Promise.reject(lost);
    await settle(device, assignmentFor(v2, 2), 40);
    expect(device.driver.record.state).toBe('staged');
    expect(trouble()?.code).toBe('installation_incomplete');
    device.runtime.probe = probe;
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });
});

describe('a confirmed release that breaks later', () => {
  const looping = { conditions: [], crashLoop: 'its process crashed 5 times within 60 s' };
  const body = () =>
    device.reports.filter(({ kind }) => kind === 'update').at(-1)?.body as UpdateBody;
  beforeEach(async () => {
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
  });

  it('crash_loop_goes_back_to_the_release_in_the_other_slot_by_itself', async () => {
    device.runtime.standings.set('1.1.0', looping);
    await settle(device, assignmentFor(v2, 2), 5);
    expect(device.runtime.serving).toBe('1.0.0');
    expect(outcome()).toMatchObject({
      result: 'rolled_back',
      code: 'model_crash_loop',
      release: { version: '1.1.0' },
      assignmentId: 2,
    });
    // The same assignment does not bring it back, nor does a restart.
    await settle(device, assignmentFor(v2, 2), 20);
    device = await bootDevice(disk, releases);
    expect(device.runtime.serving).toBe('1.0.0');
  });

  it('crash_loop_without_another_release_goes_on_and_reads_the_disk_once', async () => {
    device.runtime.standings.set('1.1.0', looping).set('1.0.0', looping);
    await settle(device, assignmentFor(v2, 2), 5);
    const operations = disk.operations;
    await settle(device, assignmentFor(v2, 2), 20);
    expect(device.runtime.serving).toBe('1.0.0');
    expect(device.driver.record.active).not.toBeNull();
    expect(disk.operations).toBe(operations);
  });

  it('release_that_never_starts_again_gives_way_but_not_for_the_installation', async () => {
    let fault = new Fault('installation_incomplete', 'this installation lacks host-child.js');
    const failServe = (version: string): Fault | null => (version === '1.1.0' ? fault : null);
    device = await bootDevice(disk, releases, { failServe });
    const wait = async (ticks: number): Promise<void> => {
      for (let tick = 0; tick < ticks; tick += 1) {
        device.clock.at += limits.stepBackoffMaxMs;
        await device.driver.tick();
      }
    };
    await wait(3 * limits.activationTriesMaxCount);
    expect(device.driver.record.outcome).toMatchObject({ result: 'confirmed' });
    expect(body().trouble?.code).toBe('installation_incomplete');
    fault = new Fault('host_start', 'exit code 1');
    await wait(2 * limits.activationTriesMaxCount);
    expect(device.runtime.serving).toBe('1.0.0');
    expect(outcome()).toMatchObject({ code: 'model_crash_loop', release: { version: '1.1.0' } });
  });

  it('new_condition_is_reported_at_once', async () => {
    const conditions = [
      { code: 'hangs' as const, count: 1, since: 1, detail: 'hung and was killed' },
    ];
    device.runtime.standings.set('1.1.0', { conditions, crashLoop: null });
    await device.driver.tick();
    expect(body().conditions).toEqual(conditions);
  });
});
