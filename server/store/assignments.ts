// What each device is assigned, as the director reads it, and the documents that the director
// signed for it. The documents are kept so that their version numbers never fall, also after a
// restart: a device refuses a lower one.
import { sql, type RawBuilder, type Selectable } from 'kysely';
import type { TrialPolicy } from '../../shared/statistics/trial-verdict.js';
import type {
  Assignment,
  AssignmentStore,
  DirectorDocuments,
  DirectorHead,
} from '../interfaces.js';
import type { Db, Queries } from './database.js';
import { among, givenRows, type Columns } from './dialect.js';
import { GroupedReads } from './grouped-reads.js';
import { GroupedWrites } from './grouped-writes.js';
import type { Tables } from './tables.js';

interface DeviceAssignments {
  readonly revision: number;
  readonly assignments: Assignment[];
}

interface Saving {
  /** The device. */
  readonly key: string;
  readonly documents: DirectorDocuments;
  readonly before: number | null;
}

export class SqlAssignmentStore implements AssignmentStore {
  readonly #db: Db;
  // A fleet that takes a release, or comes back after a restart, asks at once.
  readonly #assignments: GroupedReads<DeviceAssignments>;
  readonly #heads: GroupedReads<DirectorHead>;
  readonly #documents: GroupedReads<DirectorDocuments>;
  readonly #savings: GroupedWrites<Saving, boolean>;

  constructor(db: Db) {
    this.#db = db;
    this.#assignments = new GroupedReads((devices) => assignmentsOf(db, devices));
    this.#heads = new GroupedReads((devices) => headsOf(db, devices));
    this.#documents = new GroupedReads((devices) => documentsOf(db, devices));
    this.#savings = new GroupedWrites(db, saveAll);
  }

