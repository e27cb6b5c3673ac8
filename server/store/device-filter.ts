// Which devices a list shows. Group, status and hardware have indexes in the order of the list.
// The other filters look at a bounded number of devices in that order, so that a filter that fits
// almost nothing costs no more on a large fleet: such a page may be short, or empty, with more
// behind it.
import { sql, type Expression, type RawBuilder, type SqlBool } from 'kysely';
import type { DeviceFilter, DeviceKey } from '../interfaces.js';
import type { Db } from './database.js';
import { jsonText } from './dialect.js';

/** Whether a filter is set that no index serves. */
export const isScan = ({ search, running, update, attention, label }: DeviceFilter): boolean =>
  [search, running, update, attention, label].some((filter) => filter !== undefined);

/** Devices after `after`, by the filters that have an index. */
export function inOrder(
  db: Db,
  { group, status, hardware }: DeviceFilter,
  after: DeviceKey | null,
) {
  let query = db.selectFrom('devices').selectAll();
  if (group !== undefined) query = query.where('group_name', '=', group);
  if (status !== undefined) query = query.where('status', '=', status);
  if (hardware !== undefined) query = query.where('hardware', '=', hardware);
  if (after !== null)
    query = query.where((eb) =>
      eb(eb.refTuple('group_name', 'name', 'id'), '>', eb.tuple(after[0], after[1], after[2])),
    );
  return query.orderBy('group_name').orderBy('name').orderBy('id');
}

/** The other filters, as conditions on a row of `devices`. */
export function scanConditions(db: Db, filter: DeviceFilter): Expression<SqlBool>[] {
  const { search, running, update, attention, label } = filter;
  const found: Expression<SqlBool>[] = [];
  if (search !== undefined) {
    const name = sql<string>`substr(devices.name, 1, ${search.length})`;
    const id = sql<string>`substr(devices.id, 1, ${search.length})`;
    found.push(sql<SqlBool>`(${name} = ${search} or ${id} = ${search})`);
  }
  if (label !== undefined) {
    // Quoted: a key may have dots, which are steps of a path.
    const value = jsonText(db, sql<string>`devices.labels_json`, [`"${label.key}"`]);
    found.push(
      label.value === undefined
        ? sql<SqlBool>`${value} is not null`
        : sql<SqlBool>`${value} = ${label.value}`,
    );
  }
  const body = sql<string>`facts.body_json`;
  const text = (...path: string[]) => jsonText(db, body, path);
  const fact = (condition: Expression<SqlBool>): Expression<SqlBool> =>
    sql<SqlBool>`exists (select 1 from facts where facts.device = devices.id
      and facts.kind = 'update' and ${condition})`;
  // Of one component, when both are given.
  const reported: RawBuilder<SqlBool>[] = [];
  if (running !== undefined) {
    const version = text('running', 'version');
    reported.push(sql`facts.component = ${running.component}`);
    reported.push(
      running.version === null ? sql`${version} is null` : sql`${version} = ${running.version}`,
    );
  }
  if (update !== undefined) reported.push(sql`${text('state')} = ${update}`);
  if (reported.length > 0) found.push(fact(sql`${sql.join(reported, sql` and `)}`));
  const enrolled = sql<SqlBool>`devices.status = 'enrolled'`;
  if (attention !== undefined || update !== undefined) found.push(enrolled);
  if (attention === 'trouble') found.push(fact(sql`${text('trouble', 'code')} is not null`));
  if (attention === 'conditions') found.push(fact(sql`${text('conditions')} <> '[]'`));
  if (attention === 'cloned') found.push(sql`devices.cloned_at > ${filter.clonedSince ?? 0}`);
  if (attention === 'silent')
    found.push(
      sql`coalesce(devices.last_seen_at, devices.enrolled_at) < ${filter.heardSince ?? 0}`,
    );
  return found;
}
