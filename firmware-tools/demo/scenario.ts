// The scenario of `npm start`, step by step, through the `linnet` command and the devices' local
// inference API: a fleet, a first release, a better one in three waves, and one that answers wrong
// without ever failing. What is checked at the end was counted on the way. It starts processes and
// traffic; demo.ts stops them.
import type { RolloutDetail } from '../../shared/protocol/operator-api.js';
import {
  haltChecks,
  percent,
  tallyOf,
  tallyText,
  trafficChecks,
  type Check,
  type Releases,
} from './checks.js';
import { allReady, startAgents, startServer, until, type DemoFleet } from './demo-fleet.js';
import {
  CORRUPTED_LABELS,
  TRUE_LABELS,
  release,
  writeExampleData,
  type Released,
  type ReleasePlan,
} from './demo-releases.js';
import { rollOut, writePolicy } from './demo-rollouts.js';
import { loadDigits } from './digits/data.js';
import type { Processes } from './processes.js';
import { Traffic } from './traffic.js';

export const REQUESTS_PER_SECOND = 25;
/** How long the bad release has to show up somewhere after its rollout was reverted. */
const AFTERMATH_MS = 3_000;
const READY_MS = 30_000;
/** Devices start with different digits, so that they see different ones at a time. */
const FIRST_DIGIT_STEP_COUNT = 397;

export interface ScenarioOptions {
  readonly root: string;
  readonly processes: Processes;
  readonly say: (text: string) => void;
}

export class Scenario {
  readonly checks: Check[] = [];
  readonly traffic: Traffic[] = [];
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
    const policy = writePolicy(this.#root);
    const make = async (plan: ReleasePlan): Promise<Released> => {
      const place = { work, root: this.#root, processes: this.#processes, fleet };
      const made = await release(place, plan);
      this.#say(`  accuracy on held-out digits: ${percent(made.accuracy)} (${plan.labels})`);
      return made;
    };
    const roll = (version: string): Promise<RolloutDetail> =>
      rollOut(version, policy, this.#processes, fleet, this.#say);
    const first = await this.#firstRelease(fleet, make, roll);
    const better = await this.#betterRelease(fleet, make, roll);
    const bad = await this.#badRelease(make);
    const releases = { first, better, bad };
    const view = await roll('1.2.0');
    this.#say(`  why it stopped:\n${reasonsText(view)}`);
    this.check(...haltChecks(view, releases));
    await new Promise((resolve) => setTimeout(resolve, AFTERMATH_MS));
    await this.#applicationView(releases, fleet);
    return fleet;
  }

  #step(text: string): void {
    this.#say(`\n[${this.seconds.padStart(3)} s] ${text}`);
  }

  async #startFleet(): Promise<DemoFleet> {
    this.#step('A fleet: one server (embedded MQTT broker, SQLite, operator API), five devices');
    const server = await startServer(this.#root, this.#processes);
    const fleet = await startAgents(this.#root, this.#processes, server);
    const names = fleet.devices.map(({ name, group }) => `${name} (${group})`).join(', ');
    this.#say(`  five agents run, each its own process: ${names}`);
    return fleet;
  }

  async #firstRelease(
    fleet: DemoFleet,
    make: (plan: ReleasePlan) => Promise<Released>,
    roll: (version: string) => Promise<RolloutDetail>,
  ): Promise<Released> {
    this.#step(
      'Release 1.0.0: a digit classifier, quantized to int8, built, signed offline, published, ' +
        'rolled out',
    );
    const made = await make({
      version: '1.0.0',
      description: 'digit classifier, first release',
      labels: TRUE_LABELS,
    });
    const { images, labels } = loadDigits().test;
    for (const [at, { port }] of fleet.devices.entries()) {
      const first = at * FIRST_DIGIT_STEP_COUNT;
      const traffic = new Traffic({ port, digits: { images, labels }, first });
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

  async #betterRelease(
    fleet: DemoFleet,
    make: (plan: ReleasePlan) => Promise<Released>,
    roll: (version: string) => Promise<RolloutDetail>,
  ): Promise<Released> {
    this.#step('Release 1.1.0: a better one, in three waves (canary, 50 %, 100 %), under traffic');
    const made = await make({
      version: '1.1.0',
      description: 'more data, longer training',
      labels: TRUE_LABELS,
    });
    const view = await roll('1.1.0');
    const { state, members } = view;
    this.#say(reasonsText(view));
    this.check(
      { what: `rollout of 1.1.0 is ${state}`, passed: state === 'completed' },
      {
        what: 'all five devices confirmed 1.1.0',
        passed:
          members.length === fleet.devices.length &&
          members.every((member) => member.state === 'confirmed'),
      },
    );
    return made;
  }

  #badRelease(make: (plan: ReleasePlan) => Promise<Released>): Promise<Released> {
    this.#step(
      'Release 1.2.0: it loads, passes its own golden probes, never crashes, and answers wrong',
    );
    return make({
      version: '1.2.0',
      description: 'trained on a corrupted label file',
      labels: CORRUPTED_LABELS,
    });
  }

  async #applicationView(releases: Releases, fleet: DemoFleet): Promise<void> {
    this.#step('What the application on the devices saw');
    // Stopped first: a request in flight is neither served nor lost, and could hide either.
    await Promise.all(this.traffic.map((one) => one.stop()));
    for (const one of Object.values(releases))
      this.#say(`  digits ${one.version}: ${tallyText(tallyOf(this.traffic, one))}`);
    for (const { counts } of this.traffic)
      for (const complaint of counts.complaints) this.#say(`  lost: ${complaint}`);
    this.check(...trafficChecks(releases, fleet.devices, this.traffic));
    const now = await Promise.all(this.traffic.map((one) => one.answer(new Float32Array(784))));
    this.check({
      what: 'every device serves 1.1.0 again',
      passed: now.every(({ header }) => header === releases.better.header),
    });
  }
}

const reasonsText = (view: RolloutDetail): string =>
  view.reasons.map((line) => `    | ${line}`).join('\n');
