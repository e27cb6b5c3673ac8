// Keyset pagination of the operator API. A cursor is the key of the last row of a page, as
// base64url of a JSON array: opaque to clients, decoded by its schema here. A page costs the same
// wherever it begins, and rows that are added or removed meanwhile move no other row into or out of
// it.
import { Type, type Static, type TSchema } from 'typebox';
import { decodeJson } from '../../shared/base/decode.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import { pageQuery, type Page } from '../../shared/protocol/operator-api.js';
import type { PageRequest } from '../interfaces.js';

export const PageQuery = Type.Object(pageQuery);

export interface List<Row, Key, Item> {
  rows(page: PageRequest<Key>): Promise<Row[]>;
  /** The values that the list is ordered by. */
  key(row: Row): Key;
  /** Where a search that looks at a bounded number of rows ended; null: at the last row. */
  scanned?(after: Key | null): Promise<Readonly<Key> | null>;
  /** Rows as the API shows them, in their order. */
  view(rows: readonly Row[]): Item[] | Promise<Item[]>;
}

/** One page of a list. Reads one row more than it answers, to see whether there is a next page. */
export async function pageOf<S extends TSchema, Row, Item>(
  query: { limit?: number; cursor?: string },
  keySchema: S,
  list: List<Row, NoInfer<Static<S>>, Item>,
): Promise<Page<Item>> {
  const limit = query.limit ?? limits.listPageDefaultCount;
  const after = query.cursor === undefined ? null : keyOf(keySchema, query.cursor);
  const found = await list.rows({ limit: limit + 1, after });
  const rows = found.slice(0, limit);
  const last = rows.at(-1);
  const end =
    found.length > limit && last !== undefined
      ? list.key(last)
      : ((await list.scanned?.(after)) ?? null);
  return { items: await list.view(rows), next: end === null ? null : cursorOf(end) };
}

const cursorOf = (key: unknown): string =>
  Buffer.from(JSON.stringify(key), 'utf8').toString('base64url');

function keyOf<S extends TSchema>(schema: S, cursor: string): NoInfer<Static<S>> {
  try {
    return decodeJson<S>(schema, Buffer.from(cursor, 'base64url'), 'cursor');
  } catch (error) {
    if (!isFault(error)) throw error;
    throw new Fault(
      'message_undecodable',
      'cursor is not one that this list has answered: begin without a cursor',
      { cause: error },
    );
  }
}
