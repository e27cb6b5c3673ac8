// What a step of the update machine is: the work that leaves one state. A step reads its context,
// works on the disk, the network and the payload handler, and returns what is then true: an event
// of the table, or a wait, each with what the record must say besides. A step that fails throws a
// Fault. It never writes the record and holds nothing between two calls, so it can be cut anywhere
// and run again.
import type { FaultCode } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import type { UpdateState } from '../../../shared/protocol/states.js';
import type { TrialEvidence } from '../../../shared/statistics/trial-verdict.js';
import type { Disk } from '../../interfaces.js';
import type { AcceptanceSets } from '../acceptance.js';
import type { ColdStarts } from '../cold-starts.js';
import type { FetchProgress, ReleaseDownload } from '../download.js';
import type { AnyInstalled, HandlerOfKind, OpenRelease } from '../payload/handler.js';
import type { Assignment, RecordIn, UpdateRecord } from '../record.js';
import type { SlotReleases } from '../slot-releases.js';
import type { Slots } from '../slots.js';
import type { UpdateEvent } from '../transitions.js';

/** The fields that a step may change; the driver sets state, assignment and writes. */
export type RecordChange = Partial<
  Pick<
    UpdateRecord,
    | 'active'
    | 'slots'
    | 'floor'
    | 'first'
    | 'assignmentId'
    | 'shadowed'
    | 'damaged'
    | 'trialFaults'
    | 'outcome'
  >
>;

/** What the driver reports for a step. */
export type StepReport =
  | { readonly kind: 'security'; readonly code: FaultCode; readonly detail: string }
  | {
      readonly kind: 'trial';
      readonly evidence: TrialEvidence;
      /** `open`: it ended unproven and goes on. */
      readonly stage: 'measuring' | 'open' | 'decided';
    };

interface Common {
  readonly change?: RecordChange;
  readonly reports?: readonly StepReport[];
  /** One sentence for the log. */
  readonly detail?: string;
}

export type EventResult = Common &
  (
    | { readonly event: 'assigned'; readonly assignment: Assignment }
    | { readonly event: Exclude<UpdateEvent, 'assigned'> }
  );

/** The state stays; the step runs again after `waitMs`. */
export type WaitResult = Common & {
  readonly waitMs: number;
  /** Why it cannot go on now, when that is no fault of the release. */
  readonly trouble?: { readonly code: FaultCode; readonly detail: string };
};

export type StepResult = EventResult | WaitResult;

/**
 * `undefined`: not known yet (no metadata since the start). `null`: the director assigns nothing to
 * this component.
 */
export type LatestAssignment = Assignment | null | undefined;

/** What all steps work with; the same for the life of the driver. */
export interface StepTools {
  readonly disk: Disk;
  readonly slots: Slots;
  readonly download: ReleaseDownload;
  readonly releases: SlotReleases;
  readonly handler: Omit<HandlerOfKind, 'activate' | 'deactivate' | 'endShadow'>;
  readonly coldStarts: ColdStarts;
  /**
   * Activates `current`, with `previous` kept for comparison. Faults as PayloadHandler.activate.
   */
  readonly activate: (current: AnyInstalled, previous: AnyInstalled | null) => Promise<void>;
  readonly open: OpenRelease;
  readonly acceptance: AcceptanceSets;
  /** The envelope that an assignment names, its length and digest checked. */
  readonly fetchEnvelope: (assignment: Assignment) => Promise<Uint8Array>;
  readonly onProgress: (progress: FetchProgress) => void;
}

export interface StepContext<S extends UpdateState = UpdateState> extends StepTools {
  readonly record: RecordIn<S>;
  /** As of now, in a long step too. */
  readonly latest: LatestAssignment;
  /** The director was heard so lately that what it assigns still holds. */
  readonly maySwap: () => boolean;
  /** When the update hours of this device begin (ms since the epoch); null while they last. */
  readonly opensAt: () => number | null;
  /** True once an assignment that failed has waited long enough to be accepted again. */
  readonly mayRetry: boolean;
}

export type Step<S extends UpdateState> = (context: StepContext<S>) => Promise<StepResult>;

export const REST: WaitResult = { waitMs: limits.idlePauseMs };
