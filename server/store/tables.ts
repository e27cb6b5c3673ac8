// The tables of the fleet server as TypeScript types; server/store/migrations.ts creates them.
// Times are integers, ms since the epoch, by the server's clock. Columns whose name ends in `_json`
// hold JSON text that the server itself wrote from decoded values, so reading them back only
// parses. Binary documents are BLOBs.
import type { Generated } from 'kysely';
import type { DeviceStatus } from '../../shared/protocol/operator-api.js';
import type { Activation } from '../../shared/protocol/states.js';

export interface DevicesTable {
  id: string;
  name: string;
  hardware: string;
  components_json: string;
  public_key: string;
  status: DeviceStatus;
  group_name: string;
  labels_json: string;
  first_seen_at: number;
  enrolled_at: number | null;
  last_seen_at: number | null;
  /** Why a pending device was not enrolled by its claim; null when it showed none. */
  pending_reason: string | null;
  /** Instance ids of its agent, the latest first; JSON array of strings. */
  instances_json: Generated<string>;
  /** When two instances alternated last; null: never. */
  cloned_at: number | null;
  /** Rises with every change of any of the device's assignments. */
  assignment_revision: number;
}

interface ClaimsTable {
  /** SHA-256 of the claim token, hex. */
  hash: string;
  group_name: string;
  uses_left: number;
  expires_at: number;
  created_at: number;
  created_by: string;
}

interface DeviceCertificatesTable {
  /** Hex. */
  serial: string;
  device: string;
  issued_at: number;
  expires_at: number;
}

interface TokensTable {
  /** SHA-256 of the operator token, hex. */
  hash: string;
  name: string;
  role: string;
  created_at: number;
  revoked_at: number | null;
}

export interface ReleasesTable {
  component: string;
  version: string;
  digest: string;
  published_at: number;
  /** Of all files together. */
  bytes: number;
  description: string;
  manifest_json: string;
}

export interface RolloutsTable {
  id: string;
  component: string;
  version: string;
  digest: string;
  state: string;
  wave: number;
  reasons_json: string;
  policy_json: string;
  created_at: number;
  created_by: string;
  since: number;
  selector_json: string;
  approved: number;
  asked: number;
  undo: number;
  silence_json: string | null;
  pool_json: string | null;
  arms_json: string | null;
  go_at: number | null;
  answered_at: number | null;
  /** W3C trace id. */
  trace: string | null;
  revision: number;
}

export interface MembersTable {
  rollout: string;
  device: string;
  name: string;
  group_name: string;
  hardware: string;
  site: string;
  wave: number;
  rank: number;
  state: string;
  since: number;
  reasons: string;
  previous_json: string | null;
  may_run: number;
  assignment_id: number | null;
  assigned_at: number | null;
  proven: number;
  failed: number;
  silence_json: string | null;
}

/** Kept by triggers (conductor-migration.ts). */
interface MemberCountsTable {
  rollout: string;
  wave: number;
  hardware: string;
  state: string;
  proven: number;
  count: number;
}

/** Which members the conductor looks at, and when; made due by triggers. */
interface MemberLooksTable {
  rollout: string;
  device: string;
  /** 0: now. */
  at: number;
  mark: number;
}

/** Who took which release, in which order: the observations of the halt test. */
interface TakesTable {
  /** A release's digest; of a shadow its rollout's id (seriesOf). */
  series: string;
  seq: number;
  device: string;
  hardware: string;
  rollout: string;
  at: number;
  failed: number;
}

interface RolloutHistoryTable {
  id: Generated<number>;
  rollout: string;
  at: number;
  state: string;
  wave: number;
  reasons_json: string;
}

interface AssignmentsTable {
  device: string;
  component: string;
  assignment_id: number;
  /** Null when withdrawn; the row stays, because `assignment_id` only rises. */
  version: string | null;
  digest: string | null;
  rollback: number;
  activation: Activation;
  rollout: string;
  trial_json: string;
  /** W3C trace id. */
  trace: string | null;
}

