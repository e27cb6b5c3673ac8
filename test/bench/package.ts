// `npm run bench:package`: the device package against its aims. It is built as `package:device`
// does, and unpacked; its agent runs with the flags and the environment of the package's unit,
// enrolled and connected with a real server, without a model. Memory is that of /proc; the cold
// start is a ratio to `node -e 0` of the same run. Sizes and times fail nothing; a figure that
// cannot be taken does.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DEVICE } from '../../firmware-tools/package/kinds.js';
import { makePackage, type PackageOptions } from '../../firmware-tools/package/packages.js';
import { project } from '../../firmware-tools/package/tools.js';
import { ALL, makeClaim, startFleet, type TestFleet } from '../support/fleet-server.js';
import { agentConfig, freePorts, until } from '../support/journey-devices.js';
import { median, print, type BenchResult, type BenchRow } from './inference.js';

export interface PackageBench {
  readonly packages: readonly Pick<
    PackageOptions,
    'withNode' | 'majors' | 'installedModule' | 'compression'
  >[];
  /** Starts of each kind; figures are medians. */
  readonly coldStarts: number;
  readonly agentStarts: number;
  /** From the first telemetry that the server stores to the reading of the memory. */
  readonly restMs: number;
}

const WHOLE: PackageBench = {
  packages: [{ withNode: false }, { withNode: true }],
  coldStarts: 10,
  agentStarts: 3,
  restMs: 25_000,
};

const MB = 1_000_000;
const KIB_PER_MIB = 1024;
const GIB = 1024 ** 3;
const LOG_KEPT = 20_000;

/** How the unit of an unpacked package starts the agent. */
interface Program {
  readonly node: string;
  /** Flags of Node.js, then the program. */
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

interface Memory {
  readonly anonymous: number;
  readonly rss: number;
}

async function built(
  options: PackageBench['packages'][number],
  out: string,
): Promise<{ deb: string; root: string }> {
  mkdirSync(out);
  const common = { arch: 'x64', version: '0.1.0', epochSeconds: 1, out } as const;
  const deb = (await makePackage(DEVICE, { ...common, ...options })).at(-1) ?? '';
  if (!deb.endsWith('.deb')) throw new Error('no .deb: dpkg-deb is not installed');
  const root = join(out, 'root');
  const { status, stderr } = spawnSync('dpkg-deb', ['-x', deb, root], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`dpkg-deb -x ${deb} failed: ${stderr}`);
  return { deb, root };
}

/** A package without Node.js is measured with the one that runs this. */
function programOf(root: string, withNode: boolean): Program {
  const unit = readFileSync(join(root, `usr/lib/systemd/system/${DEVICE.name}.service`), 'utf8');
  const [node = '', ...parts] = /^ExecStart=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? [];
  const at = parts.findIndex((part) => part.startsWith('/'));
  const program = parts[at];
  if (program === undefined) throw new Error(`the unit starts no program:\n${unit}`);
  const settings = [...unit.matchAll(/^Environment=(\w+)=(.*)$/gm)];
  return {
    node: withNode ? join(root, node) : process.execPath,
    args: [...parts.slice(0, at), join(root, program)],
    env: {
      PATH: process.env['PATH'],
      ...Object.fromEntries(settings.map(([, name = '', value = '']) => [name, value])),
    },
  };
}

function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  const of = (name: string): number => {
    const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(rollup)?.[1];
    if (kib === undefined) throw new Error(`/proc/${pid}/smaps_rollup has no ${name}`);
    return Number(kib) / KIB_PER_MIB;
  };
  return { anonymous: of('Anonymous'), rss: of('Rss') };
}

const middle = (all: readonly Memory[]): Memory => ({
  anonymous: median(all.map(({ anonymous }) => anonymous)),
  rss: median(all.map(({ rss }) => rss)),
});

async function bareMemory({ node, env }: Program): Promise<Memory> {
  const bare = spawn(node, ['-e', "setInterval(() => {}, 1000); console.log('up')"], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await new Promise((resolve, reject) => {
      bare.stdout.once('data', resolve);
      bare.once('error', reject);
    });
    return memoryOf(bare.pid ?? 0);
  } finally {
    bare.kill('SIGKILL');
  }
}

/** The time of a program that ends at once. */
function timeOf({ node, env }: Program, args: readonly string[]): number {
  const from = performance.now();
  const { status, error, stderr } = spawnSync(node, args, { env, encoding: 'utf8' });
  const ms = performance.now() - from;
  if (status !== 0)
    throw new Error(`${node} ${args.join(' ')}: ${error?.message ?? status}\n${stderr}`);
  return ms;
}

