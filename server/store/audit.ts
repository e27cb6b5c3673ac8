// The audit log: operator actions in the order of their commits, as a chain of hashes. The hash of
// an entry covers the hash of the entry before it and the entry itself, so that a changed, removed
// or inserted entry is found. An entry is added in the transaction of the change that it describes.
//
// The newest entry's number and hash also stand in the table audit_head, so that entries cut off at
// the end are found as well. Anyone who can write to the database can recompute the chain and the
// head: only a head that was noted elsewhere (GET /api/v1/audit/head) shows that.
import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { limits } from '../../shared/base/limits.js';
import { hex } from '../../shared/base/bytes.js';
import { canonicalBytes } from '../../shared/base/canonical-json.js';
import type {
  AuditAction,
  AuditFilter,
  AuditHead,
  AuditKey,
  AuditRow,
  AuditStore,
  PageRequest,
} from '../interfaces.js';
import { cut, type Db, type Queries } from './database.js';
import { isPostgres } from './dialect.js';
import { lastLookedAt, rowsLookedAt } from './scans.js';

const START = '0'.repeat(64);
const HEAD_ID = 1;
/** Of PostgreSQL's advisory locks, which are numbers; any that nothing else of Linnet uses. */
const AUDIT_LOCK = 7_301;

export class SqlAuditStore implements AuditStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  append(action: AuditAction, now: number): Promise<void> {
    return this.#db.transaction().execute((trx) => appendAudit(trx, [action], now));
  }

  page({ limit, after }: PageRequest<AuditKey>, filter: AuditFilter = {}): Promise<AuditRow[]> {
    const [, ...others] = exactFilters(filter);
    const looked = rowsLookedAt(others.length > 0, limit);
    let query = this.#db
      .selectFrom(inOrder(this.#db, filter, after).limit(looked).as('audit'))
      .select((eb) => [
        'seq',
        'at',
        'actor',
        'action',
        'subject',
        'hash',
        'trace',
        cut(eb.ref('detail'), limits.summaryDetailMaxChars).as('detail'),
      ]);
    for (const [column, wanted] of others) query = query.where(column, '=', wanted);
    return query.orderBy('at', 'desc').orderBy('seq', 'desc').limit(limit).execute();
  }

  async scanned(filter: AuditFilter, after: AuditKey | null): Promise<AuditKey | null> {
    if (exactFilters(filter).length < 2) return null;
    const row = await lastLookedAt(inOrder(this.#db, filter, after));
    return row === undefined ? null : [row.at, row.seq];
  }

  async newest(): Promise<number> {
    return (await this.#head()).entries;
  }

  async find(seq: number): Promise<AuditRow | null> {
    const row = await this.#db
      .selectFrom('audit')
      .selectAll()
      .where('seq', '=', seq)
      .executeTakeFirst();
    return row ?? null;
  }

  async verify(): Promise<AuditHead> {
    let hash = START;
    let entries = 0;
    for (;;) {
      // Read first: an entry that is added meanwhile is not held against the chain.
      const head = await this.#head();
      const rows = await this.#db
        .selectFrom('audit')
        .selectAll()
        .where('seq', '>', entries)
        .orderBy('seq')
        .limit(limits.auditVerifyMaxCount)
        .execute();
      for (const { hash: written, ...row } of rows) {
        if (row.seq !== entries + 1 || written !== link(hash, row))
          return { entries, hash, brokenAt: entries + 1 };
        hash = written;
        entries = row.seq;
        if (entries === head.entries && hash !== head.hash)
          return { entries, hash, brokenAt: entries };
      }
      if (rows.length < limits.auditVerifyMaxCount)
        return { entries, hash, brokenAt: entries < head.entries ? entries + 1 : null };
    }
  }

  async #head(): Promise<{ entries: number; hash: string }> {
    return (
      (await this.#db.selectFrom('audit_head').select(['entries', 'hash']).executeTakeFirst()) ?? {
        entries: 0,
        hash: START,
      }
    );
  }
}

/** What is given of these, the one first of which an entry has the fewest others. */
const exactFilters = (filter: AuditFilter) =>
  (['subject', 'action', 'actor'] as const).flatMap((column) => {
    const wanted = filter[column];
    return wanted === undefined ? [] : [[column, wanted] as const];
  });

/** Entries after `after`, by the time and the first exact filter. */
function inOrder(db: Db, filter: AuditFilter, after: AuditKey | null) {
  const { since, until } = filter;
  let query = db.selectFrom('audit').selectAll();
  for (const [column, wanted] of exactFilters(filter).slice(0, 1))
    query = query.where(column, '=', wanted);
  if (since !== undefined) query = query.where('at', '>=', since);
  if (until !== undefined) query = query.where('at', '<', until);
  if (after !== null)
    query = query.where((eb) => eb(eb.refTuple('at', 'seq'), '<', eb.tuple(after[0], after[1])));
  return query.orderBy('at', 'desc').orderBy('seq', 'desc');
}

/** Adds entries to the chain, in the transaction of the change that they describe. */
export async function appendAudit(
  queries: Queries,
  actions: readonly AuditAction[],
  now: number,
): Promise<void> {
  if (actions.length === 0) return;
  // Until the transaction ends, no other one adds an entry behind the same last one.
  if (isPostgres(queries))
    await sql`select pg_advisory_xact_lock(${sql.lit(AUDIT_LOCK)})`.execute(queries);
  for (const action of actions) {
    const last = await queries
      .selectFrom('audit')
      .select(['seq', 'hash'])
      .orderBy('seq', 'desc')
      .limit(1)
      .executeTakeFirst();
    const row = {
      seq: (last?.seq ?? 0) + 1,
      at: now,
      actor: action.actor.slice(0, limits.nameMaxChars),
      action: action.action,
      subject: action.subject.slice(0, limits.nameMaxChars),
      detail: action.detail.slice(0, limits.auditDetailMaxChars),
      trace: action.trace,
    };
    const hash = link(last?.hash ?? START, row);
    await queries
      .insertInto('audit')
      .values({ ...row, hash })
      .execute();
    const head = { entries: row.seq, hash };
    await queries
      .insertInto('audit_head')
      .values({ id: HEAD_ID, ...head })
      .onConflict((oc) => oc.column('id').doUpdateSet(head))
      .execute();
  }
}

/** An entry without a trace is hashed without it, as those from before there were any. */
function link(before: string, { trace, ...row }: Omit<AuditRow, 'hash'>): string {
  return hex(
    createHash('sha256')
      .update(before)
      .update('\n')
      .update(canonicalBytes(trace === null ? row : { ...row, trace }))
      .digest(),
  );
}
