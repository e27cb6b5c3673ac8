// Published releases, the newest first.
import { Ago, Heading, RowsTable } from '../parts/basics.js';
import { lists } from '../reads.js';
import { topics, useRows } from '../resource.js';
import { Link } from '../router.js';
import { bytesText } from '../text.js';

export function ReleasesPage() {
  const rows = useRows('releases', lists.releases(), topics('releases'));
  return (
    <>
      <Heading title="Releases" />
      <RowsTable
        caption="Releases"
        what="releases"
        none="No release yet. linnet publish makes one."
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
          { title: 'Description', wide: true, cell: ({ description }) => description },
          { title: 'Digest', wide: true, cell: ({ digest }) => <code>{digest.slice(0, 16)}</code> },
        ]}
      />
    </>
  );
}
