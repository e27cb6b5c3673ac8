// The fleet journey: many agents, some of them switched off, against a real fleet server with real
// MQTT and HTTP; a good release, then bad ones, then the devices that were off come back. Real are
// the server (SQLite, broker, HTTP, director, conductor) in this process, and, in a few processes
// beside it, every agent with its disk, signed metadata, update machine, spool, inference API,
// trial and application. Replaced is one thing: on most devices the model runs in the process of
// the agents and not in one of its own (in-process-host.ts).
import { sleep } from '../../../shared/base/interfaces.js';
import { realClock } from '../../../shared/platform/clock.js';
import { seeded } from '../../support/random.js';
import { startFleet, type TestFleet } from '../../support/fleet-server.js';
import {
  allEnrolled,
  firstInstall,
  publishDigits,
  quickPolicy,
  rolloutOf,
  startRollout,
} from '../../support/journey-devices.js';
import type { MemberRow } from '../../../server/interfaces.js';
import type { RolloutPolicy } from '../../../shared/protocol/operator-api.js';
import type { ShownRollout } from '../../../firmware-tools/fleet/shown-rollout.js';
import { Agents, INPUTS, type AppCounts, type DeviceSpec } from './agents.js';
import { haltTime, ServerLog, type HaltTime } from './halt-time.js';

export interface FleetJourneyOptions {
  readonly devices: number;
  /** How many of them are switched off once they run the first release. */
  readonly off: number;
  /** Over how many processes the agents are spread. */
  readonly processes: number;
  /** How many devices have real model processes. */
  readonly modelProcesses: number;
  /** How many bad releases follow the good one. */
  readonly runs: number;
  /** Requests a second from the application of a device that has a release on trial. */
  readonly busyPerSecond: number;
  /** How many devices may have a release undecided at the beginning. */
  readonly startWindow: number;
  /**
   * Live inputs that both models must answer before a device keeps the good release; 0 waits for
   * no comparison. A bad release is always compared.
   */
  readonly goodMinPairs: number;
  /** A device that is not heard for this long is silent. */
  readonly silentAfterSeconds: number;
  /** Which devices are off, and which inputs each application begins with. */
  readonly seed: number;
  readonly say: (text: string) => void;
}

interface Check {
  readonly what: string;
  readonly passed: boolean;
  /** What was found instead. */
  readonly found: string;
}

interface BadRun extends HaltTime {
  readonly version: string;
  /** Devices that took it before the halt. */
  readonly took: number;
  /** From the start of the rollout until every touched device was back. */
  readonly seconds: number;
  /** Live requests that it answered, and how many of them right. */
  readonly answered: { readonly served: number; readonly right: number };
}

export interface FleetJourneyResult {
  readonly checks: readonly Check[];
  readonly good: { readonly reached: number; readonly seconds: number };
  readonly bad: readonly BadRun[];
  readonly late: { readonly devices: number; readonly seconds: number };
  readonly requests: { readonly sent: number; readonly lost: number };
  readonly seconds: number;
}

const FIRST = '1.0.0';
const GOOD = '1.1.0';
/** More than the rollout of the good release takes; it only ends a run that fails. */
const PATIENCE_MS = 300_000;
const LOOK_EVERY_MS = 500;
const BAD_MIN_PAIRS = 50;
/** A model waits for the other agents of its process; that is no fault of a release. */
const P99_LATENCY_MS = 5_000;

export class FleetJourney {
  readonly #options: FleetJourneyOptions;
  readonly #startedAt = performance.now();
  readonly #log: ServerLog;
  readonly #checks: Check[] = [];
  readonly #fleet: TestFleet;
  readonly #agents: Agents;
  readonly #specs: readonly DeviceSpec[];
  readonly #off: ReadonlySet<string>;

  private constructor(
    options: FleetJourneyOptions,
    parts: { log: ServerLog; fleet: TestFleet; agents: Agents; specs: readonly DeviceSpec[] },
  ) {
    this.#options = options;
    this.#log = parts.log;
    this.#fleet = parts.fleet;
    this.#agents = parts.agents;
    this.#specs = parts.specs;
    this.#off = drawn(options);
  }

