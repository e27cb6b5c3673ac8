// The schema of the fleet server's database, in steps. A step that was released never changes; new
// ones are added at the end. Kysely's Migrator runs each step once, in the order of its name, in a
// transaction of its own, also when several servers start at once on one PostgreSQL. The text is
// SQLite's; dialect.ts turns it into PostgreSQL's.
import { sql, type Kysely, type Migration, type MigrationProvider } from 'kysely';
import { conductorMigration } from './conductor-migration.js';
import { isPostgres, postgresDdl } from './dialect.js';

/** Plain DDL: short, and the same text that an operator sees with `sqlite3 .schema`. */
const FIRST = [
  `create table devices (
    id text primary key,
    name text not null,
    hardware text not null,
    components_json text not null,
    public_key text not null,
    status text not null check (status in ('pending', 'enrolled', 'revoked')),
    group_name text not null,
    labels_json text not null,
    first_seen_at integer not null,
    enrolled_at integer,
    last_seen_at integer,
    assignment_revision integer not null default 0,
    pending_reason text,
    instances_json text not null default '[]',
    cloned_at integer
  ) strict`,
  'create index devices_by_name on devices (name)',
  'create index devices_by_group on devices (group_name, name, id)',
  'create index devices_by_status on devices (status, group_name, name, id)',
  `create table claims (
    hash text primary key,
    group_name text not null,
    uses_left integer not null check (uses_left >= 0),
    expires_at integer not null,
    created_at integer not null,
    created_by text not null
  ) strict`,
  `create table device_certificates (
    serial text primary key,
    device text not null,
    issued_at integer not null,
    expires_at integer not null
  ) strict`,
  'create index device_certificates_by_device on device_certificates (device, expires_at)',
  'create index device_certificates_by_expiry on device_certificates (expires_at)',
  `create table tokens (
    hash text primary key,
    name text not null,
    role text not null,
    created_at integer not null,
    revoked_at integer
  ) strict`,
  `create table releases (
    component text not null,
    version text not null,
    digest text not null,
    published_at integer not null,
    bytes integer not null,
    description text not null,
    manifest_json text not null,
    primary key (component, version)
  ) strict`,
  'create index releases_by_age on releases (published_at, component, version)',
  `create table uploads (
    digest text not null primary key,
    bytes integer not null,
    operator text not null,
    touched_at integer not null,
    collected integer not null
  ) strict`,
  `create table rollouts (
    id text primary key,
    component text not null,
    version text not null,
    digest text not null,
    state text not null,
    wave integer not null,
    reasons_json text not null,
    policy_json text not null,
    created_at integer not null,
    created_by text not null,
    since integer not null,
    selector_json text not null,
    approved integer not null,
    asked integer not null,
    undo integer not null,
    silence_json text,
    pool_json text,
    arms_json text,
    go_at integer,
    answered_at integer,
    revision integer not null
  ) strict`,
  `create unique index rollouts_one_active on rollouts (component)
    where state in ('rolling', 'held', 'reverting')`,
  'create index rollouts_by_age on rollouts (created_at, id)',
  `create table members (
    rollout text not null references rollouts (id),
    device text not null references devices (id),
    name text not null,
    group_name text not null,
    hardware text not null,
    site text not null,
    wave integer not null,
    rank integer not null,
    state text not null,
    since integer not null,
    reasons text not null,
    previous_json text,
    may_run integer not null,
    assignment_id integer,
    assigned_at integer,
    proven integer not null,
    failed integer not null,
    silence_json text,
    primary key (rollout, device)
  ) strict`,
  'create index members_by_device on members (device, state)',
  'create index members_by_state on members (rollout, state)',
  'create index members_by_rank on members (rollout, wave, rank, device)',
  'create index members_by_take on members (rollout, assigned_at)',
  `create table takes (
    series text not null,
    seq integer not null,
    device text not null references devices (id),
    hardware text not null,
    rollout text not null references rollouts (id),
    at integer not null,
    failed integer not null,
    primary key (series, seq),
    unique (series, device)
  ) strict`,
  `create table rollout_history (
    id integer primary key,
    rollout text not null references rollouts (id),
    at integer not null,
    state text not null,
    wave integer not null,
    reasons_json text not null
  ) strict`,
  'create index rollout_history_by_rollout on rollout_history (rollout, id)',
  `create table assignments (
    device text not null references devices (id),
    component text not null,
    assignment_id integer not null,
    version text,
    digest text,
    rollback integer not null,
    activation text not null,
    rollout text not null,
    trial_json text not null,
    primary key (device, component)
  ) strict`,
  `create table director_documents (
    device text primary key references devices (id),
    revision integer not null,
    targets_version integer not null,
    snapshot_version integer not null,
    timestamp_version integer not null,
    expires_at integer not null,
    targets blob not null,
    snapshot blob not null,
    timestamp blob not null
  ) strict`,
  `create table facts (
    device text not null references devices (id),
    component text not null,
    kind text not null,
    at integer not null,
    body_json text not null,
    primary key (device, component, kind)
  ) strict`,
  `create table condition_events (
    device text not null references devices (id),
    component text not null,
    digest text not null,
    code text not null,
    at integer not null
  ) strict`,
  'create index condition_events_by_age on condition_events (at)',
  `create table condition_streams (
    component text not null,
    digest text not null,
    code text not null,
    detector_json text not null,
    primary key (component, digest, code)
  ) strict`,
  'create table condition_slots (at integer not null) strict',
  `create table recent_batches (
    device text primary key references devices (id),
    batches_json text not null
  ) strict`,
  `create table telemetry (
    id integer primary key,
    device text not null references devices (id),
    seq integer not null,
    kind text not null,
    device_at integer not null,
    at integer not null,
    body_json text not null,
    unique (device, seq, device_at)
  ) strict`,
  'create index telemetry_by_device on telemetry (device, id)',
  `create table telemetry_hours (
    device text not null references devices (id),
    hour integer not null,
    first_at integer not null,
    last_at integer not null,
    sums_json text not null,
    primary key (device, hour)
  ) strict`,
  'create index telemetry_hours_by_age on telemetry_hours (hour, device)',
  `create table inference (
    device text not null references devices (id),
    component text not null,
    version text not null,
    digest text not null,
    served integer not null,
    failed integer not null,
    refused integer not null,
    latency_json text not null,
    answers_json text,
    updated_at integer not null,
    primary key (device, component, version, digest)
  ) strict`,
  `create table outcomes (
    id integer primary key,
    device text not null references devices (id),
    component text not null,
    assignment_id integer not null,
    result text not null,
    at integer not null,
    outcome_json text not null,
    unique (device, component, assignment_id, result)
  ) strict`,
  `create table security_events (
    id integer primary key,
    source_kind text not null check (source_kind in ('device', 'operator', 'server', 'anonymous')),
    source text not null,
    code text not null,
    fold_key text not null,
    detail text not null,
    count integer not null,
    first_at integer not null,
    last_at integer not null,
    revision integer not null,
    unique (source_kind, source, code, fold_key)
  ) strict`,
  'create unique index security_events_by_revision on security_events (revision)',
  'create index security_events_by_age on security_events (last_at, id)',
  'create index security_events_by_code on security_events (source_kind, code, last_at, id)',
  'create index security_events_by_source on security_events (source, last_at, id)',
  `create table audit (
    seq integer primary key,
    at integer not null,
    actor text not null,
    action text not null,
    subject text not null,
    detail text not null,
    hash text not null
  ) strict`,
  'create table marks (name text primary key, value integer not null) strict',
  `create table audit_head (
    id integer primary key check (id = 1),
    entries integer not null,
    hash text not null
  ) strict`,
  `create table leases (
    name text primary key,
    holder text not null,
    until integer not null,
    revision integer not null
  ) strict`,
];

