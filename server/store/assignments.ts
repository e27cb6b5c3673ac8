// What each device is assigned, as the director reads it, and the documents that the director
// signed for it. The documents are kept so that their version numbers never fall, also after a
// restart: a device refuses a lower one.
import type { Selectable } from 'kysely';
import type { TrialPolicy } from '../../shared/statistics/trial-verdict.js';
import type {
  Assignment,
  AssignmentStore,
  DirectorDocuments,
  DirectorHead,
} from '../interfaces.js';
import type { Db, Queries } from './database.js';
import { GroupedWrites } from './grouped-writes.js';
import type { Tables } from './tables.js';

export class SqlAssignmentStore implements AssignmentStore {
  readonly #db: Db;
  /** A fleet that comes back after a restart has all its documents signed at once. */
  readonly #documents: GroupedWrites<boolean>;

  constructor(db: Db) {
    this.#db = db;
    this.#documents = new GroupedWrites(db);
  }

  /** In one statement, so that the revision matches the assignments. */
  async assignments(device: string): Promise<{ revision: number; assignments: Assignment[] }> {
    const rows = await this.#db
      .selectFrom('devices')
      .leftJoin('assignments', 'assignments.device', 'devices.id')
      .selectAll('assignments')
      .select('devices.assignment_revision')
      .where('devices.id', '=', device)
      .orderBy('assignments.component')
      .execute();
    return {
      revision: rows[0]?.assignment_revision ?? 0,
      assignments: rows.flatMap((row) => (isRow(row) ? assignmentOf(row) : [])),
    };
  }

  async directorHead(device: string): Promise<DirectorHead> {
    const row = await this.#db
      .selectFrom('devices')
      .leftJoin('director_documents as signed', 'signed.device', 'devices.id')
      .select([
        'devices.assignment_revision',
        'signed.revision',
        'signed.timestamp_version',
        'signed.expires_at',
      ])
      .where('devices.id', '=', device)
      .executeTakeFirst();
    const signed =
      row === undefined ||
      row.revision === null ||
      row.timestamp_version === null ||
      row.expires_at === null
        ? null
        : {
            revision: row.revision,
            timestampVersion: row.timestamp_version,
            expiresAt: row.expires_at,
          };
    return { revision: row?.assignment_revision ?? 0, signed };
  }

  async directorDocuments(device: string): Promise<DirectorDocuments | null> {
    const row = await this.#db
      .selectFrom('director_documents')
      .selectAll()
      .where('device', '=', device)
      .executeTakeFirst();
    if (row === undefined) return null;
    return {
      revision: row.revision,
      targetsVersion: row.targets_version,
      snapshotVersion: row.snapshot_version,
      timestampVersion: row.timestamp_version,
      expiresAt: row.expires_at,
      targets: plain(row.targets),
      snapshot: plain(row.snapshot),
      timestamp: plain(row.timestamp),
    };
  }

  saveDirectorDocuments(
    device: string,
    documents: DirectorDocuments,
    before: number | null,
  ): Promise<boolean> {
    return this.#documents.add(device, (queries) =>
      writeDocuments(queries, device, documents, before),
    );
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

/** False: the documents are others than `before` by now. */
async function writeDocuments(
  queries: Queries,
  device: string,
  documents: DirectorDocuments,
  before: number | null,
): Promise<boolean> {
  const columns = {
    revision: documents.revision,
    targets_version: documents.targetsVersion,
    snapshot_version: documents.snapshotVersion,
    timestamp_version: documents.timestampVersion,
    expires_at: documents.expiresAt,
    targets: Buffer.from(documents.targets),
    snapshot: Buffer.from(documents.snapshot),
    timestamp: Buffer.from(documents.timestamp),
  };
  if (before === null) {
    const { numInsertedOrUpdatedRows } = await queries
      .insertInto('director_documents')
      .values({ device, ...columns })
      .onConflict((oc) => oc.column('device').doNothing())
      .executeTakeFirst();
    return numInsertedOrUpdatedRows === 1n;
  }
  const { numUpdatedRows } = await queries
    .updateTable('director_documents')
    .set(columns)
    .where('device', '=', device)
    .where('timestamp_version', '=', before)
    .executeTakeFirst();
  return numUpdatedRows === 1n;
}
