// `linnet security list`: security events as a table, or as a stream for another program to read.
import type { Command } from 'commander';
import { realClock } from '../../../shared/platform/clock.js';
import {
  SecurityEventFeed,
  SecurityEventPage,
  type SecurityEventChange,
  type SecurityEventSummary,
} from '../../../shared/protocol/operator-api.js';
import { connect, type FleetClient } from '../../fleet/fleet-client.js';
import { listText, type Output } from '../output.js';
import { timeText } from '../fleet-text.js';
import { poll, type Turn } from '../polling.js';
import { pageOf, type PageOptions } from './pages.js';

interface ListOptions extends PageOptions {
  readonly source?: string;
  readonly follow?: true;
  readonly after?: number;
}

async function listPage(client: FleetClient, options: ListOptions, out: Output): Promise<void> {
  const query = options.source === undefined ? '' : `?source=${encodeURIComponent(options.source)}`;
  const items = await pageOf(client, `/security-events${query}`, SecurityEventPage, options, out);
  out.result(items, () => securityTable(items));
}

export const securityTable = (items: readonly SecurityEventSummary[]): string =>
  listText(
    'no security events',
    ['LAST', 'COUNT', 'CODE', 'SOURCE', 'DETAIL'],
    items.map((row) => [timeText(row.lastAt), String(row.count), row.code, row.source, row.detail]),
  );

/** Ends only with a refusal, or when the server does not answer for a long time. */
function follow(client: FleetClient, from: number | null, out: Output): Promise<never> {
  let after = from;
  const ask = async (): Promise<Turn<never>> => {
    const query = after === null ? '' : `?after=${after}`;
    const page = await client.request('GET', `/security-events/feed${query}`, SecurityEventFeed);
    for (const event of page.items) {
      out.event(event);
      out.line(lineOf(event));
    }
    after = page.next;
    return page.items.length > 0 ? 'again' : 'later';
  };
  return poll(ask, { clock: realClock });
}

const lineOf = ({ lastAt, count, code, source, detail }: SecurityEventChange): string =>
  [lastAt, `${count} x ${code}`, source, detail.replaceAll('\n', ' ')].join('  ');

export async function list(out: Output, options: ListOptions, command: Command): Promise<void> {
  const client = await connect(command);
  if (options.follow === true) await follow(client, options.after ?? null, out);
  else await listPage(client, options, out);
}
