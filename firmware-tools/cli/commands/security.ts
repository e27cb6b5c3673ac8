// `linnet security`: security events.
import type { Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import { connectionOptions, pageOptions, wholeNumber } from '../options.js';
import type { Output } from '../output.js';

const actions = () => import('../actions/security.js');

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
    .action(lazily(out, async () => (await actions()).list));
}
