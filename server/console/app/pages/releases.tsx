// Published releases, the newest first, and which of them stand: what devices take that enrol or
// return.
import { Ago, Heading, RowsTable, Section, State, Table, Trouble } from '../parts/basics.js';
import { filtersIn, isFiltered, Search } from '../parts/filters.js';
import { lists, reads } from '../reads.js';
import { topics, useResource, useRows } from '../resource.js';
import { Link } from '../router.js';
import { bytesText, releaseText, selectorText } from '../text.js';

const FILTERS = ['component', 'search'] as const;

export function ReleasesPage({ query }: { query: URLSearchParams }) {
  const filter = filtersIn(query, FILTERS);
  const rows = useRows(
    `releases ${JSON.stringify(filter)}`,
    lists.releases(filter),
    topics('releases'),
  );
  return (
    <>
      <Heading title="Releases" />
      <search aria-label="Filter releases">
        <Search name="component" label="Component" value={filter.component} />
        <Search name="search" label="Name, description or digest" value={filter.search} />
      </search>
      <RowsTable
        caption="Releases"
        what="releases"
        none={isFiltered(filter) ? 'No release fits.' : 'No release yet. linnet publish makes one.'}
        rows={rows}
        rowKey={({ digest }) => digest}
        columns={[
          {
            title: 'Release',
            cell: ({ component, version }) => (
              <Link to={`releases/${encodeURIComponent(component)}/${encodeURIComponent(version)}`}>
                {component} {version}
              </Link>
            ),
          },
          { title: 'Published', cell: ({ publishedAt }) => <Ago at={publishedAt} /> },
          { title: 'Size', cell: ({ bytes }) => bytesText(bytes) },
          { title: 'Description', cell: ({ description }) => description },
          { title: 'Digest', cell: ({ digest }) => <code>{digest.slice(0, 16)}</code> },
        ]}
      />
      <Standing />
    </>
  );
}

function Standing() {
  const { data, failure } = useResource(reads.standing(), topics('rollouts'));
  return (
    <Section title="Standing releases" id="standing">
      <p class="quiet">What a device takes that enrols, returns or comes into a group.</p>
      <Trouble failure={failure} />
      <Table
        caption="Standing releases"
        none={data === undefined ? 'Loading.' : 'None: no rollout is completed.'}
        rows={data?.items ?? []}
        rowKey={({ rollout }) => rollout}
        columns={[
          { title: 'Release', cell: ({ release }) => releaseText(release) },
          { title: 'For', cell: ({ selector }) => selectorText(selector) },
          {
            title: 'Rollout',
            cell: ({ rollout }) => (
              <Link to={`rollouts/${encodeURIComponent(rollout)}`}>{rollout}</Link>
            ),
          },
          { title: 'Since', cell: ({ createdAt }) => <Ago at={createdAt} /> },
          { title: 'Now', cell: ({ alarmed, waitsFor }) => standingNow(alarmed, waitsFor) },
        ]}
      />
    </Section>
  );
}

const standingNow = (alarmed: boolean, waitsFor: string | null) =>
  alarmed ? (
    <State text="taken by nobody: it failed on too many devices" tone="bad" />
  ) : waitsFor === null ? (
    <State text="taken" tone="good" />
  ) : (
    <>
      waits for <Link to={`rollouts/${encodeURIComponent(waitsFor)}`}>{waitsFor}</Link>
    </>
  );
