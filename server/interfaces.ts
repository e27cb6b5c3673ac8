// All interfaces between the server's rooms: rows, stores, the artifact store, TUF repositories,
// services, ingest and transports. The rooms depend on these interfaces only; server/main.ts
// chooses the implementations and connects them. It contains types and no behaviour. Over 400 lines
// because it is the one interface file of the server.
//
// Conventions: times are milliseconds since the Unix epoch by the server's clock; absent data is
// null; SHA-256 digests are 64 lower-case hex digits; document bytes are exactly those that were
// signed.
import type { X509Certificate } from 'node:crypto';
import type { EnrolRequest } from '../shared/protocol/device-api.js';
import type {
  ArmMetric,
  CommandRequest,
  DeviceAttention,
  DeviceStatus,
  Group,
  ReleaseDetail,
  RepositoryView,
  Role,
  RolloutCommand,
  RolloutDetail,
  RolloutPolicy,
  RolloutPreview,
  RolloutRequest,
  SecuritySourceKind,
  Selector,
} from '../shared/protocol/operator-api.js';
import type {
  Activation,
  MemberState,
  RolloutListState,
  RolloutState,
  UpdateState,
} from '../shared/protocol/states.js';
import type {
  HealthBody,
  InferenceBody,
  Kind,
  Outcome,
  TelemetryAck,
  TelemetryBatch,
  TrialBody,
  UpdateBody,
} from '../shared/protocol/telemetry.js';
import type { ReleaseRef } from '../shared/release/release-ref.js';
import type { DeclaredDifference } from '../shared/release/expected-differences.js';
import type { Release } from '../shared/release/manifest.js';
import type { DetectorState } from '../shared/statistics/condition-detector.js';
import type { Sketch } from '../shared/statistics/quantile-sketch.js';
import type { BlockTally, PooledRounds } from '../shared/statistics/betting.js';
import type { SilenceState } from '../shared/statistics/silence-test.js';
import type { Answers, TrialPolicy } from '../shared/statistics/trial-verdict.js';
import type { Targets } from '../shared/trust/documents.js';
import type { PublicKey } from '../shared/trust/signer.js';
import type { SecurityEvent, SecurityEventSink } from './security-events/interfaces.js';

export type * from './artifacts/interface.js';
export type * from './security-events/interfaces.js';

// ---- Pages ------------------------------------------------------------------------------------

/**
 * Which page of a list: at most `limit` rows that come after the row with the key `after` (null:
 * from the first row). Keys are the columns that the list is ordered by.
 */
export interface PageRequest<Key> {
  readonly limit: number;
  readonly after: Key | null;
}

// ---- Devices ----------------------------------------------------------------------------------

export interface DeviceRow {
  readonly id: string;
  readonly name: string;
  readonly hardware: string;
  readonly components: readonly string[];
  readonly publicKey: PublicKey;
  readonly status: DeviceStatus;
  readonly group: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly enrolledAt: number | null;
  readonly lastSeenAt: number | null;
  /** Why a pending device was not enrolled by the claim that it showed. */
  readonly pendingReason: string | null;
  /** When two installations with its key alternated last (column `cloned_at`); null: never. */
  readonly clonedAt: number | null;
}

export interface DeviceStore {
  /**
   * Enrols a device, or reads it again. The caller has verified the device's signature. Known
   * devices keep what they have; a pending one with a valid claim becomes enrolled. Without one it
   * stays pending, with the reason when it showed one that is spent; the oldest pending one is
   * removed when there are too many.
   */
  enrol(
    id: string,
    request: EnrolRequest,
    claimHash: string | null,
    now: number,
  ): Promise<DeviceRow>;
  get(id: string): Promise<DeviceRow | null>;
  /**
   * A device by id or by name. Of several with the name, those of status `first` come before the
   * others, and revoked ones last. Faults: not_found; conflict when several remain.
   */
  named(idOrName: string, first: 'enrolled' | 'pending'): Promise<DeviceRow>;
  /** By DeviceKey. Faults: not_found when `filter.group` has no device at all. */
  page(filter: DeviceFilter, page: PageRequest<DeviceKey>): Promise<DeviceRow[]>;
  /**
   * A filter that no index serves looks at limits.listScanRowsCount devices after `after`: the
   * last of them, when there may be more behind it; null: all were looked at.
   */
  scanned(filter: DeviceFilter, after: DeviceKey | null): Promise<DeviceKey | null>;
  /** Faults: not_found when no device is in the group. */
  requireGroup(group: string): Promise<void>;
  /** Groups by name, with the number of their enrolled devices. */
  groups(page: PageRequest<string>): Promise<Group[]>;
  /**
   * pending -> enrolled; approving twice changes nothing. Faults: not_found, conflict (revoked).
   */
  approve(id: string, audit: AuditAction, now: number): Promise<DeviceRow>;
  /** Final: a revoked device is never enrolled again. Faults: not_found. */
  revoke(id: string, audit: AuditAction, now: number): Promise<DeviceRow>;
  /**
   * Gives name, group and labels of `old` to `by`, which is enrolled by it, and revokes `old`.
   * Returns `by`. Faults: not_found, conflict.
   */
  replace(old: string, by: string, audit: AuditAction, now: number): Promise<DeviceRow>;
  /** Sets what is defined in `change`. Faults: not_found. */
  change(id: string, change: DeviceChange, audit: AuditAction, now: number): Promise<DeviceRow>;
  addClaim(claim: ClaimRow, audit: AuditAction, now: number): Promise<void>;
}

