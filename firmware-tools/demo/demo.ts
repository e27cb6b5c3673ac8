// `npm start`: a whole fleet on one machine and the product's promise shown on it. Everything is
// done through the `linnet` command and the devices' local inference API, on real processes; what
// is claimed at the end was counted on the way. With --once it exits: 0 when every part of the
// story happened, 1 when any did not.
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { isFault } from '../../shared/base/fault-codes.js';
import type { RolloutDetail } from '../../shared/protocol/operator-api.js';
import { loadDigits } from './digits/data.js';
import { allReady, startAgents, startServer, until, type DemoFleet } from './demo-fleet.js';
import { leaveFolder, takeFolder } from './demo-folder.js';
import { Processes } from './processes.js';
import {
  CORRUPTED_LABELS,
  TRUE_LABELS,
  release,
  writeExampleData,
  type Plan,
  type Released,
} from './demo-releases.js';
import { rollOut, writePolicy } from './demo-rollouts.js';
import { Traffic } from './traffic.js';
import {
  claimsOfHalt,
  claimsOfTraffic,
  percent,
  tallyOf,
  tallyText,
  type Claim,
  type Releases,
} from './checks.js';

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
const { values: options } = parseArgs({
  options: {
    once: { type: 'boolean', default: false },
    dir: { type: 'string', default: join(PROJECT, '.linnet', 'demo') },
  },
});
const ROOT = resolve(options.dir);
const REQUESTS_PER_SECOND = 25;
const AFTERMATH_MS = 3_000;

const begun = performance.now();
const say = (text: string): void => console.log(text);
const step = (text: string): void =>
  say(`\n[${((performance.now() - begun) / 1000).toFixed(0).padStart(3)} s] ${text}`);

/** Each claim of the story with what was counted; the story is true when all are. */
const claims: Claim[] = [];
const claimAll = (made: readonly Claim[]): void => {
  claims.push(...made);
  for (const one of made) say(`  ${one.true ? 'ok  ' : 'FAIL'} ${one.what}`);
};
const claim = (what: string, truth: boolean): void => claimAll([{ what, true: truth }]);

const reasons = (view: RolloutDetail): string =>
  view.reasons.map((line) => `    | ${line}`).join('\n');

async function tell(processes: Processes, traffic: Traffic[]): Promise<DemoFleet> {
  step('A fleet: one server (embedded MQTT broker, SQLite, operator API) and five devices');
  const server = await startServer(ROOT, processes);
  const fleet = await startAgents(ROOT, processes, server);
  say(
    `  five agents run, each its own process: ${fleet.devices.map(({ name, group }) => `${name} (${group})`).join(', ')}`,
  );
  const work = writeExampleData(ROOT);
  const policy = writePolicy(ROOT);
  const make = async (plan: Plan): Promise<Released> => {
    const made = await release({ work, root: ROOT, processes, fleet }, plan);
    say(
      `  its makers measured ${percent(made.accuracy)} right on held-out digits (${plan.labels})`,
    );
    return made;
  };

  step(
    'Release 1.0.0: a digit classifier, quantized to int8, built, signed offline, published, rolled out',
  );
  const v100 = await make({
    version: '1.0.0',
    description: 'digit classifier, first release',
    labels: TRUE_LABELS,
  });
  const { images, labels } = loadDigits().test;
  traffic.push(
    ...fleet.devices.map(({ port }, at) => new Traffic(port, { images, labels }, at * 397)),
  );
  for (const one of traffic) void one.startWhenReady(REQUESTS_PER_SECOND);
  say(
    `  from its first release on, every device classifies ${REQUESTS_PER_SECOND} held-out digits a second, until the end`,
  );
  const first = await rollOut('1.0.0', policy, processes, fleet, say);
  claim(`rollout of 1.0.0 is ${first.state}`, first.state === 'completed');
  await until('every device serves', 30_000, () => allReady(fleet));

  step('Release 1.1.0: a better one, in three waves (canary, 50 %, 100 %) while inference goes on');
  const v110 = await make({
    version: '1.1.0',
    description: 'more data, longer training',
    labels: TRUE_LABELS,
  });
  const better = await rollOut('1.1.0', policy, processes, fleet, say);
  say(reasons(better));
  claim(`rollout of 1.1.0 is ${better.state}`, better.state === 'completed');
  claim(
    'all five devices confirmed 1.1.0',
    better.members.length === fleet.devices.length &&
      better.members.every((member) => member.state === 'confirmed'),
  );

  step('Release 1.2.0: it loads, passes its own golden probes, never crashes, and answers wrong');
  const v120 = await make({
    version: '1.2.0',
    description: 'trained on a corrupted label file',
    labels: CORRUPTED_LABELS,
  });
  const releases = { first: v100, better: v110, bad: v120 };
  const bad = await rollOut('1.2.0', policy, processes, fleet, say);
  say(`  why it stopped:\n${reasons(bad)}`);
  claimAll(claimsOfHalt(bad, releases));
  await new Promise((resolve) => setTimeout(resolve, AFTERMATH_MS));
  await verdict(releases, fleet, traffic);
  return fleet;
}

