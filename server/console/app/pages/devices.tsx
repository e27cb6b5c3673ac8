// All devices, by group and name. Filters are in the address; only the rows in view are drawn and
// read again.
import type { DeviceSummary } from '../../../../shared/protocol/operator-api.js';
import { useCallback, useRef } from 'preact/hooks';
import { limits } from '../limits.js';
import { Ago, Heading, Loading, State, Trouble } from '../parts/basics.js';
import { Choice, filtersIn, Search } from '../parts/filters.js';
import { VirtualList } from '../parts/virtual-list.js';
import { lists, reads } from '../reads.js';
import { beats, either, topics, useResource, useRows } from '../resource.js';
import { Link } from '../router.js';
import { releaseText } from '../text.js';

const FILTERS = [
  'search',
  'status',
  'group',
  'hardware',
  'running',
  'update',
  'label',
  'attention',
] as const;
type Filter = Readonly<Record<(typeof FILTERS)[number], string>>;
const rowPixels = 56;

export function DevicesPage({ query }: { query: URLSearchParams }) {
  const filter = filtersIn(query, FILTERS);
  const inView = useRef<readonly [number, number]>([0, 0]);
  const rows = useRows(
    `devices ${JSON.stringify(filter)}`,
    lists.devices(filter, limits.devicePageRowsCount),
    either(topics('devices'), beats),
    () => inView.current,
  );
  const onView = useCallback((first: number, last: number) => {
    inView.current = [first, last];
  }, []);
  return (
    <>
      <Heading title="Devices" />
      <Filters filter={filter} />
      <Trouble failure={rows.failure} />
      {rows.loading && rows.failure === null && <Loading />}
      {!rows.loading && rows.items.length === 0 && !rows.hasMore && (
        <p class="quiet">No device fits.</p>
      )}
      <VirtualList
        label="Devices"
        rows={rows.items}
        rowKey={({ id }) => id}
        rowPixels={rowPixels}
        head={['Device', 'State', 'Runs', 'Attention', 'Last seen']}
        cells={cellsOf}
        hasMore={rows.hasMore}
        more={rows.more}
        onView={onView}
      />
    </>
  );
}

function Filters({ filter }: { filter: Filter }) {
  const { data } = useResource(reads.fleet(), topics('devices'));
  const values = (found: readonly string[], chosen: string) =>
    [...new Set([...found, ...(chosen === '' ? [] : [chosen])])]
      .sort()
      .map((one) => [one, one] as const);
  const components = data?.components ?? [];
  const running = components.map(({ component, version }) => `${component}@${version ?? 'none'}`);
  const states = components.map(({ state }) => state);
  const groups = data?.devices.map(({ group }) => group) ?? [];
  const hardware = data?.hardware.map((row) => row.hardware) ?? [];
  return (
    <search aria-label="Filter devices">
      <Search name="search" label="Name or id begins with" value={filter.search} />
      <Choice
        name="status"
        label="Status"
        value={filter.status}
        options={values(['pending', 'enrolled', 'revoked'], filter.status)}
      />
      <Choice
        name="group"
        label="Group"
        value={filter.group}
        options={values(groups, filter.group)}
      />
      <Choice
        name="hardware"
        label="Hardware"
        value={filter.hardware}
        options={values(hardware, filter.hardware)}
      />
      <Choice
        name="running"
        label="Runs"
        value={filter.running}
        options={values(running, filter.running)}
      />
      <Choice
        name="update"
        label="Update"
        value={filter.update}
        options={values(states, filter.update)}
      />
      <Search name="label" label="Label (key=value, or a key)" value={filter.label} />
      <Choice
        name="attention"
        label="Attention"
        value={filter.attention}
        options={[
          ['silent', 'silent'],
          ['trouble', 'cannot proceed'],
          ['conditions', 'has a condition'],
          ['cloned', 'two installations'],
        ]}
      />
    </search>
  );
}

const cellsOf = (device: DeviceSummary) => [
  <>
    <Link to={`devices/${encodeURIComponent(device.id)}`}>{device.name}</Link>
    <small>
      {device.group}, {device.hardware}
    </small>
  </>,
  <State text={device.silent ? 'silent' : device.status} />,
  <>{device.updates.map(({ running }) => releaseText(running)).join(', ') || '-'}</>,
  <>{attention(device)}</>,
  <Ago at={device.lastSeenAt} />,
];

/** The first reason for attention; the device's page has all. */
function attention({ cloned, pendingReason, updates }: DeviceSummary): string {
  const found = [
    ...(cloned ? ['two installations use its key'] : []),
    ...(pendingReason === null ? [] : [pendingReason]),
    ...updates.flatMap(({ trouble, conditions }) => [
      ...(trouble === null ? [] : [trouble.code]),
      ...conditions.map(({ code }) => code),
    ]),
  ];
  return found.length === 0 ? '-' : found.join(', ');
}
