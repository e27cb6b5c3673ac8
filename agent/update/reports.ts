// What one component reports: its whole state at every change and as a heartbeat, the evidence of a
// trial, security events. Only the pace is kept here; the record is the source of what is reported.
import type { Clock, Log } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import type { Condition, Trouble, UpdateBody } from '../../shared/protocol/telemetry.js';
import { refOfTarget } from '../../shared/release/release-ref.js';
import type { TrialEvidence } from '../../shared/statistics/trial-verdict.js';
import type { Reporter } from '../interfaces.js';
import type { FetchProgress } from './download.js';
import { previousOf, runningOf, type UpdateRecord } from './record.js';
import type { StepReport } from './steps/step.js';

type TrialStage = Extract<StepReport, { kind: 'trial' }>['stage'];

export interface UpdateReportsOptions {
  readonly component: string;
  readonly reporter: Reporter;
  /** Why the component cannot proceed now. */
  readonly trouble: () => Trouble | null;
  /** What is wrong with the release that serves. */
  readonly conditions: () => readonly Condition[];
  /** The highest version of director metadata that was trusted. */
  readonly directorVersion: () => number;
  /** The trace id of an assignment. */
  readonly traceOf: (assignmentId: number) => string | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

export class UpdateReports {
  readonly #options: UpdateReportsOptions;
  #progress: FetchProgress | null = null;
  #updateAt = Number.NEGATIVE_INFINITY;
  /** Codes of trouble and conditions in the last report: others are reported at once. */
  #codes = '';
  #trialAt = Number.NEGATIVE_INFINITY;
  #trialStage: TrialStage | null = null;

  constructor(options: UpdateReportsOptions) {
    this.#options = options;
  }

  /** The whole state of this component. */
  update(record: UpdateRecord): void {
    const { reporter, directorVersion, traceOf } = this.#options;
    const trouble = this.#options.trouble();
    const conditions = [...this.#options.conditions()];
    this.#updateAt = this.#options.clock.monotonic();
    this.#codes = codesOf(trouble, conditions);
    const trace = traceOf(record.assignmentId);
    reporter.report('update', {
      ...bodyOf(record, this.#progress),
      trouble,
      conditions,
      directorVersion: directorVersion(),
      ...(trace === undefined ? {} : { trace }),
    });
  }

  /** The whole state, at most once in `everyMs`; at once when trouble or conditions changed. */
  heartbeat(record: UpdateRecord, everyMs: number): void {
    const isDue = this.#options.clock.monotonic() - this.#updateAt >= everyMs;
    const { trouble, conditions } = this.#options;
    if (isDue || codesOf(trouble(), conditions()) !== this.#codes) this.update(record);
  }

  progress(record: UpdateRecord, progress: FetchProgress): void {
    this.#progress = progress;
    this.heartbeat(record, limits.inferenceEveryMs);
  }

  /** The update under way has ended. */
  noProgress(): void {
    this.#progress = null;
  }

  /** The evidence of a trial: at an interval, and when its stage changes. */
  trial(record: UpdateRecord, evidence: TrialEvidence, stage: TrialStage): void {
    const now = this.#options.clock.monotonic();
    const { assignment } = record;
    const every = stage === 'open' ? limits.openTrialEveryMs : limits.inferenceEveryMs;
    const same = stage === this.#trialStage && stage !== 'decided';
    if (assignment === null || (same && now - this.#trialAt < every)) return;
    this.#trialAt = now;
    this.#trialStage = stage;
    // A shadow is compared with what serves; its own release is in the spare slot.
    const old = record.state === 'shadowing' ? runningOf(record) : previousOf(record);
    this.#options.reporter.report('trial', {
      release: refOfTarget(assignment),
      previous: old,
      assignmentId: assignment.assignmentId,
      evidence,
    });
  }

  security(code: string, detail: string): void {
    const { log, component, reporter } = this.#options;
    log.warn({ component, code, detail }, 'security event');
    reporter.report('security', { code, detail: detail.slice(0, limits.detailMaxChars) });
  }
}

const codesOf = (trouble: Trouble | null, conditions: readonly Condition[]): string =>
  [trouble?.code ?? '', ...conditions.map(({ code }) => code)].join(' ');

function bodyOf(
  record: UpdateRecord,
  progress: FetchProgress | null,
): Omit<UpdateBody, 'trouble' | 'conditions' | 'directorVersion' | 'trace'> {
  const { component, state, assignment, assignmentId, outcome } = record;
  return {
    component,
    state,
    running: runningOf(record),
    previous: previousOf(record),
    updatingTo: assignment === null ? null : refOfTarget(assignment),
    assignmentId,
    progress: state === 'assigned' ? progress : null,
    outcome,
  };
}
