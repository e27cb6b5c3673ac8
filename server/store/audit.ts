// The audit log: every operator action in the order in which it was asked for, as a chain of
// hashes. Each row's hash covers the hash before it and the row itself, so a row that is changed,
// removed or put in between later is found. The chain alone cannot show that its newest rows were
// cut off: note the head (GET /api/v1/audit/head) elsewhere for that.
import { canonicalBytes, hex } from '../../shared/base/bytes.js';
import { createHash } from 'node:crypto';
import type { AuditAction, AuditHead, AuditRow, AuditStore } from '../interfaces.js';
import type { Db } from './database.js';
import type { AuditTable } from './tables.js';

const START = '0'.repeat(64);
const DETAIL_MAX = 4000;
const PAGE_ROWS = 1000;

export class SqlAuditStore implements AuditStore {
  constructor(private readonly db: Db) {}

  append(action: AuditAction, now: number): Promise<void> {
    return this.db.transaction().execute(async (trx) => {
      const last = await trx
        .selectFrom('audit')
        .select(['seq', 'hash'])
        .orderBy('seq', 'desc')
        .limit(1)
        .executeTakeFirst();
      const row = {
        seq: (last?.seq ?? 0) + 1,
        at: now,
        actor: action.actor.slice(0, 200),
        action: action.action,
        subject: action.subject.slice(0, 200),
        detail: action.detail.slice(0, DETAIL_MAX),
      };
      await trx
        .insertInto('audit')
        .values({ ...row, hash: link(last?.hash ?? START, row) })
        .execute();
    });
  }

  /** The newest first; `before` pages on from the seq of the last one seen. */
  async list(limit: number, before: number | null): Promise<AuditRow[]> {
    let query = this.db.selectFrom('audit').selectAll();
    if (before !== null) query = query.where('seq', '<', before);
    return query.orderBy('seq', 'desc').limit(limit).execute();
  }

  /** Walks the whole chain from its start, a page at a time. */
  async verify(): Promise<AuditHead> {
    let hash = START;
    let entries = 0;
    for (;;) {
      const rows = await this.db
        .selectFrom('audit')
        .selectAll()
        .where('seq', '>', entries)
        .orderBy('seq')
        .limit(PAGE_ROWS)
        .execute();
      for (const { hash: written, ...row } of rows) {
        if (row.seq !== entries + 1 || written !== link(hash, row))
          return { entries, hash, brokenAt: entries + 1 };
        hash = written;
        entries = row.seq;
      }
      if (rows.length < PAGE_ROWS) return { entries, hash, brokenAt: null };
    }
  }
}

function link(before: string, row: Omit<AuditTable, 'hash'>): string {
  return hex(
    createHash('sha256')
      .update(before)
      .update('\n')
      .update(canonicalBytes({ ...row }))
      .digest(),
  );
}
