// Which rollouts a list shows. State and component have indexes in the order of the list; the other
// filters look at a bounded number of rollouts in that order, as those of devices do.
import { sql, type Expression, type SqlBool } from 'kysely';
import type { RolloutFilter, RolloutKey } from '../interfaces.js';
import { ACTIVE_STATES } from '../rollout/transitions.js';
import type { Db } from './database.js';
import { allowsIn, contains } from './dialect.js';

/** Whether a filter is set that no index serves. */
export const isScan = ({ group, search }: RolloutFilter): boolean =>
  group !== undefined || search !== undefined;

/** Rollouts after `after`, by the filters that have an index. */
export function inOrder(db: Db, { state, component }: RolloutFilter, after: RolloutKey | null) {
  let query = db.selectFrom('rollouts').selectAll();
  if (state === 'active') query = query.where('state', 'in', [...ACTIVE_STATES]);
  else if (state !== undefined) query = query.where('state', '=', state);
  if (component !== undefined) query = query.where('component', '=', component);
  if (after !== null)
    query = query.where((eb) =>
      eb(eb.refTuple('created_at', 'id'), '<', eb.tuple(after[0], after[1])),
    );
  return query.orderBy('created_at', 'desc').orderBy('id', 'desc');
}

/** The other filters, as conditions on a row of `rollouts`. */
export function scanConditions(db: Db, { group, search }: RolloutFilter): Expression<SqlBool>[] {
  const found: Expression<SqlBool>[] = [];
  if (group !== undefined)
    found.push(allowsIn(db, sql<string>`rollouts.selector_json`, 'groups', group));
  if (search !== undefined) {
    const name = sql<string>`rollouts.component || '@' || rollouts.version`;
    const id = contains(db, sql<string>`rollouts.id`, search);
    found.push(sql<SqlBool>`(${id} or ${contains(db, name, search)})`);
  }
  return found;
}
