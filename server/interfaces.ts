// What the server's rooms ask of each other. server/main.ts ties them together. The store
// (server/store) implements FleetStore and AssignmentStore; rollout/ and repository/ see only these
// interfaces. Times are ms since the epoch.
import type { MemberState, RolloutState } from '../shared/protocol/states.js';
import type { ReleaseRef, TrialBody, UpdateBody } from '../shared/protocol/telemetry.js';
import type { RolloutPolicy } from '../shared/protocol/operator-api.js';
import type { TrialPolicy } from '../shared/statistics/trial-verdict.js';

/** What is known of one device, for one component. */
export interface DeviceFacts {
  readonly id: string;
  readonly name: string;
  readonly group: string;
  readonly hardware: string;
  /** `revoked`: it is cut off for good, so nothing more can be learned of it. */
  readonly status: 'pending' | 'enrolled' | 'revoked';
  readonly lastSeenAt: number | null;
  readonly update: UpdateBody | null;
  readonly trial: TrialBody | null;
  /**
   * The component's last order to it, whoever gave it and whether it obeyed yet (`release` null:
   * withdrawn); null before the first.
   */
  readonly standing: StandingAssignment | null;
}

export interface StandingAssignment {
  readonly release: ReleaseRef | null;
  readonly rollback: boolean;
}

export interface RolloutRow {
  readonly id: string;
  readonly release: ReleaseRef;
  readonly state: RolloutState;
  readonly wave: number;
  readonly reasons: readonly string[];
  readonly policy: RolloutPolicy;
  readonly createdAt: number;
  readonly createdBy: string;
  /** When this state and wave began. */
  readonly since: number;
  /**
   * When every device of the current wave was first seen healthy; null before. The soak counts from
   * here.
   */
  readonly healthySince: number | null;
  /** An operator approved going beyond the current wave. */
  readonly approved: boolean;
  /**
   * Failures up to here are answered: a person resumed past them, or their wave was left in spite
   * of them. Null before the first.
   */
  readonly answeredAt: number | null;
  /** Rises with each write; a writer that read an older one loses. */
  readonly revision: number;
}

export interface MemberRow {
  readonly rollout: string;
  readonly device: string;
  readonly name: string;
  readonly group: string;
  /** Hardware id: the stratum of the halt test. */
  readonly hardware: string;
  readonly wave: number;
  readonly state: MemberState;
  readonly since: number;
  readonly reasons: string;
  /** What ran before this rollout touched the device; null at a first install. */
  readonly previous: ReleaseRef | null;
  /**
   * It may have run the release before its order (it said so, or an older order said so): there
   * need be no trial of it.
   */
  readonly mayRun: boolean;
  /**
   * The order that the last assignment of this rollout (forward or back) got; null before the
   * first.
   */
  readonly assignmentId: number | null;
  readonly assignedAt: number | null;
  /**
   * Counted as failed (also once reverted), and why: the halt test must not forget a device that
   * was taken back.
   */
  readonly failed: boolean;
}

/**
 * A new order to one device: run this release; `release: null` withdraws the component's
 * assignment.
 */
export interface AssignmentChange {
  readonly device: string;
  readonly component: string;
  readonly release: ReleaseRef | null;
  readonly rollback: boolean;
  readonly rollout: string;
  readonly trial: TrialPolicy;
}

export interface Assignment extends AssignmentChange {
  readonly assignmentId: number;
}

export interface RolloutChange {
  /** The rollout as it shall be; `generation` is the one that was read, the store adds one. */
  readonly rollout: RolloutRow;
  readonly members: readonly MemberRow[];
  readonly assignments: readonly AssignmentChange[];
}

export interface RolloutStore {
  /** Rollouts in state rolling, held or reverting. */
  active(): Promise<RolloutRow[]>;
  rollout(id: string): Promise<RolloutRow | null>;
  members(rollout: string): Promise<MemberRow[]>;
  facts(component: string, devices: readonly string[]): Promise<Map<string, DeviceFacts>>;
  /**
   * All of it in one transaction, or nothing: false when the rollout's generation is no longer the
   * one that was read. Members that got an assignment have their `order` and `assignedAt` filled in
   * by the store. A history row is added when state, wave or words changed.
   */
  commit(change: RolloutChange, now: number): Promise<boolean>;
}

/** For the director: what each device shall run, and where the signed documents are kept. */
export interface AssignmentStore {
  /**
   * All components' assignments of a device (withdrawn ones left out), and a number that changes
   * whenever they do.
   */
  assignments(device: string): Promise<{ revision: number; assignments: Assignment[] }>;
  directorDocuments(device: string): Promise<DirectorDocuments | null>;
  saveDirectorDocuments(device: string, documents: DirectorDocuments): Promise<void>;
}

/** The signed director metadata of one device, replaced whole. */
export interface DirectorDocuments {
  readonly revision: number;
  readonly targetsVersion: number;
  readonly snapshotVersion: number;
  readonly timestampVersion: number;
  readonly expiresAt: number;
  readonly targets: Uint8Array;
  readonly snapshot: Uint8Array;
  readonly timestamp: Uint8Array;
}