  static async run(options: FleetJourneyOptions): Promise<FleetJourneyResult> {
    const log = new ServerLog();
    const fleet = await startFleet('', log);
    let agents: Agents | null = null;
    try {
      agents = await Agents.open(options.processes);
      const random = seeded(options.seed);
      const specs = await agents.make(fleet, namesOf(options), (index) => ({
        hasModelProcess: index < options.modelProcesses,
        firstInput: Math.floor(random() * INPUTS),
        busyPerSecond: options.busyPerSecond,
      }));
      return await new FleetJourney(options, { log, fleet, agents, specs }).#run();
    } catch (error) {
      for (const complaint of log.complaints) options.say(`server: ${complaint}`);
      throw error;
    } finally {
      await agents?.close();
      await fleet.close();
    }
  }

  async #run(): Promise<FleetJourneyResult> {
    const { runs, say } = this.#options;
    await this.#install();
    const off = [...this.#off];
    await this.#agents.stop(off);
    say(`${off.length} devices are off: ${off.join(', ')}`);
    const good = await this.#rollOutGood();
    const bad: BadRun[] = [];
    for (let run = 0; run < runs; run += 1) bad.push(await this.#rollOutBad(`1.2.${run}`));
    const late = await this.#switchOn(good.id);
    const counts = await this.#agents.counts();
    const requests = { sent: sum(counts, 'sent'), lost: sum(counts, 'lost') };
    this.#check(
      'no request of an application was lost',
      requests.lost === 0,
      `${requests.lost} of ${requests.sent}: ${counts.flatMap((one) => one.complaints).join('; ')}`,
    );
    const { id: _id, ...rest } = good;
    return { checks: this.#checks, good: rest, bad, late, requests, seconds: this.#seconds() };
  }

  /** Every device runs the first release. */
  async #install(): Promise<void> {
    const { devices, say } = this.#options;
    await publishDigits(this.#fleet, FIRST, { p99LatencyMs: P99_LATENCY_MS });
    await publishDigits(this.#fleet, GOOD, { p99LatencyMs: P99_LATENCY_MS });
    say(`the server is up, ${FIRST} and ${GOOD} are published`);
    await this.#agents.start(this.#specs);
    await allEnrolled(this.#fleet, devices);
    say(`${devices} agents are up and enrolled`);
    const id = await startRollout(this.#fleet, FIRST, firstInstall);
    const view = await this.#followed(
      id,
      ({ state, members }) => state !== 'rolling' && members.every(isDecided),
    );
    this.#checkState(`${FIRST} is completed`, view, 'completed');
    const failed = view.members.filter(({ state }) => state !== 'confirmed');
    this.#check(`every device confirmed ${FIRST}`, failed.length === 0, reasonsOf(failed));
    await this.#checkServing(
      `all ${devices} devices serve ${FIRST}`,
      namesOf(this.#options),
      FIRST,
    );
  }

  async #rollOutGood(): Promise<{ id: string; reached: number; seconds: number }> {
    const since = this.#seconds();
    const on = this.#on();
    const id = await startRollout(this.#fleet, GOOD, this.#policy(this.#options.goodMinPairs));
    const view = await this.#followed(id, ({ state }) => state !== 'rolling');
    this.#checkState(`with ${this.#off.size} devices off, ${GOOD} is completed`, view, 'completed');
    const states = view.history.map(({ state }) => state);
    const stops = states.filter((state) => state === 'held' || state === 'reverting');
    this.#check(`nothing halted or held ${GOOD}`, stops.length === 0, states.join(', '));
    const proven = view.members
      .filter(({ state }) => state === 'confirmed')
      .map(({ name }) => name);
    this.#check(
      `all ${on.length} devices that are on confirmed ${GOOD}, and no other`,
      same(proven, on),
      reasonsOf(view.members),
    );
    await this.#checkServing(`all ${on.length} devices serve ${GOOD}`, on, GOOD);
    return { id, reached: proven.length, seconds: this.#seconds() - since };
  }

  async #rollOutBad(version: string): Promise<BadRun> {
    const { say } = this.#options;
    await publishDigits(this.#fleet, '1.2.0', { as: version, p99LatencyMs: P99_LATENCY_MS });
    const before = this.#offRecords();
    const since = this.#seconds();
    const id = await startRollout(this.#fleet, version, this.#policy(BAD_MIN_PAIRS));
    // What devices show together may hold it first; the halt test goes on.
    const view = await this.#followed(
      id,
      ({ state }) => state === 'completed' || state === 'reverted',
    );
    this.#checkState(`${version} is halted and rolled back`, view, 'reverted');
    const reverting = view.history.find(({ state }) => state === 'reverting');
    this.#check(
      `the exact test halted ${version}`,
      reverting?.reasons[0]?.endsWith(': halted') === true,
      reverting?.reasons.join('; ') ?? 'never reverting',
    );
    const touched = view.members.filter(({ state }) => state !== 'waiting');
    const back = touched.filter(({ state }) => state === 'reverted');
    this.#check(
      `every device that took ${version} is back`,
      back.length === touched.length,
      touched.map(({ name, state }) => `${name} ${state}`).join(', '),
    );
    this.#checkUntouched(
      version,
      touched.map(({ name }) => name),
      before,
    );
    await this.#checkServing(`all ${this.#on().length} devices serve ${GOOD}`, this.#on(), GOOD);
    const halt = await haltTime(this.#fleet.store, this.#log, id);
    const { length: took } = await this.#fleet.store.rollouts.takes(view.release.digest);
    const answered = answeredBy(await this.#agents.counts(), `digits@${version}`);
    say(`${version}: ${took} devices took it; deciding report -> halting commit ${ms(halt.ms)}`);
    return { ...halt, version, took, seconds: this.#seconds() - since, answered };
  }

  /** Off devices took nothing, and what is true on their disks did not change. */
  #checkUntouched(version: string, touched: readonly string[], before: Map<string, Buffer>): void {
    const moved = [...this.#offRecords()]
      .filter(([name, bytes]) => before.get(name)?.equals(bytes) !== true)
      .map(([name]) => name);
    const taken = touched.filter((name) => this.#off.has(name));
    this.#check(
      `the devices that are off are untouched by ${version}`,
      moved.length === 0 && taken.length === 0,
      [...moved, ...taken].join(', '),
    );
  }

  /** Devices that were off take the good release in the background. */
  async #switchOn(good: string): Promise<FleetJourneyResult['late']> {
    const since = this.#seconds();
    const off = [...this.#off];
    await this.#agents.start(this.#specs.filter(({ name }) => this.#off.has(name)));
    this.#options.say(`${off.length} devices are switched on`);
    await this.#followed(good, ({ members }) => members.every(isDecided));
    await this.#checkServing(`the ${off.length} late devices took ${GOOD}`, off, GOOD);
    const stranded = namesOf(this.#options).filter(
      (name) => this.#agents.recordOf(name).state !== 'idle',
    );
    this.#check(
      'no device is stranded or between two states',
      stranded.length === 0,
      stranded.join(', '),
    );
    return { devices: off.length, seconds: this.#seconds() - since };
  }

  #policy(minPairs: number): RolloutPolicy {
    const { off, silentAfterSeconds, startWindow } = this.#options;
    // At least half of the first wave is on, whichever devices it draws. The good release differs
    // from the first one on 4 % of the digits: to be sure of less than the cap takes 100 requests.
    const first = { name: 'first', count: Math.max(1, 2 * off), soakSeconds: 1, approval: false };
    const all = { name: 'all', percent: 100, soakSeconds: 1, approval: false };
    const { trial } = quickPolicy([]);
    return quickPolicy([first, all], {
      startWindow,
      kindWindow: startWindow,
      silentAfterSeconds,
      trial: { ...trial, minPairs, differenceLimitPermille: trial.differenceCapPermille },
    });
  }

  /** Waits for `isDone`; meanwhile, devices on trial have much traffic, and changes are told. */
  async #followed(id: string, isDone: (now: Standing) => boolean): Promise<ShownRollout> {
    let told = '';
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      const members = await this.#fleet.store.rollouts.members(id);
      const row = await this.#fleet.store.rollouts.rollout(id);
      if (row === null || performance.now() > end)
        throw new Error(`rollout ${id} does not end: ${told} ${reasonsOf(members)}`);
      const busy = members.filter(({ state }) => state === 'taken' || state === 'trial');
      await this.#agents.busy(busy.map(({ name }) => name));
      const line = `${row.release.version} ${row.state}: ${countText(members)}`;
      if (line !== told) this.#options.say(line);
      told = line;
      if (isDone({ state: row.state, members })) return rolloutOf(this.#fleet, id);
      await sleep(realClock, LOOK_EVERY_MS);
    }
  }

  #on(): string[] {
    return namesOf(this.#options).filter((name) => !this.#off.has(name));
  }

  #offRecords(): Map<string, Buffer> {
    return new Map([...this.#off].map((name) => [name, this.#agents.recordBytes(name)]));
  }

  #seconds(): number {
    return (performance.now() - this.#startedAt) / 1000;
  }

  async #checkServing(what: string, names: readonly string[], version: string): Promise<void> {
    const serving = await this.#agents.serving(names);
    const other = [...serving]
      .filter(([, found]) => found !== version)
      .map(([name, found]) => `${name} serves ${found ?? 'nothing'}`);
    this.#check(what, other.length === 0, other.join(', '));
  }

  #checkState(what: string, view: ShownRollout, state: ShownRollout['state']): void {
    this.#check(what, view.state === state, `${view.state}: ${view.reasons.join('; ')}`);
  }

