// A fleet in virtual time for measuring how rollouts decide: the real plan, taking, conductor and
// operator service over a store in memory; devices that are off, poll, take a release, fail it or
// confirm it after a trial, and fall silent. All randomness comes from one seed. Time moves in
// ticks of a twentieth of a trial.
import { by } from '../support/audit-actions.js';
import { passing } from '../support/rollout-rows.js';
import { silentLog } from '../../shared/base/interfaces.js';
import type { RolloutPolicy } from '../../shared/protocol/operator-api.js';
import type { Outcome, TrialBody, UpdateBody } from '../../shared/protocol/telemetry.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import { Conductor } from '../../server/rollout/conductor.js';
import { Reception } from '../../server/rollout/reception.js';
import { OperatorService } from '../../server/rollout/service.js';
import { SituationReader } from '../../server/rollout/situation-reader.js';
import { UNDECIDED } from '../../server/rollout/verdict.js';
import type { MemberRow, RolloutRow } from '../../server/interfaces.js';
import { COMPONENT, deviceId, MemoryRolloutStore, releaseOf, VirtualClock } from './fleet.js';
import { seeded } from '../support/random.js';

const TRIAL_MS = 10 * 60_000;
const TICK_MS = TRIAL_MS / 20;
const LISTENING_MS = 5_000;
const OLD = releaseOf('1.0.0');
const NEW = releaseOf('1.1.0');

export interface SimulatedFleet {
  readonly devices: number;
  readonly seed: number;
  /** Share of devices that fail the release, by kind of hardware. */
  readonly failureRate: (hardware: string) => number;
  readonly hardware?: (device: number) => string;
  readonly site?: (device: number) => string;
  /** Whether the device is switched on at a time, in ms since the start. */
  readonly isOn?: (device: number, ms: number) => boolean;
  /** Chance that a device falls silent for half an hour, in each trial length. */
  readonly silenceRate?: number;
  /** The release cuts this share of devices off from the network for good. */
  readonly cutsOff?: number;
  readonly policy?: Partial<RolloutPolicy>;
}

const POLICY: RolloutPolicy = {
  waves: [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }],
  trial: passing.policy,
  acceptableFailurePermille: 20,
  alarmingFailurePermille: 100,
  falseAlarmPermille: 50,
  silentAfterSeconds: (3 * TRIAL_MS) / 1000,
  deviceDeadlineSeconds: (20 * TRIAL_MS) / 1000,
  autoRevert: true,
};

/** How a rollout ended. */
export interface Ending {
  readonly state: RolloutRow['state'];
  readonly reasons: readonly string[];
  /** Devices that took the release before the halt, or in all. */
  readonly takes: number;
  readonly confirmed: number;
  /** Devices that run the release at the end. */
  readonly running: number;
  readonly trialLengths: number;
  /** Most devices that had the release undecided at once. */
  readonly mostUndecided: number;
  /** The window's size at that time. */
  readonly mostBeyondWindow: number;
}

interface Device {
  readonly n: number;
  readonly id: string;
  readonly fails: boolean;
  readonly decideAt: number;
  readonly isCutOff: boolean;
  running: ReleaseRef;
  assignmentId: number;
  takenAt: number | null;
  outcome: Outcome | null;
  trial: TrialBody | null;
  silentUntil: number;
}

export class RolloutSimulation {
  readonly clock = new VirtualClock();
  readonly store = new MemoryRolloutStore();
  readonly #fleet: SimulatedFleet;
  readonly #random: () => number;
  readonly #devices: Device[];
  readonly #hinted = new Set<string>();
  readonly #conductor: Conductor;
  readonly #reception: Reception;
  readonly operators: OperatorService;
  readonly #start: number;

