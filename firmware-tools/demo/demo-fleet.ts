// A whole fleet on one machine, set up through the commands that an operator would type: keys and
// repositories, the server, claim tokens, and agents, each with a folder and a configuration.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '../../shared/base/fault-codes.js';
import { Processes, freePort } from './processes.js';
import { answersOk, modelReady } from './traffic.js';

/** Server, broker and devices take ports from this one on; one that is taken is replaced. */
const DEFAULT_FIRST_PORT = 7300;
const MQTT_OFFSET = 1;
const DEVICES_OFFSET = 10;
// Fixed by TCP.
const LAST_PORT = 65_535;
export const HARDWARE = 'linux-any';

/** Two canaries and four more classify digits; one device finds text. */
const DEVICES = [
  { name: 'gate-1', group: 'canary', component: 'digits' },
  { name: 'gate-2', group: 'canary', component: 'digits' },
  { name: 'hall-1', group: 'fleet', component: 'digits' },
  { name: 'hall-2', group: 'fleet', component: 'digits' },
  { name: 'hall-3', group: 'fleet', component: 'digits' },
  { name: 'hall-4', group: 'fleet', component: 'digits' },
  { name: 'reader-1', group: 'readers', component: 'text' },
] as const;
/** Enrolled, and switched off until the end. */
const SWITCHED_OFF = 'hall-4';

export interface DemoDevice {
  readonly name: string;
  readonly group: string;
  readonly component: string;
  readonly port: number;
  readonly config: string;
}

export interface DemoFleet {
  readonly url: string;
  readonly tokenFile: string;
  /** Those that classify digits and are on. */
  readonly devices: readonly DemoDevice[];
  readonly off: DemoDevice;
  /** Finds text. */
  readonly reader: DemoDevice;
  /** Flags of every command that talks to the server. */
  readonly connection: readonly string[];
}

/** The server without its devices. */
type DemoServer = Omit<DemoFleet, 'devices' | 'off' | 'reader'>;

const WAIT_STEP_MS = 200;

/** Polls `ask` until it is true; throws with `what` after `limitMs`. */
export async function until(
  what: string,
  limitMs: number,
  ask: () => Promise<boolean>,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await ask())) {
    if (performance.now() > end) throw new Error(`gave up after ${limitMs / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, WAIT_STEP_MS));
  }
}

/**
 * The first port of the demo, from LINNET_DEMO_PORT. Throws a Fault `config_invalid` for what is no
 * port.
 */
export function firstPort(env: NodeJS.ProcessEnv): number {
  const text = env['LINNET_DEMO_PORT'];
  if (text === undefined || text === '') return DEFAULT_FIRST_PORT;
  const port = Number(text);
  const highest = LAST_PORT - DEVICES_OFFSET - DEVICES.length;
  if (/^\d+$/.test(text) && port >= 1 && port <= highest) return port;
  throw new Fault(
    'config_invalid',
    `LINNET_DEMO_PORT is "${text}", and must be a number from 1 to ${highest}`,
  );
}

export async function startServer(
  root: string,
  processes: Processes,
  first: number,
): Promise<DemoServer> {
  await processes.linnet(['repo', 'init', '--out', join(root, 'repo')]);
  const port = await freePort(first);
  const config = join(root, 'server.toml');
  writeFileSync(
    config,
    [
      `data_dir = "${join(root, 'server')}"`,
      `repository = "${join(root, 'repo', 'server')}"`,
      'silent_after_seconds = 30',
      '[http]',
      'host = "127.0.0.1"',
      `port = ${port}`,
      '[mqtt]',
      'host = "127.0.0.1"',
      `port = ${await freePort(first + MQTT_OFFSET)}`,
      '',
    ].join('\n'),
  );
  const tokenFile = join(root, 'admin.token');
  await processes.linnet(['server', 'init', '--config', config, '--token-out', tokenFile]);
  processes.daemon('server', ['server', '--config', config]);
  const url = `http://127.0.0.1:${port}`;
  await until('the fleet server answers', 30_000, () => answersOk(`${url}/healthz`));
  return { url, tokenFile, connection: ['--server', url, '--token-file', tokenFile] };
}

export async function startAgents(
  root: string,
  processes: Processes,
  server: DemoServer,
  first: number,
): Promise<DemoFleet> {
  const claims = new Map<string, string>();
  for (const group of new Set(DEVICES.map((device) => device.group))) {
    const uses = DEVICES.filter((device) => device.group === group).length;
    const { claim } = await processes.linnet<{ claim: string }>([
      'device',
      'claim',
      '--group',
      group,
      '--uses',
      String(uses),
      ...server.connection,
    ]);
    claims.set(group, claim);
  }
  const all: DemoDevice[] = [];
  for (const [at, one] of DEVICES.entries()) {
    const port = await freePort(first + DEVICES_OFFSET + at);
    const folder = join(root, 'devices', one.name);
    mkdirSync(folder, { recursive: true });
    const device = { ...one, port, config: join(folder, 'agent.toml') };
    writeFileSync(device.config, agentConfig(root, server.url, device, folder));
    // The claim is a secret: it goes through the environment, never into the file.
    switchOn(processes, device, claims.get(one.group));
    all.push(device);
  }
  await until(
    `all ${DEVICES.length} devices are enrolled`,
    60_000,
    async () => (await enrolled(processes, server)) === DEVICES.length,
  );
  await processes.stopDaemon(SWITCHED_OFF);
  const off = all.find(({ name }) => name === SWITCHED_OFF);
  const reader = all.find(({ component }) => component === 'text');
  if (off === undefined || reader === undefined) throw new Error('the fleet lacks a device');
  return { ...server, devices: all.filter((one) => one !== off && one !== reader), off, reader };
}

export function switchOn(processes: Processes, device: DemoDevice, claim?: string): void {
  processes.daemon(device.name, ['agent', '--config', device.config], { LINNET_CLAIM: claim });
}

async function enrolled(processes: Processes, server: DemoServer): Promise<number> {
  const devices = await processes.quiet<{ status: string }[]>([
    'device',
    'list',
    ...server.connection,
  ]);
  return devices.filter((device) => device.status === 'enrolled').length;
}

function agentConfig(
  root: string,
  url: string,
  { name, component, port }: DemoDevice,
  folder: string,
): string {
  return [
    `name = "${name}"`,
    `hardware = "${HARDWARE}"`,
    `components = ["${component}"]`,
    `data_dir = "${join(folder, 'data')}"`,
    '[server]',
    `url = "${url}"`,
    'poll_seconds = 5',
    '[trust]',
    `image_root = "${join(root, 'repo', 'trust', 'image-root.json')}"`,
    `director_root = "${join(root, 'repo', 'trust', 'director-root.json')}"`,
    '[api]',
    'host = "127.0.0.1"',
    `port = ${port}`,
    `[rehearsal.${component}]`,
    'max_mib = 8',
    '',
  ].join('\n');
}

export async function allReady(fleet: DemoFleet): Promise<boolean> {
  const ready = await Promise.all(fleet.devices.map((device) => modelReady(device.port)));
  return ready.every(Boolean);
}