  #check(what: string, passed: boolean, found: string): void {
    this.#checks.push({ what, passed, found: passed ? '' : found });
    this.#options.say(passed ? `ok      ${what}` : `FAILED  ${what} (${found})`);
  }
}

interface Standing {
  readonly state: ShownRollout['state'];
  readonly members: readonly MemberRow[];
}

const isDecided = ({ proven, failed }: MemberRow): boolean => proven || failed;

/** Of members that are not confirmed. */
const reasonsOf = (members: readonly Pick<MemberRow, 'name' | 'state' | 'reasons'>[]): string =>
  members
    .filter(({ state }) => state !== 'confirmed')
    .map(({ name, state, reasons }) => `${name} ${state}: ${reasons}`)
    .join('; ');

/** "3 confirmed, 2 trial". */
function countText(members: readonly MemberRow[]): string {
  const states = [...new Set(members.map(({ state }) => state))].sort();
  const count = (state: string): number => members.filter((one) => one.state === state).length;
  return states.map((state) => `${count(state)} ${state}`).join(', ');
}

const namesOf = ({ devices }: FleetJourneyOptions): string[] =>
  Array.from({ length: devices }, (_, at) => `gate-${at + 1}`);

/** Devices without a model process of their own, so that these take part in everything. */
function drawn(options: FleetJourneyOptions): Set<string> {
  const random = seeded(options.seed);
  const left = namesOf(options).slice(options.modelProcesses);
  const names = new Set<string>();
  while (names.size < options.off)
    names.add(left.splice(Math.floor(random() * left.length), 1)[0] as string);
  return names;
}

const same = (some: readonly string[], others: readonly string[]): boolean =>
  [...some].sort().join() === [...others].sort().join();

const sum = (counts: readonly AppCounts[], key: 'sent' | 'lost'): number =>
  counts.reduce((total, one) => total + one[key], 0);

function answeredBy(counts: readonly AppCounts[], release: string): BadRun['answered'] {
  const tallies = counts.flatMap(({ byRelease }) => byRelease[release] ?? []);
  return {
    served: tallies.reduce((total, { served }) => total + served, 0),
    right: tallies.reduce((total, { right }) => total + right, 0),
  };
}

const ms = (value: number): string => `${Math.round(value)} ms`;
