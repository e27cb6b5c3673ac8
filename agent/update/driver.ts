// The one driver of the update machine of one component. `tick` does the work of the present state
// once and writes what is then true; nothing else moves the machine. Orders from outside change
// only what is wanted. Every step may be cut anywhere and run again: what a step leaves behind is
// either not believed (incoming, spare slot) or the record itself.
import semver from 'semver';
import { backoff, type Clock, type Log, type Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { Fault, isFault, reason } from '../../shared/base/fault-codes.js';
import { boot, next } from '../../shared/base/state-machine.js';
import type { Outcome, ReleaseRef, UpdateBody } from '../../shared/protocol/telemetry.js';
import type { KeyRing } from '../../shared/trust/key-ring.js';
import type { TrialEvidence } from '../../shared/statistics/trial-verdict.js';
import type { Disk, Fetcher, Installed, ModelRuntime, Reporter, Resources } from '../interfaces.js';
import { ReleaseFetch, type FetchProgress } from './download.js';
import {
  RecordFile,
  freshRecord,
  previousOf,
  runningOf,
  spareOf,
  type Assignment,
  type SlotName,
  type UpdateRecord,
} from './record.js';
import { Slots } from './slots.js';
import { work, type Work } from './steps.js';
import { updateTransitions, type UpdateEvent } from './transitions.js';
import { refOf } from './admission.js';

export interface UpdateDriverOptions {
  readonly disk: Disk;
  readonly fetcher: Fetcher;
  readonly runtime: ModelRuntime;
  readonly resources: Resources;
  readonly reporter: Reporter;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The release keys of the trusted root; available offline. */
  readonly ring: () => KeyRing;
  /** The envelope that an order names, from server or mirror, length and digest checked. */
  readonly fetchEnvelope: (assignment: Assignment) => Promise<Uint8Array>;
}

/**
 * What a step says: an event of the table with what the record shall hold besides, or how long to
 * wait.
 */
export type Step =
  | {
      readonly event: UpdateEvent;
      readonly change?: Partial<UpdateRecord>;
      readonly outcome?: Pick<Outcome, 'result' | 'code' | 'detail'>;
    }
  | { readonly waitMs: number };

/**
 * The spare slot holds a release that never served here (its probes or its swap are still to come):
 * nothing to fall back on.
 */
const isCandidate = ({ state, assignment }: UpdateRecord): boolean =>
  (state === 'staged' || state === 'probed') && assignment?.rollback === false;

/** A sector that does not read proves as little as one that reads wrong: the other slot may. */
const isUnproven = (error: unknown): error is Fault =>
  isFault(error) && (error.kind === 'refused' || error.code === 'disk_failed');

/**
 * `undefined`: not known yet (no metadata since start). `null`: the director orders nothing for
 * this component.
 */
export type LatestAssignment = Assignment | null | undefined;

export class UpdateDriver {
  #record: UpdateRecord;
  #latest: LatestAssignment;
  #progress: FetchProgress | null = null;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #trialAt = Number.NEGATIVE_INFINITY;
  /** Ends of the present order without success, and when it may be taken again. */
  #ends = 0;
  #tryAgainAt = Number.NEGATIVE_INFINITY;
  #serveTries = 0;
  #serveAgainAt = Number.NEGATIVE_INFINITY;
  /** Digest of the release that the runtime was last told to serve, once it did. */
  #serving: string | null = null;
  readonly #proofs = new Map<SlotName, Installed>();
  readonly #file: RecordFile;
  readonly slots: Slots;
  readonly fetch: ReleaseFetch;

  constructor(
    readonly component: string,
    hardware: string,
    folder: string,
    readonly ports: UpdateDriverOptions,
  ) {
    this.#record = freshRecord(component, hardware);
    this.#file = new RecordFile(ports.disk, `${folder}/record.json`);
    this.slots = new Slots(ports.disk, folder);
    this.fetch = new ReleaseFetch(ports.disk, ports.fetcher, this.slots);
  }

  get record(): UpdateRecord {
    return this.#record;
  }

  get latest(): LatestAssignment {
    return this.#latest;
  }

  assign(assignment: Assignment | null): void {
    this.#latest = assignment;
  }

  progress(progress: FetchProgress): void {
    this.#progress = progress;
    this.heartbeat(limits.inferenceEveryMs);
  }

  /**
   * Reads the record, takes the boot column, proves the active slot from disk and serves it: online
   * or not.
   */
  async start(): Promise<void> {
    await this.slots.make();
    const found = await this.#file.read();
    if (found !== null && 'unreadable' in found) {
      this.ports.log.error(
        { component: this.component, why: found.unreadable },
        'update record is unreadable; starting from what the slots prove',
      );
      this.#security(
        'disk_failed',
        `update record of ${this.component} is unreadable: ${found.unreadable}`,
      );
      await this.#healRecord();
    } else if (found !== null) {
      const state = boot(updateTransitions, found.state);
      // A record of another hardware id (a moved disk) keeps its slots; policy compares with what
      // this device is now.
      this.#record = { ...found, hardware: this.#record.hardware, state };
    }
    await this.#serveProven();
    this.#tell();
  }

  /**
   * Does the work of the present state once, and keeps the active release served meanwhile. Returns
   * the ms to wait until the next tick.
   */
  async tick(): Promise<number> {
    const { state } = this.#record;
    try {
      await this.#keepServing();
      if (this.#record.writes > limits.recordWritesMaxCount)
        return await this.#spent(
          new Fault('writes_spent', `${this.#record.writes} writes without coming to rest`),
        );
      const step = await (work[state] as Work)(this);
      if ('waitMs' in step) {
        this.heartbeat(limits.healthEveryMs);
        return step.waitMs;
      }
      await this.move(step);
      return 0;
    } catch (error) {
      return this.#failed(error).catch((failure: unknown) => this.#unwritten(failure));
    }
  }

  /** Sends the whole truth of this component, at most once in `everyMs`. */
  heartbeat(everyMs: number): void {
    if (this.ports.clock.monotonic() - this.#reportedAt >= everyMs) this.#tell();
  }

  /** The evidence of the trial under way, at most once in inferenceEveryMs unless it decides. */
  trialReport(evidence: TrialEvidence, decides: boolean): void {
    const now = this.ports.clock.monotonic();
    const assignment = this.#record.assignment;
    if (assignment === null || (!decides && now - this.#trialAt < limits.inferenceEveryMs)) return;
    this.#trialAt = now;
    const release = {
      component: assignment.component,
      version: assignment.version,
      digest: assignment.sha256,
    };
    this.ports.reporter.report('trial', {
      release,
      previous: previousOf(this.#record),
      assignmentId: assignment.assignmentId,
      evidence,
    });
  }

  body(): UpdateBody {
    const { component, state, assignment, assignmentId, outcome } = this.#record;
    const updatingTo: ReleaseRef | null =
      assignment === null
        ? null
        : { component, version: assignment.version, digest: assignment.sha256 };
    const progress = state === 'assigned' ? this.#progress : null;
    return {
      component,
      state,
      running: runningOf(this.#record),
      previous: previousOf(this.#record),
      updatingTo,
      assignmentId,
      progress,
      outcome,
    };
  }

  /** Writes what is true after an event: one replacement of one file. */
  async move(step: Exclude<Step, { waitMs: number }>): Promise<void> {
    const before = this.#record;
    const state = next(updateTransitions, before.state, step.event);
    const resting = state === 'idle' || state === 'stranded';
    const given = step.change?.slots ?? before.slots;
    const neverServed = state === 'idle' && isCandidate(before) ? spareOf(before) : null;
    const slots = neverServed === null ? given : { ...given, [neverServed]: null };
    const outcome =
      step.outcome === undefined || before.assignment === null
        ? undefined
        : this.#outcome(before.assignment, step.outcome);
    const record: UpdateRecord = {
      ...before,
      ...step.change,
      slots,
      state,
      tries: 0,
      writes: resting ? 0 : before.writes + 1,
      assignment: resting ? null : (step.change?.assignment ?? before.assignment),
      outcome: outcome ?? step.change?.outcome ?? before.outcome,
    };
    await this.#file.write(record);
    this.#record = record;
    this.ports.log.info(
      {
        component: this.component,
        from: before.state,
        event: step.event,
        to: state,
        outcome: outcome?.result,
        code: outcome?.code,
      },
      'update machine moved',
    );
    this.#tell();
    if (record.assignmentId !== before.assignmentId) this.#ends = 0;
    if (resting) {
      this.#progress = null;
      this.#ends += 1;
      const pause = backoff(
        this.#ends,
        limits.orderAgainFirstMs,
        limits.orderAgainMaxMs,
        this.ports.random,
      );
      this.#tryAgainAt = this.ports.clock.monotonic() + pause;
      await this.slots.tidy(null);
      if (neverServed !== null) await this.slots.clear(neverServed);
    }
  }

  /**
   * Keeps the state, notes something in the record (tries, model faults, an order taken notice of).
   */
  async note(change: Partial<UpdateRecord>): Promise<void> {
    const record = {
      ...this.#record,
      ...change,
      writes: this.#record.state === 'idle' ? 0 : this.#record.writes + 1,
    };
    await this.#file.write(record);
    this.#record = record;
    this.#tell();
  }

  /**
   * Tells the runtime what to serve (it does nothing when it does so already). Throws Fault when
   * `current` does not load.
   */
  async serve(current: Installed, shadow: Installed | null): Promise<void> {
    await this.ports.runtime.serve(current, shadow);
    this.#serving = current.release.digest;
  }

  async stopServing(): Promise<void> {
    this.#serving = null;
    await this.ports.runtime.stop();
  }

  /** True once the last order, which failed, has rested long enough to be tried again. */
  get mayTryAgain(): boolean {
    return this.ports.clock.monotonic() >= this.#tryAgainAt;
  }

  /**
   * What the record says is active is served, also when its process did not start at first: tried
   * again with backoff, beside whatever update is under way (in a trial, serving is the trial's own
   * work). Never in the way of the successor.
   */
  async #keepServing(): Promise<void> {
    const { state, active } = this.#record;
    if (active === null || state === 'swapped' || runningOf(this.#record)?.digest === this.#serving)
      return;
    if (this.ports.clock.monotonic() < this.#serveAgainAt) return;
    const current = await this.installed(active);
    if (current !== null) return this.#serveOrRest(current);
    if (state === 'idle')
      return this.#fallBack('the active release no longer proves from disk', 'file_digest');
    this.#serveLater();
  }

  /**
   * Serves without a shadow. What does not start now is tried again later; what is refused for good
   * gives way, at rest, to the previous release.
   */
  async #serveOrRest(current: Installed): Promise<void> {
    try {
      await this.serve(current, null);
      this.#serveTries = 0;
    } catch (error) {
      if (!isFault(error)) throw error;
      const { component, version } = current.release;
      this.ports.log.error(
        { component, version, why: reason(error) },
        'the active release does not load',
      );
      // Nothing serves rather than what the record no longer calls active.
      if (this.#serving !== null) await this.stopServing();
      if (error.kind === 'refused' && this.#record.state === 'idle')
        return this.#fallBack(`the active release is refused: ${error.detail}`, error.code);
      this.#serveLater();
    }
  }

  #serveLater(): void {
    this.#serveTries += 1;
    const pause = backoff(
      this.#serveTries,
      limits.stepBackoffFirstMs,
      limits.stepBackoffMaxMs,
      this.ports.random,
    );
    this.#serveAgainAt = this.ports.clock.monotonic() + pause;
  }

  /**
   * The release in a slot as it was proven last in this process (the model process hashes what it
   * parses once more).
   */
  async installed(slot: SlotName | null): Promise<Installed | null> {
    const known = slot === null ? undefined : this.#proofs.get(slot);
    return known !== undefined &&
      slot !== null &&
      known.release.digest === this.#record.slots[slot]?.digest
      ? known
      : this.proven(slot);
  }

  /**
   * The release in a slot, proven from disk now; null (with a security event) when it does not
   * prove.
   */
  async proven(slot: SlotName | null): Promise<Installed | null> {
    if (slot === null || this.#record.slots[slot] === null) return null;
    this.#proofs.delete(slot);
    try {
      const installed = await this.slots.prove(slot, this.ports.ring());
      if (installed.release.digest === this.#record.slots[slot]?.digest) {
        this.#proofs.set(slot, installed);
        return installed;
      }
      throw new Fault(
        'manifest_mismatch',
        `slot ${slot} holds ${installed.release.version}, the record says ${this.#record.slots[slot]?.version ?? 'nothing'}`,
      );
    } catch (error) {
      if (!isUnproven(error)) throw error;
      this.#security(error.code, `slot ${slot} of ${this.component}: ${error.detail}`);
      return null;
    }
  }

  // --- failures ---

  /** What was fetched does not prove: said each time, also when another fetch may mend it. */
  damagedFetch(fault: Fault): void {
    this.#security(fault.code, `${fault.detail}; fetching it again`);
  }

  async #failed(error: unknown): Promise<number> {
    if (!isFault(error)) throw error;
    const { state } = this.#record;
    if (error.entry.security === true) this.#security(error.code, error.detail);
    if (error.kind === 'refused' && 'refused' in updateTransitions[state].on) {
      await this.move({
        event: 'refused',
        outcome: { result: 'refused', code: error.code, detail: error.detail },
      });
      return 0;
    }
    // The network being away is no fault of the release and costs nothing to wait for; the server's
    // deadline bounds it.
    const network = isFault(error, 'server_unreachable', 'fetch_interrupted', 'auth_missing');
    const tries = this.#record.tries + 1;
    this.ports.log.warn(
      { component: this.component, state, tries, why: reason(error) },
      'update step failed; trying again',
    );
    if (!network && tries >= limits.stepTriesMaxCount && 'spent' in updateTransitions[state].on)
      return this.#spent(error);
    this.#record = { ...this.#record, tries };
    return backoff(tries, limits.stepBackoffFirstMs, limits.stepBackoffMaxMs, this.ports.random);
  }

  /**
   * A disk that does not even take the news of a failure: the record stands as it was, and so does
   * what serves. Tried again.
   */
  #unwritten(failure: unknown): number {
    if (!isFault(failure, 'disk_full', 'disk_failed')) throw failure;
    const tries = this.#record.tries + 1;
    this.#record = { ...this.#record, tries };
    this.ports.log.warn(
      { component: this.component, tries, why: reason(failure) },
      'the disk does not take the update record',
    );
    return backoff(tries, limits.stepBackoffFirstMs, limits.stepBackoffMaxMs, this.ports.random);
  }

  async #spent(cause: Fault): Promise<number> {
    const { state } = this.#record;
    if ('spent' in updateTransitions[state].on) {
      await this.move({
        event: 'spent',
        outcome: {
          result: 'spent',
          code: cause.code === 'writes_spent' ? 'writes_spent' : 'retries_spent',
          detail: `${state}: ${cause.message}`,
        },
      });
      return 0;
    }
    // Only a trial is left: the old release is the safe one.
    await this.goBack({ result: 'spent', code: cause.code, detail: cause.message });
    return 0;
  }

  /**
   * Ends a trial by the one write that makes the other slot active again (or none, at a first
   * install), then serves it.
   */
  async goBack(outcome: Pick<Outcome, 'result' | 'code' | 'detail'>): Promise<void> {
    const old = spareOf(this.#record);
    const target = await this.proven(old);
    const bad = this.#record.active;
    const slots = bad === null ? this.#record.slots : { ...this.#record.slots, [bad]: null };
    await this.move({
      event: 'rolled_back',
      change: { active: target === null ? null : old, slots },
      outcome,
    });
    if (target === null) await this.stopServing();
    else await this.#serveOrRest(target);
    // Last: were the record ever unreadable, a release that was taken back must not be found in its
    // slot.
    if (bad !== null) await this.slots.clear(bad);
  }

  // --- starting ---

  /**
   * Serves the active slot; a slot that does not prove is never loaded: the other one, or nothing.
   */
  async #serveProven(): Promise<void> {
    const record = this.#record;
    if (record.active === null) return;
    const active = await this.proven(record.active);
    if (record.state !== 'swapped')
      return active === null
        ? this.#fallBack('the active release no longer proves from disk', 'file_digest')
        : this.#serveOrRest(active);
    if (active === null)
      return this.goBack({
        result: 'rolled_back',
        code: 'file_digest',
        detail: 'the new release no longer proves from disk',
      });
    try {
      await this.serve(
        active,
        record.assignment?.rollback === true ? null : await this.proven(spareOf(record)),
      );
    } catch (error) {
      if (!isFault(error)) throw error;
      this.ports.log.error(
        { component: this.component, why: reason(error) },
        'the release on trial does not load',
      );
      await this.note({ modelFaults: this.#record.modelFaults + 1 });
    }
  }

  /**
   * The active release may not be served: from one write on the previous one is active, or nothing,
   * and any order will do.
   */
  async #fallBack(why: string, code: string): Promise<void> {
    const record = this.#record;
    const spare = spareOf(record);
    const other = isCandidate(record) ? null : await this.proven(spare);
    if (other === null) {
      await this.stopServing();
      return this.move({
        event: 'unproven',
        change: { active: null, slots: { a: null, b: null } },
      });
    }
    const slots =
      record.active === null ? record.slots : { ...record.slots, [record.active]: null };
    const outcome: Outcome = {
      result: 'rolled_back',
      code,
      detail: `${why}; the previous one serves`.slice(0, limits.detailMaxChars),
      release: refOf(other.release),
      assignmentId: record.assignmentId,
    };
    this.ports.log.error(
      { component: this.component, slot: record.active, why },
      'serving the previous release',
    );
    await this.note({ active: spare, slots, outcome });
    await this.#serveOrRest(other);
  }

  /**
   * An unreadable record. Which slot was active is forgotten; of two that prove the older one
   * serves: it was confirmed before the other came, which may have been on trial or taken back. The
   * standing order brings the newer one, through a trial.
   */
  async #healRecord(): Promise<void> {
    const slots: Record<SlotName, ReleaseRef | null> = { a: null, b: null };
    for (const slot of ['a', 'b'] as const) {
      try {
        slots[slot] = refOf((await this.slots.prove(slot, this.ports.ring())).release);
      } catch (error) {
        if (!isUnproven(error)) throw error;
      }
    }
    const found = (['a', 'b'] as const).filter((slot) => slots[slot] !== null);
    found.sort((x, y) => semver.compare(slots[x]?.version ?? '', slots[y]?.version ?? ''));
    const active = found[0] ?? null;
    const floor = active === null ? null : (slots[active]?.version ?? null);
    this.#record = { ...this.#record, slots, active, floor, first: found.length < 2 };
    await this.#file.write(this.#record);
  }

  // --- words ---

  #outcome(assignment: Assignment, reasons: Pick<Outcome, 'result' | 'code' | 'detail'>): Outcome {
    const release = {
      component: assignment.component,
      version: assignment.version,
      digest: assignment.sha256,
    };
    return {
      ...reasons,
      detail: reasons.detail.slice(0, limits.detailMaxChars),
      release,
      assignmentId: assignment.assignmentId,
    };
  }

  #tell(): void {
    this.#reportedAt = this.ports.clock.monotonic();
    this.ports.reporter.report('update', this.body());
  }

  #security(code: string, detail: string): void {
    this.ports.log.warn({ component: this.component, code, detail }, 'security event');
    this.ports.reporter.report('security', {
      code,
      detail: detail.slice(0, limits.detailMaxChars),
    });
  }
}
