// Bad releases on real parts, each the way a person or an attacker would cause it: a real server,
// real agents that serve digits 1.0.0 under traffic, genuine signatures. Each time the device
// refuses with the code that says why, the server hears of it, and the device goes on answering
// with what it had. Over 400 lines because all cases share one fleet, which is slow to start.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeRecord, type UpdateRecord } from '../../agent/update/record.js';
import { readSigningKey } from '../../firmware-tools/release/keys/key-files.js';
import { loadDigits } from '../../firmware-tools/demo/digits/data.js';
import { Traffic, digitTask } from '../../firmware-tools/demo/traffic.js';
import {
  manifestBytes,
  RELEASE_PAYLOAD_TYPE,
  type Manifest,
} from '../../shared/release/manifest.js';
import type { ModelFile } from '../../shared/release/model-manifest.js';
import { fileOf, type Probes } from '../../shared/release/model-manifest.js';
import { targetPath } from '../../shared/release/release-ref.js';
import {
  DeviceDetail,
  ReleaseDetail,
  RepositoryView,
  RolloutDetail,
  type RolloutPolicy,
} from '../../shared/protocol/operator-api.js';
import type { Outcome } from '../../shared/protocol/telemetry.js';
import { realRandom } from '../../shared/platform/clock.js';
import { sha256, utf8 } from '../../shared/base/bytes.js';
import { signEnvelope } from '../../shared/trust/envelope.js';
import type { Signer } from '../../shared/trust/signer.js';
import { decodeDocument, signDocument } from '../../shared/trust/documents.js';
import { startFleet, type TestFleet } from '../support/fleet-server.js';
import {
  AgentProcess,
  CRASHING_AGENT,
  everybody,
  enrolledAndInstalled,
  freePorts,
  LINNET,
  publishDigits,
  quickPolicy,
  settled,
  until,
} from '../support/journey-devices.js';
import { mountSmallDisk, type SmallDisk } from '../support/small-disk.js';
import { isWhole } from '../support/whole.js';

const SMALL_DISK_MIB = 8;
const TRAFFIC_PER_SECOND = 60;
const run = promisify(execFile);
const digits = loadDigits().test;
/** Without autoRevert, so that the device's last report stays visible. */
const forAPerson = quickPolicy(everybody, { autoRevert: false });

let fleet: TestFleet;
/**
 * `main`: most attacks, under traffic all the time; `rebuilt`: its disk is tampered with; `moved`:
 * its board is swapped; `small`: its disk fills.
 */
let main: AgentProcess;
let rebuilt: AgentProcess;
let moved: AgentProcess;
let small: AgentProcess | null = null;
let smallDisk: SmallDisk | null = null;
let traffic: Traffic;

beforeAll(async () => {
  fleet = await startFleet();
  await publishDigits(fleet, '1.0.0');
  await publishDigits(fleet, '1.1.0');
  if (isWhole) smallDisk = mountSmallDisk(SMALL_DISK_MIB, 'full disk');
  const ports = await freePorts(4);
  const make = (name: string, at: number, dataDir?: string): Promise<AgentProcess> =>
    AgentProcess.make(fleet, name, ports[at] ?? 0, {
      group: name,
      ...(dataDir === undefined ? {} : { dataDir }),
    });
  main = await make('main', 0);
  rebuilt = await make('rebuilt', 1);
  moved = await make('moved', 2);
  if (smallDisk !== null) small = await make('small', 3, smallDisk.folder);
  const devices = agents();
  for (const device of devices) device.start();
  await enrolledAndInstalled(fleet, devices.length);
  traffic = new Traffic({ port: main.port, task: digitTask(digits), first: 0 });
  traffic.start(TRAFFIC_PER_SECOND);
}, 120_000);

afterAll(async () => {
  await traffic.stop();
  await Promise.all(agents().map((device) => device.stop()));
  await fleet.close();
  smallDisk?.unmount();
}, 60_000);

const agents = (): AgentProcess[] => [main, rebuilt, moved, ...(small === null ? [] : [small])];

const detailOf = (device: AgentProcess): Promise<DeviceDetail> =>
  fleet.admin.request('GET', `/devices/${device.name}`, DeviceDetail);

const securityCodes = async (device: AgentProcess): Promise<string[]> =>
  (await detailOf(device)).security.map(({ code }) => code);

