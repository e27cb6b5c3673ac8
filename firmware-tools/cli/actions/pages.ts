// Long lists: how many rows a command shows, and where the next call goes on.
import type { FleetClient, Items, PageSchema } from '../../fleet/fleet-client.js';
import type { Output } from '../output.js';

/** Of `pageOptions` (options.ts). */
export interface PageOptions {
  readonly limit: number;
  readonly cursor?: string;
}

/** At most `limit` items; says on stderr how to see the next ones. Throws Fault. */
export async function pageOf<P extends PageSchema>(
  client: FleetClient,
  path: string,
  schema: P,
  { limit, cursor }: PageOptions,
  out: Output,
): Promise<Items<P>> {
  const { items, next } = await client.take(path, schema, limit, cursor ?? null);
  if (next !== null) out.progress(`there are more: --cursor ${next}`);
  return items;
}