  constructor(fleet: SimulatedFleet) {
    this.#fleet = fleet;
    this.#random = seeded(fleet.seed);
    this.#start = this.clock.now();
    for (const ref of [OLD, NEW])
      this.store.releases.set(ref.version, { ref, hardware: this.#kinds(), declared: [] });
    this.#devices = Array.from({ length: fleet.devices }, (_, n) => this.#device(n));
    const reception = new Reception({ clock: this.clock });
    this.#reception = reception;
    const situations = new SituationReader({
      store: this.store,
      reception,
      clock: this.clock,
      floorOf: () => null,
    });
    const security = { report: () => undefined };
    const common = { store: this.store, situations, clock: this.clock, log: silentLog, security };
    this.#conductor = new Conductor({
      ...common,
      reception,
      hint: (device) => this.#hinted.add(device),
    });
    this.operators = new OperatorService({
      ...common,
      random: {
        bytes: (length) => Uint8Array.from({ length }, () => Math.floor(this.#random() * 256)),
        fraction: this.#random,
      },
      onCommand: () => undefined,
    });
  }

  #kinds(): string[] {
    const { devices, hardware = () => 'pi4' } = this.#fleet;
    return [...new Set(Array.from({ length: devices }, (_, n) => hardware(n)))];
  }

  #device(n: number): Device {
    const { hardware = () => 'pi4', site = () => 'site', failureRate, cutsOff = 0 } = this.#fleet;
    const kind = hardware(n);
    const fails = this.#random() < failureRate(kind);
    const id = deviceId(n);
    this.store.devices.set(id, {
      id,
      name: `d${n}`,
      group: 'fleet',
      hardware: kind,
      site: site(n),
      lastSeenAt: this.#start,
    });
    // Failures are reported sooner than successes.
    const decideAt = fails ? TRIAL_MS * (0.1 + 0.9 * this.#random()) : TRIAL_MS;
    return {
      n,
      id,
      fails,
      decideAt,
      isCutOff: this.#random() < cutsOff,
      running: OLD,
      assignmentId: 0,
      takenAt: null,
      outcome: null,
      trial: null,
      silentUntil: 0,
    };
  }

  /** Rolls 1.1.0 out until it settles, or for `lengths` trial lengths. */
  async run(lengths = 400): Promise<Ending> {
    const policy = { ...POLICY, ...this.#fleet.policy };
    await this.#tick();
    const request = { component: COMPONENT, version: NEW.version, policy };
    const { id } = await this.operators.create(request, by('ann'));
    await this.operators.command(id, 'start', by('ann'));
    const startedAt = this.clock.now();
    let [mostUndecided, mostBeyondWindow, takes] = [0, 0, 0];
    while (this.clock.now() - startedAt < lengths * TRIAL_MS) {
      await this.#tick();
      const row = this.#row(id);
      const members = this.#members(id);
      const undecided = members.filter(({ state }) => UNDECIDED.includes(state)).length;
      const proven = members.filter((member) => member.proven).length;
      mostUndecided = Math.max(mostUndecided, undecided);
      const size = Math.max(3, proven);
      mostBeyondWindow = Math.max(mostBeyondWindow, undecided - size);
      if (row.state === 'rolling') takes = (await this.store.takes(NEW.digest)).length;
      if (['completed', 'reverted', 'held', 'dropped'].includes(row.state)) break;
    }
    const members = this.#members(id);
    return {
      state: this.#row(id).state,
      reasons: this.#row(id).reasons,
      takes,
      confirmed: members.filter(({ state }) => state === 'confirmed').length,
      running: this.#devices.filter((one) => one.running.digest === NEW.digest).length,
      trialLengths: (this.clock.now() - startedAt) / TRIAL_MS,
      mostUndecided,
      mostBeyondWindow,
    };
  }

  #row(id: string): RolloutRow {
    const row = this.store.rows.get(id);
    if (row === undefined) throw new Error(`there is no rollout ${id}`);
    return row;
  }

  #members(id: string): MemberRow[] {
    return [...(this.store.memberRows.get(id)?.values() ?? [])];
  }

  /** Devices act and report; the conductor makes its pass. */
  async #tick(): Promise<void> {
    // The server listens all the time, also between two ticks.
    for (let ms = 0; ms < TICK_MS; ms += LISTENING_MS) {
      this.clock.advance(LISTENING_MS);
      this.#reception.observe();
    }
    for (const device of this.#devices) if (this.#isHeard(device)) await this.#act(device);
    await this.#conductor.pass();
    this.#hinted.clear();
  }

  #isHeard(device: Device): boolean {
    const now = this.clock.now();
    const { isOn = () => true, silenceRate = 0 } = this.#fleet;
    if (!isOn(device.n, now - this.#start)) return false;
    if (device.isCutOff && device.takenAt !== null) return false;
    if (this.#random() < (silenceRate * TICK_MS) / TRIAL_MS) device.silentUntil = now + SILENCE_MS;
    return now >= device.silentUntil;
  }

  async #act(device: Device): Promise<void> {
    const now = this.clock.now();
    if (device.takenAt === null || this.#hinted.has(device.id))
      await this.operators.contact(device.id);
    const assignment = this.store.assignments.get(device.id);
    if (assignment !== undefined && assignment.assignmentId !== device.assignmentId) {
      device.assignmentId = assignment.assignmentId;
      device.outcome = null;
      if (assignment.rollback && assignment.release !== null) device.running = assignment.release;
      else if (assignment.release !== null) device.takenAt = now;
    }
    if (
      device.takenAt !== null &&
      device.outcome === null &&
      now - device.takenAt >= device.decideAt
    )
      this.#decide(device);
    this.store.reports.set(device.id, {
      id: device.id,
      name: `d${device.n}`,
      group: 'fleet',
      hardware: this.store.devices.get(device.id)?.hardware ?? '',
      status: 'enrolled',
      lastSeenAt: now,
      instance: null,
      update: this.#update(device),
      trial: device.trial,
      standing: null,
    });
  }

  #decide(device: Device): void {
    const { assignmentId, fails } = device;
    if (this.store.assignments.get(device.id)?.rollback === true) return;
    device.running = fails ? OLD : NEW;
    device.outcome = {
      result: fails ? 'rolled_back' : 'confirmed',
      code: fails ? 'trial_crashes' : null,
      detail: '',
      release: NEW,
      assignmentId,
    };
    if (!fails)
      device.trial = { release: NEW, previous: OLD, assignmentId, evidence: passing.evidence };
  }

  #update(device: Device): UpdateBody {
    const isOnTrial = device.takenAt !== null && device.outcome === null && device.running === OLD;
    const isBack = this.store.assignments.get(device.id)?.rollback === true;
    return {
      component: COMPONENT,
      state: isOnTrial && !isBack ? 'swapped' : 'idle',
      running: device.running,
      previous: OLD,
      updatingTo: null,
      assignmentId: device.assignmentId,
      progress: null,
      outcome: device.outcome,
      trouble: null,
      conditions: [],
      directorVersion: 0,
    };
  }
}

const SILENCE_MS = 30 * 60_000;
