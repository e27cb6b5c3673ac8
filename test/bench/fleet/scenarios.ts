// What the benchmark measures, one function for each scenario. They run one after another on one
// fleet; each says what it found, and what was lost, doubled or left out as an error.
import { setTimeout as pause } from 'node:timers/promises';
import { limits } from '../../../shared/base/limits.js';
import { RolloutDetail } from '../../../shared/protocol/operator-api.js';
import { defaultTrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import { publish } from '../../support/fleet-server.js';
import { seeded } from '../../support/random.js';
import type { BenchServer, FleetSize } from './bench-server.js';
import { quantile, type Figure } from './figures.js';
import { COMPONENT, WINDOW_GROUP } from './identities.js';
import type { FloodResult, Load } from './load.js';

interface Bench {
  readonly server: BenchServer;
  readonly load: Load;
  readonly size: FleetSize;
  /** Of a measurement that takes as long as one wants. */
  readonly seconds: number;
}

type Scenario = (bench: Bench) => Promise<Figure[]>;

const SECOND_MS = 1000;
const KIB = 1024;
/** After it a device that is not served has failed for good; more than the aim twice. */
const ROUND_MS = 150 * SECOND_MS;
const BATCH_SENDERS = 200;
const ROW_SENDERS = 100;
/** A small fleet is killed once: it is a test of what is kept. */
const KILLS = 3;
const SMALL_FLEET = 1000;
const VERSION = '1.0.0';
const PAGES = 200;
/** Ten thousand devices that poll each minute. */
const PACE_A_SECOND = 167;

/** Devices connect for the first time, at random times within some seconds. */
const connect: Scenario = async ({ server, load, size }) => {
  const before = await server.usage(true);
  await server.measure();
  const from = Date.now();
  // At most a thousand a second, as after a restart.
  const spreadMs = Math.min(size.connecting, limits.linkSpreadMs);
  await load.start(size.connecting, server.target, spreadMs);
  const { servedAt, unserved, attempts } = await load.round(ROUND_MS);
  const { stallMs, cpuMs } = await server.usage();
  const after = await server.usage(true);
  const devices = size.connecting;
  const rss = (after.rssBytes - before.rssBytes) / devices / KIB;
  return [
    ...served('connect', Math.max(...servedAt) - from, unserved),
    figure('connect', 'attempts a device', attempts / devices, ''),
    figure('connect', 'CPU a device', (cpuMs - before.cpuMs) / devices, 'ms'),
    figure('connect', 'resident memory a device', rss, 'KiB', { max: 16 }),
    figure(
      'connect',
      'heap and buffers a device',
      (after.heapBytes - before.heapBytes) / devices / KIB,
      'KiB',
    ),
    figure('connect', 'longest stall', stallMs, 'ms'),
  ];
};

/** Connected devices that only keep their connection. */
const idle: Scenario = async ({ server, load, size, seconds }) => {
  const before = await server.usage(true);
  await pause(seconds * SECOND_MS);
  const after = await server.usage();
  const connected = await load.connected();
  if (connected !== size.connecting) throw new Error(`only ${connected} are still connected`);
  const cores = (after.cpuMs - before.cpuMs) / (seconds * SECOND_MS);
  const thousands = size.connecting / 1000;
  return [
    figure('idle', 'cores for 1,000 devices', cores / thousands, '', { max: 0.02 }),
    figure('idle', 'resident memory of the server', after.rssBytes / KIB / KIB, 'MiB'),
  ];
};

/** A poll that finds nothing new, and a report of health: what each costs the server. */
const poll: Scenario = async ({ server, load, size, seconds }) => {
  const figures: Figure[] = [];
  for (const what of ['poll', 'health'] as const) {
    const before = await server.measure();
    const below = Math.min(size.connecting, seconds * PACE_A_SECOND);
    const milliseconds = seconds * SECOND_MS;
    const { waits, failed } = await load.pace({ what, below, milliseconds });
    const after = await server.usage();
    const each = waits.length;
    const name = what === 'poll' ? 'unchanged metadata' : 'report of health';
    figures.push(
      figure(what, `CPU for one ${name}`, (after.cpuMs - before.cpuMs) / each, 'ms'),
      figure(what, `p99 at ${Math.round(each / seconds)} a second`, quantile(waits, 0.99), 'ms'),
      figure(what, 'longest stall', after.stallMs, 'ms'),
      figure(what, 'failed', failed, '', { max: 0 }),
    );
    if (what === 'health')
      figures.push(
        figure(
          what,
          'written to the disk for one',
          (after.writtenBytes - before.writtenBytes) / each / KIB,
          'KiB',
        ),
      );
  }
  return figures;
};

/** The server is killed and started again: the whole fleet comes back. */
const storm: Scenario = async ({ server, load, size }) => {
  await pause(limits.linkSettledMs);
  await server.kill();
  await load.again();
  const from = Date.now();
  await server.start();
  const startedMs = Date.now() - from;
  await server.measure();
  const { servedAt, unserved, attempts, failedLooks } = await load.round(ROUND_MS);
  const { stallMs } = await server.usage();
  return [
    ...served('storm', Math.max(...servedAt) - from, unserved),
    figure('storm', 'server ready after', startedMs / SECOND_MS, 's'),
    figure('storm', 'attempts a device', attempts / size.connecting, ''),
    figure('storm', 'polls that had to be repeated', failedLooks, ''),
    figure('storm', 'longest stall', stallMs, 'ms'),
  ];
};

const served = (scenario: string, lastMs: number, unserved: number): Figure[] => [
  figure(scenario, 'all served after', lastMs / SECOND_MS, 's', { max: 60 }),
  figure(scenario, 'devices not served', unserved, '', { max: 0 }),
];

/** Many devices send small batches, few send full ones; and the server dies meanwhile. */
const telemetry: Scenario = async ({ server, load, size, seconds }) => {
  const figures: Figure[] = [];
  for (const [senders, records] of [
    [BATCH_SENDERS, 1],
    [ROW_SENDERS, limits.batchMaxCount],
  ] as const) {
    const below = Math.min(senders, size.connecting);
    const before = await server.measure();
    const from = performance.now();
    const flood = await load.flood({ below, records, milliseconds: seconds * SECOND_MS });
    const took = (performance.now() - from) / SECOND_MS;
    const after = await server.usage();
    await requireAll(server, flood);
    const name = `${records} a batch`;
    const rows = figure(
      'telemetry',
      `rows a second, ${name}`,
      (flood.batches * records) / took,
      '',
    );
    const batches = figure('telemetry', `batches a second, ${name}`, flood.batches / took, '');
    figures.push(
      ...(records === 1
        ? [{ ...batches, aim: { min: 1500 } }]
        : [{ ...rows, aim: { min: 50_000 } }, batches]),
      figure(
        'telemetry',
        `CPU a batch, ${name}`,
        (after.cpuMs - before.cpuMs) / flood.batches,
        'ms',
      ),
      figure('telemetry', `p99 until acknowledged, ${name}`, quantile(flood.waits, 0.99), 'ms'),
      figure('telemetry', `longest stall, ${name}`, after.stallMs, 'ms'),
    );
  }
  return figures;
};

const killed: Scenario = async ({ server, load, size, seconds }) => {
  const fraction = seeded(7);
  const below = Math.min(BATCH_SENDERS, size.connecting);
  const kills = size.connecting < SMALL_FLEET ? 1 : KILLS;
  const flooding = load.flood({ below, records: 20, milliseconds: seconds * SECOND_MS });
  for (let kill = 0; kill < kills; kill += 1) {
    await pause(((0.5 + fraction()) * seconds * SECOND_MS) / (kills + 1));
    await server.kill();
    await server.start();
  }
  const flood = await flooding;
  await requireAll(server, flood);
  await load.round(ROUND_MS);
  return [
    figure('kill -9', 'rows acknowledged', flood.batches * 20, ''),
    figure('kill -9', 'batches sent again', flood.resent, ''),
    figure('kill -9', 'rows lost or doubled', 0, '', { max: 0 }),
  ];
};

/**
 * Every acknowledged record is a row once, and was added to the sums once (each of them served one
 * request).
 */
async function requireAll(server: BenchServer, { rows }: FloodResult): Promise<void> {
  await server.withStore(async ({ db }) => {
    const stored = await db
      .selectFrom('telemetry')
      .select(['device', (eb) => eb.fn.countAll<number>().as('count')])
      .where('kind', '=', 'inference')
      .groupBy('device')
      .execute();
    const sums = await db.selectFrom('inference').select(['device', 'served']).execute();
    const count = new Map(stored.map((row) => [row.device, row.count]));
    const sum = new Map(sums.map((row) => [row.device, row.served]));
    for (const [device, sent] of rows)
      if (count.get(device) !== sent || sum.get(device) !== sent)
        throw new Error(
          `${device}: ${sent} records acknowledged, ${count.get(device)} rows, ` +
            `sum ${sum.get(device)}`,
        );
  });
}

/** A rollout starts; each device of its first window is hinted and fetches its metadata. */
const hint: Scenario = async ({ server, load, size: { window } }) => {
  await publish(server, VERSION);
  const { id } = await server.admin.request('POST', '/rollouts', RolloutDetail, {
    component: COMPONENT,
    version: VERSION,
    selector: { groups: [WINDOW_GROUP] },
    policy: {
      waves: [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }],
      trial: defaultTrialPolicy,
      ...{ acceptableFailurePermille: 20, alarmingFailurePermille: 100, falseAlarmPermille: 50 },
      ...{ startWindow: window, kindWindow: window },
      ...{ silentAfterSeconds: 3600, deviceDeadlineSeconds: 7200, autoRevert: false },
    },
  });
  await load.watchHints({ below: window, version: VERSION, withinMs: 120 * SECOND_MS });
  const before = await server.measure();
  const from = Date.now();
  await server.admin.request('POST', `/rollouts/${id}/start`, RolloutDetail, {});
  const startedMs = Date.now() - from;
  const looks = await load.hintResults();
  const { stallMs, cpuMs } = await server.usage();
  const without = looks.filter(({ haveAt }) => haveAt === 0).length;
  const hints = looks.flatMap(({ hintAt }) => (hintAt === 0 ? [] : [hintAt - from]));
  const have = looks.flatMap(({ haveAt }) => (haveAt === 0 ? [] : [haveAt - from]));
  const total = (of: (look: (typeof looks)[number]) => number): number =>
    looks.reduce((sum, look) => sum + of(look), 0);
  return [
    figure('hint', `p99 until metadata, ${window} devices`, quantile(have, 0.99) / SECOND_MS, 's', {
      max: 3,
    }),
    figure('hint', 'median', quantile(have, 0.5) / SECOND_MS, 's'),
    figure('hint', 'devices without their metadata', without, '', { max: 0 }),
    figure('hint', 'start answered after', startedMs / SECOND_MS, 's'),
    figure('hint', 'p99 until the first hint', quantile(hints, 0.99) / SECOND_MS, 's'),
    figure(
      'hint',
      'looks that found nothing yet',
      total(({ emptyLooks }) => emptyLooks),
      '',
    ),
    figure(
      'hint',
      'looks that failed',
      total(({ failedLooks }) => failedLooks),
      '',
    ),
    figure('hint', 'CPU a device', (cpuMs - before.cpuMs) / window, 'ms'),
    figure('hint', 'longest stall', stallMs, 'ms'),
  ];
};