const componentFolder = (device: AgentProcess): string =>
  join(fleet.folder, 'devices', device.name, 'data', 'components', 'digits');

function recordOf(device: AgentProcess): UpdateRecord {
  const record = decodeRecord(
    new Uint8Array(readFileSync(join(componentFolder(device), 'record.json'))),
  );
  if ('unreadable' in record) throw new Error(record.unreadable);
  return record;
}

/** One byte of a file is another one afterwards; calling it again restores the file. */
function flipByte(path: string): void {
  const bytes = readFileSync(path);
  const at = bytes.length >> 1;
  bytes[at] = (bytes[at] ?? 0) ^ 0x01;
  writeFileSync(path, bytes);
}

const serverFile = (digest: string): string =>
  join(fleet.folder, 'repo', 'server', 'files', digest);

async function manifestOf(version: string): Promise<Manifest> {
  return (await fleet.admin.request('GET', `/releases/digits/${version}`, ReleaseDetail)).manifest;
}

/**
 * Release 1.0.0 with other bytes in the files of some roles, and whatever else `change` makes of
 * its manifest.
 */
async function forged(
  version: string,
  bytesOf: Partial<Record<ModelFile['role'], Uint8Array>>,
  change: Partial<Manifest> = {},
): Promise<{ manifest: Manifest; files: Uint8Array[] }> {
  const base = await manifestOf('1.0.0');
  const files = base.files.map((file): ModelFile => {
    const bytes = bytesOf[file.role];
    return bytes === undefined ? file : { ...file, sha256: sha256(bytes), length: bytes.length };
  });
  return { manifest: { ...base, version, files, ...change }, files: Object.values(bytesOf) };
}

/**
 * Signs with the real keys and publishes over the API what `bundle build` would refuse to build.
 */
async function publishByHand({
  manifest,
  files,
}: {
  manifest: Manifest;
  files: readonly Uint8Array[];
}): Promise<void> {
  const key = (name: string): Promise<Signer> =>
    readSigningKey(join(fleet.folder, 'repo', 'offline', `${name}.key.json`), {});
  const envelope = utf8(
    JSON.stringify(
      await signEnvelope(RELEASE_PAYLOAD_TYPE, manifestBytes(manifest), [await key('release')]),
    ),
  );
  for (const bytes of files) await fleet.admin.putFile(sha256(bytes), [bytes], bytes.length);
  const view = await fleet.admin.request('GET', '/repository', RepositoryView);
  const { signed } = decodeDocument('targets', Buffer.from(view.targets, 'base64'));
  const { component, version, hardware } = manifest;
  const target = {
    length: envelope.length,
    hashes: { sha256: sha256(envelope) },
    custom: { component, version, hardware },
  };
  const targets = await signDocument(
    {
      ...signed,
      version: signed.version + 1,
      targets: { ...signed.targets, [targetPath(component, version)]: target },
    },
    [await key('image-targets')],
  );
  await fleet.admin.request('POST', '/releases', ReleaseDetail, {
    envelope: Buffer.from(envelope).toString('base64'),
    targets: Buffer.from(targets).toString('base64'),
  });
}

async function assignment(
  version: string,
  device: AgentProcess,
  policy: RolloutPolicy = forAPerson,
): Promise<string> {
  const body = { component: 'digits', version, policy, selector: { groups: [device.name] } };
  const { id } = await fleet.admin.request('POST', '/rollouts', RolloutDetail, body);
  await fleet.admin.request('POST', `/rollouts/${id}/start`, RolloutDetail, {});
  return id;
}

const outcomeOn = (device: AgentProcess, version: string): Promise<Outcome> =>
  until(`${device.name} tells what became of ${version}`, async () => {
    const outcome = (await detailOf(device)).device.updates[0]?.outcome ?? null;
    return outcome?.release.version === version ? outcome : null;
  });

async function requireAnswers(device: AgentProcess, version: string): Promise<void> {
  const one = new Traffic({ port: device.port, task: digitTask(digits), first: 0 });
  const image = digits.images[0] as Float32Array;
  expect(await one.classify(image)).toEqual({
    release: `digits@${version}`,
    digit: digits.labels[0],
  });
  await one.stop();
}

/**
 * Assigns a release, checks that the device refuses it with `code` while `still` keeps serving, and
 * withdraws the assignment.
 */
