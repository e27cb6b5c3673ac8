// The scenario of `npm start`, step by step, through the `linnet` command and the devices' local
// inference API: a fleet with one device switched off, a first release, a better one in two
// waves, a component that is no classifier, a release that answers wrong without ever failing, the
// way back, and the late device. What is checked at the end was counted on the way. It starts
// processes and traffic; demo.ts stops them.
import { relative } from 'node:path';
import type { ShownRollout } from '../fleet/shown-rollout.js';
import {
  completionChecks,
  haltChecks,
  percent,
  tallyOf,
  tallyText,
  textChecks,
  trafficChecks,
  type Check,
  type Releases,
} from './checks.js';
import {
  allReady,
  startAgents,
  startServer,
  switchOn,
  until,
  type DemoFleet,
} from './demo-fleet.js';
import {
  CORRUPTED_LABELS,
  TRUE_LABELS,
  release,
  writeExampleData,
  type Released,
  type ReleasePlace,
  type ReleasePlan,
} from './demo-releases.js';
import { rollOut, undo, writePolicies, type Operator, type Policies } from './demo-rollouts.js';
import { releaseText, textTask } from './demo-text.js';
import { loadDigits } from './digits/data.js';
import type { Processes } from './processes.js';
import { Traffic, digitTask, modelReady } from './traffic.js';

export const REQUESTS_PER_SECOND = 15;
const TEXT_REQUESTS_PER_SECOND = 8;
/** How long the bad release has to show up somewhere after its rollout was reverted. */
const AFTERMATH_MS = 3_000;
const READY_MS = 30_000;
/** For the device that was off: it starts, asks, downloads and probes. */
const LATE_MS = 60_000;
/** Devices start with different digits, so that they see different ones at a time. */
const FIRST_DIGIT_STEP_COUNT = 397;

export interface ScenarioOptions {
  readonly root: string;
  /** Server, broker and devices take ports from this one on. */
  readonly firstPort: number;
  readonly processes: Processes;
  readonly say: (text: string) => void;
}

/** What the steps work with. */
interface Tools {
  readonly fleet: DemoFleet;
  readonly operator: Operator;
  readonly policies: Policies;
  readonly place: ReleasePlace;
  readonly make: (plan: ReleasePlan) => Promise<Released>;
  readonly roll: (version: string) => Promise<ShownRollout>;
}

export class Scenario {
  readonly checks: Check[] = [];
  /** On the devices that classify digits. */
  readonly traffic: Traffic[] = [];
  /** On the device that finds text. */
  textTraffic: Traffic | null = null;
  readonly #root: string;
  readonly #firstPort: number;
  readonly #processes: Processes;
  readonly #say: (text: string) => void;
  readonly #startedAt = performance.now();

  constructor({ root, firstPort, processes, say }: ScenarioOptions) {
    this.#root = root;
    this.#firstPort = firstPort;
    this.#processes = processes;
    this.#say = say;
  }