export interface DeviceFilter {
  readonly group?: string | undefined;
  readonly status?: DeviceStatus | undefined;
  readonly hardware?: string | undefined;
  /** The beginning of a name or of an id. */
  readonly search?: string | undefined;
  /** What some component of it runs; null: it reported that nothing runs. */
  readonly running?: { readonly component: string; readonly version: string | null } | undefined;
  /** The state of some component of it, or of the one of `running`. */
  readonly update?: UpdateState | undefined;
  readonly attention?: DeviceAttention | undefined;
  /** Without a value: any value of this key. */
  readonly label?: { readonly key: string; readonly value?: string } | undefined;
  /** What counts as silent and as cloned: not heard, and used twice, since then. */
  readonly heardSince?: number;
  readonly clonedSince?: number;
}

export type DeviceKey = readonly [group: string, name: string, id: string];

export interface DeviceChange {
  readonly group?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
}

export interface ClaimRow {
  /** SHA-256 of the claim token. */
  readonly hash: string;
  readonly group: string;
  readonly uses: number;
  readonly expiresAt: number;
  readonly createdBy: string;
}

/** What happened to one device. */
export interface DeviceHistoryStore {
  /** The rollouts that it takes part in, the last changed first. */
  rollouts(device: string, limit: number): Promise<DeviceRollout[]>;
  /** The last to expire first. */
  certificates(device: string, limit: number): Promise<DeviceCertificate[]>;
  /** What it served, report by report, the newest first; `before`: the id of the last one seen. */
  inference(device: string, limit: number, before: number | null): Promise<InferencePoint[]>;
}

export interface DeviceRollout {
  readonly rollout: string;
  readonly release: ReleaseRef;
  readonly wave: number;
  readonly state: MemberState;
  readonly since: number;
  readonly reasons: string;
}