async function refused(
  device: AgentProcess,
  version: string,
  code: string,
  still = '1.0.0',
): Promise<void> {
  const id = await assignment(version, device);
  expect(await outcomeOn(device, version)).toMatchObject({ result: 'refused', code });
  await requireAnswers(device, still);
  const [update] = (await detailOf(device)).device.updates;
  expect(update).toMatchObject({ state: 'idle', updatingTo: null, running: { version: still } });
  const view = await settled(fleet, id);
  expect(view.state).toBe('held');
  expect(view.members[0]?.reasons).toContain(code);
  await rolledBack(id);
}

async function rolledBack(id: string): Promise<void> {
  await fleet.admin.request('POST', `/rollouts/${id}/abort`, RolloutDetail, {});
  expect((await settled(fleet, id)).state).toBe('reverted');
}

/** Real traffic gives the trial its evidence. */
async function confirmedUnderTraffic(version: string, device: AgentProcess): Promise<void> {
  const own =
    device === main
      ? null
      : new Traffic({ port: device.port, task: digitTask(digits), first: 500 });
  await own?.startWhenReady(TRAFFIC_PER_SECOND);
  const view = await settled(fleet, await assignment(version, device));
  await own?.stop();
  expect(view.state, view.reasons.join(' ')).toBe('completed');
  expect(own?.counts.lost ?? 0).toBe(0);
  await requireAnswers(device, version);
}

describe('a genuinely signed release that is bad', () => {
  it('holds_no_onnx_model_and_is_found_out_by_the_probe', async () => {
    await publishByHand(
      await forged('2.0.1', { model: utf8('GIF89a, not a model at all. '.repeat(500)) }),
    );
    await refused(main, '2.0.1', 'model_not_onnx');
  });

  it('declares_other_tensors_than_its_model_has', async () => {
    const base = await manifestOf('1.0.0');
    const probes = JSON.parse(
      readFileSync(serverFile(fileOf(base, 'probes').sha256), 'utf8'),
    ) as Probes;
    for (const { inputs } of probes.probes) {
      for (const input of inputs) {
        const singles = new Uint8Array(Buffer.from(input.data, 'base64'));
        input.datatype = 'FP64';
        input.data = Buffer.from(
          Float64Array.from(new Float32Array(singles.buffer)).buffer,
        ).toString('base64');
      }
    }
    const inputs = base.inputs.map((input) => ({ ...input, datatype: 'FP64' as const }));
    await publishByHand(
      await forged('2.0.2', { probes: utf8(JSON.stringify(probes)) }, { inputs }),
    );
    await refused(main, '2.0.2', 'model_tensors_differ');
  });

  it('answers_its_golden_probes_otherwise_on_this_device', async () => {
    await publishByHand(await forged('2.0.3', { model: await otherModel() }));
    await refused(main, '2.0.3', 'probe_differs');
    // It was genuine, but it never ran: it is nothing to fall back on, and nothing to be ordered
    // back to.
    expect((await detailOf(main)).device.updates[0]?.previous).toBeNull();
  });

  it('was_tampered_with_on_the_servers_disk_and_installs_once_that_is_restored', async () => {
    const model = serverFile(fileOf(await manifestOf('1.1.0'), 'model').sha256);
    flipByte(model);
    await refused(main, '1.1.0', 'file_digest');
    expect(await securityCodes(main)).toContain('file_digest');
    flipByte(model);
    await confirmedUnderTraffic('1.1.0', main);
  });

  it('is_older_than_the_confirmed_one', async () => {
    await expect(assignment('1.0.0', main)).rejects.toThrow(
      /1 device runs a newer release and would refuse 1\.0\.0: main \(1\.1\.0\)/,
    );
  });

  it('never_cost_a_request_and_never_answered_one', async () => {
    await traffic.stop();
    expect(traffic.counts.lost, traffic.counts.complaints.join('; ')).toBe(0);
    expect([...traffic.counts.byRelease.keys()].sort()).toEqual(['digits@1.0.0', 'digits@1.1.0']);
    const { sent, byRelease } = traffic.counts;
    expect([...byRelease.values()].reduce((sum, { served }) => sum + served, 0)).toBe(sent);
  });
});

/** The model of 1.1.0 under the goldens of 1.0.0. */
async function otherModel(): Promise<Uint8Array> {
  return new Uint8Array(
    readFileSync(serverFile(fileOf(await manifestOf('1.1.0'), 'model').sha256)),
  );
}