interface DirectorDocumentsTable {
  device: string;
  revision: number;
  targets_version: number;
  snapshot_version: number;
  timestamp_version: number;
  expires_at: number;
  targets: Uint8Array;
  snapshot: Uint8Array;
  timestamp: Uint8Array;
}

export interface FactsTable {
  device: string;
  /** Empty for facts of the whole device (health). */
  component: string;
  kind: 'update' | 'trial' | 'health';
  /** When it was written: an update report that repeats it does not write it again. */
  at: number;
  body_json: string;
}

/** A condition that a device newly reported; gone when its slot is counted. */
interface ConditionEventsTable {
  device: string;
  component: string;
  digest: string;
  code: string;
  at: number;
}

interface ConditionStreamsTable {
  component: string;
  digest: string;
  code: string;
  detector_json: string;
}

/** One row: the end of the last slot. */
interface ConditionSlotsTable {
  at: number;
}

interface RecentBatchesTable {
  device: string;
  /** Ids of the last batches that were stored, the newest first. */
  batches_json: string;
}

interface TelemetryHoursTable {
  device: string;
  hour: number;
  first_at: number;
  last_at: number;
  sums_json: string;
}

export interface TelemetryTable {
  id: Generated<number>;
  device: string;
  seq: number;
  kind: string;
  /** The device's clock: a report. */
  device_at: number;
  /** The server's clock. */
  at: number;
  body_json: string;
}

export interface InferenceTable {
  device: string;
  component: string;
  version: string;
  digest: string;
  served: number;
  failed: number;
  refused: number;
  latency_json: string;
  answers_json: string | null;
  updated_at: number;
}

interface OutcomesTable {
  id: Generated<number>;
  device: string;
  component: string;
  assignment_id: number;
  result: string;
  at: number;
  outcome_json: string;
}

export interface SecurityEventsTable {
  id: Generated<number>;
  source_kind: 'device' | 'operator' | 'server' | 'anonymous';
  source: string;
  code: string;
  /** Equal for repeats of one event, which are one row. */
  fold_key: string;
  detail: string;
  count: number;
  first_at: number;
  last_at: number;
  /** Of its latest change; rises over all events. */
  revision: number;
}

interface AuditTable {
  seq: number;
  at: number;
  actor: string;
  action: string;
  subject: string;
  detail: string;
  hash: string;
  trace: string | null;
}

/** One row: the newest audit entry. */
interface AuditHeadTable {
  id: number;
  entries: number;
  hash: string;
}

/** Files that were uploaded and are not published. */
interface UploadsTable {
  digest: string;
  bytes: number;
  operator: string;
  touched_at: number;
  collected: 0 | 1;
}

/** Numbers by name: counters, cursors of exporters. */
interface FleetVersionsTable {
  /** Its beginning. */
  hour: number;
  component: string;
  /** Empty: nothing runs. */
  version: string;
  devices: number;
}

interface MarksTable {
  name: string;
  value: number;
}

/** Who may do what only one server does at a time; times are the database's. */
interface LeasesTable {
  name: string;
  holder: string;
  until: number;
  /** Rises with each change of the holder. */
  revision: number;
}

export interface Tables {
  uploads: UploadsTable;
  devices: DevicesTable;
  claims: ClaimsTable;
  device_certificates: DeviceCertificatesTable;
  tokens: TokensTable;
  releases: ReleasesTable;
  rollouts: RolloutsTable;
  members: MembersTable;
  member_counts: MemberCountsTable;
  member_looks: MemberLooksTable;
  takes: TakesTable;
  rollout_history: RolloutHistoryTable;
  assignments: AssignmentsTable;
  director_documents: DirectorDocumentsTable;
  facts: FactsTable;
  condition_events: ConditionEventsTable;
  condition_streams: ConditionStreamsTable;
  condition_slots: ConditionSlotsTable;
  recent_batches: RecentBatchesTable;
  telemetry: TelemetryTable;
  telemetry_hours: TelemetryHoursTable;
  inference: InferenceTable;
  outcomes: OutcomesTable;
  security_events: SecurityEventsTable;
  audit: AuditTable;
  audit_head: AuditHeadTable;
  fleet_versions: FleetVersionsTable;
  marks: MarksTable;
  leases: LeasesTable;
}
