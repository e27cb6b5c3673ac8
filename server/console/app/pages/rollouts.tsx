// All rollouts, the newest first.
import { Ago, Heading, RowsTable, State } from '../parts/basics.js';
import { lists } from '../reads.js';
import { topics, useRows } from '../resource.js';
import { Link } from '../router.js';
import { useMay } from '../self.js';
import { releaseText } from '../text.js';

export function RolloutsPage() {
  const rows = useRows('rollouts', lists.rollouts(), topics('rollouts'));
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
      <RowsTable
        caption="Rollouts"
        what="rollouts"
        none="No rollout yet."
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
