// All interfaces between the server's rooms: rows, stores, the artifact store, TUF repositories,
// services, ingest and transports. The rooms depend on these interfaces only; server/main.ts chooses
// the implementations and connects them. It contains types and no behaviour. It is longer than 400
// lines because it is the one interface file of the server.
//
// Conventions: times are milliseconds since the Unix epoch by the server's clock; absent data is
// null; SHA-256 digests are 64 lower-case hex digits; document bytes are exactly those that were
// signed.
import type { Readable } from 'node:stream';
import type { EnrolRequest } from '../shared/protocol/device-api.js';
import type {
  Group,
  RepositoryView,
  Role,
  RolloutCommand,
  RolloutPolicy,
  RolloutRequest,
  RolloutView,
} from '../shared/protocol/operator-api.js';
import type { MemberState, RolloutState } from '../shared/protocol/states.js';
import type {
  HealthBody,
  Kind,
  Outcome,
  ReleaseRef,
  TelemetryAck,
  TelemetryBatch,
  TrialBody,
  UpdateBody,
} from '../shared/protocol/telemetry.js';
import type { Release } from '../shared/release/manifest.js';
import type { Sketch } from '../shared/statistics/quantile-sketch.js';
import type { Answers, TrialPolicy } from '../shared/statistics/trial-verdict.js';
import type { Targets } from '../shared/trust/documents.js';
import type { PublicKey } from '../shared/trust/signer.js';

// ---- Devices ----------------------------------------------------------------------------------

export type DeviceStatus = 'pending' | 'enrolled' | 'revoked';

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
}