  get seconds(): string {
    return ((performance.now() - this.#startedAt) / 1000).toFixed(0);
  }

  /** Adds checks to the result and prints each. */
  check(...checks: readonly Check[]): void {
    this.checks.push(...checks);
    for (const { what, passed } of checks) this.#say(`  ${passed ? 'ok  ' : 'FAIL'} ${what}`);
  }

  /** Runs every step. Throws when a step cannot be done; a failed check does not throw. */
  async run(): Promise<DemoFleet> {
    const fleet = await this.#startFleet();
    const work = writeExampleData(this.#root);
    const policies = writePolicies(this.#root);
    const operator = { processes: this.#processes, fleet, say: this.#say };
    const place = { work, root: this.#root, processes: this.#processes, fleet };
    const tools: Tools = {
      fleet,
      operator,
      policies,
      place,
      make: async (plan) => {
        const made = await release(place, plan);
        this.#say(`  accuracy on held-out digits: ${percent(made.accuracy)} (${plan.labels})`);
        return made;
      },
      roll: (version) => rollOut(`digits@${version}`, policies.inWaves, operator),
    };
    const first = await this.#firstRelease(tools);
    const { better, rollout } = await this.#betterRelease(tools);
    const releases = { first, better, bad: await this.#badRelease(tools) };
    const view = await tools.roll('1.2.0');
    this.#say(`  why it stopped:\n${reasonsText(view)}`);
    this.check(...haltChecks(view, releases));
    await new Promise((resolve) => setTimeout(resolve, AFTERMATH_MS));
    await this.#wayBack(tools, rollout, releases);
    await this.#lateDevice(tools, releases);
    await this.#applicationView(releases);
    return fleet;
  }

  #step(text: string): void {
    this.#say(`\n[${this.seconds.padStart(3)} s] ${text}`);
  }

  async #startFleet(): Promise<DemoFleet> {
    this.#step('A fleet: one server (embedded MQTT broker, SQLite, operator API), seven devices');
    const server = await startServer(this.#root, this.#processes, this.#firstPort);
    const token = relative(process.cwd(), server.tokenFile);
    this.#say(`  console: ${server.url}/console    (sign in with: cat ${token})`);
    const fleet = await startAgents(this.#root, this.#processes, server, this.#firstPort);
    const names = [...fleet.devices, fleet.reader].map(({ name, group }) => `${name} (${group})`);
    this.#say(`  six agents run, each its own process: ${names.join(', ')}`);
    this.#say(`  ${fleet.off.name} is enrolled, and switched off from now on`);
    return fleet;
  }

  async #firstRelease(tools: Tools): Promise<Released> {
    const { fleet, make, roll } = tools;
    this.#step(
      'Release 1.0.0: a digit classifier, quantized to int8, built, signed offline, published, ' +
        'rolled out; and a text detector, which is no classifier',
    );
    const made = await make({
      version: '1.0.0',
      description: 'digit classifier, first release',
      labels: TRUE_LABELS,
    });
    await releaseText(tools.place);
    this.textTraffic = new Traffic({ port: fleet.reader.port, task: textTask(), first: 0 });
    void this.textTraffic.startWhenReady(TEXT_REQUESTS_PER_SECOND);
    const task = digitTask(loadDigits().test);
    for (const [at, { port }] of fleet.devices.entries()) {
      const traffic = new Traffic({ port, task, first: at * FIRST_DIGIT_STEP_COUNT });
      this.traffic.push(traffic);
      void traffic.startWhenReady(REQUESTS_PER_SECOND);
    }
    this.#say(
      `  as soon as it serves, every device classifies ${REQUESTS_PER_SECOND} held-out digits a ` +
        'second, until the end',
    );
    const views = await Promise.all([roll('1.0.0'), this.#rollText('1.0.0', tools)]);
    this.check(...views.map(isCompleted));
    await until('every device serves', READY_MS, () => allReady(fleet));
    return made;
  }

  async #betterRelease(tools: Tools): Promise<{ better: Released; rollout: string }> {
    const { fleet, make, roll } = tools;
    this.#step(
      'Release 1.1.0: a better one, in two waves (canary, all), under traffic; and of the text ' +
        'detector one whose weights moved by 2 %',
    );
    const better = await make({
      version: '1.1.0',
      description: 'more data, longer training',
      labels: TRUE_LABELS,
    });
    const [view, ofText] = await Promise.all([roll('1.1.0'), this.#rollText('1.1.0', tools)]);
    this.#say(reasonsText(view));
    this.check(isCompleted(view), ...completionChecks(view, fleet), isCompleted(ofText));
    return { better, rollout: view.id };
  }

  #rollText(version: string, { policies, operator }: Tools): Promise<ShownRollout> {
    return rollOut(`text@${version}`, policies.atOnce, operator);
  }

  #badRelease({ make }: Tools): Promise<Released> {
    this.#step(
      'Release 1.2.0: it loads, passes its own golden probes, never crashes, and answers wrong',
    );
    return make({
      version: '1.2.0',
      description: 'trained on a corrupted label file',
      labels: CORRUPTED_LABELS,
    });
  }

  /** The standing release reaches the device that was off all the time. */
  async #lateDevice({ fleet }: Tools, { better }: Releases): Promise<void> {
    const { off } = fleet;
    this.#step(`${off.name} is switched on: it takes what the others confirmed`);
    switchOn(this.#processes, off);
    const late = new Traffic({ port: off.port, task: digitTask(loadDigits().test), first: 0 });
    this.traffic.push(late);
    await until(`${off.name} serves`, LATE_MS, () => modelReady(off.port));
    const { header } = await late.answer(new Float32Array(784));
    this.check({ what: `${off.name} serves 1.1.0`, passed: header === better.header });
    late.start(REQUESTS_PER_SECOND);
  }

  /** Undo of the completed rollout, and the same release again. */
  async #wayBack(
    { operator, policies }: Tools,
    rollout: string,
    { first, better }: Releases,
  ): Promise<void> {
    this.#step('The way back: 1.1.0 is undone on every device, and then rolled out again');
    const undone = await undo(rollout, operator);
    this.check(
      { what: `rollout of 1.1.0 is ${undone.state}`, passed: undone.state === 'reverted' },
      await this.#everyDeviceServes(first),
    );
    this.check(isCompleted(await rollOut(`digits@${better.version}`, policies.again, operator)));
  }

  async #everyDeviceServes({ version, header }: Released): Promise<Check> {
    const now = await Promise.all(this.traffic.map((one) => one.answer(new Float32Array(784))));
    return {
      what: `every device serves ${version} again`,
      passed: now.every((answer) => answer.header === header),
    };
  }

  async #applicationView(releases: Releases): Promise<void> {
    this.#step('What the application on the devices saw');
    // Stopped first: a request in flight is neither served nor lost, and could hide either.
    await Promise.all(this.traffic.map((one) => one.stop()));
    await this.textTraffic?.stop();
    for (const one of Object.values(releases))
      this.#say(`  digits ${one.version}: ${tallyText(tallyOf(this.traffic, one))}`);
    for (const { counts } of this.traffic)
      for (const complaint of counts.complaints) this.#say(`  lost: ${complaint}`);
    this.check(...trafficChecks(releases, this.traffic));
    if (this.textTraffic !== null) this.check(...textChecks(this.textTraffic));
    this.check(await this.#everyDeviceServes(releases.better));
  }
}

const isCompleted = ({ release: { component, version }, state }: ShownRollout): Check => ({
  what: `rollout of ${component} ${version} is ${state}`,
  passed: state === 'completed',
});

const reasonsText = (view: ShownRollout): string =>
  view.reasons.map((line) => `    | ${line}`).join('\n');
