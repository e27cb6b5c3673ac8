// `linnet standing`: what devices take that enrol, return or change their group.
import type { Command } from 'commander';
import { StandingReleases } from '../../../shared/protocol/operator-api.js';
import { selectorText } from '../../../shared/protocol/selector-text.js';
import { connect, connectionOptions } from '../../fleet/fleet-client.js';
import { refText, timeText } from '../fleet-text.js';
import { table, type Output } from '../output.js';

export function registerStandingCommands(program: Command, out: Output): void {
  const standing = program
    .command('standing')
    .description('standing releases: what completed rollouts left for devices that come later')
    .addHelpText('after', '\nExample:\n  $ linnet standing list\n');
  connectionOptions(standing.command('list'))
    .description('what each component and group takes that enrols or returns; the newest first')
    .addHelpText(
      'after',
      '\nA device takes the first release of its component whose FOR names it.\n' +
        '\nExample:\n  $ linnet standing list\n',
    )
    .action(async (_options: unknown, command: Command) => {
      const client = await connect(command);
      const { items } = await client.request('GET', '/standing-releases', StandingReleases);
      out.result(items, () =>
        items.length === 0
          ? 'no standing releases: no rollout is completed'
          : table([
              ['RELEASE', 'FOR', 'ROLLOUT', 'SINCE', 'NOW'],
              ...items.map((row) => [
                refText(row.release),
                selectorText(row.selector) ?? 'all devices',
                row.rollout,
                timeText(row.createdAt),
                nowText(row),
              ]),
            ]),
      );
    });
}

function nowText({ alarmed, waitsFor }: StandingReleases['items'][number]): string {
  if (alarmed) return 'taken by nobody: it failed on too many devices';
  return waitsFor === null ? 'taken' : `waits for ${waitsFor}`;
}
