// The update machine with a second payload kind: a plain file that a command checks. The machine
// knows only the handler, so everything that holds for models holds for it.
import { beforeEach, describe, expect, it } from 'vitest';
import { ModelHandler } from '../../../../agent/update/payload/model.js';
import { bootDevice, settle, SimRuntime, type SimDevice } from '../../../sim/device.js';
import { SimDisk } from '../../../sim/disk.js';
import { seeded } from '../../../support/random.js';
import { FileHandler, fileRelease } from '../../../sim/file-handler.js';
import { assignmentFor, simRelease, type AnySimRelease } from '../../../sim/release.js';
import { trialEvidence } from '../../../support/trial-evidence.js';

const v1 = fileRelease('1.0.0');
const v2 = fileRelease('1.1.0');
const failsProbe = fileRelease('1.2.0', 'probe');
const failsTrial = fileRelease('1.2.0', 'trial');
const model = simRelease('2.0.0');
const releases: AnySimRelease[] = [v1, v2, failsTrial, failsProbe, model];

let disk: SimDisk;
let handler: FileHandler;
let device: SimDevice;

async function boot(): Promise<void> {
  handler = new FileHandler(disk);
  device = await bootDevice(disk, releases, { handlers: [handler] });
}

beforeEach(async () => {
  disk = new SimDisk(seeded(1));
  await boot();
  await settle(device, assignmentFor(v1, 1));
});

const outcome = () => device.driver.record.outcome;

describe('a payload of another kind', () => {
  it('update_is_installed_probed_activated_and_confirmed', async () => {
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 1 });
    await settle(device, assignmentFor(v2, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(outcome()?.detail).toBe(
      'the command accepts the file in use; no cold start: a file has no process',
    );
    expect(handler.history).toEqual(['1.0.0', '1.1.0']);
  });

  it('failed_probe_never_serves', async () => {
    await settle(device, assignmentFor(failsProbe, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'probe_differs' });
    expect(handler.history).toEqual(['1.0.0']);
  });

  it('failed_trial_is_rolled_back', async () => {
    await settle(device, assignmentFor(failsTrial, 2));
    expect(outcome()).toMatchObject({ result: 'rolled_back', code: 'trial_errors' });
    expect(handler.history).toEqual(['1.0.0', '1.2.0', '1.0.0']);
  });

  it('confirmed_release_is_rolled_back_by_a_signed_assignment', async () => {
    await settle(device, assignmentFor(v2, 2));
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(outcome()).toMatchObject({ result: 'reverted', assignmentId: 3 });
    expect(handler.serving).toBe('1.0.0');
  });

  it('restart_serves_what_was_confirmed_and_never_damaged_bytes', async () => {
    await settle(device, assignmentFor(v2, 2));
    await boot();
    expect(handler.serving).toBe('1.1.0');
    disk.damage('/data/components/digits/slots/b/settings.txt');
    await boot();
    expect(handler.serving).toBe('1.0.0');
  });

  it('trial_without_evidence_sends_no_trial_report', () => {
    expect(device.reports.filter(({ kind }) => kind === 'trial')).toEqual([]);
  });

  it('assignment_withdrawn_from_a_first_release_deactivates_it', async () => {
    await settle(device, null, 3);
    expect(handler.serving).toBeNull();
  });
});

describe('kinds of one component', () => {
  it('kind_without_a_handler_is_refused_before_its_files_are_fetched', async () => {
    device.fetcher.opened = [];
    await settle(device, assignmentFor(model, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'payload_unsupported' });
    expect(outcome()?.detail).toMatch(/is of kind model; known here: file/);
    expect(device.fetcher.opened).toEqual([]);
    expect(handler.serving).toBe('1.0.0');
  });

  it('release_of_another_kind_replaces_and_deactivates_the_previous_one', async () => {
    handler = new FileHandler(disk);
    const runtime = new SimRuntime(disk);
    runtime.evidenceNow = trialEvidence({ comparable: false });
    const resources = { memoryAvailableBytes: () => Promise.resolve(1e10) };
    device = await bootDevice(disk, releases, {
      handlers: [handler, new ModelHandler({ runtime, resources })],
    });
    await settle(device, assignmentFor(model, 2, { trial: { minPairs: 0, minSeconds: 0 } }), 20);
    expect(runtime.serving).toBe('2.0.0');
    expect(runtime.beside).toBeNull();
    expect(handler.serving).toBeNull();
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(outcome()).toMatchObject({ result: 'reverted', assignmentId: 3 });
    expect(handler.serving).toBe('1.0.0');
    expect(runtime.serving).toBeNull();
  });
});