export interface DeviceStore {
  /**
   * Enrols a device, or reads it again. The caller has verified the device's signature. Known
   * devices keep what they have; a pending one with a valid claim becomes enrolled. Without a claim
   * it stays pending; the oldest pending one is removed when there are too many. Faults:
   * claim_invalid.
   */
  enrol(
    id: string,
    request: EnrolRequest,
    claimHash: string | null,
    now: number,
  ): Promise<DeviceRow>;
  get(id: string): Promise<DeviceRow | null>;
  /** A device by id or by name. Faults: not_found; conflict when several devices have the name. */
  named(idOrName: string): Promise<DeviceRow>;
  list(): Promise<DeviceRow[]>;
  groups(): Promise<Group[]>;
  /** pending -> enrolled; approving twice changes nothing. Faults: not_found, conflict (revoked). */
  approve(id: string, now: number): Promise<DeviceRow>;
  revoke(id: string): Promise<void>;
  change(
    id: string,
    group: string | undefined,
    labels: Readonly<Record<string, string>> | undefined,
  ): Promise<void>;
  addClaim(
    hash: string,
    group: string,
    uses: number,
    expiresAt: number,
    createdBy: string,
    now: number,
  ): Promise<void>;
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

export interface LatestFacts {
  readonly updates: UpdateBody[];
  readonly health: HealthBody | null;
}

export interface TelemetryStore {
  /**
   * Stores a batch in one transaction; durable on return. False when this batch was stored before.
   * Rejects when nothing was stored: the caller must not acknowledge the batch then.
   */
  insertBatch(device: string, batch: TelemetryBatch, now: number): Promise<boolean>;
  /** The latest update facts of each component and the latest health, by device; null: all. */
  latest(devices: readonly string[] | null): Promise<Map<string, LatestFacts>>;
  /** The sums of each release, the last used first. */
  inference(device: string): Promise<InferenceSums[]>;
  /** The newest first. */
  outcomes(device: string, limit: number): Promise<{ at: number; outcome: Outcome }[]>;
  /** Raw records, the newest first; `before` is the id of the last record of the previous page. */
  records(device: string, limit: number, before: number | null): Promise<StoredRecord[]>;
}

// ---- Access, audit, security events -----------------------------------------------------------

export interface TokenRow {
  /** SHA-256 of the token. */
  readonly hash: string;
  readonly name: string;
  readonly role: Role;
}

export interface TokenStore {
  add(token: TokenRow, now: number): Promise<void>;
  /** The token with this hash; null when it is unknown or revoked. */
  valid(hash: string): Promise<TokenRow | null>;
  list(): Promise<{ name: string; role: Role; createdAt: number; revokedAt: number | null }[]>;
  /** How many tokens of that name were revoked. */
  revoke(name: string, now: number): Promise<number>;
}

export interface AuditAction {
  /** The name of an operator token. */
  readonly actor: string;
  readonly action: string;
  readonly subject: string;
  readonly detail: string;
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
  /** The first row that does not fit the chain; null when all do. */
  readonly brokenAt: number | null;
}

export interface AuditStore {
  append(action: AuditAction, now: number): Promise<void>;
  /** The newest first; `before` is the seq of the last row of the previous page. */
  list(limit: number, before: number | null): Promise<AuditRow[]>;
  /** Verifies the whole chain from its start, a page at a time. */
  verify(): Promise<AuditHead>;
}

export interface SecurityEventRow {
  readonly at: number;
  /** A device id, `server`, or `operator`. */
  readonly source: string;
  /** A fault code (shared/base/fault-codes.ts), where the reporter has this version. */
  readonly code: string;
  readonly detail: string;
}

export interface SecurityEventStore {
  add(event: SecurityEventRow): Promise<void>;
  /** The newest first. */
  list(limit: number, source?: string): Promise<SecurityEventRow[]>;
}

/**
 * Who caused a security event. A device or an operator has authenticated; `anonymous` is everyone
 * else, known by the remote address only.
 */
export type SecuritySource =
  | { readonly kind: 'device'; readonly id: string }
  | { readonly kind: 'operator'; readonly name: string }
  | { readonly kind: 'server' }
  | { readonly kind: 'anonymous'; readonly address: string };

export interface SecurityReport {
  readonly source: SecuritySource;
  /** A fault code (shared/base/fault-codes.ts), if the reporter has this version. */
  readonly code: string;
  readonly detail: string;
}

/** Where rooms report security events. */
export interface SecurityEventSink {
  /**
   * Never throws and never waits. The event is written soon after; repeats become one event with a
   * count, and the oldest anonymous events are dropped first when there are too many.
   */
  report(report: SecurityReport): void;
  /** Reports, and resolves when the event is written. Rejects when it could not be written. */
  record(report: SecurityReport): Promise<void>;
  /** Writes what is waiting. Rejects when it could not be written; it is kept then. */
  flush(): Promise<void>;
}

// ---- Releases ---------------------------------------------------------------------------------

export interface ReleaseRow extends Release {
  readonly publishedAt: number;
}

export interface ReleaseStore {
  /** Adding the same release again changes nothing. */
  add(release: Release, now: number): Promise<void>;
  find(component: string, version: string): Promise<ReleaseRow | null>;
  /** The newest first. */
  list(limit: number): Promise<ReleaseRow[]>;
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
  readonly update: UpdateBody | null;
  readonly trial: TrialBody | null;
  /**
   * The component's current assignment to it, by any rollout, whether the device acted on it yet or
   * not (`release` null: withdrawn); null before the first.
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
   * Failures up to here are accepted: an operator resumed past them, or the rollout advanced past
   * their wave. Null before the first.
   */
  readonly answeredAt: number | null;
  /** Optimistic lock: rises with each write; a writer that read an older one loses. */
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
  /** Counted as failed, also after its rollback: the halt test must not forget it. */
  readonly failed: boolean;
}

/** A new assignment for one device; `release: null` withdraws the component's assignment. */
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
  /** The rollout's new values; `revision` is the one that was read, the store adds one. */
  readonly rollout: RolloutRow;
  readonly members: readonly MemberRow[];
  readonly assignments: readonly AssignmentChange[];
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
}

export interface PublishedRelease {
  readonly ref: ReleaseRef;
  /** Hardware ids that its manifest lists. */
  readonly hardware: readonly string[];
}

