// Security events: what devices report of attacks that they refused, and what the server refused
// itself. Repeats within a UTC day are one row with a count. The number of rows is limited for each
// known source, so that one noisy or hostile device cannot evict the events of others, and for the
// strangers of each code, so that they evict only each other. Noise of one code is folded into one
// row and evicts no news, neither of other codes nor of the same one.
import { sql, type Expression, type Insertable, type SqlBool } from 'kysely';
import { limits } from '../../shared/base/limits.js';
import type { SecuritySourceKind } from '../../shared/protocol/operator-api.js';
import { FAULT_CODES } from '../../shared/base/fault-codes.js';
import { sha256 } from '../../shared/base/bytes.js';
import { OTHER_ADDRESSES } from '../security-events/other-addresses.js';
import type {
  PageRequest,
  SecurityEvent,
  SecurityEventChangeRow,
  SecurityEventFilter,
  SecurityEventKey,
  SecurityEventRow,
  SecurityEventStore,
  SecuritySource,
} from '../interfaces.js';
import { cut, type Db, type Queries } from './database.js';
import { lastLookedAt, rowsLookedAt } from './scans.js';
import type { SecurityEventsTable } from './tables.js';
import { raise, readMark } from './marks.js';

export class SqlSecurityEventStore implements SecurityEventStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  add(events: readonly SecurityEvent[]): Promise<void> {
    return this.#db.transaction().execute((trx) => addSecurityEvents(trx, events));
  }

  page(
    filter: SecurityEventFilter,
    { limit, after }: PageRequest<SecurityEventKey>,
  ): Promise<SecurityEventRow[]> {
    const looked = rowsLookedAt(isScan(filter), limit);
    return this.#db
      .selectFrom(inOrder(this.#db, filter, after).limit(looked).as('security_events'))
      .select((eb) => [
        ...COLUMNS,
        cut(eb.ref('detail'), limits.summaryDetailMaxChars).as('detail'),
      ])
      .where((eb) => eb.and(scanConditions(filter)))
      .orderBy('last_at', 'desc')
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
  }

  async scanned(
    filter: SecurityEventFilter,
    after: SecurityEventKey | null,
  ): Promise<SecurityEventKey | null> {
    if (!isScan(filter)) return null;
    const row = await lastLookedAt(inOrder(this.#db, filter, after));
    return row === undefined ? null : [row.last_at, row.id];
  }

  async feed(
    after: number,
    limit: number,
    filter: SecurityEventFilter,
  ): Promise<{ rows: SecurityEventChangeRow[]; next: number }> {
    const looked = await this.#db
      .selectFrom('security_events')
      .select('revision')
      .where('revision', '>', after)
      .orderBy('revision')
      .limit(limit)
      .execute();
    const next = looked.at(-1)?.revision ?? after;
    const { source, code } = filter;
    let query = this.#changed(after).where('revision', '<=', next);
    if (source !== undefined) query = query.where('source', '=', source);
    if (code !== undefined) query = query.where('code', '=', code);
    const rows = await query.where((eb) => eb.and(scanConditions(filter))).execute();
    return { rows, next };
  }

  async head(): Promise<number> {
    return (await readMark(this.#db, REVISION)) ?? 0;
  }

  changes(after: number, limit: number): Promise<SecurityEventChangeRow[]> {
    return this.#changed(after).limit(limit).execute();
  }

  #changed(after: number) {
    return this.#db
      .selectFrom('security_events')
      .select([...COLUMNS, 'detail', 'revision'])
      .where('revision', '>', after)
      .orderBy('revision');
  }

  async find(id: number): Promise<SecurityEventRow | null> {
    const row = await this.#db
      .selectFrom('security_events')
      .select([...COLUMNS, 'detail'])
      .where('id', '=', id)
      .executeTakeFirst();
    return row ?? null;
  }
}

/** Names of the marks that count security events by code. */
export const SECURITY_COUNT_PREFIX = 'security events: ';
const OTHER_CODES = 'other';
/** Name of the mark that holds the revision of the latest change. */
const REVISION = 'security revision';

const COLUMNS = [
  'id',
  'source_kind as sourceKind',
  'source',
  'code',
  'count',
  'first_at as firstAt',
  'last_at as lastAt',
] as const;

/** Whether a filter is set that no index serves: the code of a source, too, is looked for. */
const isScan = ({ source, code, kind, group }: SecurityEventFilter): boolean =>
  kind !== undefined || group !== undefined || (source !== undefined && code !== undefined);

/** Events after `after`, by the filters that have an index. */
function inOrder(
  db: Db,
  { source, code, since, until }: SecurityEventFilter,
  after: SecurityEventKey | null,
) {
  let query = db.selectFrom('security_events').selectAll();
  if (source !== undefined) query = query.where('source', '=', source);
  else if (code !== undefined) query = query.where('code', '=', code);
  if (since !== undefined) query = query.where('last_at', '>=', since);
  if (until !== undefined) query = query.where('last_at', '<', until);
  if (after !== null)
    query = query.where((eb) =>
      eb(eb.refTuple('last_at', 'id'), '<', eb.tuple(after[0], after[1])),
    );
  return query.orderBy('last_at', 'desc').orderBy('id', 'desc');
}

function scanConditions({ source, code, kind, group }: SecurityEventFilter): Expression<SqlBool>[] {
  const found: Expression<SqlBool>[] = [];
  if (source !== undefined && code !== undefined)
    found.push(sql<SqlBool>`security_events.code = ${code}`);
  if (kind !== undefined) found.push(sql<SqlBool>`security_events.source_kind = ${kind}`);
  if (group !== undefined)
    found.push(sql<SqlBool>`security_events.source_kind = 'device' and exists (
      select 1 from devices where devices.id = security_events.source
        and devices.group_name = ${group})`);
  return found;
}

/** The name under which a source is stored and listed. */
function sourceName(source: SecuritySource): string {
  switch (source.kind) {
    case 'device':
      return source.id;
    case 'operator':
      return source.name;
    case 'server':
      return 'server';
    case 'anonymous':
      return source.address;
  }
}

/** Also for events that must be committed together with something else. */
export async function addSecurityEvents(
  queries: Queries,
  events: readonly SecurityEvent[],
): Promise<void> {
  const groups = new Map<string, Set<string>>();
  for (const event of events) {
    const row = await folded(queries, groups, event);
    // A device may report any text as a code: only codes that this server knows have a counter.
    const counted = Object.hasOwn(FAULT_CODES, event.code) ? event.code : OTHER_CODES;
    await raise(queries, `${SECURITY_COUNT_PREFIX}${counted}`, event.count);
    const revision = await raise(queries, REVISION, 1);
    await queries
      .insertInto('security_events')
      .values({ ...row, revision })
      .onConflict((oc) =>
        oc.columns(['source_kind', 'source', 'code', 'fold_key']).doUpdateSet((eb) => ({
          detail: eb.ref('excluded.detail'),
          count: eb('security_events.count', '+', eb.ref('excluded.count')),
          last_at: eb.ref('excluded.last_at'),
          revision: eb.ref('excluded.revision'),
        })),
      )
      .execute();
  }
  await trim(queries, events);
}

/**
 * The row of an event. Equal keys are repeats. What a stranger sends chooses the detail, so it
 * makes no new row; a known source's details are evidence and are kept apart. Of one code and day,
 * only so many addresses of strangers, or details of a known source, have rows of their own: what
 * comes after them is folded into one more row, so that it evicts nothing.
 */
async function folded(
  queries: Queries,
  groups: Map<string, Set<string>>,
  event: SecurityEvent,
): Promise<Omit<Insertable<SecurityEventsTable>, 'revision'>> {
  const { source, code, lastAt } = event;
  const detail = event.detail.slice(0, limits.detailMaxChars);
  const day = new Date(lastAt).toISOString().slice(0, 10);
  const isStranger = source.kind === 'anonymous';
  const name = sourceName(source).slice(0, limits.nameMaxChars);
  const foldKey = isStranger ? day : `${day}-${sha256(detail).slice(0, 32)}`;
  const group = JSON.stringify([source.kind, isStranger ? '' : name, code, day]);
  const members =
    groups.get(group) ??
    (isStranger
      ? await sourcesOf(queries, code, day)
      : await foldKeysOf(queries, { kind: source.kind, source: name, code, day }));
  groups.set(group, members);
  const member = isStranger ? name : foldKey;
  const isOwn = members.has(member) || members.size < limits.securityEventsPerCodeMaxCount;
  if (isOwn) members.add(member);
  return {
    source_kind: source.kind,
    source: isStranger && !isOwn ? OTHER_ADDRESSES : name,
    code,
    fold_key: isStranger || isOwn ? foldKey : day,
    detail,
    count: event.count,
    first_at: event.firstAt,
    last_at: lastAt,
  };
}

/** Addresses that have a row for the code and the day. */
async function sourcesOf(queries: Queries, code: string, day: string): Promise<Set<string>> {
  const rows = await queries
    .selectFrom('security_events')
    .select('source')
    .where('source_kind', '=', 'anonymous')
    .where('code', '=', code)
    .where('fold_key', '=', day)
    .execute();
  return new Set(rows.map(({ source }) => source));
}

async function foldKeysOf(
  queries: Queries,
  {
    kind,
    source,
    code,
    day,
  }: { kind: SecuritySourceKind; source: string; code: string; day: string },
): Promise<Set<string>> {
  const rows = await queries
    .selectFrom('security_events')
    .select('fold_key')
    .where('source_kind', '=', kind)
    .where('source', '=', source)
    .where('code', '=', code)
    .where('fold_key', '>', `${day}-`)
    .where('fold_key', '<', `${day}.`)
    .execute();
  return new Set(rows.map(({ fold_key }) => fold_key));
}

interface RowFilter {
  readonly kind: SecuritySourceKind;
  readonly source?: string;
  readonly code?: string;
}

/** Strangers by code, known sources by code and in all: no code evicts another one's rows. */
async function trim(queries: Queries, events: readonly SecurityEvent[]): Promise<void> {
  const touched = new Map<string, readonly [RowFilter, number]>();
  const touch = (filter: RowFilter, maxCount: number): void => {
    touched.set(JSON.stringify(filter), [filter, maxCount]);
  };
  for (const { source, code } of events) {
    const { kind } = source;
    const name = sourceName(source).slice(0, limits.nameMaxChars);
    if (kind === 'anonymous') touch({ kind, code }, limits.securityEventsAnonymousMaxCount);
    else {
      touch({ kind, source: name, code }, limits.securityEventsPerSourceAndCodeMaxCount);
      touch({ kind, source: name }, limits.securityEventsPerSourceMaxCount);
    }
  }
  for (const [filter, maxCount] of touched.values()) await trimTo(queries, filter, maxCount);
}

/** Deletes what is older than the newest `maxCount` rows. */
async function trimTo(
  queries: Queries,
  { kind, source, code }: RowFilter,
  maxCount: number,
): Promise<void> {
  let first = queries
    .selectFrom('security_events')
    .select(['last_at', 'id'])
    .where('source_kind', '=', kind);
  if (source !== undefined) first = first.where('source', '=', source);
  if (code !== undefined) first = first.where('code', '=', code);
  const row = await first
    .orderBy('last_at', 'desc')
    .orderBy('id', 'desc')
    .offset(maxCount)
    .limit(1)
    .executeTakeFirst();
  if (row === undefined) return;
  let rest = queries
    .deleteFrom('security_events')
    .where('source_kind', '=', kind)
    .where((eb) => eb(eb.refTuple('last_at', 'id'), '<=', eb.tuple(row.last_at, row.id)));
  if (source !== undefined) rest = rest.where('source', '=', source);
  if (code !== undefined) rest = rest.where('code', '=', code);
  await rest.execute();
}
