// Keeps the release that the record calls active activated: at the start, after every write, and
// again with backoff while it does not start. Runs beside the update under way and never in the way
// of it. In a trial (swapped) activation is the work of the trial step, which goes through
// `activate` here, so that this file always knows what runs. When the active release cannot be
// served at all, `keep` returns the change of the record that falls back to the previous release;
// the driver writes it.
import { counted } from '../../shared/base/counted.js';
import { backoff, type Clock, type Log, type Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { isFault, reason, type Fault } from '../../shared/base/fault-codes.js';
import type { Outcome } from '../../shared/protocol/telemetry.js';
import { refOf } from '../../shared/release/release-ref.js';
import type { AnyInstalled, HandlerOfKind } from './payload/handler.js';
import { isCandidate, withoutSlot } from './next-record.js';
import { runningOf, spareOf, type UpdateRecord } from './record.js';
import type { SlotReleases } from './slot-releases.js';
import type { StepResult } from './steps/step.js';
import type { Troubles } from './troubles.js';

export interface ServingOptions {
  readonly component: string;
  readonly handler: Pick<HandlerOfKind, 'activate' | 'deactivate' | 'standing' | 'endShadow'>;
  readonly releases: SlotReleases;
  readonly troubles: Troubles;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

interface Running {
  readonly digest: string;
  readonly previous: string | null;
}

export class Serving {
  readonly #options: ServingOptions;
  /** What was last activated, and what was kept beside it; null while nothing is. */
  #running: Running | null = null;
  /** The release that did not start, how often, and when it is tried again (monotonic). */
  #failing: { digest: string; tries: number; againAt: number } | null = null;
  /** The release that crash-loops and has no previous release to give way to. */
  #withoutAlternative: string | null = null;

  constructor(options: ServingOptions) {
    this.#options = options;
  }

  /** Faults: those of PayloadHandler.activate; what ran before then keeps running. */
  async activate(current: AnyInstalled, previous: AnyInstalled | null): Promise<void> {
    await this.#options.handler.activate(current, previous);
    this.#running = {
      digest: current.release.digest,
      previous: previous?.release.digest ?? null,
    };
    this.#failing = null;
    this.#options.troubles.clear('serving', this.#options.component);
  }

  /**
   * Activates what the record calls active, alone but for the candidate of a shadow, which runs no
   * longer than the record says so. Returns null, or the change that makes the previous release
   * active. A release that does not verify is given up at the start and while idle; during an
   * update the next release is waited for instead. Faults: disk_full, disk_failed.
   */
  async keep(record: UpdateRecord, atStart: boolean): Promise<StepResult | null> {
    if (record.state !== 'shadowing') await this.#options.handler.endShadow();
    if (record.state === 'swapped') return null;
    const wanted = runningOf(record)?.digest ?? null;
    if (wanted === null) return this.#stop();
    if (this.#running?.digest === wanted && this.#running.previous === null)
      return this.#leaveCrashLoop(record);
    if (this.#failing?.digest === wanted && this.#isPausing(this.#failing)) return null;
    const current = await this.#options.releases.installed(record, record.active);
    if (current !== null) return this.#start(record, current);
    if (record.state === 'idle' || atStart)
      return this.#fallBack(
        record,
        'the active release no longer verifies from disk',
        'file_digest',
      );
    this.#tryLater(wanted);
    return null;
  }

  async #start(record: UpdateRecord, current: AnyInstalled): Promise<StepResult | null> {
    const { component, version, digest } = current.release;
    try {
      await this.activate(current, null);
      return null;
    } catch (error) {
      if (!isFault(error)) throw error;
      this.#options.log.error({ component, version, err: reason(error) }, 'release does not start');
      // Serving nothing is better than serving what the record no longer calls active.
      if (this.#running?.digest !== digest) await this.#stop();
      if (error.kind === 'refused' && record.state === 'idle')
        return this.#fallBack(record, `the active release is refused: ${error.detail}`, error.code);
      this.#options.troubles.set('serving', component, {
        code: error.code,
        detail: `${component} ${version} does not start: ${error.detail}`,
      });
      this.#tryLater(digest);
      return this.#neverStarts(record, error);
    }
  }

  /**
   * A confirmed release that crash-loops gives way to the release in the other slot, if that one
   * verifies. Without one it goes on: it may answer in between.
   */
  async #leaveCrashLoop(record: UpdateRecord): Promise<StepResult | null> {
    if (record.state !== 'idle') return null;
    const why = this.#options.handler.standing().crashLoop;
    return why === null ? null : this.#goBack(record, why);
  }

  /** The same for a release that does not even start, though the installation is whole. */
  async #neverStarts(record: UpdateRecord, fault: Fault): Promise<StepResult | null> {
    const tries = this.#failing?.tries ?? 0;
    const isReleases = fault.code !== 'installation_incomplete';
    if (record.state !== 'idle' || !isReleases || tries < limits.activationTriesMaxCount)
      return null;
    return this.#goBack(
      record,
      `it did not start ${counted(tries, 'time')} in a row: ${fault.detail}`,
    );
  }

  async #goBack(record: UpdateRecord, why: string): Promise<StepResult | null> {
    const leaving = runningOf(record);
    if (leaving === null || leaving.digest === this.#withoutAlternative) return null;
    const spare = spareOf(record);
    const other = await this.#options.releases.verify(record, spare);
    if (other === null) {
      this.#withoutAlternative = leaving.digest;
      return null;
    }
    const { component, version } = other.release;
    const outcome: Outcome = {
      result: 'rolled_back',
      code: 'model_crash_loop',
      detail: `${why}; ${component} ${version} serves again`.slice(0, limits.detailMaxChars),
      release: leaving,
      assignmentId: record.assignmentId,
    };
    const slots = record.active === null ? record.slots : withoutSlot(record.slots, record.active);
    return { waitMs: 0, change: { active: spare, slots, outcome }, detail: outcome.detail };
  }

  async #stop(): Promise<null> {
    this.#options.troubles.clear('serving', this.#options.component);
    if (this.#running === null) return null;
    this.#running = null;
    await this.#options.handler.deactivate();
    return null;
  }

  #isPausing({ againAt }: { againAt: number }): boolean {
    return this.#options.clock.monotonic() < againAt;
  }

  #tryLater(digest: string): void {
    const { clock, random } = this.#options;
    const tries = this.#failing?.digest === digest ? this.#failing.tries + 1 : 1;
    const pauseMs = backoff(tries, limits.stepBackoffFirstMs, limits.stepBackoffMaxMs, random);
    this.#failing = { digest, tries, againAt: clock.monotonic() + pauseMs };
  }

  /** The previous release becomes active when it verifies; otherwise the device is stranded. */
  async #fallBack(record: UpdateRecord, why: string, code: string): Promise<StepResult> {
    const spare = spareOf(record);
    const other = isCandidate(record) ? null : await this.#options.releases.verify(record, spare);
    if (other === null)
      return {
        event: 'unverified',
        change: { active: null, slots: { a: null, b: null } },
        detail: why,
      };
    const outcome: Outcome = {
      result: 'rolled_back',
      code,
      detail: `${why}; the previous release serves`.slice(0, limits.detailMaxChars),
      release: refOf(other.release),
      assignmentId: record.assignmentId,
    };
    const slots = record.active === null ? record.slots : withoutSlot(record.slots, record.active);
    return { waitMs: 0, change: { active: spare, slots, outcome }, detail: outcome.detail };
  }
}
