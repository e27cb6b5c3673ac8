// Security events as they come, the last changed first.
import type { SecuritySourceKind } from '../../../../shared/protocol/operator-api.js';
import { Ago, Heading, RowsTable, State } from '../parts/basics.js';
import { Choice, filtersIn, Search, TimeRange } from '../parts/filters.js';
import { lists } from '../reads.js';
import { topics, useRows } from '../resource.js';
import { Link } from '../router.js';

const FILTERS = ['kind', 'source', 'device', 'group', 'code', 'since', 'until'] as const;
const KIND_TEXTS: Readonly<Record<SecuritySourceKind, string>> = {
  device: 'devices',
  operator: 'operator tokens',
  server: 'the server',
  anonymous: 'strangers',
};
const KINDS = Object.entries(KIND_TEXTS);

export function SecurityPage({ query }: { query: URLSearchParams }) {
  const filter = filtersIn(query, FILTERS);
  const rows = useRows(
    `security ${JSON.stringify(filter)}`,
    lists.securityEvents(filter),
    topics('security', 'devices'),
  );
  return (
    <>
      <Heading title="Security events" />
      <search aria-label="Filter security events">
        <Choice name="kind" label="Kind of source" value={filter.kind} options={KINDS} />
        <Search name="source" label="Source" value={filter.source} />
        <Search name="device" label="Device (name or id)" value={filter.device} />
        <Search name="group" label="Group" value={filter.group} />
        <Search name="code" label="Code" value={filter.code} />
        <TimeRange since={filter.since} until={filter.until} />
      </search>
      <RowsTable
        caption="Security events"
        what="events"
        none="No event fits."
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
