// `linnet security`: security events as a list, or as a stream for another program to read.
import type { Command } from 'commander';
import { realClock } from '../../../shared/platform/clock.js';
import {
  SecurityEventFeed,
  SecurityEventPage,
  type SecurityEventChange,
  type SecurityEventSummary,
} from '../../../shared/protocol/operator-api.js';
import { connect, connectionOptions, type FleetClient } from '../../fleet/fleet-client.js';
import { wholeNumber } from '../arguments.js';
import { table, type Output } from '../output.js';
import { timeText } from '../fleet-text.js';
import { poll, type Turn } from '../polling.js';
import { pageOf, pageOptions, type PageOptions } from './pages.js';

interface ListOptions extends PageOptions {
  readonly source?: string;
  readonly follow?: true;
  readonly after?: number;
}

export function registerSecurityCommands(program: Command, out: Output): void {
  const security = program
    .command('security')
    .description('security events')
    .addHelpText('after', '\nExample:\n  $ linnet security list --limit 10\n');
  pageOptions(connectionOptions(security.command('list')))
    .description('security events, the newest first; with --follow those that come from now on')
    .option(
      '--source <name>',
      'only of this device id, operator token, remote address, or `server`',
    )
    .option('--follow', 'print each event when it comes; with --json one JSON object a line')
    .option(
      '--after <revision>',
      'with --follow: begin after this revision, 0: with the oldest',
      wholeNumber,
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet --json security list --follow >> security-events.ndjson\n',
    )
    .action(async (options: ListOptions, command: Command) => {
      const client = await connect(command);
      if (options.follow === true) await follow(client, options.after ?? null, out);
      else await list(client, options, out);
    });
}

async function list(client: FleetClient, options: ListOptions, out: Output): Promise<void> {
  const query = options.source === undefined ? '' : `?source=${encodeURIComponent(options.source)}`;
  const items = await pageOf(client, `/security-events${query}`, SecurityEventPage, options, out);
  out.result(items, () => securityTable(items));
}

export const securityTable = (items: readonly SecurityEventSummary[]): string =>
  items.length === 0
    ? 'no security events'
    : table([
        ['LAST', 'COUNT', 'CODE', 'SOURCE', 'DETAIL'],
        ...items.map((row) => [
          timeText(row.lastAt),
          String(row.count),
          row.code,
          row.source,
          row.detail,
        ]),
      ]);

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