/** Pages of 100 of the device list, from its begin to the middle of it. */
const pages: Scenario = async ({ server, size }) => {
  const times: number[] = [];
  let next: string | null = null;
  for (let page = 0; page < PAGES; page += 1) {
    const cursor: string = next === null ? '' : `&cursor=${encodeURIComponent(next)}`;
    const from = performance.now();
    const response = await fetch(
      `http://127.0.0.1:${server.target.httpPort}/api/v1/devices?limit=100${cursor}`,
      { headers: { authorization: `Bearer ${server.adminToken}` } },
    );
    const body = (await response.json()) as { items: unknown[]; next: string | null };
    times.push(performance.now() - from);
    if (!response.ok || body.items.length === 0) throw new Error(JSON.stringify(body));
    ({ next } = body);
  }
  const name = `100 of ${size.rows.toLocaleString('en')} devices`;
  return [
    figure('GET /devices', `median, ${name}`, quantile(times, 0.5), 'ms', { max: 10 }),
    figure('GET /devices', `p99, ${name}`, quantile(times, 0.99), 'ms'),
  ];
};

function figure(
  scenario: string,
  what: string,
  value: number,
  unit: string,
  aim?: Figure['aim'],
): Figure {
  return { scenario, what, value, unit, ...(aim === undefined ? {} : { aim }) };
}

/** In the order in which they run; the first one is always needed. */
export const SCENARIOS = {
  connect,
  idle,
  poll,
  storm,
  telemetry,
  killed,
  hint,
  pages,
} satisfies Record<string, Scenario>;
export type ScenarioName = keyof typeof SCENARIOS;
