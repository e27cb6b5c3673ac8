// `linnet token` and `linnet audit`: what operators may do, and what they did.
import { Option, type Command } from 'commander';
import {
  AuditHead,
  AuditPage,
  NewToken,
  RevokedTokens,
  ROLES,
  TokenPage,
} from '../../../shared/protocol/operator-api.js';
import { EXIT, table, type Output } from '../output.js';
import { connect, connectionOptions } from '../../fleet/fleet-client.js';
import { counted } from '../fleet-text.js';
import { wholeNumber } from './devices.js';

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
    .argument('<name>')
    .addOption(
      new Option('--role <role>', 'each role may do what the roles before it may')
        .choices([...ROLES])
        .makeOptionMandatory(),
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet token create build-server --role publisher > publisher.token\n',
    )
    .action(async (name: string, options: { role: string }, command: Command) => {
      const made = await (
        await connect(command)
      ).request('POST', '/tokens', NewToken, { name, role: options.role });
      out.result(made, () => made.token);
    });
  connectionOptions(token.command('list'))
    .description('tokens by name (never the tokens themselves)')
    .addHelpText('after', '\nExample:\n  $ linnet token list\n')
    .action(async (_options: unknown, command: Command) => {
      const tokens = await (await connect(command)).list('/tokens', TokenPage);
      out.result(tokens, () =>
        table([
          ['NAME', 'ROLE', 'CREATED', 'REVOKED'],
          ...tokens.map((row) => [row.name, row.role, row.createdAt, row.revokedAt ?? '-']),
        ]),
      );
    });
  connectionOptions(token.command('revoke'))
    .description('revoke every token of a name')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  $ linnet token revoke build-server\n')
    .action(async (name: string, _options: unknown, command: Command) => {
      const done = await (
        await connect(command)
      ).request('POST', `/tokens/${encodeURIComponent(name)}/revoke`, RevokedTokens, {});
      out.result(done, () => `${counted(done.revoked, 'token')} revoked`);
    });
  registerAudit(program, out);
}

function registerAudit(program: Command, out: Output): void {
  const audit = program
    .command('audit')
    .description('the audit log')
    .addHelpText('after', '\nExample:\n  $ linnet audit list\n  $ linnet audit verify\n');
  connectionOptions(audit.command('list'))
    .description('what operators did, the newest first')
    .option('--limit <count>', 'how many', wholeNumber, 50)
    .addHelpText('after', '\nExample:\n  $ linnet audit list --limit 10\n')
    .action(async (options: { limit: number }, command: Command) => {
      const { items: entries } = await (
        await connect(command)
      ).request('GET', `/audit?limit=${options.limit}`, AuditPage);
      out.result(entries, () =>
        table([
          ['SEQ', 'AT', 'ACTOR', 'ACTION', 'SUBJECT', 'DETAIL'],
          ...entries.map((row) => [
            String(row.seq),
            row.at,
            row.actor,
            row.action,
            row.subject,
            row.detail,
          ]),
        ]),
      );
    });
  connectionOptions(audit.command('verify'))
    .description(
      'verify the whole chain of hashes; exit code 6 when an entry was changed or removed',
    )
    .addHelpText('after', '\nExample:\n  $ linnet audit verify\n')
    .action(async (_options: unknown, command: Command) => {
      const head = await (await connect(command)).request('GET', '/audit/head', AuditHead);
      if (head.brokenAt !== null) process.exitCode = EXIT.badNews;
      out.result(head, () =>
        head.brokenAt === null
          ? `${counted(head.entries, 'entry', 'entries')}, head ${head.hash}: the chain is whole`
          : `the chain is broken: entry ${head.brokenAt} is missing or was changed`,
      );
    });
}
