// Long lists: how many rows a command shows, and where the next call goes on.
import type { TSchema } from 'typebox';
import { Fault } from '../../../shared/base/fault-codes.js';
import { requireForm } from '../arguments.js';
import type { FleetClient, Items, PageSchema } from '../../fleet/fleet-client.js';
import type { Output } from '../output.js';

/** Of `pageOptions` (options.ts). */
export interface PageOptions {
  readonly limit: number;
  readonly cursor?: string;
}

/** The options of a command, of which some are filters of a list. */
export type Filters = Readonly<Record<string, unknown>>;

/**
 * The path of a list with those options that are its filters, each checked before a server is
 * asked. Fault usage.
 */
export function filtered(
  path: string,
  schemas: Readonly<Record<string, TSchema>>,
  options: Filters,
): string {
  const query = new URLSearchParams();
  for (const [name, schema] of Object.entries(schemas)) {
    const value = options[name];
    if (typeof value !== 'string') continue;
    requireForm(`--${name}`, schema, value);
    query.set(name, value);
  }
  const [since, until] = [query.get('since'), query.get('until')];
  if (since !== null && until !== null && until <= since)
    throw new Fault('usage', `--until ${until} is not after --since ${since}: nothing is between`);
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}

/** At most `limit` items; says on stderr, with --json too, how to see the next. Throws Fault. */
export async function pageOf<P extends PageSchema>(
  client: FleetClient,
  path: string,
  schema: P,
  { limit, cursor }: PageOptions,
  out: Output,
): Promise<Items<P>> {
  const { items, next } = await client.take(path, schema, limit, cursor ?? null);
  if (next !== null) out.hint(`there are more: --cursor ${next}`);
  return items;
}