export interface RolloutStore {
  /** Rollouts in state rolling, held or reverting, the oldest first. */
  active(): Promise<RolloutRow[]>;
  /** The newest `limit` rollouts, the newest first. */
  list(limit: number): Promise<RolloutRow[]>;
  rollout(id: string): Promise<RolloutRow | null>;
  members(rollout: string): Promise<MemberRow[]>;
  /** The oldest first. */
  history(rollout: string): Promise<HistoryRow[]>;
  facts(component: string, devices: readonly string[]): Promise<Map<string, DeviceFacts>>;
  /**
   * Enrolled devices that carry the component on one of these hardware ids; in one of `groups`,
   * unless it is null.
   */
  eligible(
    component: string,
    hardware: readonly string[],
    groups: readonly string[] | null,
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

export interface DirectorRepository {
  /** A metadata file of this device's director repository by its name; null when there is none. */
  metadata(device: { id: string; hardware: string }, name: string): Promise<Uint8Array | null>;
}

// ---- All stores -------------------------------------------------------------------------------

export interface Stores {
  readonly devices: DeviceStore;
  readonly tokens: TokenStore;
  readonly releases: ReleaseStore;
  readonly rollouts: RolloutStore;
  readonly assignments: AssignmentStore;
  readonly telemetry: TelemetryStore;
  readonly security: SecurityEventStore;
  readonly audit: AuditStore;
}

// ---- Artifacts and the image repository -------------------------------------------------------

export interface ArtifactRef {
  readonly digest: string;
  readonly lengthBytes: number;
}

/** First and last byte, both included, as in an HTTP range. */
export interface ByteRange {
  readonly start: number;
  /** Null: to the end. */
  readonly end: number | null;
}

/** What an upload must match. */
export interface ArtifactLimits {
  readonly maxBytes: number;
  /** The exact length, when it was announced. */
  readonly lengthBytes?: number;
}

/** Files by the SHA-256 of their bytes. An artifact never changes; it is whole or absent. */
export interface ArtifactStore {
  /**
   * Stores the bytes of `stream` while it verifies their length and digest; durable on return.
   * An artifact that is present is kept and the stream is not read. When it refuses or fails,
   * nothing is left behind. Faults: message_undecodable (not a digest), file_length, file_digest,
   * disk_full, disk_failed; errors of the stream pass unchanged.
   */
  put(
    digest: string,
    stream: AsyncIterable<Uint8Array>,
    limits: ArtifactLimits,
  ): Promise<{ stored: boolean }>;
  /**
   * The bytes of an artifact, or of a range of it that lies inside the artifact; null when it is
   * absent. `lengthBytes` is the whole artifact's. The caller reads or destroys the stream.
   */
  get(digest: string, range?: ByteRange): Promise<Artifact | null>;
  stat(digest: string): Promise<ArtifactRef | null>;
  /** False when there was none. */
  delete(digest: string): Promise<boolean>;
  /** In no particular order. */
  list(): AsyncIterable<ArtifactRef>;
}

export interface Artifact extends ArtifactRef {
  readonly stream: Readable;
}

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
}

// ---- Services ---------------------------------------------------------------------------------

/** What operators call. */
export interface RolloutService {
  /** Faults: message_undecodable (policy), not_found (release), conflict (devices). */
  create(request: RolloutRequest, actor: string): Promise<RolloutView>;
  /** Faults: not_found; conflict, with the present state and the commands that it takes. */
  command(
    id: string,
    command: RolloutCommand,
    actor: string,
    reason?: string,
  ): Promise<RolloutView>;
  /** Faults: not_found. */
  view(id: string): Promise<RolloutView>;
  /** The newest `limit`. */
  list(limit: number): Promise<RolloutView[]>;
}

// ---- Ingest and transports --------------------------------------------------------------------

/**
 * Takes an encoded telemetry batch of an authenticated device. Resolves with the acknowledgement to
 * send back, or with null when the device must send the batch again. Never rejects.
 */
export type IngestBatch = (device: string, batch: Uint8Array) => Promise<TelemetryAck | null>;

/** What a transport calls. None of them throws. */
export interface TransportEvents {
  readonly ingest: IngestBatch;
  /** The key of an enrolled device; undefined for all others. */
  keyOf(device: string): Promise<PublicKey | undefined>;
  /** The transport lost its broker (false) or has it again (true): devices are not heard between. */
  onReception(connected: boolean): void;
  readonly security: SecurityEventSink;
}

/** A connection to devices that carries hints down and telemetry up. */
export interface Transport {
  /** Where devices connect. */
  readonly port: number;
  /** Tells a device to read its assignment now. May be lost: devices poll as well. */
  hint(device: string): void;
  /** Closes a device's connection (after it was revoked). */
  disconnect(device: string): void;
  close(): Promise<void>;
}

/** Where the server listens with TLS; PEM. */
export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
}
