// `linnet token` and `linnet audit`: what operators may do, and what they did.
import type { Command } from 'commander';
import { isFault } from '../../../shared/base/fault-codes.js';
import {
  AuditDetail,
  AuditHead,
  AuditPage,
  timeQuery,
  auditQuery,
  NewToken,
  RevokedTokens,
  TokenPage,
  TokenRequest,
} from '../../../shared/protocol/operator-api.js';
import { requireForm } from '../arguments.js';
import { EXIT, listText, table, type Output } from '../output.js';
import { connect } from '../../fleet/fleet-client.js';
import { counted } from '../../../shared/base/counted.js';
import { timeText } from '../fleet-text.js';
import { filtered, pageOf, type Filters, type PageOptions } from './pages.js';

export async function createToken(
  out: Output,
  name: string,
  options: { role: string },
  command: Command,
): Promise<void> {
  requireForm('name', TokenRequest.properties.name, name);
  const client = await connect(command);
  const made = await client.request('POST', '/tokens', NewToken, { name, role: options.role });
  out.result(made, () => made.token);
}

export async function listTokens(
  out: Output,
  options: PageOptions,
  command: Command,
): Promise<void> {
  const tokens = await pageOf(await connect(command), '/tokens', TokenPage, options, out);
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
}

export async function revokeTokens(
  out: Output,
  name: string,
  { force }: { readonly force?: true },
  command: Command,
): Promise<void> {
  const done = await (
    await connect(command)
  ).request('POST', `/tokens/${encodeURIComponent(name)}/revoke`, RevokedTokens, { force });
  out.result(done, () => `${counted(done.revoked, 'token')} revoked`);
}

export async function listAudit(
  out: Output,
  options: PageOptions & Filters,
  command: Command,
): Promise<void> {
  const path = filtered('/audit', auditQuery, options);
  const entries = await pageOf(await connect(command), path, AuditPage, options, out);
  out.result(entries, () =>
    listText(
      'no entry fits',
      ['SEQ', 'AT', 'ACTOR', 'ACTION', 'SUBJECT', 'DETAIL'],
      entries.map((row) => [
        String(row.seq),
        timeText(row.at),
        row.actor,
        row.action,
        row.subject,
        row.detail,
      ]),
    ),
  );
}

export async function verifyAudit(out: Output, _options: unknown, command: Command): Promise<void> {
  const head = await (await connect(command)).request('GET', '/audit/head', AuditHead);
  if (head.brokenAt !== null) process.exitCode = EXIT.badNews;
  out.result(head, () =>
    head.brokenAt === null
      ? `${counted(head.entries, 'entry', 'entries')}, head ${head.hash}: the chain is whole`
      : `the chain is broken: entry ${head.brokenAt} is missing or was changed`,
  );
}

export async function exportAudit(
  out: Output,
  { after, ...options }: { after: number } & Filters,
  command: Command,
): Promise<void> {
  const path = filtered('/audit', timeQuery, options);
  const client = await connect(command);
  if (path.includes('?')) {
    const seqs = (await client.list(path, AuditPage)).map(({ seq }) => seq);
    for (const seq of seqs.filter((one) => one > after).sort((a, b) => a - b))
      out.record(await client.request('GET', `/audit/${seq}`, AuditDetail));
    return;
  }
  const { items } = await client.request('GET', '/audit?limit=1', AuditPage);
  const newest = items[0]?.seq ?? 0;
  // The newest by time need not be the last one: the server's clock may have been set back.
  for (let seq = after + 1; ; seq += 1)
    try {
      out.record(await client.request('GET', `/audit/${seq}`, AuditDetail));
    } catch (error) {
      if (!isFault(error, 'not_found')) throw error;
      if (seq > newest) return;
      out.progress(`entry ${seq} is missing; linnet audit verify checks the chain`);
      process.exitCode = EXIT.badNews;
    }
}