async function verdict(
  releases: Releases,
  fleet: DemoFleet,
  traffic: readonly Traffic[],
): Promise<void> {
  step('What the application on the devices saw');
  // Drained first: a request that is still under way is neither served nor lost, and could hide
  // either.
  await Promise.all(traffic.map((one) => one.stop()));
  for (const one of Object.values(releases))
    say(`  digits ${one.version}: ${tallyText(tallyOf(traffic, one))}`);
  for (const { counts } of traffic)
    for (const complaint of counts.complaints) say(`  lost: ${complaint}`);
  claimAll(claimsOfTraffic(releases, fleet.devices, traffic));
  const now = await Promise.all(traffic.map((one) => one.answer(new Float32Array(784))));
  claim(
    'every device serves 1.1.0 again',
    now.every(({ header }) => header === releases.better.header),
  );
}

function nextSteps(fleet: DemoFleet): string {
  const token = relative(process.cwd(), fleet.tokenFile);
  return `
The fleet stays up. Ctrl-C stops it. Everything it made is in ${relative(process.cwd(), ROOT)}.

  console      ${fleet.url}/console    (token: cat ${token})
  API          ${fleet.url}/openapi.json
  a device     http://127.0.0.1:${fleet.devices[0]?.port ?? 0}/v2

  export LINNET_SERVER=${fleet.url} LINNET_TOKEN=$(cat ${token})
  npx linnet device list
  npx linnet device show gate-1
  npx linnet rollout list
  npx linnet rollout show <ID>`;
}

async function main(): Promise<number> {
  try {
    takeFolder(ROOT);
  } catch (error) {
    if (!isFault(error, 'conflict')) throw error;
    say(error.detail);
    return 1;
  }
  let died: string | null = null;
  let giveUp: (error: Error) => void = () => {};
  const death = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  death.catch(() => {}); // It is raced below; a death after the story is told is counted there.
  const {
    LINNET_TOKEN: _token,
    LINNET_SERVER: _server,
    LINNET_CLAIM: _claim,
    ...env
  } = process.env;
  const processes = new Processes(ROOT, env, say, (what) => {
    died ??= what;
    giveUp(new Error(what));
  });
  const traffic: Traffic[] = [];
  const stop = async (): Promise<void> => {
    // Side by side, so that the processes end even when a request hangs.
    await Promise.all([processes.stop(), ...traffic.map((one) => one.stop())]);
  };
  const interrupted = new Promise<'interrupted'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => resolve('interrupted'));
  });
  try {
    const told = await Promise.race([tell(processes, traffic), interrupted, death]);
    if (told === 'interrupted') return 130;
    claim('no process died', died === null);
    const failed = claims.filter((one) => !one.true).length;
    const seconds = ((performance.now() - begun) / 1000).toFixed(0);
    const total =
      failed === 0
        ? `All ${claims.length} claims of the story are true`
        : `${failed} of ${claims.length} claims FAILED`;
    say(`\n${total} (${seconds} s).`);
    if (!options.once) {
      for (const one of traffic) one.start(REQUESTS_PER_SECOND);
      say(nextSteps(told));
      await interrupted;
    }
    return failed === 0 ? 0 : 1;
  } catch (error) {
    say(
      `\nThe story broke off: ${error instanceof Error ? error.message : String(error)}\n(logs in ${ROOT})`,
    );
    return 1;
  } finally {
    await stop();
    leaveFolder(ROOT);
  }
}

process.exit(await main());
