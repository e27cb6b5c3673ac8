// The driver of the update machine of one component. `tick` runs the step of the present state once
// and writes what is then true; nothing else moves the machine or writes the record. The director's
// latest assignment comes in by `assign` and changes nothing by itself. Every step may be cut
// anywhere and run again: what it leaves behind is either not trusted (incoming, spare slot) or the
// record itself.
import { backoff, type Clock, type Log, type Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { Fault, isFault, reason } from '../../shared/base/fault-codes.js';
import { boot } from '../../shared/base/state-machine.js';
import type { UpdateState } from '../../shared/protocol/states.js';
import { openRelease } from '../../shared/release/manifest.js';
import type { KeyRing } from '../../shared/trust/key-ring.js';
import type { Disk, Fetcher, Reporter } from '../interfaces.js';
import { AcceptanceSets } from './acceptance.js';
import { ReleaseDownload } from './download.js';
import { afterChange, afterEvent, outcomeOf } from './next-record.js';
import { ColdStarts } from './cold-starts.js';
import type { FileCodec } from './codec/codec.js';
import { HandlerOfKind, type OpenRelease, type PayloadHandler } from './payload/handler.js';
import {
  RecordFile,
  SLOT_NAMES,
  freshRecord,
  isResting,
  type Assignment,
  type UpdateRecord,
} from './record.js';
import { recoverRecord } from './record-recovery.js';
import { UpdateReports } from './reports.js';
import { Serving } from './serving.js';
import { SlotReleases } from './slot-releases.js';
import { Slots } from './slots.js';
import type { EventResult, LatestAssignment, Step, StepResult, StepTools } from './steps/step.js';
import { steps } from './steps/steps.js';
import { rollBack } from './steps/trial.js';
import type { Troubles } from './troubles.js';
import { updateTransitions } from './transitions.js';

export interface UpdateDriverOptions {
  readonly component: string;
  readonly hardware: string;
  /** Absolute; holds the record, the slots and what is being downloaded. */
  readonly folder: string;
  readonly disk: Disk;
  readonly fetcher: Fetcher;
  /** One handler for each payload kind that this component accepts. */
  readonly handlers: readonly PayloadHandler[];
  /** How files may arrive besides as they are. */
  readonly codecs?: readonly FileCodec[];
  readonly reporter: Reporter;
  readonly troubles: Troubles;
  /** When the update hours begin (ms since the epoch); null while they last. */
  readonly opensAt: () => number | null;
  /** The highest version of director metadata that was trusted. */
  readonly directorVersion: () => number;
  /** The trace id of the operator's request that an assignment follows from, where one is known. */
  readonly traceOf?: (assignmentId: number) => string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The release keys of the trusted root; available offline. */
  readonly ring: () => KeyRing;
  /** Its acceptance keys. Fault metadata_undecodable where it lists none. */
  readonly acceptanceRing: () => KeyRing;
  /** The envelope that an assignment names, from server or mirror, length and digest checked. */
  readonly fetchEnvelope: (assignment: Assignment) => Promise<Uint8Array>;
}

const NOT_THE_RELEASES = [
  'server_unreachable',
  'fetch_interrupted',
  'auth_missing',
  'fleet_wrong',
  'installation_incomplete',
] as const;

export class UpdateDriver {
  readonly component: string;
  readonly #options: UpdateDriverOptions;
  readonly #file: RecordFile;
  readonly #tools: StepTools;
  readonly #reports: UpdateReports;
  readonly #serving: Serving;
  #record: UpdateRecord;
  #latest: LatestAssignment;
  /** When the director was heard last, by the monotonic clock. */
  #heardAt = Number.NEGATIVE_INFINITY;
  /** Failures in a row of the step of the present state. */
  #tries = 0;
  /** Ends of the latest assignment without success, and when it may be accepted again. */
  #ends = 0;
  #acceptAgainAt = Number.NEGATIVE_INFINITY;

  constructor(options: UpdateDriverOptions) {
    const { component, hardware, folder, disk, fetcher, ring, clock, random, log } = options;
    const { troubles } = options;
    this.#options = options;
    this.component = component;
    this.#record = freshRecord(component, hardware);
    this.#file = new RecordFile(disk, `${folder}/record.json`);
    const handler = new HandlerOfKind(options.handlers);
    this.#reports = new UpdateReports({
      component,
      reporter: options.reporter,
      trouble: () => troubles.of(component),
      conditions: () => handler.standing().conditions,
      directorVersion: options.directorVersion,
      traceOf: options.traceOf ?? (() => undefined),
      clock,
      log,
    });
    const slots = new Slots(disk, folder);
    const open: OpenRelease = (envelope) => openRelease(envelope, ring(), handler.manifestKinds);
    const releases = new SlotReleases({
      slots,
      open,
      onUnverified: (slot, fault) => {
        this.#reports.security(fault.code, `slot ${slot} of ${component}: ${fault.detail}`);
      },
    });
    this.#serving = new Serving({ component, handler, releases, troubles, clock, random, log });
    this.#tools = {
      disk,
      slots,
      releases,
      handler,
      coldStarts: new ColdStarts(),
      open,
      acceptance: new AcceptanceSets({ disk, slots, ring: options.acceptanceRing }),
      download: new ReleaseDownload({ disk, fetcher, slots, codecs: options.codecs ?? [] }),
      activate: (current, previous) => this.#serving.activate(current, previous),
      fetchEnvelope: options.fetchEnvelope,
      onProgress: (progress) => {
        this.#reports.progress(this.#record, progress);
      },
    };
  }

  get record(): UpdateRecord {
    return this.#record;
  }

  /** What the director now assigns to this component; null: nothing. */
  assign(assignment: Assignment | null): void {
    this.#latest = assignment;
    this.#heardAt = this.#options.clock.monotonic();
  }

  /**
   * Reads the record, enters the boot state, verifies the active release from disk and activates
   * it, online or offline. Faults: disk_full, disk_failed when not even the folders can be made.
   */
  async start(): Promise<void> {
    await this.#tools.slots.make();
    await this.#readRecord();
    const { state, assignment } = this.#record;
    if (state === 'swapped') {
      // A trial under way: its step activates both releases, in new processes.
      this.#tools.coldStarts.note(assignment.assignmentId, 'came through a start of the agent');
      await this.tick();
    } else await this.#keepServing(true).catch((failure: unknown) => this.#unwritten(failure));
    this.#reports.update(this.#record);
  }

  /** Runs the step of the present state once. Returns the ms to wait until the next tick. */
  async tick(): Promise<number> {
    try {
      await this.#keepServing(false);
      const { writes, state } = this.#record;
      if (writes > limits.recordWritesMaxCount)
        return await this.#giveUp(new Fault('writes_spent', `${writes} writes without an end`));
      const step = steps[state] as Step<UpdateState>;
      const latest = (): LatestAssignment => this.#latest;
      const result = await step({
        ...this.#tools,
        record: this.#record,
        get latest() {
          return latest();
        },
        maySwap: () => this.#options.clock.monotonic() - this.#heardAt <= limits.swapPermitMs,
        opensAt: this.#options.opensAt,
        mayRetry: this.#options.clock.monotonic() >= this.#acceptAgainAt,
      });
      const trouble = 'waitMs' in result ? result.trouble : undefined;
      if (trouble === undefined) this.#options.troubles.clear('update', this.component);
      else this.#options.troubles.set('update', this.component, trouble);
      return await this.#apply(result);
    } catch (error) {
      return this.#failed(error).catch((failure: unknown) => this.#unwritten(failure));
    }
  }

  // --- the record ---

  async #readRecord(): Promise<void> {
    const { component, log } = this.#options;
    const found = await this.#file.read();
    if (found === null) return;
    if (!('unreadable' in found)) {
      // A record from other hardware (a moved disk) keeps its slots; admission compares every new
      // release with what this device is now.
      const { hardware } = this.#record;
      const state = boot(updateTransitions, found.state);
      this.#record = { ...found, hardware, state } as UpdateRecord;
      return;
    }
    log.error({ component, err: found.unreadable }, 'update record is unreadable; rebuilding it');
    this.#reports.security(
      'disk_failed',
      `the update record of ${component} is unreadable: ${found.unreadable}`,
    );
    const fresh = freshRecord(component, this.#record.hardware);
    this.#record = await recoverRecord(fresh, this.#tools.slots, this.#tools.open);
    await this.#file.write(this.#record).catch((failure: unknown) => this.#unwritten(failure));
  }

  /** Writes what is true after a step: one replacement of one file. Returns the ms to wait. */
  async #apply(result: StepResult): Promise<number> {
    for (const report of result.reports ?? []) {
      if (report.kind === 'security') this.#reports.security(report.code, report.detail);
      else this.#reports.trial(this.#record, report.evidence, report.stage);
    }
    if ('event' in result) return this.#move(result);
    if (result.change === undefined) {
      this.#reports.heartbeat(this.#record, limits.healthEveryMs);
      return result.waitMs;
    }
    if (result.detail !== undefined)
      this.#options.log.warn(
        { component: this.component, detail: result.detail },
        'record changed',
      );
    await this.#write(afterChange(this.#record, result.change));
    await this.#keepServing(false);
    return result.waitMs;
  }

  async #move(result: EventResult): Promise<number> {
    const { component, log } = this.#options;
    const before = this.#record;
    const after = afterEvent(before, result);
    if (isResting(after.state)) this.#reports.noProgress();
    await this.#write(after);
    this.#tries = 0;
    log.info(
      {
        component,
        from: before.state,
        event: result.event,
        to: after.state,
        outcome: result.change?.outcome?.result,
        code: result.change?.outcome?.code,
        detail: result.detail,
        rollout: (after.assignment ?? before.assignment)?.rollout,
        trace: this.#options.traceOf?.(after.assignmentId),
      },
      'update machine moved',
    );
    if (after.assignmentId !== before.assignmentId) this.#ends = 0;
    await this.#keepServing(false);
    if (isResting(after.state)) await this.#rest(before);
    return 0;
  }

  async #write(record: UpdateRecord): Promise<void> {
    await this.#file.write(record);
    this.#record = record;
    this.#reports.update(record);
  }

  /**
   * After the end of an update: a pause before the same assignment is accepted again, and nothing
   * left on disk that the record no longer names. Were the record ever unreadable, a release that
   * was rolled back must not be found in its slot.
   */
  async #rest(before: UpdateRecord): Promise<void> {
    const { clock, random } = this.#options;
    this.#ends += 1;
    const { assignmentRetryFirstMs, assignmentRetryMaxMs } = limits;
    const pauseMs = backoff(this.#ends, assignmentRetryFirstMs, assignmentRetryMaxMs, random);
    this.#acceptAgainAt = clock.monotonic() + pauseMs;
    const { slots } = this.#tools;
    await slots.tidy(null);
    if (this.#record.state !== 'idle') return;
    for (const slot of SLOT_NAMES)
      if (before.slots[slot] !== null && this.#record.slots[slot] === null) await slots.clear(slot);
  }

  /** What the record calls active is activated; what cannot be served gives way. */
  async #keepServing(atStart: boolean): Promise<void> {
    const result = await this.#serving.keep(this.#record, atStart);
    if (result !== null) await this.#apply(result);
  }

  // --- failures ---

  async #failed(error: unknown): Promise<number> {
    if (!isFault(error)) throw error;
    const { state, assignment } = this.#record;
    if (error.entry.security === true) this.#reports.security(error.code, error.detail);
    if (error.kind === 'refused' && assignment !== null && state !== 'swapped') {
      const end = { result: 'refused', code: error.code, detail: error.detail } as const;
      return this.#apply({ event: 'refused', change: { outcome: outcomeOf(assignment, end) } });
    }
    // A network that is away, or an incomplete installation, is not the release's fault: waiting
    // costs no try. The server's own deadline limits it.
    const outside = isFault(error, ...NOT_THE_RELEASES);
    const mayEnd = assignment !== null && state !== 'swapped';
    if (!outside && mayEnd && this.#tries + 1 >= limits.stepTriesMaxCount)
      return this.#giveUp(error);
    return this.#backOff(error, 'update step failed; trying again');
  }

  /**
   * The record cannot be written, not even with the news of a failure: it stays as it was, and so
   * does what serves.
   */
  #unwritten(failure: unknown): number {
    if (!isFault(failure, 'disk_full', 'disk_failed')) throw failure;
    return this.#backOff(failure, 'cannot write the update record; will retry');
  }

  #backOff(fault: Fault, message: string): number {
    const { component, log, random, troubles } = this.#options;
    this.#tries += 1;
    const { state } = this.#record;
    troubles.set('update', component, fault);
    this.#reports.heartbeat(this.#record, limits.healthEveryMs);
    log.warn({ component, state, tries: this.#tries, err: reason(fault) }, message);
    return backoff(this.#tries, limits.stepBackoffFirstMs, limits.stepBackoffMaxMs, random);
  }

  /** Ends the update under way after too many tries or writes; a trial is rolled back. */
  async #giveUp(cause: Fault): Promise<number> {
    const record = this.#record;
    if (record.assignment === null) throw new Error('nothing is under way');
    if (record.state === 'swapped') {
      const end = { result: 'spent', code: cause.code, detail: cause.message } as const;
      return this.#apply(await rollBack({ record, releases: this.#tools.releases }, end));
    }
    const end = {
      result: 'spent',
      code: cause.code === 'writes_spent' ? 'writes_spent' : 'retries_spent',
      detail: `${record.state}: ${cause.message}`,
    } as const;
    return this.#apply({ event: 'spent', change: { outcome: outcomeOf(record.assignment, end) } });
  }
}
