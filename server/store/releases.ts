// Published releases, as the operator API lists them. The image repository holds the signed truth;
// this table is its index, so adding the same release again changes nothing. Size and description
// stand beside the manifest, so that a list reads no manifests.
import { sql, type Selectable, type SqlBool } from 'kysely';
import type { MemberState, RolloutState } from '../../shared/protocol/states.js';
import { totalLength, type Manifest, type Release } from '../../shared/release/manifest.js';
import type {
  AuditAction,
  PageRequest,
  ReleaseFilter,
  ReleaseKey,
  ReleaseRolloutRow,
  ReleaseRow,
  ReleaseStore,
  ReleaseSummaryRow,
} from '../interfaces.js';
import { appendAudit } from './audit.js';
import type { Db, Queries } from './database.js';
import { contains } from './dialect.js';
import { lastLookedAt, rowsLookedAt } from './scans.js';
import type { ReleasesTable } from './tables.js';

export class SqlReleaseStore implements ReleaseStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  add(release: Release, audit: AuditAction, now: number): Promise<ReleaseRow> {
    const { component, version, digest, manifest } = release;
    return this.#db.transaction().execute(async (trx) => {
      await trx
        .insertInto('releases')
        .values({
          component,
          version,
          digest,
          published_at: now,
          bytes: totalLength(manifest),
          description: manifest.description,
          manifest_json: JSON.stringify(manifest),
        })
        .onConflict((oc) => oc.doNothing())
        .execute();
      await appendAudit(trx, [audit], now);
      return (await find(trx, component, version)) as ReleaseRow;
    });
  }

  find(component: string, version: string): Promise<ReleaseRow | null> {
    return find(this.#db, component, version);
  }

  page(
    { limit, after }: PageRequest<ReleaseKey>,
    filter: ReleaseFilter = {},
  ): Promise<ReleaseSummaryRow[]> {
    const { search } = filter;
    const looked = rowsLookedAt(search !== undefined, limit);
    let query = this.#db
      .selectFrom(inOrder(this.#db, filter, after).limit(looked).as('releases'))
      .select([
        'component',
        'version',
        'digest',
        'published_at as publishedAt',
        'bytes',
        'description',
      ]);
    if (search !== undefined)
      query = query.where((eb) =>
        eb.or([
          contains(this.#db, sql<string>`component || '@' || version`, search),
          contains(this.#db, sql<string>`description`, search),
          sql<SqlBool>`substr(digest, 1, ${search.length}) = ${search.toLowerCase()}`,
        ]),
      );
    return query
      .orderBy('published_at', 'desc')
      .orderBy('component', 'desc')
      .orderBy('version', 'desc')
      .limit(limit)
      .execute();
  }

  async scanned(filter: ReleaseFilter, after: ReleaseKey | null): Promise<ReleaseKey | null> {
    if (filter.search === undefined) return null;
    const row = await lastLookedAt(inOrder(this.#db, filter, after));
    return row === undefined ? null : [row.published_at, row.component, row.version];
  }

  async rollouts(component: string, version: string, limit: number): Promise<ReleaseRolloutRow[]> {
    const rows = await this.#db
      .selectFrom('rollouts')
      .select(['id', 'state', 'created_at'])
      .where('component', '=', component)
      .where('version', '=', version)
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
    if (rows.length === 0) return [];
    const ids = rows.map(({ id }) => id);
    const counts = await this.#db
      .selectFrom('member_counts')
      .select(['rollout', 'state'])
      .select((eb) => eb.fn.sum<number>('count').as('devices'))
      .where('rollout', 'in', ids)
      .where('count', '>', 0)
      .groupBy(['rollout', 'state'])
      .orderBy('state')
      .execute();
    const failed = await this.#db
      .selectFrom('members')
      .select('rollout')
      .select((eb) => eb.fn.countAll<number>().as('devices'))
      .where('rollout', 'in', ids)
      .where('failed', '=', sql.lit(1))
      .groupBy('rollout')
      .execute();
    return rows.map(({ id, state, created_at: createdAt }) => ({
      id,
      state: state as RolloutState,
      createdAt,
      failed: failed.find(({ rollout }) => rollout === id)?.devices ?? 0,
      counts: counts
        .filter(({ rollout }) => rollout === id)
        .map((row) => ({ state: row.state as MemberState, devices: row.devices })),
    }));
  }
}

/** Releases after `after`, without their manifests. */
function inOrder(db: Db, { component }: ReleaseFilter, after: ReleaseKey | null) {
  let query = db
    .selectFrom('releases')
    .select(['component', 'version', 'digest', 'published_at', 'bytes', 'description']);
  if (component !== undefined) query = query.where('component', '=', component);
  if (after !== null)
    query = query.where((eb) =>
      eb(
        eb.refTuple('published_at', 'component', 'version'),
        '<',
        eb.tuple(after[0], after[1], after[2]),
      ),
    );
  return query
    .orderBy('published_at', 'desc')
    .orderBy('component', 'desc')
    .orderBy('version', 'desc');
}

async function find(
  queries: Queries,
  component: string,
  version: string,
): Promise<ReleaseRow | null> {
  const row = await queries
    .selectFrom('releases')
    .selectAll()
    .where('component', '=', component)
    .where('version', '=', version)
    .executeTakeFirst();
  return row === undefined ? null : releaseOf(row);
}

function releaseOf(row: Selectable<ReleasesTable>): ReleaseRow {
  return {
    component: row.component,
    version: row.version,
    digest: row.digest,
    publishedAt: row.published_at,
    manifest: JSON.parse(row.manifest_json) as Manifest,
  };
}
