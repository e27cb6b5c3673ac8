// `linnet token` and `linnet audit`: what operators may do, and what they did.
import { Option, type Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import { limits } from '../../../shared/base/limits.js';
import { ROLES } from '../../../shared/protocol/states.js';
import { connectionOptions, pageOptions, timeOptions, wholeNumber } from '../options.js';
import type { Output } from '../output.js';

const actions = () => import('../actions/access.js');

export function registerAccessCommands(program: Command, out: Output): void {
  const token = program
    .command('token')
    .description('operator tokens')
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet token create build-server --role publisher > publisher.token\n',
    );
  connectionOptions(token.command('create'))
    .description('a new token; it is shown once')
    .argument('<name>', 'of its user')
    .addOption(
      new Option('--role <role>', 'each role may do what the roles before it may')
        .choices([...ROLES])
        .makeOptionMandatory(),
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet token create build-server --role publisher > publisher.token\n',
    )
    .action(lazily(out, async () => (await actions()).createToken));
  pageOptions(connectionOptions(token.command('list')), limits.cliDevicesDefaultCount)
    .description('tokens by name (never the tokens themselves)')
    .addHelpText('after', '\nExample:\n  $ linnet token list\n')
    .action(lazily(out, async () => (await actions()).listTokens));
  connectionOptions(token.command('revoke'))
    .description('revoke every token of a name')
    .argument('<name>')
    .option('--force', 'even when no admin token is left then')
    .addHelpText('after', '\nExample:\n  $ linnet token revoke build-server\n')
    .action(lazily(out, async () => (await actions()).revokeTokens));
  registerAudit(program, out);
}

function registerAudit(program: Command, out: Output): void {
  const audit = program
    .command('audit')
    .description('the audit log')
    .addHelpText('after', '\nExample:\n  $ linnet audit list\n  $ linnet audit verify\n');
  timeOptions(pageOptions(connectionOptions(audit.command('list'))))
    .description('what operators did, the newest first')
    .option('--actor <token>', 'only of this operator token')
    .option('--action <name>', 'only this action')
    .option('--subject <name>', 'only about this device, rollout, release or token')
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet audit list --limit 10\n' +
        '  $ linnet audit list --since 2d --action device.revoke\n',
    )
    .action(lazily(out, async () => (await actions()).listAudit));
  exportCommand(audit, out);
  connectionOptions(audit.command('verify'))
    .description(
      'verify the whole chain of hashes; exit code 6 when an entry was changed or removed',
    )
    .addHelpText('after', '\nExample:\n  $ linnet audit verify\n')
    .action(lazily(out, async () => (await actions()).verifyAudit));
}

function exportCommand(audit: Command, out: Output): void {
  timeOptions(connectionOptions(audit.command('export')))
    .description('every entry with its whole detail and its hash, the oldest first, one a line')
    .option('--after <seq>', 'only the entries after this one', wholeNumber, 0)
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet audit export --after 1200 >> audit.ndjson\n' +
        '  $ linnet audit export --since 2026-03-01 --until 2026-04-01 > march.ndjson\n',
    )
    .action(lazily(out, async () => (await actions()).exportAudit));
}
