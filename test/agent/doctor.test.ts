// What the doctor of the agent finds, each by a device that lacks one thing; and once by this
// machine, as the command.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentSettings, agentSettings } from '../../agent/config.js';
import { agentFindings, requireInstallation, type DoctorProbes } from '../../agent/doctor.js';
import { deviceProbes } from '../../agent/doctor-probes.js';
import { initRepository } from '../../firmware-tools/release/repository.js';
import { inputFiles } from '../../shared/base/config.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { findingsText, isHealthy, type Finding } from '../../shared/base/findings.js';
import { limits } from '../../shared/base/limits.js';
import { DAY_MS } from '../../shared/base/units.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';

let home: string;
let healthy: DoctorProbes;
let config: string;
let server: Server;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'linnet-doctor-'));
  const { trust } = await initRepository({
    out: join(home, 'fleet'),
    passphrase: null,
    clock: realClock,
    random: realRandom,
  });
  server = createServer((_, response) => {
    response.writeHead(401, { 'linnet-time': String(Date.now()) }).end();
  });
  await new Promise<void>((listens) => server.listen(0, '127.0.0.1', listens));
  const { port } = server.address() as AddressInfo;
  config = `
    name = "d"
    hardware = "linux-any"
    components = ["digits"]
    data_dir = "${join(home, 'data')}"
    [server]
    url = "http://127.0.0.1:${port}"
    [trust]
    image_root = "${join(trust, 'image-root.json')}"
    director_root = "${join(trust, 'director-root.json')}"`;
  const roots = {
    imageRoot: readFileSync(join(trust, 'image-root.json')),
    directorRoot: readFileSync(join(trust, 'director-root.json')),
  };
  healthy = {
    config: 'agent.toml',
    file: () => new Uint8Array(),
    node: { version: '20.19.0', modules: '115', system: 'linux arm64' },
    glibc: () => '2.36',
    missingFiles: () => [],
    sqliteFailure: () => null,
    onnxFailure: () => Promise.resolve(null),
    settings: () => agentSettings(config, {}),
    user: 999,
    folder: () => ({ problem: null, exists: true, owner: 999, mode: 0o700 }),
    freeBytes: () => limits.doctorFreeMinBytes,
    roots: () => roots,
    certificates: () => undefined,
    identity: () => ({ key: true, claim: false }),
    listenFailure: () => Promise.resolve(null),
    server: () =>
      Promise.resolve({ failure: null, status: 401, headers: { 'linnet-time': '1000000' } }),
    now: () => 1_000_000,
  };
});

afterAll(() => {
  server.close();
  rmSync(home, { recursive: true });
});

/** What is not good of a device that differs from a healthy one by `change`. */
async function complaints(change: Partial<DoctorProbes>): Promise<Finding[]> {
  const findings = await agentFindings({ ...healthy, ...change });
  for (const { state, todo } of findings)
    expect(todo === undefined).toBe(state === 'good' || state === 'skipped');
  return findings.filter(({ state }) => state !== 'good');
}

const one = (check: string, state: Finding['state'], found: string): unknown[] => [
  expect.objectContaining({ check, state, found: expect.stringContaining(found) as string }),
];

describe('the installation', () => {
  it('device_that_lacks_nothing_is_healthy', async () => {
    const findings = await agentFindings(healthy);
    expect(findings.map(({ state }) => state)).toEqual(Array(14).fill('good'));
    expect(isHealthy(findings)).toBe(true);
    expect(() => requireInstallation(healthy)).not.toThrow();
  });

  it('every_setting_that_names_a_file_is_found_and_has_a_check', async () => {
    const own = agentSettings(
      config.replace('[server]', '[server]\n ca_file = "/ca"\n claim_file = "/claim"'),
      {},
    );
    expect(inputFiles(AgentSettings, own).map(({ setting }) => setting)).toEqual([
      'server.claim_file',
      'server.ca_file',
      'trust.image_root',
      'trust.director_root',
    ]);
    const claim = () => {
      throw new Fault('config_invalid', 'cannot read server.claim_file /claim');
    };
    expect(await complaints({ identity: claim })).toEqual(one('enrolment', 'bad', '/claim'));
  });

  it('old_node_is_bad', async () => {
    const node = { version: '20.18.1', modules: '115', system: 'linux x64' };
    expect(await complaints({ node })).toEqual(one('Node.js', 'bad', '20.18.1'));
  });

  it('node_without_its_native_module_is_bad_and_keeps_the_agent_from_starting', async () => {
    const change = { sqliteFailure: () => 'Cannot find module abi131/better_sqlite3.node' };
    expect(await complaints(change)).toEqual(one('SQLite module', 'bad', 'abi131'));
    let fault: unknown;
    try {
      requireInstallation({ ...healthy, ...change });
    } catch (error) {
      fault = error;
    }
    expect(fault).toBeInstanceOf(Fault);
    expect((fault as Fault).code).toBe('installation_incomplete');
    expect((fault as Fault).detail).toMatch(/SQLite module.*abi131[^]*-> it must be made for/);
  });

  it('musl_is_bad_and_an_old_glibc_a_warning', async () => {
    expect(await complaints({ glibc: () => null })).toEqual(one('C library', 'bad', 'no glibc'));
    expect(await complaints({ glibc: () => '2.31' })).toEqual(one('C library', 'warning', '2.31'));
    const node = { version: '24.0.0', modules: '137', system: 'darwin arm64' };
    expect(await complaints({ node, glibc: () => null })).toEqual([]);
  });

  it('missing_files_are_all_named_and_onnx_runtime_is_not_tried', async () => {
    expect(
      await complaints({
        missingFiles: () => ['/a.js', '/b.node'],
        onnxFailure: () => Promise.reject(new Error('must not be called')),
      }),
    ).toEqual([
      ...one('program files', 'bad', '/a.js and /b.node'),
      ...one('ONNX Runtime', 'skipped', ''),
    ]);
  });

  it('onnx_runtime_that_does_not_load_is_bad', async () => {
    const onnxFailure = () => Promise.resolve('exit code 1 invalid ELF header');
    expect(await complaints({ onnxFailure })).toEqual(one('ONNX Runtime', 'bad', 'ELF'));
  });
});

