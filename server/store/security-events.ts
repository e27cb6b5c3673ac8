// Security events: what devices report of attacks they refused, and what the server itself refused.
// Bounded per source, so that one noisy (or hostile) device cannot push the others' events out.
import { limits } from '../../shared/base/limits.js';
import type { SecurityEventRow, SecurityEventStore } from '../interfaces.js';
import type { Db, Queries } from './database.js';

const DETAIL_MAX = 2000;

export class SqlSecurityEventStore implements SecurityEventStore {
  constructor(private readonly db: Db) {}

  add(event: SecurityEventRow): Promise<void> {
    return this.db.transaction().execute((trx) => addSecurityEvents(trx, [event]));
  }

  /** The newest first. */
  async list(limit: number, source?: string): Promise<SecurityEventRow[]> {
    let query = this.db.selectFrom('security_events').select(['at', 'source', 'code', 'detail']);
    if (source !== undefined) query = query.where('source', '=', source);
    return query.orderBy('id', 'desc').limit(limit).execute();
  }
}

export async function addSecurityEvents(
  queries: Queries,
  events: readonly SecurityEventRow[],
): Promise<void> {
  if (events.length === 0) return;
  await queries
    .insertInto('security_events')
    .values(events.map((event) => ({ ...event, detail: event.detail.slice(0, DETAIL_MAX) })))
    .execute();
  for (const source of new Set(events.map((event) => event.source))) {
    const row = await queries
      .selectFrom('security_events')
      .select('id')
      .where('source', '=', source)
      .orderBy('id', 'desc')
      .offset(limits.securityEventsPerSourceMaxCount)
      .limit(1)
      .executeTakeFirst();
    if (row !== undefined)
      await queries
        .deleteFrom('security_events')
        .where('source', '=', source)
        .where('id', '<=', row.id)
        .execute();
  }
}
