// The audit log: who did what, filtered by the address, exported as a file, its chain verified.
import type { AuditDetail, AuditSummary } from '../../../../shared/protocol/operator-api.js';
import { useState } from 'preact/hooks';
import { read } from '../api.js';
import { limits } from '../limits.js';
import { useAction } from '../parts/action.js';
import { announce } from '../parts/announcer.js';
import { Ago, Heading, RowsTable, Trouble } from '../parts/basics.js';
import { filtersIn, Search, TimeRange } from '../parts/filters.js';
import { saveFile } from '../parts/save-file.js';
import { lists, reads } from '../reads.js';
import { topics, useRows } from '../resource.js';

const FILTERS = ['actor', 'action', 'subject', 'since', 'until'] as const;

export function AuditPage({ query }: { query: URLSearchParams }) {
  const filter = filtersIn(query, FILTERS);
  const rows = useRows(`audit ${JSON.stringify(filter)}`, lists.audit(filter), topics('audit'));
  return (
    <>
      <Heading title="Audit log">
        <AuditCommands filter={filter} />
      </Heading>
      <search aria-label="Filter the audit log">
        <Search name="actor" label="Token" value={filter.actor} />
        <Search name="action" label="Action" value={filter.action} />
        <Search name="subject" label="About" value={filter.subject} />
        <TimeRange since={filter.since} until={filter.until} />
      </search>
      <RowsTable
        caption="Audit log"
        what="entries"
        none="No entry fits."
        rows={rows}
        rowKey={({ seq }) => seq}
        columns={[
          { title: 'Number', cell: ({ seq }) => seq },
          { title: 'When', cell: ({ at }) => <Ago at={at} /> },
          { title: 'Token', cell: ({ actor }) => actor },
          { title: 'Action', cell: ({ action }) => <code>{action}</code> },
          { title: 'About', cell: ({ subject }) => subject },
          { title: 'Detail', cell: (row) => <Whole entry={row} /> },
        ]}
      />
    </>
  );
}

/** The list has the beginning of a detail; the rest is read when somebody wants it. */
function Whole({ entry }: { entry: AuditSummary }) {
  const [whole, setWhole] = useState<AuditDetail | null>(null);
  if (whole !== null) return <span>{whole.detail}</span>;
  if (entry.detail.length < limits.cutDetailChars) return <span>{entry.detail}</span>;
  return (
    <span>
      {entry.detail}{' '}
      <button type="button" onClick={() => void read(reads.auditEntry(entry.seq)).then(setWhole)}>
        Show all of {entry.seq}
      </button>
    </span>
  );
}

function AuditCommands({ filter }: { filter: Readonly<Record<string, string>> }) {
  const [verdict, setVerdict] = useState<string | null>(null);
  const { busy, failure, run } = useAction();
  const verify = async (): Promise<void> => {
    const { entries, brokenAt } = await read(reads.auditHead());
    setVerdict(
      brokenAt === null
        ? `The chain of ${entries} entries is whole.`
        : `The chain is broken at entry ${brokenAt}.`,
    );
  };
  return (
    <div class="buttons">
      <button type="button" disabled={busy} onClick={() => void run(verify)}>
        Verify the chain
      </button>
      <button type="button" disabled={busy} onClick={() => void run(() => exportAll(filter))}>
        Export as CSV
      </button>
      {verdict !== null && <p role="status">{verdict}</p>}
      <Trouble failure={failure} />
    </div>
  );
}

async function exportAll(filter: Readonly<Record<string, string>>): Promise<void> {
  const list = lists.audit(filter, limits.exportPageRowsCount);
  const lines = [['seq', 'at', 'actor', 'action', 'subject', 'detail'].join(',')];
  let cursor: string | undefined;
  for (let page = 0; page < limits.exportPagesMaxCount; page++) {
    const { items, next } = await read(list(cursor));
    lines.push(...items.map(csvLine));
    if (next === null) break;
    cursor = next;
  }
  saveFile('linnet-audit.csv', 'text/csv', `${lines.join('\r\n')}\r\n`);
  announce(`Exported ${lines.length - 1} entries`);
}

/** A cell that begins like a formula gets a quote, so that a spreadsheet does not run it. */
const csvCell = (value: string | number): string =>
  `"${String(value)
    .replace(/^[=+\-@\t\r]/, "'$&")
    .replaceAll('"', '""')}"`;
const csvLine = ({ seq, at, actor, action, subject, detail }: AuditSummary): string =>
  [seq, at, actor, action, subject, detail].map(csvCell).join(',');