describe('the wrong hardware', () => {
  it('a_rollout_that_no_device_can_take_is_refused_with_a_reason', async () => {
    await publishByHand(await forged('3.0.0', {}, { hardware: ['other-board'] }));
    const env = {
      ...process.env,
      LINNET_SERVER: fleet.server.address,
      LINNET_TOKEN: fleet.adminToken,
    };
    const line = [LINNET, 'rollout', 'create', 'digits@3.0.0', '--canary', 'main'];
    const failure = (await run(process.execPath, line, { env }).catch(
      (error: unknown) => error,
    )) as {
      code: number;
      stderr: string;
    };
    expect(failure.code).not.toBe(0);
    expect(failure.stderr).toContain('conflict');
    expect(failure.stderr).toContain('can take this release');
    const whole = { component: 'digits', version: '3.0.0', policy: forAPerson };
    await expect(fleet.admin.request('POST', '/rollouts', RolloutDetail, whole)).rejects.toThrow(
      'no enrolled device carries digits on other-board',
    );
  });

  it('a_device_whose_board_was_swapped_after_the_order_refuses_it', async () => {
    await moved.stop();
    moved.start(CRASHING_AGENT, ['assigned', 'after']);
    await until('it serves again', async () => (await moved.serving()) === '1.0.0');
    const id = await assignment('1.1.0', moved);
    expect(await moved.died(), moved.stderr).toBe('SIGKILL');
    expect(recordOf(moved)).toMatchObject({ state: 'assigned', assignment: { version: '1.1.0' } });
    const before = readFileSync(moved.config, 'utf8');
    writeFileSync(moved.config, before.replace('hardware = "sim"', 'hardware = "other-board"'));
    moved.start();
    expect(await outcomeOn(moved, '1.1.0')).toMatchObject({
      result: 'refused',
      code: 'hardware_unsupported',
    });
    await requireAnswers(moved, '1.0.0');
    expect((await settled(fleet, id)).state).toBe('held');

    await moved.stop();
    writeFileSync(moved.config, before);
    moved.start();
    await until('it serves again', async () => (await moved.serving()) === '1.0.0');
    await rolledBack(id);
  });
});

describe('a model whose bytes changed on the device while its agent was stopped', () => {
  /** Every version that the device serves from now until it serves `last`. */
  async function servedUntil(device: AgentProcess, last: string): Promise<Set<string>> {
    const seen = new Set<string>();
    await until(`${device.name} serves ${last}`, async () => {
      const version = await device.serving();
      if (version !== null) seen.add(version);
      return version === last;
    });
    return seen;
  }

  async function tamperedWithAndRestarted(device: AgentProcess): Promise<void> {
    await device.stop();
    const { active, slots } = recordOf(device);
    if (active === null) throw new Error(`${device.name} serves nothing`);
    const manifest = await manifestOf(slots[active]?.version ?? '');
    flipByte(join(componentFolder(device), 'slots', active, fileOf(manifest, 'model').name));
    device.start();
  }

  it('is_never_loaded_and_the_previous_release_serves_until_its_bytes_are_fetched_again', async () => {
    const events = (await securityCodes(main)).filter((code) => code === 'file_digest').length;
    await tamperedWithAndRestarted(main);
    await until('the server hears of it', async () => {
      const { security, outcomes } = await detailOf(main);
      const heard = security.filter(({ code }) => code === 'file_digest').length > events;
      const fellBack = outcomes.some(
        ({ outcome }) =>
          outcome.result === 'rolled_back' &&
          outcome.code === 'file_digest' &&
          outcome.release.version === '1.0.0',
      );
      return heard && fellBack;
    });
    // The director still names 1.1.0, which the last rollback assigned.
    for (const version of await servedUntil(main, '1.1.0'))
      expect(['1.0.0', '1.1.0']).toContain(version);
    await requireAnswers(main, '1.1.0');
    traffic = new Traffic({ port: main.port, task: digitTask(digits), first: 0 });
    traffic.start(TRAFFIC_PER_SECOND);
    await confirmedUnderTraffic('1.1.0', main);
  });

  it('is_not_replaced_by_a_release_that_failed_its_probes_and_an_assignment_repairs', async () => {
    await publishByHand(await forged('2.0.4', { model: await otherModel() }));
    const id = await assignment('2.0.4', rebuilt);
    expect(await outcomeOn(rebuilt, '2.0.4')).toMatchObject({ code: 'probe_differs' });
    expect((await settled(fleet, id)).state).toBe('held');
    await tamperedWithAndRestarted(rebuilt);
    await until('the server hears of it', async () =>
      (await securityCodes(rebuilt)).includes('file_digest'),
    );
    await until(
      'it says that nothing serves',
      async () => (await detailOf(rebuilt)).device.updates[0]?.running === null,
    );
    expect(await rebuilt.serving()).toBeNull();
    await fleet.admin.request('POST', `/rollouts/${id}/abort`, RolloutDetail, {});
    expect(await servedUntil(rebuilt, '1.0.0')).toEqual(new Set(['1.0.0']));
    expect((await settled(fleet, id)).state).toBe('reverted');
    await requireAnswers(rebuilt, '1.0.0');
  });
});

