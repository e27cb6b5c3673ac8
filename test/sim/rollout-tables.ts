// `npm run sim:rollouts [-- --runs N] [--seed S] [--huge]`: how rollouts decide, measured on the
// real plan, taking, conductor and store code in virtual time. Prints the tables of
// docs/statistics.md; each row says its seeds, so that a run can be repeated. --huge adds one fleet
// of 100,000 devices.
import { parseArgs } from 'node:util';
import { percent } from '../../shared/statistics/share-text.js';
import { RolloutSimulation, type Ending, type SimulatedFleet } from './rollout-simulation.js';

interface Scenario {
  readonly name: string;
  readonly fleet: Omit<SimulatedFleet, 'seed'>;
  /** Runs of the whole table's number, for what is slow. */
  readonly share?: number;
}

const ACCEPTABLE = 0.02;

/** Releases that fail on the acceptable share of devices, or on none. */
const goodReleases: Scenario[] = [5, 30, 100, 1000, 10_000].flatMap((devices) => [
  {
    name: `${devices} devices, 2 % fail (acceptable)`,
    share: Math.min(1, 100 / devices),
    fleet: { devices, failureRate: () => ACCEPTABLE },
  },
  {
    name: `${devices} devices, 1 % fail (half of acceptable)`,
    share: Math.min(1, 100 / devices),
    fleet: { devices, failureRate: () => ACCEPTABLE / 2 },
  },
]);

const offlineFleets: Scenario[] = [10, 20, 30].map((off) => ({
  name: `200 devices, ${off} % off, none fail`,
  share: 0.2,
  fleet: { devices: 200, failureRate: () => 0, isOn: (n: number) => n % 100 >= off },
}));

const badReleases: Scenario[] = [50, 20, 10].map((rate) => ({
  name: `1,000 devices, 10 % off, ${rate} % fail`,
  share: 0.2,
  fleet: { devices: 1000, failureRate: () => rate / 100, isOn: (n: number) => n % 10 !== 0 },
}));

const DAY_MS = 24 * 60 * 60_000;
const OPENING_MS = 8 * 60 * 60_000;
const special: Scenario[] = [
  {
    name: '1,000 devices that open at 8:00, 50 % fail',
    share: 0.1,
    fleet: {
      devices: 1000,
      failureRate: () => 0.5,
      isOn: (_n, ms) => ms % DAY_MS < 60 * 60_000 || ms % DAY_MS >= OPENING_MS,
    },
  },
  {
    name: '100 devices, 5 % silent for a while in each trial, none fail',
    share: 0.3,
    fleet: { devices: 100, failureRate: () => 0, silenceRate: 0.05, site: (n) => `s${n % 10}` },
  },
  {
    name: '100 devices, the release cuts off half of them',
    share: 0.3,
    fleet: { devices: 100, failureRate: () => 0, cutsOff: 0.5, site: (n) => `s${n % 10}` },
  },
  {
    name: '200 devices of two kinds, both at 2 %',
    fleet: {
      devices: 200,
      failureRate: () => ACCEPTABLE,
      hardware: (n) => (n % 10 === 0 ? 'jetson' : 'pi4'),
    },
  },
];

const scenarios: readonly Scenario[] = [
  ...goodReleases,
  ...offlineFleets,
  ...badReleases,
  ...special,
];

interface Row {
  readonly name: string;
  readonly endings: readonly Ending[];
}

async function measure(
  { name, fleet, share = 1 }: Scenario,
  runs: number,
  seed: number,
): Promise<Row> {
  const endings: Ending[] = [];
  const count = Math.max(1, Math.round(runs * share));
  for (let run = 0; run < count; run++)
    endings.push(await new RolloutSimulation({ ...fleet, seed: seed + run }).run());
  return { name, endings };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? Number.NaN;
}

const HEAD =
  '| fleet and release | runs | halted | held | completed | takes (median) | ' +
  'window exceeded by | trial lengths (median) |\n|---|---|---|---|---|---|---|---|';

function lineOf({ name, endings }: Row): string {
  const share = (state: Ending['state']): string =>
    percent(endings.filter((one) => one.state === state).length / endings.length);
  const cells = [
    name,
    String(endings.length),
    share('reverted'),
    share('held'),
    share('completed'),
    String(median(endings.map(({ takes }) => takes))),
    String(Math.max(0, ...endings.map(({ mostBeyondWindow }) => mostBeyondWindow))),
    median(endings.map(({ trialLengths }) => trialLengths)).toFixed(1),
  ];
  return `| ${cells.join(' | ')} |`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '100' },
      seed: { type: 'string', default: '1' },
      huge: { type: 'boolean', default: false },
    },
  });
  const [runs, seed] = [Number(values.runs), Number(values.seed)];
  process.stdout.write(`runs ${runs}, seeds from ${seed}\n\n${HEAD}\n`);
  for (const scenario of scenarios)
    process.stdout.write(`${lineOf(await measure(scenario, runs, seed))}\n`);
  if (!values.huge) return;
  const devices = 100_000;
  const fleet = { devices, failureRate: () => 0 };
  process.stdout.write(`${lineOf(await measure({ name: '100,000 devices', fleet }, 1, seed))}\n`);
}

if (process.argv[1]?.endsWith('rollout-tables.js') === true) await main();
