// Files that were uploaded and that no published release names yet: who uploaded them, and when
// they were asked for last. Deleting one begins with a mark in its row, guarded by that time, so
// that no server deletes what another one is about to publish.
import { counted } from '../../shared/base/counted.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { UploadQuota, UploadRow, UploadStore } from '../interfaces.js';
import { portions, type Db, type Queries } from './database.js';

type NewUpload = Omit<UploadRow, 'isCollected'>;

export class SqlUploadStore implements UploadStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  begin(upload: NewUpload, { maxBytes, maxCount }: UploadQuota): Promise<void> {
    return this.#db.transaction().execute(async (trx) => {
      const { digest, operator } = upload;
      await requireNotCollected(trx, [digest]);
      const { bytes, count } = await trx
        .selectFrom('uploads')
        .select((eb) => eb.fn.coalesce(eb.fn.sum<number>('bytes'), eb.lit(0)).as('bytes'))
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('operator', '=', operator)
        .where('digest', '!=', digest)
        .executeTakeFirstOrThrow();
      if (bytes + upload.bytes > maxBytes || count + 1 > maxCount)
        throw new Fault(
          'quota_exceeded',
          `${operator} has ${counted(count, 'file')} with ${bytes} bytes that no release names; ` +
            `${maxCount} files and ${maxBytes} bytes are allowed`,
        );
      await put(trx, upload);
    });
  }

  put(upload: NewUpload): Promise<void> {
    return put(this.#db, upload);
  }

  touch(digests: ReadonlySet<string>, now: number): Promise<void> {
    return this.#db.transaction().execute(async (trx) => {
      const named = [...digests];
      await requireNotCollected(trx, named);
      for (const portion of portions(named))
        await trx
          .updateTable('uploads')
          .set({ touched_at: now })
          .where('digest', 'in', portion)
          .execute();
    });
  }

  async remove(digests: readonly string[]): Promise<void> {
    for (const portion of portions(digests))
      await this.#db.deleteFrom('uploads').where('digest', 'in', portion).execute();
  }

  async all(): Promise<UploadRow[]> {
    const rows = await this.#db.selectFrom('uploads').selectAll().execute();
    return rows.map(({ digest, bytes, operator, touched_at, collected }) => ({
      digest,
      bytes,
      operator,
      touchedAt: touched_at,
      isCollected: collected === 1,
    }));
  }

  async collect(digest: string, before: number): Promise<boolean> {
    const done = await this.#db
      .updateTable('uploads')
      .set({ collected: 1 })
      .where('digest', '=', digest)
      .where((eb) => eb.or([eb('touched_at', '<=', before), eb('collected', '=', 1)]))
      .executeTakeFirst();
    return done.numUpdatedRows > 0n;
  }
}

async function put(queries: Queries, upload: NewUpload): Promise<void> {
  const { digest, bytes, operator, touchedAt } = upload;
  await queries
    .insertInto('uploads')
    .values({ digest, bytes, operator, touched_at: touchedAt, collected: 0 })
    .onConflict((oc) => oc.column('digest').doUpdateSet({ bytes, operator, touched_at: touchedAt }))
    .execute();
}

async function requireNotCollected(queries: Queries, digests: readonly string[]): Promise<void> {
  for (const portion of portions(digests)) {
    const row = await queries
      .selectFrom('uploads')
      .select('digest')
      .where('digest', 'in', portion)
      .where('collected', '=', 1)
      .limit(1)
      .executeTakeFirst();
    if (row !== undefined)
      throw new Fault(
        'conflict',
        `${row.digest} expired and is being deleted: upload it again after a moment`,
      );
  }
}
