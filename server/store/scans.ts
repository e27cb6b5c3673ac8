// Filters that no index serves: a page of the list looks at a bounded number of rows, in the order
// of the list, and the next page begins behind the last one that was looked at.
import type { SelectQueryBuilder } from 'kysely';
import { limits } from '../../shared/base/limits.js';

/** How many rows a page of `limit` looks at. */
export const rowsLookedAt = (isScan: boolean, limit: number): number =>
  isScan ? limits.listScanRowsCount : limit;

/** The last of the rows that a page looks at, of all that follow; none where there are fewer. */
export const lastLookedAt = <DB, TB extends keyof DB, Row>(
  following: SelectQueryBuilder<DB, TB, Row>,
) =>
  following
    .limit(1)
    .offset(limits.listScanRowsCount - 1)
    .executeTakeFirst();