export interface DeviceCertificate {
  readonly serial: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

export interface InferencePoint {
  readonly id: number;
  readonly at: number;
  readonly body: InferenceBody;
}

// ---- Telemetry --------------------------------------------------------------------------------

/** What a device served with one release, added up over its reports. */
export interface InferenceSums {
  readonly release: ReleaseRef;
  readonly served: number;
  readonly failed: number;
  readonly refused: number;
  readonly latencyMs: Sketch;
  readonly answers: Answers | null;
}

export interface StoredRecord {
  readonly id: number;
  readonly device: string;
  readonly seq: number;
  readonly kind: Kind;
  /** By the device's clock. */
  readonly deviceAt: number;
  readonly at: number;
  readonly body: unknown;
}

export type HealthMetric =
  'cpuUse' | 'memoryAvailableMib' | 'temperatureC' | 'diskFreeMib' | 'agentRssMib';

/** What a device reported in one hour of the server's clock. */
export interface TelemetryHourRow {
  readonly hour: number;
  readonly firstAt: number;
  readonly lastAt: number;
  /** How many of each kind. */
  readonly records: Readonly<Partial<Record<Kind, number>>>;
  readonly health: Readonly<Partial<Record<HealthMetric, Sketch>>>;
}

export interface LatestFacts {
  readonly updates: UpdateBody[];
  readonly health: HealthBody | null;
}

/** An authenticated device's batch. */
export interface DeviceBatch {
  readonly device: string;
  readonly batch: TelemetryBatch;
}

/** `repeated`: it was stored before. `not_enrolled`: nothing of it was stored. */
export type BatchResult = 'stored' | 'repeated' | 'not_enrolled';

export interface TelemetryStore {
  /**
   * Stores a group of batches in one transaction, in their order; durable on return. A result for
   * each. Rejects when nothing was stored: the caller must acknowledge none of them then.
   */
  insertBatches(group: readonly DeviceBatch[], now: number): Promise<BatchResult[]>;
  /** The latest update facts of each component and the latest health, by device; null: all. */
  latest(devices: readonly string[] | null): Promise<Map<string, LatestFacts>>;
  /** The sums of each release, the last used first. */
  inference(device: string): Promise<InferenceSums[]>;
  /** The newest first. */
  outcomes(device: string, limit: number): Promise<{ at: number; outcome: Outcome }[]>;
  /**
   * Raw records, the newest first; `before` is the id of the last record of the previous page.
   * Health and update reports that repeat the one before are no records of their own.
   */
  records(device: string, limit: number, before: number | null): Promise<StoredRecord[]>;
  /** The newest first; `before` is the hour of the last row of the previous page. */
  hours(device: string, limit: number, before: number | null): Promise<TelemetryHourRow[]>;
  /**
   * Deletes some of what is beyond the limits, at most limits.pruneRowsMaxCount rows in one
   * transaction. How many; 0 when nothing is left to delete.
   */
  prune(now: number): Promise<number>;
}

// ---- Access, audit, security events -----------------------------------------------------------

export interface TokenRow {
  /** SHA-256 of the token. */
  readonly hash: string;
  readonly name: string;
  readonly role: Role;
}

export interface TokenStore {
  add(token: TokenRow, audit: AuditAction, now: number): Promise<void>;
  /** The token with this hash; null when it is unknown or revoked. */
  valid(hash: string): Promise<TokenRow | null>;
  /** The oldest first. */
  page(page: PageRequest<TokenKey>): Promise<TokenSummaryRow[]>;
  /** Whether some admin token is valid. */
  hasAdmin(): Promise<boolean>;
  /**
   * How many tokens of that name were revoked. Faults: not_found when none was valid; conflict when
   * no admin token would be left, unless that is forced.
   */
  revoke(
    which: { readonly name: string; readonly isForced: boolean },
    audit: AuditAction,
    now: number,
  ): Promise<number>;
  /** The same, where none may be valid; the token with the hash `except` stays. */
  revokeOwn(
    own: { readonly name: string; readonly except: string | null },
    audit: AuditAction,
    now: number,
  ): Promise<number>;
  /** Valid tokens of that name. */
  count(name: string): Promise<number>;
}

export type TokenKey = readonly [createdAt: number, hash: string];

export interface TokenSummaryRow extends TokenRow {
  readonly createdAt: number;
  readonly revokedAt: number | null;
}

export interface AuditAction {
  /** The name of an operator token. */
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  readonly detail: string;
  /** W3C trace id of the request, hex; null where there was none. */
  readonly trace: string | null;
}

export interface AuditRow extends AuditAction {
  readonly seq: number;
  readonly at: number;
  readonly hash: string;
}

export interface AuditHead {
  readonly entries: number;
  /** Hash of the last row; 64 zeros before the first. */
  readonly hash: string;
  /** The first row that is missing or does not fit the chain; null when the chain is whole. */
  readonly brokenAt: number | null;
}

/** From `since` on, before `until`. */
export interface TimeRange {
  readonly since?: number | undefined;
  readonly until?: number | undefined;
}

export interface AuditFilter extends TimeRange {
  readonly actor?: string | undefined;
  readonly action?: string | undefined;
  readonly subject?: string | undefined;
}

export type AuditKey = readonly [at: number, seq: number];

export interface AuditStore {
  append(action: AuditAction, now: number): Promise<void>;
  /** The newest first, by time and seq, with details cut to limits.summaryDetailMaxChars. */
  page(page: PageRequest<AuditKey>, filter?: AuditFilter): Promise<AuditRow[]>;
  /** Two exact filters or more are a search: see SecurityEventStore. */
  scanned(filter: AuditFilter, after: AuditKey | null): Promise<AuditKey | null>;
  /** The seq of the entry that was added last; 0 before the first. */
  newest(): Promise<number>;
  find(seq: number): Promise<AuditRow | null>;
  /** Verifies the whole chain from its start, a page at a time. */
  verify(): Promise<AuditHead>;
}

export interface SecurityEventRow {
  readonly id: number;
  readonly sourceKind: SecuritySourceKind;
  /** A device id, the name of an operator token, `server`, or a remote address. */
  readonly source: string;
  readonly code: string;
  readonly detail: string;
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

export interface SecurityEventChangeRow extends SecurityEventRow {
  readonly revision: number;
}

/** The order in which security events were added or changed. */
export interface SecurityEventHistory {
  /** The revision of the latest change; 0 before the first. */
  head(): Promise<number>;
  /** Events that changed after the revision, by revision; an event is there once, as it is now. */
  changes(after: number, limit: number): Promise<SecurityEventChangeRow[]>;
}

export type SecurityEventKey = readonly [lastAt: number, id: number];

/** The time is that of the last repeat. */
export interface SecurityEventFilter extends TimeRange {
  readonly source?: string | undefined;
  readonly kind?: SecuritySourceKind | undefined;
  readonly code?: string | undefined;
  /** Of a device that is in it now. */
  readonly group?: string | undefined;
}

export interface SecurityEventStore extends SecurityEventHistory {
  /** All in one transaction. */
  add(events: readonly SecurityEvent[]): Promise<void>;
  /**
   * The newest first, with details cut to limits.summaryDetailMaxChars. A filter that no index
   * serves looks at limits.listScanRowsCount events after `after`.
   */
  page(
    filter: SecurityEventFilter,
    page: PageRequest<SecurityEventKey>,
  ): Promise<SecurityEventRow[]>;
  /** Where such a search ended; null: at the last event. */
  scanned(
    filter: SecurityEventFilter,
    after: SecurityEventKey | null,
  ): Promise<SecurityEventKey | null>;
  /**
   * Those of the next `limit` changes after the revision that the filter fits, without its time,
   * and the revision of the last change that was looked at.
   */
  feed(
    after: number,
    limit: number,
    filter: SecurityEventFilter,
  ): Promise<{ readonly rows: SecurityEventChangeRow[]; readonly next: number }>;
  find(id: number): Promise<SecurityEventRow | null>;
}

// ---- Releases ---------------------------------------------------------------------------------

export interface ReleaseRow extends Release {
  readonly publishedAt: number;
}

export interface ReleaseFilter {
  readonly component?: string | undefined;
  /** Text in component@version or the description, or the begin of a digest; any case. */
  readonly search?: string | undefined;
}

export interface ReleaseStore {
  /** Adding the same release again changes nothing. */
  add(release: Release, audit: AuditAction, now: number): Promise<ReleaseRow>;
  find(component: string, version: string): Promise<ReleaseRow | null>;
  /** The newest first; without manifests. See SecurityEventStore for a search. */
  page(page: PageRequest<ReleaseKey>, filter?: ReleaseFilter): Promise<ReleaseSummaryRow[]>;
  scanned(filter: ReleaseFilter, after: ReleaseKey | null): Promise<ReleaseKey | null>;
  /** The rollouts of a release, the newest first. */
  rollouts(component: string, version: string, limit: number): Promise<ReleaseRolloutRow[]>;
}

export interface ReleaseRolloutRow {
  readonly id: string;
  readonly state: RolloutState;
  readonly createdAt: number;
  /** Devices on which it failed, those that are back included. */
  readonly failed: number;
  readonly counts: readonly { readonly state: MemberState; readonly devices: number }[];
}

/** A file that was uploaded and that no published release names yet, or one that is on its way. */
export interface UploadRow {
  readonly digest: string;
  readonly bytes: number;
  /** Whose quota it fills; empty: nobody's (found in the store without a row). */
  readonly operator: string;
  /** When it was uploaded or asked for last. */
  readonly touchedAt: number;
  /** Its file is being deleted. */
  readonly isCollected: boolean;
}

export interface UploadQuota {
  readonly maxBytes: number;
  readonly maxCount: number;
}

export interface UploadStore {
  /**
   * Adds an upload or touches it. Faults: quota_exceeded (of its operator), conflict (it is being
   * deleted).
   */
  begin(upload: Omit<UploadRow, 'isCollected'>, quota: UploadQuota): Promise<void>;
  /** Adds one or updates it, without a quota. */
  put(upload: Omit<UploadRow, 'isCollected'>): Promise<void>;
  /** Those of `digests` that are uploads. Faults: conflict (one is being deleted). */
  touch(digests: ReadonlySet<string>, now: number): Promise<void>;
  remove(digests: readonly string[]): Promise<void>;
  /** All; quotas limit their number. */
  all(): Promise<UploadRow[]>;
  /** Marks it as being deleted. False: it was touched after `before`, or is gone. */
  collect(digest: string, before: number): Promise<boolean>;
}

export type ReleaseKey = readonly [publishedAt: number, component: string, version: string];

export interface ReleaseSummaryRow {
  readonly component: string;
  readonly version: string;
  readonly digest: string;
  readonly publishedAt: number;
  readonly bytes: number;
  readonly description: string;
}

// ---- Rollouts ---------------------------------------------------------------------------------

/** What is known of one device, for one component. */
export interface DeviceFacts {
  readonly id: string;
  readonly name: string;
  readonly group: string;
  readonly hardware: string;
  /** `revoked` is final: nothing more can be learned of the device. */
  readonly status: DeviceStatus;
  readonly lastSeenAt: number | null;
  /** Random at each start of its agent, as its last batch said; null before the first. */
  readonly instance: string | null;
  readonly update: UpdateBody | null;
  readonly trial: TrialBody | null;
  /**
   * The component's current assignment to it, by any rollout, whether the device acted on it yet or
   * not (`release` null: withdrawn); null before the first.
   */
  readonly standing: StandingAssignment | null;
}

interface StandingAssignment {
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
  /** Which devices take part. */
  readonly selector: Selector;
  readonly createdAt: number;
  readonly createdBy: string;
  /** When this state and wave began. */
  readonly since: number;
  /** An operator approved going beyond the current wave. */
  readonly approved: boolean;
  /** When a person resumed it last: what they saw does not hold it again. Null: never. */
  readonly answeredAt: number | null;
  /** Held because a person must decide, not because a person paused it. */
  readonly asked: boolean;
  /** It was completed, and a person rolls it back: through the window, not all at once. */
  readonly undo: boolean;
  /**
   * The silence test so far, the end of its last slot, and of the last in which a device that took
   * the release went silent (null: none did); null before the first slot.
   */
  readonly silence: {
    readonly state: SilenceState;
    readonly slotAt: number;
    readonly eventAt: number | null;
  } | null;
  /** What the devices of its wave showed together so far; null before the first round. */
  readonly pool: PoolState | null;
  /** When the devices were told to swap (strategy blue-green); null before. */
  readonly goAt: number | null;
  /** The comparison of the arms so far (strategy ab); null before the first device. */
  readonly arms: ArmsState | null;
  /** W3C trace id of the operator's last request that makes assignments; null: none had one. */
  readonly trace: string | null;
  /** Optimistic lock: rises with each write; a writer that read an older one loses. */
  readonly revision: number;
}

export interface PoolState {
  readonly wave: number;
  /** By compared output. */
  readonly outputs: Readonly<
    Record<string, { readonly limit: number; readonly rounds: PooledRounds }>
  >;
  /** A person was asked because of it. */
  readonly told: boolean;
}

export interface ArmsState {
  /** Devices of arm B that were compared, in order. */
  readonly done: readonly string[];
  readonly metrics: Readonly<Partial<Record<ArmMetric, MetricTally>>>;
  /** A person was asked because arm B is worse. */
  readonly told: boolean;
}

/** Per device of arm B: the share of its partners that did better, and the metric in both arms. */
export interface MetricTally {
  readonly blocks: BlockTally;
  readonly sumA: number;
  readonly sumB: number;
}

/** A device of arm B and its partners of arm A, over the same hours. */
export interface MeasuredBlock {
  readonly device: string;
  readonly b: ArmMeasures;
  readonly a: readonly ArmMeasures[];
}

/** Of one device and some hours; null: nothing to measure it by. */
export type ArmMeasures = Readonly<Record<ArmMetric, number | null>>;

export interface MemberRow {
  readonly rollout: string;
  readonly device: string;
  readonly name: string;
  readonly group: string;
  /** Hardware id: the stratum of the halt test. */
  readonly hardware: string;
  /** Label `site` when the rollout was made, else its group. */
  readonly site: string;
  readonly wave: number;
  /** Place in the order in which the rollout's devices are asked. */
  readonly rank: number;
  readonly state: MemberState;
  readonly since: number;
  readonly reasons: string;
  /** What ran before this rollout changed the device; null at a first install. */
  readonly previous: ReleaseRef | null;
  /**
   * It may have run the release before its assignment (it reported so, or an older assignment
   * named the release): there may be no trial of it.
   */
  readonly mayRun: boolean;
  /** The id of this rollout's last assignment to it (forward or back); null before the first. */
  readonly assignmentId: number | null;
  readonly assignedAt: number | null;
  /** Confirmed, and healthy for the soak of its wave since then; or ready; or shadowed. */
  readonly proven: boolean;
  /** Counted as failed, also after its rollback: the halt test must not forget it. */
  readonly failed: boolean;
  /** When it fell silent first in this trial: who was silent, to tell a restart by. */
  readonly silence: FirstSilence | null;
}

export interface FirstSilence {
  readonly instance: string | null;
  /** Of the trial's evidence. */
  readonly modelFaults: number;
}

/**
 * That a device took a release: one observation of the halt test. The order of taking never
 * changes, over all rollouts of a digest.
 */
export interface Take {
  readonly device: string;
  readonly hardware: string;
  readonly failed: boolean;
}

export interface NumberedTake extends Take {
  readonly seq: number;
}

/** How many members are in a state, for each wave and kind of hardware. */
export interface MemberCount {
  readonly wave: number;
  readonly hardware: string;
  readonly state: MemberState;
  readonly proven: boolean;
  readonly count: number;
}

/** A member that is to be looked at. */
export interface MemberLook {
  readonly device: string;
  /** Rises when it is made due again: a look that was made before puts only that one aside. */
  readonly mark: number;
}

/** It was looked at, and nothing changes before `at`; null: before something is reported. */
export interface LookedAt extends MemberLook {
  readonly at: number | null;
}

/** A new assignment for one device; `release: null` withdraws the component's assignment. */
export interface AssignmentChange {
  readonly device: string;
  readonly component: string;
  readonly release: ReleaseRef | null;
  readonly rollback: boolean;
  readonly activation: Activation;
  readonly rollout: string;
  readonly trial: TrialPolicy;
}

export interface Assignment extends AssignmentChange {
  /** W3C trace id of the operator's request that it follows from; null: not known. */
  readonly trace: string | null;
  readonly assignmentId: number;
}

export interface RolloutChange {
  /** The rollout's new values; `revision` is the one that was read, the store adds one. */
  readonly rollout: RolloutRow;
  /**
   * Only those that change; the store fills in `assignmentId` and `assignedAt` of those with an
   * assignment.
   */
  readonly members: readonly MemberRow[];
  readonly assignments: readonly AssignmentChange[];
  /** Devices that take the release with this change, in this order. */
  readonly takes?: readonly string[];
  /**
   * Devices whose forward assignment says from now on what the rollout wants: how far they go, and
   * the trial of its policy. Its id stays.
   */
  readonly updated?: readonly string[];
  /** Devices whose take is undone: they never began it. */
  readonly untaken?: readonly string[];
  /** Audit entries that stand or fall with the change. */
  readonly audit?: readonly AuditAction[];
}

export interface HistoryRow {
  readonly at: number;
  readonly state: RolloutState;
  readonly wave: number;
  readonly reasons: readonly string[];
}

export interface EligibleDevice {
  readonly id: string;
  readonly name: string;
  readonly group: string;
  readonly hardware: string;
  /** Label `site`, else the group. */
  readonly site: string;
  readonly lastSeenAt: number | null;
}

export interface PublishedRelease {
  readonly ref: ReleaseRef;
  /** Hardware ids that its manifest lists. */
  readonly hardware: readonly string[];
  /** How far its answers differ from older releases, as its manifest says. */
  readonly declared: readonly DeclaredDifference[];
}

export type RolloutKey = readonly [createdAt: number, id: string];

export interface RolloutSummaryRow extends RolloutRow {
  /** How many devices take part. */
  readonly devices: number;
}

export type MemberKey = readonly [wave: number, rank: number, device: string];

export interface RolloutFilter {
  readonly state?: RolloutListState | undefined;
  readonly component?: string | undefined;
  /** Its selector does not exclude this group. */
  readonly group?: string | undefined;
  /** Text in its id or in component@version; any case. */
  readonly search?: string | undefined;
}

export interface MemberFilter {
  readonly wave?: number;
  readonly state?: MemberState;
  /** Whether the release failed on it, however it went on. */
  readonly failed?: boolean;
}

/** Waiting members of waves up to this one, and of these kinds of hardware. */
export interface TurnFilter {
  readonly wave: number;
  readonly hardware: readonly string[];
}

export interface RolloutStore {
  /**
   * Rollouts in state rolling, held or reverting, and completed ones with devices that are still
   * undecided or soak; the oldest first.
   */
  active(): Promise<RolloutRow[]>;
  /**
   * Rollouts that may have something for this device now, the oldest first: rolling ones in which
   * it waits in an open wave; and per component the last completed one that selects it, as a
   * standing release, when the device is not a member, waits in it, or no longer runs what it
   * confirmed.
   */
  offersTo(device: string): Promise<string[]>;
  member(rollout: string, device: string): Promise<MemberRow | null>;
  /** Those of `devices` that are members, by wave and rank. */
  membersOf(rollout: string, devices: readonly string[]): Promise<MemberRow[]>;
  /** Rollouts with members that are to be looked at now, also ones that are not active. */
  dueRollouts(now: number): Promise<string[]>;
  /**
   * Members to be looked at now: those that changed or whose devices reported something (or are
   * heard again, where that matters), and those whose time has come.
   */
  due(rollout: string, now: number, limit: number): Promise<MemberLook[]>;
  looked(rollout: string, looks: readonly LookedAt[]): Promise<void>;
  /** Looks at a rollout that is not active any more, at most `limit` of them. */
  forgetLooks(rollout: string, limit: number): Promise<void>;
  /** Whether a series has takes, and how many of them failed. */
  takeSigns(series: string): Promise<{ hasTakes: boolean; failed: number }>;
  /** How many took it in this rollout since. */
  takesSince(rollout: string, since: number): Promise<number>;
  /** Waiting members in their order. */
  inTurn(rollout: string, of: TurnFilter, page: PageRequest<MemberKey>): Promise<MemberRow[]>;
  /** The first members in these states that have an assignment of it and are not revoked. */
  assigned(rollout: string, states: readonly MemberState[], limit: number): Promise<MemberRow[]>;
  memberCounts(rollout: string): Promise<MemberCount[]>;
  /** Those of `devices` that have taken a release in another rollout, which is undecided. */
  undecidedElsewhere(rollout: string, devices: readonly string[]): Promise<ReadonlySet<string>>;
  /** When the nth of the last takes in this rollout was; null when there were fewer. */
  lastTake(rollout: string, nth: number): Promise<number | null>;
  /** What a device reported of the component after `from` and until `to`, for strategy ab. */
  measures(
    component: string,
    device: string,
    time: { readonly from: number; readonly to: number },
  ): Promise<ArmMeasures>;
  /**
   * What the last completed rollout of its component before this one left standing for the same
   * devices; null: there was none.
   */
  standingBefore(rollout: RolloutRow): Promise<ReleaseRef | null>;
  /** The newest completed rollout of each component and selector. */
  newestCompleted(): Promise<RolloutRow[]>;
  /** All takes of a series (a release's digest, a shadow's id), over all rollouts, in order. */
  takes(series: string): Promise<Take[]>;
  /** Those numbered above `after`, in order. */
  takePage(series: string, after: number, limit: number): Promise<NumberedTake[]>;
  /**
   * Members whose forward assignment does not say what the rollout wants, by device; `after` is a
   * device.
   */
  lagging(rollout: RolloutRow, page: PageRequest<string>): Promise<MemberRow[]>;
  /** How many rollouts were created since. */
  createdSince(since: number): Promise<number>;
  /** The newest first; without members and history. See SecurityEventStore for a search. */
  page(page: PageRequest<RolloutKey>, filter?: RolloutFilter): Promise<RolloutSummaryRow[]>;
  scanned(filter: RolloutFilter, after: RolloutKey | null): Promise<RolloutKey | null>;
  rollout(id: string): Promise<RolloutRow | null>;
  /** By wave and rank. */
  members(rollout: string): Promise<MemberRow[]>;
  /** In the same order. */
  memberPage(rollout: string, of: MemberFilter, page: PageRequest<MemberKey>): Promise<MemberRow[]>;
  /** The oldest first. */
  history(rollout: string): Promise<HistoryRow[]>;
  facts(component: string, devices: readonly string[]): Promise<Map<string, DeviceFacts>>;
  /**
   * Enrolled devices that carry the component on one of these hardware ids, and match the selector;
   * only `device` where it is given.
   */
  eligible(
    component: string,
    hardware: readonly string[],
    selector: Selector,
    device?: string,
  ): Promise<EligibleDevice[]>;
  /** The published release of that version, or null. */
  release(component: string, version: string): Promise<PublishedRelease | null>;
  /**
   * A new rollout with its members, its first history row and its audit entries in one transaction.
   * `row.revision` is stored as it is. Faults: conflict when the id exists.
   */
  insertRollout(
    row: RolloutRow,
    members: readonly MemberRow[],
    audit?: readonly AuditAction[],
  ): Promise<void>;
  /**
   * All of the change in one transaction, or nothing. False, and nothing written, when the
   * rollout's revision is no longer the one that was read, or when the change would make a second
   * rollout of the component active (rolling, held or reverting). The store fills in `assignmentId`
   * and `assignedAt` of members that got an assignment; the ids of a device and component only
   * rise, also when an assignment is withdrawn. A history row is added when state, wave or reasons
   * changed.
   */
  commit(change: RolloutChange, now: number): Promise<boolean>;
}

// ---- The director -----------------------------------------------------------------------------

/** What each device should run, and the documents that were signed for it. */
export interface AssignmentStore {
  /**
   * The assignments of all components of a device, without withdrawn ones, and a number that
   * changes whenever they do.
   */
  assignments(device: string): Promise<{ revision: number; assignments: Assignment[] }>;
  /** What tells whether the signed documents are current, in one read. */
  directorHead(device: string): Promise<DirectorHead>;
  directorDocuments(device: string): Promise<DirectorDocuments | null>;
  /**
   * Replaces the documents whose timestamp has version `before` (null: there are none). False, and
   * nothing is saved, when they are others by now: another server signed meanwhile.
   */
  saveDirectorDocuments(
    device: string,
    documents: DirectorDocuments,
    before: number | null,
  ): Promise<boolean>;
  /**
   * The device has trusted director documents of version `seen`: when those here are older (the
   * database was restored), the next ones are signed now and above it. Returns whether they were.
   */
  raiseDirectorVersions(device: string, seen: number): Promise<boolean>;
}

export interface DirectorHead {
  /** That of the assignments. */
  readonly revision: number;
  /** Of the signed documents; null before the first. */
  readonly signed: Pick<DirectorDocuments, 'revision' | 'timestampVersion' | 'expiresAt'> | null;
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

export interface TimestampAnswer {
  readonly tag: string;
  /** Null: the device has it. */
  readonly bytes: Uint8Array | null;
  /** What it leads to, where there are bytes. */
  readonly assignments?: readonly Assignment[];
}

export interface DirectorRepository {
  /** A metadata file of this device's director repository by its name; null when there is none. */
  metadata(device: { id: string; hardware: string }, name: string): Promise<Uint8Array | null>;
  /**
   * The device's timestamp, signed anew when something changed, and its entity tag. `bytes` is null
   * when the tag is `known`: the device has it.
   */
  timestamp(
    device: { id: string; hardware: string },
    known: string | null,
  ): Promise<TimestampAnswer>;
  /** Whether device tokens of this audience are for this director (device-token.ts). */
  isAudience(audience: string): Promise<boolean>;
}

// ---- Marks -------------------------------------------------------------------------------------

/** Numbers by name that a restart keeps. */
export interface MarkStore {
  get(name: string): Promise<number | null>;
  /** Durable on return. */
  set(name: string, value: number): Promise<void>;
}

// ---- The fleet in numbers ----------------------------------------------------------------------

/** For metrics. */
export interface FleetCounts {
  readonly devices: readonly {
    group: string;
    status: DeviceStatus;
    heard: boolean;
    count: number;
  }[];
  /** Of enrolled devices; `version` null: nothing runs. */
  readonly components: readonly {
    component: string;
    version: string | null;
    group: string;
    state: string;
    count: number;
  }[];
  readonly rollouts: readonly { state: string; count: number }[];
  /** Rollouts that were ever in the state. */
  readonly reached: readonly { state: string; count: number }[];
  readonly active: readonly { component: string; version: string; state: string; wave: number }[];
  /** Of active rollouts. */
  readonly members: readonly { component: string; version: string; state: string; count: number }[];
  /** Security events since the first start, also those that are not kept any more. */
  readonly security: readonly { code: string; count: number }[];
}

/** What the overview of the fleet shows besides the counts; of enrolled devices. */
export interface FleetAttention {
  readonly hardware: readonly { hardware: string; count: number }[];
  readonly trouble: number;
  readonly conditions: number;
  readonly cloned: number;
  readonly silent: number;
  readonly held: readonly { id: string; release: ReleaseRef }[];
}

export interface FleetCountStore {
  /**
   * Walks all devices. `clonedSince`: one that two installations used since then counts;
   * `heardSince`: one that was not heard, or enrolled, since then is silent.
   */
  overview(clonedSince: number, heardSince: number): Promise<FleetAttention>;
  /** Walks all devices. `heardSince`: a device that sent anything since then counts as heard. */
  read(heardSince: number): Promise<FleetCounts>;
  databaseBytes(): Promise<number>;
}

/** Which versions ran in an hour; `version` null: nothing ran. */
export interface FleetVersionsRow {
  /** Its beginning. */
  readonly hour: number;
  readonly component: string;
  readonly version: string | null;
  readonly devices: number;
}

export interface FleetVersionsStore {
  /** Counts the fleet for the present hour, in place of what was counted before in it. */
  record(now: number): Promise<void>;
  /** Of hours that began at `since` or later, the oldest first. */
  read(since: number): Promise<FleetVersionsRow[]>;
}

// ---- Leases -----------------------------------------------------------------------------------

/** A lease as its holder got it; a write that only the holder may make names it. */
export interface Fence {
  readonly name: string;
  readonly holder: string;
  /** Rises with each change of the holder. */
  readonly revision: number;
}

export interface LeaseStore {
  /** Gets or renews a lease for `forMs` from now; null when another one holds it. */
  acquire(name: string, holder: string, forMs: number): Promise<Fence | null>;
  /** Nothing happens when it is held by another one by now. */
  release(fence: Fence): Promise<void>;
}

// ---- All stores -------------------------------------------------------------------------------

export interface Stores {
  readonly devices: DeviceStore;
  readonly tokens: TokenStore;
  readonly releases: ReleaseStore;
  readonly uploads: UploadStore;
  readonly rollouts: RolloutStore;
  readonly assignments: AssignmentStore;
  readonly telemetry: TelemetryStore;
  readonly security: SecurityEventStore;
  readonly audit: AuditStore;
  readonly conditions: ConditionStore;
  readonly marks: MarkStore;
  readonly counts: FleetCountStore;
  readonly certificates: CertificateStore;
  readonly history: DeviceHistoryStore;
}

// ---- Artifacts and the image repository -------------------------------------------------------

export interface ImageRepositoryService {
  /** A metadata file by its name (`3.root.json`, `timestamp.json`); null when there is none. */
  metadata(name: string): Promise<Uint8Array | null>;
  /** A release's envelope by its consistent-snapshot file name; null when there is none. */
  targetFile(component: string, version: string, fileName: string): Promise<Uint8Array | null>;
  /**
   * Checks a signed release and makes it current with the new signed targets. Faults:
   * signature_invalid, manifest_undecodable, metadata_*, target_mismatch, conflict, file_length,
   * file_digest.
   */
  publish(envelope: Uint8Array, targets: Uint8Array): Promise<Release>;
  /** The current image targets. */
  targets(): Targets;
  view(): Promise<RepositoryView>;
  /** Who signed a published release, and the set that devices accept it by; read anew. */
  provenance(release: ReleaseRef): Promise<ReleaseProvenance>;
}

export type ReleaseProvenance = Pick<ReleaseDetail, 'signatures' | 'signersNeeded' | 'acceptance'>;

// ---- Services ---------------------------------------------------------------------------------

/**
 * What operators call. `audit` names who asks; it is committed together with the change or not at
 * all.
 */
/** What a completed rollout left for devices that come later. */
export interface StandingRelease {
  readonly rollout: RolloutRow;
  /** A rollout of the component that is under way: until its end no device takes this one. */
  readonly waitsFor: string | null;
}

export interface RolloutService {
  /** Faults: message_undecodable (policy), not_found (release), conflict (devices). */
  create(request: RolloutRequest, audit: AuditAction): Promise<RolloutDetail>;
  /** What `create` would make. The same faults. */
  preview(request: RolloutRequest): Promise<RolloutPreview>;
  /**
   * A device asks what it should run. When a rollout has room for it, it takes the release: the
   * assignment is durable on return. Never rejects for a rollout's sake.
   */
  contact(device: string): Promise<void>;
  /** Faults: not_found; conflict, with the present state and the commands that it takes. */
  command(
    id: string,
    command: RolloutCommand,
    audit: AuditAction,
    request?: CommandRequest,
  ): Promise<RolloutDetail>;
  /** Faults: not_found. */
  view(id: string): Promise<RolloutDetail>;
  /** The devices of a rollout by wave and rank. Faults: not_found. */
  members(id: string, of: MemberFilter, page: PageRequest<MemberKey>): Promise<MemberRow[]>;
  /** The newest first. */
  page(page: PageRequest<RolloutKey>, filter: RolloutFilter): Promise<RolloutSummaryRow[]>;
  scanned(filter: RolloutFilter, after: RolloutKey | null): Promise<RolloutKey | null>;
  /** By component, the newest first; without those that no device takes any more. */
  standing(): Promise<StandingRelease[]>;
}

// ---- Conditions of standing releases -----------------------------------------------------------

/** A release that devices run, and how many of them newly reported each condition in a slot. */
export interface ConditionSlot {
  readonly release: ReleaseRef;
  /** Heard in the slot; 0 where all were silent, as at night. */
  readonly devices: number;
  readonly events: Readonly<Record<string, number>>;
}

/** The detector of one condition of one release. */
export interface ConditionStream {
  readonly component: string;
  readonly digest: string;
  readonly code: string;
  readonly detector: DetectorState;
}

export interface ConditionStore {
  /** The end of the last slot that was counted; null before the first. */
  lastSlot(): Promise<number | null>;
  /**
   * The releases that enrolled devices run, how many of these were heard after `from`, and what
   * they newly reported until `to`.
   */
  slot(from: number, to: number): Promise<ConditionSlot[]>;
  streams(): Promise<ConditionStream[]>;
  /** These streams are all there are now; what they counted until `at` is gone. */
  commitSlot(at: number, streams: readonly ConditionStream[]): Promise<void>;
}

// ---- Ingest and transports --------------------------------------------------------------------

/**
 * Takes an encoded telemetry batch of an authenticated device. Resolves with the acknowledgement to
 * send back, or with null when the device must send the batch again. Never rejects.
 */
type IngestBatch = (device: string, batch: Uint8Array) => Promise<TelemetryAck | null>;

/** What a transport calls. None of them throws. */
export interface TransportEvents {
  readonly ingest: IngestBatch;
  /** The key of an enrolled device; undefined for all others. */
  keyOf(device: string): Promise<PublicKey | undefined>;
  /** Whether device tokens of this audience are for this server's director. */
  isAudience(audience: string): Promise<boolean>;
  /**
   * The transport lost its broker (false) or has it again (true): devices are not heard between.
   */
  onReception(connected: boolean): void;
  readonly security: SecurityEventSink;
}

/** A connection to devices that carries hints down and telemetry up. */
export interface Transport {
  /** Where devices connect. */
  readonly port: number;
  /** Tells a device to read its assignment now. May be lost: devices poll as well. */
  hint(device: string): void;
  /** Devices that are connected; null: only the external broker knows. */
  connections(): number | null;
  /** Closes a device's connection (after it was revoked). */
  disconnect(device: string): void;
  close(): Promise<void>;
}

// ---- Client certificates for brokers ----------------------------------------------------------

export interface IssuedCertificate {
  readonly pem: string;
  /** Hex. */
  readonly serial: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** Knows devices by the client certificates that it issued. */
export interface DeviceAuthority {
  /** PEM: the issuer and its chain. */
  readonly certificate: string;
  /** The common name of a client certificate that it issued and that is valid then; else null. */
  nameOf(certificate: X509Certificate, nowMs: number): string | null;
}

/** By which the server logs in at a broker; PEM. */
export interface ClientIdentity {
  readonly name: string;
  readonly cert: string;
  readonly key: string;
}

export interface CertificateStore {
  /**
   * Records a certificate before the device gets it. Faults: auth_denied (not enrolled any more),
   * conflict (too many valid ones).
   */
  add(device: string, issued: IssuedCertificate): Promise<void>;
  /** Serial numbers of what is valid and belongs to revoked devices; removes what has expired. */
  revoked(now: number): Promise<string[]>;
}

/** Issues client certificates to devices. */
export interface DeviceCertificates {
  /** SHA-256 of the CA's certificate. */
  readonly authority: string;
  /** Faults: certificate_request_invalid, auth_denied, conflict. */
  issue(device: string, request: string): Promise<IssuedCertificate>;
}

/** Where the server listens with TLS; PEM. */
export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
}
