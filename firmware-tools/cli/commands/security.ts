// `linnet security`: security events.
import { Option, type Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import { SECURITY_SOURCE_KINDS } from '../../../shared/protocol/states.js';
import { connectionOptions, pageOptions, timeOptions, wholeNumber } from '../options.js';
import type { Output } from '../output.js';

const actions = () => import('../actions/security.js');

export function registerSecurityCommands(program: Command, out: Output): void {
  const security = program
    .command('security')
    .description('security events')
    .addHelpText('after', '\nExample:\n  $ linnet security list --limit 10\n');
  timeOptions(pageOptions(connectionOptions(security.command('list'))))
    .description('security events, the newest first; with --follow those that come from now on')
    .option(
      '--source <name>',
      'only of this device id, operator token, remote address, or `server`',
    )
    .option('--device <device>', 'only of this device, by id or name')
    .option('--group <group>', 'only of devices of this group')
    .option('--code <code>', 'only with this fault code')
    .addOption(
      new Option('--kind <kind>', 'only of sources of this kind').choices([
        ...SECURITY_SOURCE_KINDS,
      ]),
    )
    .option('--follow', 'print each event when it comes; with --json one JSON object a line')
    .option(
      '--after <revision>',
      'with --follow: begin after this revision, 0: with the oldest',
      wholeNumber,
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet security list --since 1d --group canary\n' +
        '  $ linnet --json security list --follow >> security-events.ndjson\n',
    )
    .action(lazily(out, async () => (await actions()).list));
}
