// Security events: what devices report of attacks that they refused, and what the server refused
// itself. Repeats within a UTC day are one row with a count. The number of rows is limited for each
// known source, so that one noisy or hostile device cannot evict the events of others, and for all
// anonymous sources together, so that strangers evict only strangers.
import { limits } from '../../shared/base/limits.js';
import type { SecuritySourceKind } from '../../shared/protocol/operator-api.js';
import { FAULT_CODES } from '../../shared/base/fault-codes.js';
import { sha256 } from '../../shared/base/bytes.js';
import type {
  PageRequest,
  SecurityEvent,
  SecurityEventChangeRow,
  SecurityEventKey,
  SecurityEventRow,
  SecurityEventStore,
  SecuritySource,
} from '../interfaces.js';
import { cut, type Db, type Queries } from './database.js';
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
    filter: { readonly source?: string | undefined },
    { limit, after }: PageRequest<SecurityEventKey>,
  ): Promise<SecurityEventRow[]> {
    let query = this.#db
      .selectFrom('security_events')
      .select((eb) => [
        ...COLUMNS,
        cut(eb.ref('detail'), limits.summaryDetailMaxChars).as('detail'),
      ]);
    if (filter.source !== undefined) query = query.where('source', '=', filter.source);
    if (after !== null)
      query = query.where((eb) =>
        eb(eb.refTuple('last_at', 'id'), '<', eb.tuple(after[0], after[1])),
      );
    return query.orderBy('last_at', 'desc').orderBy('id', 'desc').limit(limit).execute();
  }

  async head(): Promise<number> {
    return (await readMark(this.#db, REVISION)) ?? 0;
  }

  changes(after: number, limit: number): Promise<SecurityEventChangeRow[]> {
    return this.#db
      .selectFrom('security_events')
      .select([...COLUMNS, 'detail', 'revision'])
      .where('revision', '>', after)
      .orderBy('revision')
      .limit(limit)
      .execute();
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
  for (const event of events) {
    const detail = event.detail.slice(0, limits.detailMaxChars);
    // A device may report any text as a code: only codes that this server knows have a counter.
    const counted = Object.hasOwn(FAULT_CODES, event.code) ? event.code : OTHER_CODES;
    await raise(queries, `${SECURITY_COUNT_PREFIX}${counted}`, event.count);
    const revision = await raise(queries, REVISION, 1);
    await queries
      .insertInto('security_events')
      .values({
        source_kind: event.source.kind,
        source: sourceName(event.source).slice(0, limits.nameMaxChars),
        code: event.code,
        fold_key: foldKey(event, detail),
        detail,
        count: event.count,
        first_at: event.firstAt,
        last_at: event.lastAt,
        revision,
      })
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
 * Equal for events that are repeats of each other. What a stranger sends chooses the detail, so it
 * makes no new row; a known source's details are evidence and are kept apart.
 */
function foldKey({ source, lastAt }: SecurityEvent, detail: string): string {
  const day = new Date(lastAt).toISOString().slice(0, 10);
  return source.kind === 'anonymous' ? day : `${day}-${sha256(detail).slice(0, 32)}`;
}

async function trim(queries: Queries, events: readonly SecurityEvent[]): Promise<void> {
  const known = new Map<string, SecuritySource>();
  let anonymous = false;
  for (const { source } of events)
    if (source.kind === 'anonymous') anonymous = true;
    else known.set(`${source.kind} ${sourceName(source)}`, source);
  for (const source of known.values())
    await trimTo(
      queries,
      source.kind,
      sourceName(source).slice(0, limits.nameMaxChars),
      limits.securityEventsPerSourceMaxCount,
    );
  if (anonymous) await trimTo(queries, 'anonymous', null, limits.securityEventsAnonymousMaxCount);
}

/** Deletes what is older than the newest `maxCount` rows; `source` null: of all of that kind. */
async function trimTo(
  queries: Queries,
  kind: SecuritySourceKind,
  source: string | null,
  maxCount: number,
): Promise<void> {
  let first = queries
    .selectFrom('security_events')
    .select(['last_at', 'id'])
    .where('source_kind', '=', kind);
  if (source !== null) first = first.where('source', '=', source);
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
  if (source !== null) rest = rest.where('source', '=', source);
  await rest.execute();
}
