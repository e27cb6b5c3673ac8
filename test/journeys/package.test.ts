// The programs of the packages, not of the tree. A .deb is built and unpacked; its agent enrols
// with a real server, installs a release, answers, and goes on after a restart; its server is
// prepared and serves. Packages have the native module of this installation and are not
// compressed: both would take minutes.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEVICE, SERVER, type PackageKind } from '../../firmware-tools/package/kinds.js';
import { NODE_MAJORS, type NodeMajor } from '../../firmware-tools/package/node-archives.js';
import { makePackage } from '../../firmware-tools/package/packages.js';
import { digest, isInstalled } from '../../firmware-tools/package/tools.js';
import { initRepository } from '../../firmware-tools/release/repository.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { makeClaim, startFleet, type TestFleet } from '../support/fleet-server.js';
import {
  agentConfig,
  enrolledAndInstalled,
  freePorts,
  publishDigits,
  until,
} from '../support/journey-devices.js';
import { isWhole } from '../support/whole.js';

const major = NODE_MAJORS.find((each) => process.versions.node.startsWith(`${each}.`));
const missing =
  process.platform !== 'linux' || process.arch !== 'x64' || major === undefined
    ? 'Linux on x64 with a Node.js that packages support'
    : ['dpkg-deb', 'xz'].find((program) => !isInstalled(program));

let fleet: TestFleet;
let agent: ChildProcess | null = null;

beforeAll(async () => {
  fleet = await startFleet();
}, 60_000);

afterAll(async () => {
  agent?.kill('SIGKILL');
  await fleet.close();
}, 60_000);

async function makeDeb(kind: PackageKind, out: string, major: NodeMajor): Promise<string> {
  mkdirSync(out);
  const made = await makePackage(kind, {
    arch: 'x64',
    withNode: false,
    majors: [major],
    installedModule: true,
    compression: 0,
    version: '0.1.0',
    epochSeconds: 1,
    out,
  });
  return made.at(-1) ?? '';
}

function start(root: string, config: string, claim: string): void {
  const program = join(root, 'usr/lib/linnet-agent/dist/agent/agent.js');
  agent = spawn(process.execPath, ['--max-semi-space-size=1', program, '--config', config], {
    cwd: root,
    env: { PATH: process.env['PATH'], LINNET_CLAIM: claim, MALLOC_ARENA_MAX: '1' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

async function stop(): Promise<void> {
  const child = agent;
  child?.kill('SIGTERM');
  await until('the agent stops', () => child?.exitCode === 0);
}

it.skipIf(!isWhole)(
  'agent_of_the_package_enrols_installs_answers_and_goes_on_after_a_restart',
  async (test) => {
    if (missing !== undefined || major === undefined) {
      console.log(`the package is not tested: it needs ${missing}`);
      return test.skip();
    }
    const deb = await makeDeb(DEVICE, join(fleet.folder, 'packages'), major);
    const again = await makeDeb(DEVICE, join(fleet.folder, 'other packages'), major);
    expect(digest('sha256', readFileSync(again))).toEqual(digest('sha256', readFileSync(deb)));
    const root = join(fleet.folder, 'root');
    expect(spawnSync('dpkg-deb', ['-x', deb, root]).status).toBe(0);

    const [port = 0] = await freePorts(1);
    const config = join(fleet.folder, 'agent.toml');
    writeFileSync(config, agentConfig(fleet, 'packaged', { port, pollSeconds: 1 }));
    mkdirSync(join(fleet.folder, 'devices', 'packaged'), { recursive: true });
    await publishDigits(fleet, '1.0.0');
    start(root, config, await makeClaim(fleet, 'fleet'));
    await enrolledAndInstalled(fleet, 1);

    const url = `http://127.0.0.1:${port}/v2/models/digits`;
    const ask = async (): Promise<unknown> => {
      const input = { name: 'image', shape: [1, 1, 28, 28], datatype: 'FP32' };
      const body = JSON.stringify({ inputs: [{ ...input, data: Array(784).fill(0.5) }] });
      const answer = await fetch(`${url}/infer`, { method: 'POST', body });
      expect(answer.status, await answer.clone().text()).toBe(200);
      return ((await answer.json()) as { outputs: { data: number[] }[] }).outputs[0]?.data;
    };
    const before = await ask();
    expect(before).toHaveLength(10);
    await stop();
    start(root, config, '');
    await until('it serves again', () =>
      fetch(url).then(
        (got) => got.ok,
        () => false,
      ),
    );
    expect(await ask()).toEqual(before);
    await stop();

    const documents = join(root, 'usr/share/doc/linnet-agent');
    const copyright = readFileSync(join(documents, 'copyright'), 'utf8');
    expect(copyright).toContain('onnxruntime-node 1.');
    expect(copyright).toContain('better-sqlite3 12.');
  },
  180_000,
);

it.skipIf(!isWhole)(
  'server_of_the_package_is_prepared_found_healthy_and_serves',
  async (test) => {
    if (missing !== undefined || major === undefined) return test.skip();
    const home = join(fleet.folder, 'server package');
    const deb = await makeDeb(SERVER, home, major);
    const root = join(home, 'root');
    expect(spawnSync('dpkg-deb', ['-x', deb, root]).status).toBe(0);
    const { server: repository } = await initRepository({
      out: join(home, 'fleet'),
      passphrase: null,
      clock: realClock,
      random: realRandom,
    });
    const [http = 0, mqtt = 0] = await freePorts(2);
    const config = join(home, 'fleet.toml');
    writeFileSync(
      config,
      `data_dir = "${join(home, 'data')}"\nrepository = "${repository}"\n` +
        `[http]\nport = ${http}\n[mqtt]\nport = ${mqtt}\n`,
    );
    const program = join(root, 'usr/lib/linnet-server/dist/server/server.js');
    const linnet = (...args: string[]) =>
      spawnSync(process.execPath, [program, ...args, '--config', config], { encoding: 'utf8' });
    const unprepared = linnet('doctor');
    expect(unprepared.status, unprepared.stderr).toBe(6);
    expect(unprepared.stdout).toContain('server init');
    const init = linnet('init', '--token-out', join(home, 'token'));
    expect(init.status, init.stderr).toBe(0);
    const prepared = linnet('doctor');
    expect(prepared.status, prepared.stdout).toBe(0);

    const child = spawn(process.execPath, [program, '--config', config], { stdio: 'ignore' });
    const url = `http://127.0.0.1:${http}`;
    try {
      await until('it is ready', () =>
        fetch(`${url}/readyz`).then(
          (got) => got.ok,
          () => false,
        ),
      );
      const token = readFileSync(join(home, 'token'), 'utf8').trim();
      const headers = { authorization: `Bearer ${token}` };
      expect((await fetch(`${url}/api/v1/devices`, { headers })).status).toBe(200);
      expect((await fetch(`${url}/openapi.json`)).status).toBe(200);
      child.kill('SIGTERM');
      await until('it stops', () => child.exitCode === 0);
    } finally {
      child.kill('SIGKILL');
    }
  },
  180_000,
);