  async assignments(device: string): Promise<DeviceAssignments> {
    return (await this.#assignments.get(device)) ?? { revision: 0, assignments: [] };
  }

  async directorHead(device: string): Promise<DirectorHead> {
    return (await this.#heads.get(device)) ?? { revision: 0, signed: null };
  }

  async directorDocuments(device: string): Promise<DirectorDocuments | null> {
    return (await this.#documents.get(device)) ?? null;
  }

  saveDirectorDocuments(
    device: string,
    documents: DirectorDocuments,
    before: number | null,
  ): Promise<boolean> {
    return this.#savings.add({ key: device, documents, before });
  }

  async raiseDirectorVersions(device: string, seen: number): Promise<boolean> {
    // Expired documents are signed anew at the next request, each version above the stored one.
    const { numUpdatedRows } = await this.#db
      .updateTable('director_documents')
      .set({
        targets_version: seen,
        snapshot_version: seen,
        timestamp_version: seen,
        expires_at: LONG_EXPIRED,
      })
      .where('device', '=', device)
      .where('timestamp_version', '<', seen)
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }
}

/** In one statement, so that each revision matches the assignments. */
async function assignmentsOf(
  queries: Queries,
  devices: readonly string[],
): Promise<Map<string, DeviceAssignments>> {
  const rows = await queries
    .selectFrom('devices')
    .leftJoin('assignments', 'assignments.device', 'devices.id')
    .selectAll('assignments')
    .select(['devices.id', 'devices.assignment_revision'])
    .where(among(queries, 'devices.id', devices))
    .orderBy('assignments.component')
    .execute();
  const found = new Map<string, DeviceAssignments>();
  for (const row of rows) {
    const one = found.get(row.id) ?? { revision: row.assignment_revision, assignments: [] };
    if (isRow(row)) one.assignments.push(...assignmentOf(row));
    found.set(row.id, one);
  }
  return found;
}

async function headsOf(
  queries: Queries,
  devices: readonly string[],
): Promise<Map<string, DirectorHead>> {
  const rows = await queries
    .selectFrom('devices')
    .leftJoin('director_documents as signed', 'signed.device', 'devices.id')
    .select([
      'devices.id',
      'devices.assignment_revision',
      'signed.revision',
      'signed.timestamp_version',
      'signed.expires_at',
    ])
    .where(among(queries, 'devices.id', devices))
    .execute();
  return new Map(
    rows.map((row) => {
      const { revision, timestamp_version: timestampVersion, expires_at: expiresAt } = row;
      const isSigned = revision !== null && timestampVersion !== null && expiresAt !== null;
      const signed = isSigned ? { revision, timestampVersion, expiresAt } : null;
      return [row.id, { revision: row.assignment_revision, signed }];
    }),
  );
}

async function documentsOf(
  queries: Queries,
  devices: readonly string[],
): Promise<Map<string, DirectorDocuments>> {
  const rows = await queries
    .selectFrom('director_documents')
    .selectAll()
    .where(among(queries, 'device', devices))
    .execute();
  return new Map(
    rows.map((row) => [
      row.device,
      {
        revision: row.revision,
        targetsVersion: row.targets_version,
        snapshotVersion: row.snapshot_version,
        timestampVersion: row.timestamp_version,
        expiresAt: row.expires_at,
        targets: plain(row.targets),
        snapshot: plain(row.snapshot),
        timestamp: plain(row.timestamp),
      },
    ]),
  );
}

type Row = Selectable<Tables['assignments']>;

/** False for the row of a device that was never assigned anything. */
const isRow = (joined: { [K in keyof Row]: Row[K] | null }): joined is Row =>
  joined.device !== null;

/** None when it was withdrawn. */
function assignmentOf(row: Row): Assignment[] {
  const { component, version, digest } = row;
  if (version === null || digest === null) return [];
  return [
    {
      device: row.device,
      component,
      release: { component, version, digest },
      rollback: row.rollback === 1,
      activation: row.activation,
      rollout: row.rollout,
      trial: JSON.parse(row.trial_json) as TrialPolicy,
      assignmentId: row.assignment_id,
      trace: row.trace,
    },
  ];
}

const LONG_EXPIRED = 0;

/** better-sqlite3 returns Buffers; the interface promises plain Uint8Arrays. */
const plain = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes);

/** For each: false where the documents are others than `before` by now. */
async function saveAll(queries: Queries, group: readonly Saving[]): Promise<boolean[]> {
  const isFirst = new Set<string>();
  const now: Saving[] = [];
  const later: Saving[] = [];
  for (const one of group) {
    (isFirst.has(one.key) ? later : now).push(one);
    isFirst.add(one.key);
  }
  const saved = new Set([
    ...(await addDocuments(
      queries,
      now.filter(({ before }) => before === null),
    )),
    ...(await replaceDocuments(
      queries,
      now.filter(({ before }) => before !== null),
    )),
  ]);
  const rest = later.length === 0 ? [] : await saveAll(queries, later);
  return group.map((one) =>
    later.includes(one) ? rest[later.indexOf(one)] === true : saved.has(one.key),
  );
}

const DOCUMENTS = {
  revision: 'bigint',
  targets_version: 'bigint',
  snapshot_version: 'bigint',
  timestamp_version: 'bigint',
  expires_at: 'bigint',
  targets: 'bytea',
  snapshot: 'bytea',
  timestamp: 'bytea',
} as const satisfies Columns;

const given = (queries: Queries, group: readonly Saving[]): RawBuilder<unknown> =>
  givenRows(
    queries,
    { of_device: 'text', before: 'bigint', ...DOCUMENTS },
    group.map(({ key, documents, before }) => ({
      of_device: key,
      before,
      revision: documents.revision,
      targets_version: documents.targetsVersion,
      snapshot_version: documents.snapshotVersion,
      timestamp_version: documents.timestampVersion,
      expires_at: documents.expiresAt,
      targets: Buffer.from(documents.targets),
      snapshot: Buffer.from(documents.snapshot),
      timestamp: Buffer.from(documents.timestamp),
    })),
  );

const columns = Object.keys(DOCUMENTS);

async function addDocuments(queries: Queries, group: readonly Saving[]): Promise<string[]> {
  if (group.length === 0) return [];
  const list = sql.join(columns.map((name) => sql.ref(name)));
  // `where true`: otherwise SQLite reads `on` as that of a join.
  const { rows } = await sql<{ device: string }>`
    insert into director_documents (device, ${list})
    select of_device, ${list} from ${given(queries, group)} where true
    on conflict (device) do nothing returning device`.execute(queries);
  return rows.map(({ device }) => device);
}

async function replaceDocuments(queries: Queries, group: readonly Saving[]): Promise<string[]> {
  if (group.length === 0) return [];
  const set = columns.map((name) => sql`${sql.ref(name)} = ${sql.ref(`given.${name}`)}`);
  const { rows } = await sql<{ device: string }>`
    update director_documents set ${sql.join(set)} from ${given(queries, group)}
    where device = of_device and director_documents.timestamp_version = before
    returning device`.execute(queries);
  return rows.map(({ device }) => device);
}