/** For filters of the console; nothing of the first step changes. */
const FILTERS = [
  'create index devices_by_hardware on devices (hardware, group_name, name, id)',
  'create index audit_by_actor on audit (actor, seq)',
  'create index audit_by_action on audit (action, seq)',
  'create index audit_by_subject on audit (subject, seq)',
  'create index telemetry_by_kind on telemetry (device, kind, id)',
];

/** How many devices ran which version, by the hour (fleet-versions.ts). */
const FLEET_VERSIONS = [
  `create table fleet_versions (
    hour integer not null,
    component text not null,
    version text not null,
    devices integer not null,
    primary key (hour, component, version)
  ) strict`,
];

/**
 * Most records are of inference, and pages of them are read by device. What is looked for among all
 * records of a device is its reports, which are few.
 */
const TELEMETRY_UPDATES = [
  'drop index telemetry_by_kind',
  "create index telemetry_updates on telemetry (device, id) where kind = 'update'",
];

/**
 * PostgreSQL looks up what a row refers to by a statement for each row, a fifth of what a record
 * costs there. Records are added only for devices whose rows the same transaction has just updated
 * (telemetry-group.ts), and an enrolled device is never deleted. In SQLite the check is one search
 * in an index, and the table would have to be written anew.
 */
const telemetryReference: Migration = {
  up: async (db: Kysely<unknown>): Promise<void> => {
    if (isPostgres(db))
      await sql`alter table telemetry drop constraint telemetry_device_fkey`.execute(db);
  },
};

/**
 * For filters by time, state, component and code. The audit log is listed by time: an entry that
 * was added while the clock was behind has its place there.
 */
const TIME_FILTERS = [
  'drop index audit_by_actor',
  'drop index audit_by_action',
  'drop index audit_by_subject',
  'create index audit_by_time on audit (at, seq)',
  'create index audit_by_actor on audit (actor, at, seq)',
  'create index audit_by_action on audit (action, at, seq)',
  'create index audit_by_subject on audit (subject, at, seq)',
  'create index security_events_of_code on security_events (code, last_at, id)',
  'create index rollouts_by_state on rollouts (state, created_at, id)',
  'create index rollouts_by_component on rollouts (component, created_at, id)',
  'create index releases_by_component on releases (component, published_at, version)',
];

function step(statements: readonly string[]): Migration {
  return {
    up: async (db: Kysely<unknown>): Promise<void> => {
      for (const statement of statements)
        await sql.raw(isPostgres(db) ? postgresDdl(statement) : statement).execute(db);
    },
  };
}

export const migrations: MigrationProvider = {
  getMigrations: () =>
    Promise.resolve({
      '0001_first': step(FIRST),
      '0002_conductor': conductorMigration,
      '0003_filters': step(FILTERS),
      '0004_audit_trace': step(['alter table audit add column trace text']),
      '0005_fleet_versions': step(FLEET_VERSIONS),
      '0006_assignment_trace': step([
        'alter table rollouts add column trace text',
        'alter table assignments add column trace text',
      ]),
      '0007_telemetry_updates': step(TELEMETRY_UPDATES),
      '0008_telemetry_reference': telemetryReference,
      '0009_time_filters': step(TIME_FILTERS),
      '0010_failed_members': step([
        'create index members_failed on members (rollout, wave, rank, device) where failed = 1',
      ]),
    }),
};