describe.skipIf(!isWhole)('a disk that is full (npm run test:whole)', () => {
  const extra = (
    version: string,
    bytes: number,
  ): Promise<{ manifest: Manifest; files: Uint8Array[] }> => {
    const content = realRandom.bytes(bytes);
    return forged(version, {}).then(({ manifest }) => ({
      manifest: {
        ...manifest,
        files: [
          ...manifest.files,
          {
            name: 'extra.bin',
            role: 'other' as const,
            sha256: sha256(content),
            length: content.length,
          },
        ],
      },
      files: [content],
    }));
  };

  it('has_no_room_for_a_release_and_takes_the_next_one_that_fits', async (test) => {
    if (small === null) return test.skip('a_tmpfs_cannot_be_mounted_here');
    await publishByHand(await extra('4.0.0', (SMALL_DISK_MIB + 1) * 1024 * 1024));
    await refused(small, '4.0.0', 'contract_disk');
    await publishByHand(await extra('4.0.1', 64 * 1024));
    await confirmedUnderTraffic('4.0.1', small);
  });

  it('fills_up_in_the_middle_of_an_update_and_the_agent_serves_on_over_a_restart', async (test) => {
    if (small === null || smallDisk === null) return test.skip('a_tmpfs_cannot_be_mounted_here');
    const release = await extra('4.0.2', 64 * 1024);
    await publishByHand(release);
    const missing = serverFile(sha256(release.files[0] as Uint8Array));
    const bytes = readFileSync(missing);
    rmSync(missing);
    const id = await assignment('4.0.2', small);
    const incoming = join(smallDisk.folder, 'components', 'digits', 'incoming');
    await until('the device fetches in vain', () =>
      readdirSync(incoming, { recursive: true }).some((name) =>
        String(name).endsWith('release.dsse.json'),
      ),
    );

    // Held still meanwhile, so that it meets the disk full to the last page, not nearly full.
    const ballast = join(smallDisk.folder, 'ballast');
    small.child?.kill('SIGSTOP');
    expect(fill(ballast)).toBe('ENOSPC');
    small.child?.kill('SIGCONT');
    await until(
      'it cannot even write the failure down',
      () => small?.stderr.includes('cannot write the update record') === true,
      30_000,
    );
    await requireAnswers(small, '4.0.1');
    await small.stop();
    expect(small.child?.exitCode, small.stderr).toBe(0);
    // Its end freed the log of the spool, room to write down that the release does not fit.
    expect(fill(ballast)).toBe('ENOSPC');
    small.start();
    await until('it serves from the full disk', async () => (await small?.serving()) === '4.0.1');

    const own = new Traffic({ port: small.port, task: digitTask(digits), first: 0 });
    own.start(TRAFFIC_PER_SECOND);
    rmSync(ballast);
    writeFileSync(missing, bytes);
    const view = await settled(fleet, id);
    await own.stop();
    expect(own.counts.lost).toBe(0);
    expect(view.state, view.reasons.join(' ')).toBe('completed');
    await requireAnswers(small, '4.0.2');
  });
});

/**
 * Writes until the file system takes no more, down to its last page; says with which error it
 * ended.
 */
function fill(path: string): string | undefined {
  let size = 1024 * 1024;
  for (;;) {
    try {
      writeFileSync(path, new Uint8Array(size), { flag: 'a' });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (size <= 1024) return code;
      size = size >> 1;
    }
  }
}