describe('the configuration and what it names', () => {
  it('wrong_configuration_is_bad_and_what_it_names_is_skipped', async () => {
    const found = await complaints({ settings: () => agentSettings('name = "d"', {}) });
    expect(found[0]).toEqual(expect.objectContaining({ check: 'configuration', state: 'bad' }));
    expect(found.slice(1).map(({ state }) => state)).toEqual(Array(8).fill('skipped'));
  });

  it('data_folder_that_cannot_be_written_is_bad', async () => {
    const folder = () => ({ problem: '/d: EACCES', exists: true, owner: 0, mode: 0o700 });
    expect(await complaints({ folder })).toEqual(one('data folder', 'bad', 'EACCES'));
  });

  it('data_folder_of_another_user_or_open_to_others_is_a_warning', async () => {
    const state = { problem: null, exists: true, owner: 0, mode: 0o700 };
    expect(await complaints({ folder: () => state })).toEqual(
      one('data folder', 'warning', 'belongs to user 0'),
    );
    expect(await complaints({ folder: () => ({ ...state, owner: 999, mode: 0o755 }) })).toEqual(
      one('data folder', 'warning', 'open to other users'),
    );
    expect(await complaints({ folder: () => ({ ...state, exists: false }) })).toEqual([]);
  });

  it('full_disk_is_bad', async () => {
    const freeBytes = () => limits.doctorFreeMinBytes - 1;
    expect(await complaints({ freeBytes })).toEqual(one('disk', 'bad', '255 MiB free'));
  });

  it('root_that_is_missing_or_damaged_is_bad_and_an_expired_one_a_warning', async () => {
    const missing = agentSettings(config.replace('image-root', 'no-root'), {});
    const { roots } = deviceProbes('', realClock);
    expect(await complaints({ settings: () => missing, roots })).toEqual(
      one('trusted roots', 'bad', 'no-root.json (there is no such file)'),
    );
    const empty = { imageRoot: new Uint8Array(2), directorRoot: new Uint8Array(2) };
    expect(await complaints({ roots: () => empty })).toEqual(one('trusted roots', 'bad', 'root'));
    const now = Date.now() + 10_000 * DAY_MS;
    const server = healthy.server;
    const late = await complaints({ now: () => now, server });
    expect(late[0]).toEqual(expect.objectContaining({ check: 'trusted roots', state: 'warning' }));
  });

  it('ca_file_without_a_certificate_is_bad', async () => {
    const certificates = () => Buffer.from('no PEM');
    expect(await complaints({ certificates })).toEqual(one('certificates', 'bad', 'holds no'));
    const broken = () =>
      Buffer.from('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----');
    expect(await complaints({ certificates: broken })).toEqual(one('certificates', 'bad', ''));
  });

  it('device_without_key_and_claim_is_told_that_it_waits_for_approval', async () => {
    const identity = () => ({ key: false, claim: false });
    expect(await complaints({ identity })).toEqual(one('enrolment', 'warning', 'neither'));
    expect(await complaints({ identity: () => ({ key: false, claim: true }) })).toEqual([]);
  });

  it('claim_file_that_is_not_there_is_named', async () => {
    const settings = () =>
      agentSettings(config.replace('[server]', '[server]\n claim_file = "/etc/linnet/claim"'), {});
    const [finding] = await complaints({
      settings,
      identity: () => ({ key: false, claim: false }),
    });
    expect(finding?.found).toContain('server.claim_file /etc/linnet/claim is not there');
  });

  it.each([
    ['EADDRINUSE', 'warning'],
    ['EADDRNOTAVAIL', 'bad'],
    ['EACCES', 'bad'],
  ] as const)('address_of_the_api_that_gives_%s_is_%s', async (code, state) => {
    const listenFailure = () => Promise.resolve(code);
    expect(await complaints({ listenFailure })).toEqual(
      one('API address', state, '127.0.0.1:7310'),
    );
  });

  it.each([
    ['/srv/x', { exists: true }, 'chown -R linnet: /srv/x'],
    ['/srv/x', { exists: false }, 'install -d -m 0700 -o linnet -g linnet /srv/x'],
    ['/etc/passwd', { exists: true, isOther: true }, 'name a folder by data_dir'],
    ['data', { exists: true }, 'name a folder by data_dir'],
  ])('advice_for_the_data_folder_%s_%j_does_no_harm', async (path, state, advice) => {
    const settings = () =>
      agentSettings(config.replace(/data_dir = .*/, `data_dir = "${path}"`), {});
    const folder = () => ({ problem: 'EACCES', owner: 0, mode: 0o755, ...state });
    const [finding] = await complaints({ settings, folder });
    expect(finding).toMatchObject({ check: 'data folder', state: 'bad' });
    expect(finding?.todo).toContain(advice);
  });
});

