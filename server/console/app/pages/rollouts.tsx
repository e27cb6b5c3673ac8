// All rollouts, the newest first.
import type { RolloutListState } from '../../../../shared/protocol/states.js';
import { Ago, Heading, RowsTable, State } from '../parts/basics.js';
import { Choice, filtersIn, isFiltered, Search } from '../parts/filters.js';
import { lists } from '../reads.js';
import { topics, useRows } from '../resource.js';
import { Link } from '../router.js';
import { useMay } from '../self.js';
import { releaseText } from '../text.js';

const FILTERS = ['state', 'component', 'group', 'search'] as const;
const STATE_TEXTS: Readonly<Record<RolloutListState, string>> = {
  active: 'under way or held',
  draft: 'draft',
  rolling: 'rolling',
  held: 'held',
  reverting: 'reverting',
  reverted: 'reverted',
  completed: 'completed',
  reported: 'reported',
  dropped: 'dropped',
};
const STATES = Object.entries(STATE_TEXTS);

export function RolloutsPage({ query }: { query: URLSearchParams }) {
  const filter = filtersIn(query, FILTERS);
  const rows = useRows(
    `rollouts ${JSON.stringify(filter)}`,
    lists.rollouts(filter),
    topics('rollouts'),
  );
  const may = useMay();
  return (
    <>
      <Heading title="Rollouts">
        {may('operator') && (
          <Link to="new-rollout" class="button primary">
            New rollout
          </Link>
        )}
      </Heading>
      <search aria-label="Filter rollouts">
        <Choice name="state" label="State" value={filter.state} options={STATES} />
        <Search name="component" label="Component" value={filter.component} />
        <Search name="group" label="May reach the group" value={filter.group} />
        <Search name="search" label="Release or id" value={filter.search} />
      </search>
      <RowsTable
        caption="Rollouts"
        what="rollouts"
        none={isFiltered(filter) ? 'No rollout fits.' : 'No rollout yet.'}
        rows={rows}
        rowKey={({ id }) => id}
        columns={[
          {
            title: 'Release',
            cell: ({ id, release }) => (
              <Link to={`rollouts/${encodeURIComponent(id)}`}>{releaseText(release)}</Link>
            ),
          },
          { title: 'State', cell: ({ state }) => <State text={state} /> },
          { title: 'Wave', cell: ({ wave, waves }) => `${wave + 1} of ${waves}` },
          { title: 'Devices', cell: ({ devices }) => devices },
          { title: 'Why', cell: ({ reasons }) => reasons[0] ?? '' },
          { title: 'Created', cell: ({ createdAt }) => <Ago at={createdAt} /> },
          { title: 'By', cell: ({ createdBy }) => createdBy },
        ]}
      />
    </>
  );
}
