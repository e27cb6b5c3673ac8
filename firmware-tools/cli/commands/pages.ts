// Long lists: how many rows a command shows, and where the next call goes on.
import type { Command } from 'commander';
import type { FleetClient, Items, PageSchema } from '../../fleet/fleet-client.js';
import { limits } from '../../../shared/base/limits.js';
import { wholeNumber } from '../arguments.js';
import type { Output } from '../output.js';

export interface PageOptions {
  readonly limit: number;
  readonly cursor?: string;
}

export function pageOptions(command: Command): Command {
  return command
    .option('--limit <count>', 'how many', wholeNumber, limits.cliRowsDefaultCount)
    .option('--cursor <text>', 'go on where the list before ended, as it says');
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