describe('the server', () => {
  const answering = (failure: string | null, headers = {}) => ({
    server: () => Promise.resolve({ failure, status: failure === null ? 200 : 0, headers }),
  });
  const noClock = one('clock', 'skipped', '');

  it('server_that_cannot_be_reached_is_a_warning_because_the_agent_serves_without_it', async () => {
    expect(await complaints(answering('ECONNREFUSED'))).toEqual([
      ...one('server', 'warning', 'ECONNREFUSED'),
      ...noClock,
    ]);
  });

  it('certificate_that_is_not_trusted_is_bad', async () => {
    const [finding, ...rest] = await complaints(answering('DEPTH_ZERO_SELF_SIGNED_CERT'));
    expect([finding]).toEqual(one('server', 'bad', 'SELF_SIGNED'));
    expect(finding?.todo).toContain('ca_file');
    expect(rest).toEqual(noClock);
  });

  it('another_http_server_is_bad', async () => {
    expect(await complaints(answering(null))).toEqual([
      ...one('server', 'bad', 'no fleet server'),
      ...noClock,
    ]);
  });

  it('clock_that_is_wrong_is_a_warning', async () => {
    const at = (ms: number) => answering(null, { 'linnet-time': String(1_000_000 + ms) });
    expect(await complaints(at(limits.clockErrorShownMs))).toEqual([]);
    expect(await complaints(at(limits.clockErrorShownMs + 1))).toEqual(
      one('clock', 'warning', '60 s behind'),
    );
    expect(await complaints(at(-120_000))).toEqual(one('clock', 'warning', '120 s ahead of'));
  });
});

describe('the command', () => {
  it('this_machine_has_what_the_agent_needs', async () => {
    const file = join(home, 'agent.toml');
    writeFileSync(file, config);
    const findings = await agentFindings(deviceProbes(file, realClock));
    const states = Object.fromEntries(findings.map(({ check, state }) => [check, state]));
    // The sources have no compiled model process beside them.
    const { 'program files': _files, 'ONNX Runtime': _onnx, enrolment, ...rest } = states;
    expect(enrolment).toBe('warning');
    expect(new Set(Object.values(rest)), findingsText(findings)).toEqual(new Set(['good']));
  });

  it('command_prints_every_finding_and_its_exit_code_says_whether_one_is_bad', () => {
    const file = join(home, 'wrong.toml');
    writeFileSync(file, 'name = 1');
    const args = ['dist/firmware-tools/cli/main.js', 'agent', 'doctor', '--config', file];
    const { status, stdout, stderr } = spawnSync(process.execPath, [...args, '--json'], {
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(status).toBe(6);
    const { healthy: isWell, findings } = JSON.parse(stdout) as {
      healthy: boolean;
      findings: Finding[];
    };
    expect(isWell).toBe(false);
    expect(findings.slice(0, 6).map(({ check, state }) => [check, state])).toEqual([
      ['Node.js', 'good'],
      ['C library', 'good'],
      ['program files', 'good'],
      ['SQLite module', 'good'],
      ['ONNX Runtime', 'good'],
      ['configuration', 'bad'],
    ]);
  });
});
