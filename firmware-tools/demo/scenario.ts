// The scenario of `npm start`, step by step, through the `linnet` command and the devices' local
// inference API: a fleet with one device switched off, a first release, a better one in three
// waves, a component that is no classifier, a release that answers wrong without ever failing, the
// late device, and the way back. What is checked at the end was counted on the way. It starts
// processes and traffic; demo.ts stops them.
import type { RolloutDetail } from '../../shared/protocol/operator-api.js';
import {
  completionChecks,
  haltChecks,
  percent,
  tallyOf,
  tallyText,
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

export const REQUESTS_PER_SECOND = 25;
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
  readonly roll: (version: string) => Promise<RolloutDetail>;
}

export class Scenario {
  readonly checks: Check[] = [];
  /** On the devices that classify digits. */
  readonly traffic: Traffic[] = [];
  readonly textTraffic: Traffic[] = [];
  readonly #root: string;
  readonly #processes: Processes;
  readonly #say: (text: string) => void;
  readonly #startedAt = performance.now();

  constructor({ root, processes, say }: ScenarioOptions) {
    this.#root = root;
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
    await this.#textDetector(tools);
    const releases = { first, better, bad: await this.#badRelease(tools) };
    const view = await tools.roll('1.2.0');
    this.#say(`  why it stopped:\n${reasonsText(view)}`);
    this.check(...haltChecks(view, releases));
    await new Promise((resolve) => setTimeout(resolve, AFTERMATH_MS));
    await this.#lateDevice(tools, releases);
    await this.#wayBack(tools, rollout, releases);
    await this.#applicationView(releases);
    return fleet;
  }

  #step(text: string): void {
    this.#say(`\n[${this.seconds.padStart(3)} s] ${text}`);
  }

  async #startFleet(): Promise<DemoFleet> {
    this.#step('A fleet: one server (embedded MQTT broker, SQLite, operator API), seven devices');
    const server = await startServer(this.#root, this.#processes);
    const fleet = await startAgents(this.#root, this.#processes, server);
    const names = [...fleet.devices, fleet.reader].map(({ name, group }) => `${name} (${group})`);
    this.#say(`  six agents run, each its own process: ${names.join(', ')}`);
    this.#say(`  ${fleet.off.name} is enrolled, and switched off from now on`);
    return fleet;
  }

  async #firstRelease({ fleet, make, roll }: Tools): Promise<Released> {
    this.#step(
      'Release 1.0.0: a digit classifier, quantized to int8, built, signed offline, published, ' +
        'rolled out',
    );
    const made = await make({
      version: '1.0.0',
      description: 'digit classifier, first release',
      labels: TRUE_LABELS,
    });
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
    const { state } = await roll('1.0.0');
    this.check({ what: `rollout of 1.0.0 is ${state}`, passed: state === 'completed' });
    await until('every device serves', READY_MS, () => allReady(fleet));
    return made;
  }

  async #betterRelease({
    fleet,
    make,
    roll,
  }: Tools): Promise<{ better: Released; rollout: string }> {
    this.#step('Release 1.1.0: a better one, in three waves (canary, 4 devices, 6), under traffic');
    const better = await make({
      version: '1.1.0',
      description: 'more data, longer training',
      labels: TRUE_LABELS,
    });
    const view = await roll('1.1.0');
    this.#say(reasonsText(view));
    this.check(...completionChecks(view, fleet));
    return { better, rollout: view.id };
  }

  async #textDetector({ fleet, operator, policies, place }: Tools): Promise<void> {
    this.#step('A second component that is no classifier: a text detector, updated under traffic');
    const releases = await releaseText(place);
    const traffic = new Traffic({ port: fleet.reader.port, task: textTask(), first: 0 });
    this.textTraffic.push(traffic);
    void traffic.startWhenReady(TEXT_REQUESTS_PER_SECOND);
    const states: string[] = [];
    for (const version of ['1.0.0', '1.1.0'])
      states.push((await rollOut(`text@${version}`, policies.atOnce, operator)).state);
    await traffic.stop();
    const before = tallyOf([traffic], releases.before);
    const after = tallyOf([traffic], releases.after);
    this.check(
      {
        what: `rollouts of text 1.0.0 and 1.1.0 are ${states.join(' and ')}`,
        passed: states.every((state) => state === 'completed'),
      },
      {
        what:
          `text was found in ${before.right} of ${before.served} lines by 1.0.0, ` +
          `in ${after.right} of ${after.served} by 1.1.0`,
        passed: [before, after].every(({ served, right }) => served > 0 && right === served),
      },
      {
        what: `${traffic.counts.lost} of its requests were lost`,
        passed: traffic.counts.lost === 0,
      },
    );
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
    const { state } = await rollOut(`digits@${better.version}`, policies.atOnce, operator);
    this.check({ what: `rollout of 1.1.0 is ${state} again`, passed: state === 'completed' });
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
    for (const one of Object.values(releases))
      this.#say(`  digits ${one.version}: ${tallyText(tallyOf(this.traffic, one))}`);
    for (const { counts } of this.traffic)
      for (const complaint of counts.complaints) this.#say(`  lost: ${complaint}`);
    this.check(...trafficChecks(releases, this.traffic));
    this.check(await this.#everyDeviceServes(releases.better));
  }
}

const reasonsText = (view: RolloutDetail): string =>
  view.reasons.map((line) => `    | ${line}`).join('\n');
