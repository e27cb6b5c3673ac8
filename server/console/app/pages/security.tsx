// Security events as they come, the last changed first.
import { Ago, Heading, RowsTable, State } from '../parts/basics.js';
import { Search } from '../parts/filters.js';
import { lists } from '../reads.js';
import { topics, useRows } from '../resource.js';
import { Link } from '../router.js';

export function SecurityPage({ query }: { query: URLSearchParams }) {
  const source = query.get('source') ?? '';
  const rows = useRows(
    `security ${source}`,
    lists.securityEvents({ source }),
    topics('security', 'devices'),
  );
  return (
    <>
      <Heading title="Security events" />
      <search aria-label="Filter security events">
        <Search name="source" label="Source" value={source} />
      </search>
      <RowsTable
        caption="Security events"
        what="events"
        rows={rows}
        rowKey={({ id }) => id}
        columns={[
          { title: 'Last', cell: ({ lastAt }) => <Ago at={lastAt} /> },
          { title: 'Code', cell: ({ code }) => <State text={code} tone="bad" /> },
          { title: 'Times', cell: ({ count }) => count.toLocaleString('en') },
          {
            title: 'Source',
            cell: ({ sourceKind, source: from }) =>
              sourceKind === 'device' ? (
                <Link to={`devices/${encodeURIComponent(from)}`}>{from}</Link>
              ) : (
                `${sourceKind} ${from}`
              ),
          },
          { title: 'Detail', cell: ({ detail }) => detail },
          { title: 'First', cell: ({ firstAt }) => <Ago at={firstAt} /> },
        ]}
      />
    </>
  );
}
