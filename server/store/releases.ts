// Published releases, as the operator API lists them. The image repository holds the signed truth;
// this table is its index, so adding the same release again changes nothing.
import type { Selectable } from 'kysely';
import type { Manifest, Release } from '../../shared/release/manifest.js';
import type { ReleaseRow, ReleaseStore } from '../interfaces.js';
import type { Db } from './database.js';
import type { ReleasesTable } from './tables.js';

export class SqlReleaseStore implements ReleaseStore {
  constructor(private readonly db: Db) {}

  async add(release: Release, now: number): Promise<void> {
    await this.db
      .insertInto('releases')
      .values({
        component: release.component,
        version: release.version,
        digest: release.digest,
        published_at: now,
        manifest_json: JSON.stringify(release.manifest),
      })
      .onConflict((oc) => oc.doNothing())
      .execute();
  }

  async find(component: string, version: string): Promise<ReleaseRow | null> {
    const row = await this.db
      .selectFrom('releases')
      .selectAll()
      .where('component', '=', component)
      .where('version', '=', version)
      .executeTakeFirst();
    return row === undefined ? null : releaseOf(row);
  }

  /** The newest first. */
  async list(limit: number): Promise<ReleaseRow[]> {
    const rows = await this.db
      .selectFrom('releases')
      .selectAll()
      .orderBy('published_at', 'desc')
      .orderBy('component')
      .orderBy('version', 'desc')
      .limit(limit)
      .execute();
    return rows.map(releaseOf);
  }
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
