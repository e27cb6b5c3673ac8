// `linnet token` and `linnet audit`: what operators may do, and what they did.
import { Option, type Command } from 'commander';
import { isFault } from '../../../shared/base/fault-codes.js';
import {
  AuditDetail,
  AuditHead,
  AuditPage,
  NewToken,
  RevokedTokens,
  ROLES,
  TokenPage,
  TokenRequest,
} from '../../../shared/protocol/operator-api.js';
import { formOf, wholeNumber } from '../arguments.js';
import { EXIT, table, type Output } from '../output.js';
import { connect, connectionOptions } from '../../fleet/fleet-client.js';
import { counted } from '../../../shared/base/counted.js';
import { timeText } from '../fleet-text.js';
import { pageOf, pageOptions, type PageOptions } from './pages.js';

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
    .argument('<name>', 'of its user', formOf('name', TokenRequest.properties.name))
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
          ...tokens.map((row) => [
            row.name,
            row.role,
            timeText(row.createdAt),
            row.revokedAt === null ? '-' : timeText(row.revokedAt),
          ]),
        ]),
      );
    });
  connectionOptions(token.command('revoke'))
    .description('revoke every token of a name')
    .argument('<name>')
    .option('--force', 'even when no admin token is left then')
    .addHelpText('after', '\nExample:\n  $ linnet token revoke build-server\n')
    .action(async (name: string, { force }: { force?: true }, command: Command) => {
      const done = await (
        await connect(command)
      ).request('POST', `/tokens/${encodeURIComponent(name)}/revoke`, RevokedTokens, { force });
      out.result(done, () => `${counted(done.revoked, 'token')} revoked`);
    });
  registerAudit(program, out);
}

function registerAudit(program: Command, out: Output): void {
  const audit = program
    .command('audit')
    .description('the audit log')
    .addHelpText('after', '\nExample:\n  $ linnet audit list\n  $ linnet audit verify\n');
  pageOptions(connectionOptions(audit.command('list')))
    .description('what operators did, the newest first')
    .addHelpText('after', '\nExample:\n  $ linnet audit list --limit 10\n')
    .action(async (options: PageOptions, command: Command) => {
      const entries = await pageOf(await connect(command), '/audit', AuditPage, options, out);
      out.result(entries, () =>
        table([
          ['SEQ', 'AT', 'ACTOR', 'ACTION', 'SUBJECT', 'DETAIL'],
          ...entries.map((row) => [
            String(row.seq),
            timeText(row.at),
            row.actor,
            row.action,
            row.subject,
            row.detail,
          ]),
        ]),
      );
    });
  exportCommand(audit, out);
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

function exportCommand(audit: Command, out: Output): void {
  connectionOptions(audit.command('export'))
    .description('every entry with its whole detail and its hash, the oldest first, one a line')
    .option('--after <seq>', 'only the entries after this one', wholeNumber, 0)
    .addHelpText('after', '\nExample:\n  $ linnet audit export --after 1200 >> audit.ndjson\n')
    .action(async ({ after }: { after: number }, command: Command) => {
      const client = await connect(command);
      const { items } = await client.request('GET', '/audit?limit=1', AuditPage);
      const newest = items[0]?.seq ?? 0;
      for (let seq = after + 1; seq <= newest; seq += 1)
        try {
          out.record(await client.request('GET', `/audit/${seq}`, AuditDetail));
        } catch (error) {
          if (!isFault(error, 'not_found')) throw error;
          out.progress(`entry ${seq} is missing; linnet audit verify checks the chain`);
          process.exitCode = EXIT.badNews;
        }
    });
}
