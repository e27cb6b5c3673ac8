// Real devices for journeys: agents as processes of their own, with folder, configuration and local
// inference API, beside a real fleet server of this process; and the digit releases, quantized,
// built, signed and published by the release code itself.
import { shownRollout, type ShownRollout } from '../../firmware-tools/fleet/shown-rollout.js';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildBundle } from '../../firmware-tools/release/bundle/build.js';
import { readSigningKey } from '../../firmware-tools/release/keys/key-files.js';
import {
  digitModelPath,
  exampleData,
  loadDigits,
  type DigitVersion,
} from '../../firmware-tools/demo/digits/data.js';
import { quantize } from '../../firmware-tools/model/quantize/quantize.js';
import { publishBundle } from '../../firmware-tools/release/publish.js';
import { RolloutDetail, type RolloutPolicy } from '../../shared/protocol/operator-api.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { defaultTrialPolicy } from '../../shared/statistics/trial-verdict.js';
import { ALL, makeClaim, type TestFleet } from './fleet-server.js';

/** This file runs from the sources (vitest) and from dist/ (bench). */
const HERE = fileURLToPath(new URL('../..', import.meta.url));
const DIST = HERE.endsWith('/dist/') ? HERE : join(HERE, 'dist');
export const LINNET = join(DIST, 'firmware-tools', 'cli', 'main.js');
export const CRASHING_AGENT = join(DIST, 'test', 'journeys', 'crashing-agent.js');
export const FLEET_AGENTS = join(DIST, 'test', 'journeys', 'fleet', 'agents-child.js');
const CALIBRATION_IMAGES = 100;
const WAIT_STEP_MS = 100;

/** Polls for a fact; the limit only ends a failing test. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | null | false> | T | null | false,
  limitMs = 45_000,
): Promise<T> {
  const end = Date.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== false) return answer;
    if (Date.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, WAIT_STEP_MS));
  }
}

/**
 * Publishes one of the digit models, `as` another version if given; `extraBytes` adds a file of so
 * many bytes.
 */
export async function publishDigits(
  fleet: TestFleet,
  model: DigitVersion,
  options: {
    hardware?: string;
    extraBytes?: number;
    as?: string;
    p99LatencyMs?: number;
    peakMemoryMib?: number;
  } = {},
): Promise<void> {
  const version = options.as ?? model;
  const work = join(fleet.folder, 'work');
  mkdirSync(work, { recursive: true });
  exampleData(work);
  const { images } = loadDigits().train;
  const feeds = images
    .slice(0, CALIBRATION_IMAGES)
    .map((data) => ({ image: { data, dims: [1, 1, 28, 28] } }));
  const { bytes } = await quantize(new Uint8Array(readFileSync(digitModelPath(model))), feeds);
  writeFileSync(join(work, `int8-${version}.onnx`), bytes);
  if (options.extraBytes !== undefined)
    writeFileSync(join(work, 'extra.bin'), realRandom.bytes(options.extraBytes));
  const spec = join(work, `${version}.toml`);
  writeFileSync(spec, digitsSpec(version, options));
  const offline = join(fleet.folder, 'repo', 'offline');
  const bundle = join(work, `${version}.bundle`);
  await buildBundle(
    spec,
    await readSigningKey(join(offline, 'release.key.json'), {}),
    bundle,
    realRandom,
  );
  await publishBundle({
    floor: null,
    bundle,
    root: new Uint8Array(readFileSync(join(fleet.folder, 'repo', 'trust', 'image-root.json'))),
    targetsKeys: [await readSigningKey(join(offline, 'image-targets.key.json'), {})],
    memory: null,
    client: fleet.admin,
    clock: realClock,
    random: realRandom,
  });
}

type SpecOptions = NonNullable<Parameters<typeof publishDigits>[2]> & { readonly model?: string };

/** The spec of a digit classifier; `model`: its file. */
export function digitsSpec(version: string, options: SpecOptions = {}): string {
  const { hardware = 'sim', extraBytes, p99LatencyMs = 500, peakMemoryMib = 200 } = options;
  const { model = `int8-${version}.onnx` } = options;
  return `component = "digits"
version = "${version}"
description = "digits"
hardware = ["${hardware}"]
model = "${model}"
${extraBytes !== undefined ? '[[files]]\npath = "extra.bin"\nrole = "other"\n' : ''}
[classifier]
output = "logits"
scale = "logits"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
[probes]
inputs = "probes.npy"
absolute = 0.05
relative = 0.01
[contract]
peak_memory_mib = ${peakMemoryMib}
p99_latency_ms = ${p99LatencyMs}
[lineage]
training_data_sha256 = "${'0'.repeat(64)}"
source_commit = "unknown"
`;
}

/** A comparison takes half a minute of traffic on each device. */
export const comparing = {
  ...defaultTrialPolicy,
  minSeconds: 1,
  maxSeconds: 120,
  minPairs: 50,
};

/** Journeys that are not about what a release answers wait for no comparison. */
export const quickPolicy = (
  waves: RolloutPolicy['waves'],
  more: Partial<RolloutPolicy> = {},
): RolloutPolicy => ({
  waves,
  trial: { ...comparing, minPairs: 0 },
  acceptableFailurePermille: 20,
  alarmingFailurePermille: 100,
  falseAlarmPermille: 50,
  // Journeys are about the devices: none waits for another.
  startWindow: 20,
  kindWindow: 20,
  silentAfterSeconds: 60,
  deviceDeadlineSeconds: 240,
  autoRevert: true,
  ...more,
});

