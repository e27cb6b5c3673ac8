// `linnet standing`: what devices take that enrol, return or change their group.
import type { Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import { connectionOptions } from '../options.js';
import type { Output } from '../output.js';

const actions = () => import('../actions/standing.js');

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
    .action(lazily(out, async () => (await actions()).list));
}