/** The two take turns, so that a busy machine slows both. */
function coldStart(program: Program, starts: number): BenchRow[] {
  const [base, version, help]: [number[], number[], number[]] = [[], [], []];
  for (let start = 0; start <= starts; start += 1) {
    const times = [
      ['-e', '0'],
      [...program.args, '--version'],
      [...program.args, '--help'],
    ].map((args) => timeOf(program, args));
    if (start === 0) continue; // It reads the files into the cache.
    for (const [n, list] of [base, version, help].entries()) list.push(times[n] ?? NaN);
  }
  const floor = median(base);
  return [
    { what: 'node -e 0', value: floor, unit: 'ms' },
    { what: '--version / node -e 0', value: median(version) / floor, unit: 'x', aim: '<= 2.5x' },
    { what: '--help / node -e 0', value: median(help) / floor, unit: 'x', aim: '<= 2.5x' },
  ];
}

/** Ms from now until the agent says that it serves. */
function ready(agent: ChildProcess): Promise<number> {
  const from = performance.now();
  let text = '';
  return new Promise((resolve, reject) => {
    agent.stderr?.setEncoding('utf8').on('data', (part: string) => {
      text = (text + part).slice(-LOG_KEPT);
      if (text.includes(' serves on ')) resolve(performance.now() - from);
    });
    agent.once('error', reject);
    agent.once('exit', (code) => reject(new Error(`the agent ended with ${code}\n${text}`)));
  });
}

interface AtRest extends Memory {
  readonly readyMs: number;
}

/** One start of the agent; the device keeps its data from start to start. */
async function atRest(
  fleet: TestFleet,
  name: string,
  { node, args, env }: Program,
  device: { config: string; claim: string; restMs: number },
): Promise<AtRest> {
  const from = Date.now();
  const agent = spawn(node, [...args, '--config', device.config], {
    env: { ...env, LINNET_CLAIM: device.claim },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  try {
    const readyMs = await ready(agent);
    await until(`telemetry of ${name} arrives by MQTT`, async () => {
      const devices = await fleet.store.devices.page({}, ALL);
      const found = devices.find((each) => each.name === name);
      return found?.status === 'enrolled' && (found.lastSeenAt ?? 0) >= from;
    });
    await pause(device.restMs);
    return { ...memoryOf(agent.pid ?? 0), readyMs };
  } finally {
    if (agent.kill('SIGTERM'))
      await until('the agent stops', () => agent.exitCode !== null || agent.signalCode !== null);
  }
}

async function memoryRows(
  fleet: TestFleet,
  name: string,
  program: Program,
  { agentStarts, restMs }: PackageBench,
): Promise<BenchRow[]> {
  const folder = join(fleet.folder, 'devices', name);
  mkdirSync(folder, { recursive: true });
  const [port = 0] = await freePorts(1);
  const config = join(folder, 'agent.toml');
  // As often as the configuration says that is left as it is.
  writeFileSync(config, agentConfig(fleet, name, { port, pollSeconds: 60 }));
  const claim = await makeClaim(fleet, 'fleet');
  const starts: AtRest[] = [];
  for (let start = 0; start < agentStarts; start += 1)
    starts.push(await atRest(fleet, name, program, { config, claim, restMs }));
  const bare = await bareMemory(program);
  const { anonymous, rss } = middle(starts);
  const ms = median(starts.map(({ readyMs }) => readyMs));
  return [
    { what: 'bare node: anonymous memory', value: bare.anonymous, unit: 'MiB' },
    { what: 'bare node: RSS', value: bare.rss, unit: 'MiB' },
    { what: 'idle agent: anonymous memory', value: anonymous, unit: 'MiB', aim: '<= 24 MiB' },
    { what: 'idle agent: RSS', value: rss, unit: 'MiB', aim: '<= 64 MiB' },
    { what: 'agent: from its start until it serves', value: ms, unit: 'ms' },
  ];
}

/** Every figure; rejects where one cannot be taken. */
export async function run(bench: PackageBench = WHOLE): Promise<BenchResult[]> {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error('the device package is measured on Linux on x64 only');
  const base = join(project, '.linnet');
  mkdirSync(base, { recursive: true });
  const out = mkdtempSync(join(base, 'bench-'));
  const fleet = await startFleet();
  const results: BenchResult[] = [];
  try {
    for (const options of bench.packages) {
      const { withNode } = options;
      const form = withNode ? 'with-node' : 'without-node';
      const { deb, root } = await built(options, join(out, form));
      const program = programOf(root, withNode);
      const version = spawnSync(program.node, ['--version'], { encoding: 'utf8' }).stdout.trim();
      const rows = [
        {
          what: 'size of the .deb',
          value: statSync(deb).size / MB,
          unit: 'MB',
          aim: withNode ? '<= 40 MB' : '<= 15 MB',
        },
        ...(await memoryRows(fleet, form, program, bench)),
        ...coldStart(program, bench.coldStarts),
      ];
      results.push({ name: `Device package ${form}, run by Node ${version}`, rows });
    }
    return results;
  } finally {
    await fleet.close();
    rmSync(out, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const machine = `${cpus().length} x ${cpus()[0]?.model ?? 'unknown processor'}`;
  console.log(`${machine}, ${(totalmem() / GIB).toFixed(0)} GiB\n`);
  for (const result of await run()) {
    print(result);
    console.log('');
  }
}
