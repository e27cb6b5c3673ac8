// `npm run test:arm64`: the device package for arm64, its programs run by qemu-user-static in a
// Debian system for arm64, beside an agent of this machine in the same fleet. An emulated program
// is slow: nothing here is a figure of a device.
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEVICE } from '../../firmware-tools/package/kinds.js';
import { RolloutDetail } from '../../shared/protocol/operator-api.js';
import { emulateArm64, missingForArm64 } from '../support/arm64-programs.js';
import { DebianRoot, missingForDebian, type Service } from '../support/debian-root.js';
import { ALL, makeClaim, startFleet, type TestFleet } from '../support/fleet-server.js';
import {
  agentConfig,
  AgentProcess,
  everybody,
  firstInstall,
  freePorts,
  publishDigits,
  quickPolicy,
  settled,
  startRollout,
  until,
} from '../support/journey-devices.js';
import { debWithNode } from '../support/package-debs.js';
import { ofArm64 } from '../support/whole.js';

const missing = missingForDebian() ?? missingForArm64();
if (ofArm64 && missing !== null)
  console.log(`the package for arm64 is not tested: it needs ${missing}`);

const LIMIT_MS = 900_000;
/** As much as an emulator needs. */
const CONTRACT = { p99LatencyMs: 10_000, peakMemoryMib: 1000 };
/** Of logits around 10; a release's own golden answers may differ as much. */
const TOLERANCE = 0.05;

let folder: string;
let fleet: TestFleet;
let restore = (): void => undefined;
let service: Service | null = null;
let here: AgentProcess;
let port: number;

const run = describe.skipIf(!ofArm64 || missing !== null);

/** The device for arm64, installed, configured and started as its unit says. */
async function startDevice(): Promise<void> {
  const root = DebianRoot.make(join(folder, 'arm64'), 'arm64');
  const deb = await debWithNode(DEVICE, join(folder, 'packages'), { arch: 'arm64' });
  root.unpack(deb, 'linnet', '/var/lib/linnet');
  const trust = join(fleet.folder, 'repo', 'trust');
  const settings = { port, pollSeconds: 1, dataDir: '/var/lib/linnet' };
  writeFileSync(
    root.path('etc/linnet/agent.toml'),
    agentConfig(fleet, 'arm64', settings).replaceAll(trust, '/etc/linnet'),
  );
  for (const file of ['image-root.json', 'director-root.json'])
    cpSync(join(trust, file), root.path(`etc/linnet/${file}`));
  writeFileSync(
    root.path('etc/default/linnet-agent'),
    `LINNET_CLAIM=${await makeClaim(fleet, 'fleet')}\n`,
  );
  expect(root.run('/usr/lib/linnet-agent/bin/node -p process.arch')).toBe('arm64\n');
  service = root.start('linnet-agent');
}

/** What a device answers to one image; why not, where it does not. */
async function answerOf(at: number): Promise<number[] | string> {
  const input = { name: 'image', shape: [1, 1, 28, 28], datatype: 'FP32' };
  const data = Array.from({ length: 784 }, (_, index) => (index % 29) / 29);
  const body = JSON.stringify({ inputs: [{ ...input, data }] });
  const url = `http://127.0.0.1:${at}/v2/models/digits/infer`;
  const answer = await fetch(url, { method: 'POST', body });
  const text = await answer.text();
  if (answer.status !== 200) return `${answer.status} ${text}`;
  return (JSON.parse(text) as { outputs: { data: number[] }[] }).outputs[0]?.data ?? text;
}

async function sameAnswers(): Promise<number[]> {
  const [emulated, own] = [await answerOf(port), await answerOf(here.port)];
  if (typeof emulated === 'string' || typeof own === 'string')
    throw new Error(`arm64: ${String(emulated)}; x64: ${String(own)}\n${service?.log()}`);
  const differences = emulated.map((value, index) => Math.abs(value - (own[index] ?? NaN)));
  console.log(`greatest difference between arm64 and x64: ${Math.max(...differences)}`);
  expect(Math.max(...differences)).toBeLessThanOrEqual(TOLERANCE);
  return emulated;
}

async function rolledOut(version: string, policy: typeof firstInstall): Promise<string> {
  const id = await startRollout(fleet, version, policy);
  const view = await settled(fleet, id, LIMIT_MS);
  expect(view.state, JSON.stringify(view)).toBe('completed');
  return id;
}

run('the device package for arm64 (npm run test:arm64)', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'linnet-arm64-'));
    restore = emulateArm64();
    fleet = await startFleet();
    const ports = await freePorts(2);
    port = ports[0] ?? 0;
    here = await AgentProcess.make(fleet, 'x64', ports[1] ?? 0);
    here.start();
    await startDevice();
  }, LIMIT_MS);

  afterAll(async () => {
    service?.child.kill('SIGKILL');
    await here.stop('SIGKILL');
    await fleet.close();
    restore();
    rmSync(folder, { recursive: true });
  }, LIMIT_MS);

  it(
    'agent_enrols_installs_answers_as_on_x64_updates_and_goes_back',
    async () => {
      await until(
        'both devices are enrolled',
        async () => {
          if (service?.child.exitCode !== null) throw new Error(service?.log());
          const devices = await fleet.store.devices.page({}, ALL);
          return devices.filter(({ status }) => status === 'enrolled').length === 2;
        },
        LIMIT_MS,
      );
      await publishDigits(fleet, '1.0.0', CONTRACT);
      const slow = { deviceDeadlineSeconds: 900 };
      await rolledOut('1.0.0', { ...firstInstall, ...slow });
      const first = await sameAnswers();

      await publishDigits(fleet, '1.1.0', CONTRACT);
      const update = await rolledOut('1.1.0', quickPolicy(everybody, slow));
      expect(await sameAnswers()).not.toEqual(first);

      await fleet.admin.request('POST', `/rollouts/${update}/undo`, RolloutDetail, {});
      await until(
        'the device serves the first release again',
        async () => JSON.stringify(await answerOf(port)) === JSON.stringify(first),
        LIMIT_MS,
      );
    },
    4 * LIMIT_MS,
  );
});
