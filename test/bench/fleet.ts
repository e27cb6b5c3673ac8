// `npm run bench:fleet`: ten thousand devices on one fleet server, over real MQTT and HTTP, with
// the aims of SCALE.md. Options: --devices N, --only SCENARIO,... (the first one always runs),
// --backend sqlite|postgresql|both, --seconds N (of each measurement that takes as long as one
// wants), --markdown, --json, --profile (keeps a CPU profile of the server). Timings fail nothing;
// a record that is lost or doubled does.
import { cpus, loadavg, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { listenerLimits, openFilesMaxCount } from '../../server/access/open-files.js';
import { reason } from '../../shared/base/fault-codes.js';
import { missing, BACKENDS, type BackendName } from './fleet/backends.js';
import { BenchServer } from './fleet/bench-server.js';
import { table, type Figure, type Run } from './fleet/figures.js';
import { Load } from './fleet/load.js';
import { SCENARIOS, type ScenarioName } from './fleet/scenarios.js';

const GIB = 1024 ** 3;
const LOAD_PROCESSES = 2;
const WINDOW = 1000;
/** No scenario begins later than this: each ends within two and a half minutes, and then some. */
const BEGIN_BEFORE_MS = 12 * 60_000;
/** Fewer say nothing about a fleet. */
const DEVICES_MIN_COUNT = 10;
/** Rows of the device table for each device that connects. */
const ROWS_A_DEVICE = 10;

interface Options {
  readonly devices: number;
  readonly seconds: number;
  readonly only: readonly ScenarioName[];
  readonly backends: readonly BackendName[];
  readonly profile: boolean;
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

/** Where the process may not open as many connections, fewer devices, and it says so. */
function possible(devices: number): number {
  const openFiles = openFilesMaxCount();
  const most = listenerLimits(openFiles).mqtt.maxCount - 50;
  if (devices <= most) return devices;
  if (most < Math.min(devices, DEVICES_MIN_COUNT))
    throw new Error(
      `\`ulimit -n\` is ${openFiles}, which leaves no room for ${devices} devices: raise it to ` +
        `${2 * devices + 300} (\`ulimit -n ${2 * devices + 300}\`), or ask for fewer by --devices`,
    );
  say(`${most} devices instead of ${devices}: \`ulimit -n\` is ${openFiles}; it has to be
${2 * devices + 300} for them (the server keeps half of it for HTTP, files and the database)`);
  return most;
}

async function run(backend: BackendName, options: Options): Promise<Run> {
  const { devices, seconds, only, profile } = options;
  const size = {
    connecting: devices,
    rows: devices * ROWS_A_DEVICE,
    window: Math.min(WINDOW, devices),
  };
  const server = await BenchServer.prepare(backend, size, profile);
  const load = new Load(LOAD_PROCESSES);
  const figures: Figure[] = [];
  try {
    await server.start();
    for (const [name, scenario] of Object.entries(SCENARIOS)) {
      if (!only.includes(name as ScenarioName)) continue;
      if (performance.now() > BEGIN_BEFORE_MS) {
        say(`${name} is left out: the benchmark has run for ${BEGIN_BEFORE_MS / 60_000} minutes`);
        continue;
      }
      const from = performance.now();
      const found = await scenario({ server, load, size, seconds });
      figures.push(...found);
      say(table([{ backend, title: server.backend.title, devices, figures: found }], false));
      say(`${name}: ${((performance.now() - from) / 1000).toFixed(0)} s\n`);
    }
  } finally {
    await load.close();
    await server.close();
  }
  if (profile) say(`CPU profiles and the log: ${server.folder}`);
  return { backend, title: server.backend.title, devices, figures };
}

type BenchOptions = Options & { readonly output: 'table' | 'markdown' | 'json' };

/** Ends with 2 when nothing can be measured by these options on this machine. */
function optionsOrEnd(): BenchOptions {
  try {
    return readOptions();
  } catch (error) {
    say(reason(error));
    process.exit(2);
  }
}

function readOptions(): BenchOptions {
  const { values } = parseArgs({
    options: {
      devices: { type: 'string', default: '10000' },
      seconds: { type: 'string', default: '15' },
      only: { type: 'string', default: Object.keys(SCENARIOS).join() },
      backend: { type: 'string', default: 'both' },
      profile: { type: 'boolean', default: false },
      markdown: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  const only = ['connect', ...values.only.split(',')];
  const unknown = only.find((name) => !(name in SCENARIOS));
  if (unknown !== undefined)
    throw new Error(`${unknown} is none of ${Object.keys(SCENARIOS).join(', ')}`);
  return {
    devices: possible(Number(values.devices)),
    seconds: Number(values.seconds),
    only: only as ScenarioName[],
    backends: BACKENDS.filter((name) => ['both', name].includes(values.backend)),
    profile: values.profile,
    output: values.json ? 'json' : values.markdown ? 'markdown' : 'table',
  };
}

async function main({ output, ...options }: BenchOptions): Promise<void> {
  const runs: Run[] = [];
  for (const backend of options.backends) {
    const reason = missing(backend);
    if (reason === null) runs.push(await run(backend, options));
    else say(`${backend} is left out: ${reason}`);
  }
  const machine = {
    node: process.version,
    processor: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
    memoryGib: Math.round(totalmem() / GIB),
    load: loadavg().map((value) => Number(value.toFixed(1))),
  };
  if (output === 'json') console.log(JSON.stringify({ machine, runs }));
  else {
    const { node, processor, memoryGib, load } = machine;
    console.log(`Node ${node}, ${processor}, ${memoryGib} GiB, load average ${load.join(' ')}; `);
    console.log(`${options.devices} devices\n\n${table(runs, output === 'markdown')}`);
  }
}

try {
  await main(optionsOrEnd());
} catch (error) {
  say(reason(error));
  process.exit(1);
}
process.exit(0);
