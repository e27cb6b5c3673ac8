// `linnet security list`: security events as a table, or as a stream for another program to read.
import type { Command } from 'commander';
import { Fault } from '../../../shared/base/fault-codes.js';
import { realClock } from '../../../shared/platform/clock.js';
import {
  SecurityEventFeed,
  SecurityEventPage,
  securityFeedQuery,
  securityQuery,
  type SecurityEventChange,
  type SecurityEventSummary,
} from '../../../shared/protocol/operator-api.js';
import { connect, type FleetClient } from '../../fleet/fleet-client.js';
import { listText, type Output } from '../output.js';
import { timeText } from '../fleet-text.js';
import { poll, type Turn } from '../polling.js';
import { filtered, pageOf, type Filters, type PageOptions } from './pages.js';

interface ListOptions extends PageOptions, Filters {
  readonly follow?: true;
  readonly after?: number;
}

async function listPage(client: FleetClient, options: ListOptions, out: Output): Promise<void> {
  const path = filtered('/security-events', securityQuery, options);
  const items = await pageOf(client, path, SecurityEventPage, options, out);
  const none = path.includes('?') ? 'no event fits' : undefined;
  out.result(items, () => securityTable(items, none));
}

export const securityTable = (
  items: readonly SecurityEventSummary[],
  none = 'no security events',
): string =>
  listText(
    none,
    ['LAST', 'COUNT', 'CODE', 'SOURCE', 'DETAIL'],
    items.map((row) => [timeText(row.lastAt), String(row.count), row.code, row.source, row.detail]),
  );

/** Ends only with a refusal, or when the server does not answer for a long time. */
function follow(client: FleetClient, options: ListOptions, out: Output): Promise<never> {
  const path = filtered('/security-events/feed', securityFeedQuery, options);
  let after = options.after ?? null;
  const ask = async (): Promise<Turn<never>> => {
    const query = after === null ? '' : `${path.includes('?') ? '&' : '?'}after=${after}`;
    const page = await client.request('GET', `${path}${query}`, SecurityEventFeed);
    const hasMore = after !== null && page.next > after;
    for (const event of page.items) {
      out.event(event);
      out.line(lineOf(event));
    }
    after = page.next;
    return hasMore ? 'again' : 'later';
  };
  return poll(ask, { clock: realClock });
}

const lineOf = ({ lastAt, count, code, source, detail }: SecurityEventChange): string =>
  [lastAt, `${count} x ${code}`, source, detail.replaceAll('\n', ' ')].join('  ');

export async function list(out: Output, options: ListOptions, command: Command): Promise<void> {
  if (options.follow === true && (options['since'] ?? options['until']) !== undefined)
    throw new Fault('usage', '--follow shows what comes: leave out --since and --until');
  const client = await connect(command);
  if (options.follow === true) await follow(client, options, out);
  else await listPage(client, options, out);
}