export const everybody: RolloutPolicy['waves'] = [
  { name: 'all', percent: 100, soakSeconds: 0, approval: false },
];

/** Nobody sends requests yet: the trial of a first install may end with nothing served. */
export const firstInstall = quickPolicy(everybody, {
  trial: { ...defaultTrialPolicy, minSeconds: 1, maxSeconds: 2 },
});

export async function startRollout(
  fleet: TestFleet,
  version: string,
  policy: RolloutPolicy,
): Promise<string> {
  const { id } = await fleet.admin.request('POST', '/rollouts', RolloutDetail, {
    component: 'digits',
    version,
    policy,
  });
  await fleet.admin.request('POST', `/rollouts/${id}/start`, RolloutDetail, {});
  return id;
}

export const rolloutOf = (fleet: TestFleet, id: string): Promise<ShownRollout> =>
  shownRollout(fleet.admin, id);

export function settled(fleet: TestFleet, id: string, limitMs = 120_000): Promise<ShownRollout> {
  return until(
    `rollout ${id} settles`,
    async () => {
      const view = await rolloutOf(fleet, id);
      return ['completed', 'reverted', 'reported', 'held', 'dropped'].includes(view.state)
        ? view
        : null;
    },
    limitMs,
  );
}

export async function allEnrolled(fleet: TestFleet, count: number): Promise<void> {
  await until('all devices are enrolled', async () => {
    const devices = await fleet.store.devices.page({}, ALL);
    return devices.filter(({ status }) => status === 'enrolled').length === count;
  });
}

/** Waits until `count` devices are enrolled, and rolls digits 1.0.0 out to them. */
export async function enrolledAndInstalled(fleet: TestFleet, count: number): Promise<void> {
  await allEnrolled(fleet, count);
  const first = await settled(fleet, await startRollout(fleet, '1.0.0', firstInstall));
  if (first.state !== 'completed') throw new Error(JSON.stringify(first, null, 1));
}

/** The text of a device's configuration. */
export function agentConfig(
  fleet: TestFleet,
  name: string,
  options: {
    port: number;
    pollSeconds: number;
    hardware?: string;
    dataDir?: string;
    claimFile?: string;
  },
): string {
  const { port, pollSeconds, hardware = 'sim', claimFile } = options;
  const dataDir = options.dataDir ?? join(fleet.folder, 'devices', name, 'data');
  const trust = join(fleet.folder, 'repo', 'trust');
  return [
    `name = "${name}"`,
    `hardware = "${hardware}"`,
    'components = ["digits"]',
    `data_dir = "${dataDir}"`,
    '[server]',
    `url = "${fleet.server.address}"`,
    `poll_seconds = ${pollSeconds}`,
    ...(claimFile === undefined ? [] : [`claim_file = "${claimFile}"`]),
    '[trust]',
    `image_root = "${join(trust, 'image-root.json')}"`,
    `director_root = "${join(trust, 'director-root.json')}"`,
    '[api]',
    `port = ${port}`,
    '',
  ].join('\n');
}

/** One device: its folder, configuration, and the process that runs it at the moment. */
export class AgentProcess {
  child: ChildProcess | null = null;
  stderr = '';

  readonly #claim: string;

  private constructor(
    readonly name: string,
    readonly config: string,
    readonly port: number,
    claim: string,
  ) {
    this.#claim = claim;
  }

  static async make(
    fleet: TestFleet,
    name: string,
    port: number,
    options: { hardware?: string; group?: string; dataDir?: string } = {},
  ): Promise<AgentProcess> {
    const folder = join(fleet.folder, 'devices', name);
    mkdirSync(folder, { recursive: true });
    const config = join(folder, 'agent.toml');
    writeFileSync(config, agentConfig(fleet, name, { port, pollSeconds: 1, ...options }));
    return new AgentProcess(name, config, port, await makeClaim(fleet, options.group ?? 'fleet'));
  }

  /** `linnet agent`, or with `args` another compiled program that takes the configuration first. */
  start(program: string = LINNET, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): void {
    const line = program === LINNET ? ['agent', '--config', this.config] : [this.config, ...args];
    const child = spawn(process.execPath, [program, ...line], {
      env: { ...process.env, LINNET_CLAIM: this.#claim, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr = (this.stderr + text).slice(-20_000);
    });
    this.child = child;
  }

  get alive(): boolean {
    return this.child !== null && this.child.exitCode === null && this.child.signalCode === null;
  }

  async died(limitMs = 120_000): Promise<NodeJS.Signals | number | null> {
    await until(`${this.name} dies`, () => !this.alive, limitMs);
    return this.child?.signalCode ?? this.child?.exitCode ?? null;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.alive) return;
    this.child?.kill(signal);
    await this.died(30_000);
  }

  /** The version that the local inference API serves now; null when nothing answers. */
  async serving(): Promise<string | null> {
    try {
      const answer = await fetch(`http://127.0.0.1:${this.port}/v2/models/digits`);
      return answer.ok
        ? (((await answer.json()) as { versions?: string[] }).versions?.[0] ?? null)
        : null;
    } catch (error) {
      if (error instanceof TypeError) return null; // Connection refused: the agent is not up.
      throw error;
    }
  }
}

export async function freePorts(count: number): Promise<number[]> {
  const { createServer } = await import('node:net');
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer();
          server.listen(0, '127.0.0.1', () => resolve(server));
        }),
    ),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
