// Groups with their devices.
import { Heading, RowsTable } from '../parts/basics.js';
import { lists } from '../reads.js';
import { topics, useRows } from '../resource.js';
import { Link } from '../router.js';
import { useMay } from '../self.js';

export function GroupsPage() {
  const rows = useRows('groups', lists.groups(), topics('devices'));
  const may = useMay();
  return (
    <>
      <Heading title="Groups">
        {may('operator') && (
          <Link to="enrol" class="button">
            Enrol devices
          </Link>
        )}
      </Heading>
      <RowsTable
        caption="Groups"
        what="groups"
        none="No group yet: a device makes one when it enrols."
        rows={rows}
        rowKey={({ name }) => name}
        columns={[
          {
            title: 'Group',
            cell: ({ name }) => (
              <Link to={`devices?group=${encodeURIComponent(name)}`}>{name}</Link>
            ),
          },
          { title: 'Enrolled devices', cell: ({ devices }) => devices.toLocaleString('en') },
        ]}
      />
    </>
  );
}
