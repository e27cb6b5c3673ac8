// Published releases, the newest first, and one release: its lineage, files and tensors, and where
// it runs.
import type { ReleaseDetail } from '../../../../shared/protocol/operator-api.js';
import {
  Ago,
  Facts,
  Heading,
  Loading,
  RowsTable,
  Section,
  Table,
  Trouble,
} from '../parts/basics.js';
import { lists, reads } from '../reads.js';
import { either, topics, useResource, useRows } from '../resource.js';
import { Link } from '../router.js';
import { bytesText, counted, releaseText } from '../text.js';

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

export function ReleasePage({ component, version }: { component: string; version: string }) {
  const { data, failure } = useResource(reads.release(component, version), topics('releases'));
  return (
    <>
      <Heading title={`Release ${component} ${version}`} />
      <Trouble failure={failure} />
      {data === undefined ? failure === null && <Loading /> : <Detail release={data} />}
    </>
  );
}

function Detail({ release }: { release: ReleaseDetail }) {
  const { manifest } = release;
  return (
    <>
      <div class="grid">
        <Section title="Release" id="release">
          <Facts
            of={[
              ['Description', release.description],
              ['Published', <Ago at={release.publishedAt} />],
              ['Size', bytesText(release.bytes)],
              ['Hardware', manifest.hardware.join(', ')],
              ['Digest of its signed envelope', <code>{release.digest}</code>],
              ['Memory at most', `${manifest.contract.peakMemoryMiB} MiB`],
              ['Latency p99 at most', `${manifest.contract.p99LatencyMs} ms`],
              ['Probes', counted(manifest.probes.count, 'recorded answer')],
            ]}
          />
        </Section>
        <WhereItRuns release={release} />
        <Lineage release={release} />
      </div>
      <Expected release={release} />
      <Files release={release} />
      <Tensors release={release} />
    </>
  );
}

function WhereItRuns({ release: { component, version } }: { release: ReleaseDetail }) {
  const { data } = useResource(reads.fleet(), either(topics('devices', 'rollouts')));
  const runs = (data?.components ?? []).filter(
    (row) => row.component === component && row.version === version,
  );
  const devices = runs.reduce((sum, { count }) => sum + count, 0);
  const groups = [...new Set(runs.map(({ group }) => group))];
  return (
    <Section title="Where it runs" id="where">
      <p>
        <Link to={`devices?running=${encodeURIComponent(`${component}@${version}`)}`}>
          {counted(devices, 'device')}
        </Link>
        {groups.length > 0 && ` in ${groups.join(', ')}`}
      </p>
    </Section>
  );
}

function Lineage({ release }: { release: ReleaseDetail }) {
  const { lineage } = release.manifest;
  const report = Object.entries(lineage.quantization ?? {});
  return (
    <Section title="Lineage" id="lineage">
      <Facts
        of={[
          ['Training data', <code>{lineage.trainingDataSha256}</code>],
          ['Source commit', <code>{lineage.sourceCommit}</code>],
          ['Base model', lineage.baseModel === null ? 'none' : lineage.baseModel.name],
          ...report.map(
            ([name, value]) =>
              [
                `Quantization: ${name}`,
                typeof value === 'string' ? value : <code>{JSON.stringify(value)}</code>,
              ] as const,
          ),
        ]}
      />
      {report.length === 0 && <p class="quiet">No quantization report.</p>}
    </Section>
  );
}

function Expected({ release }: { release: ReleaseDetail }) {
  const expected = release.manifest.expectedDifferences ?? [];
  if (expected.length === 0) return null;
  return (
    <Section title="Expected difference to older releases" id="expected">
      <Table
        caption="Expected differences"
        rows={expected.flatMap(({ version, outputs }) =>
          outputs.map((output) => ({ version, ...output })),
        )}
        rowKey={({ version, output }) => `${version} ${output}`}
        columns={[
          { title: 'Against', cell: ({ version }) => version },
          { title: 'Output', cell: ({ output }) => output },
          { title: 'Mean difference', cell: ({ sum, count }) => (sum / count).toFixed(4) },
          { title: 'Inputs', cell: ({ count }) => count.toLocaleString('en') },
        ]}
      />
    </Section>
  );
}

function Files({ release }: { release: ReleaseDetail }) {
  return (
    <Section title="Files" id="files">
      <Table
        caption={`Files of ${releaseText(release)}`}
        rows={release.manifest.files}
        rowKey={({ name }) => name}
        columns={[
          { title: 'Name', cell: ({ name }) => name },
          { title: 'Role', cell: ({ role }) => role },
          { title: 'Size', cell: ({ length }) => bytesText(length) },
          { title: 'SHA-256', cell: ({ sha256 }) => <code>{sha256}</code> },
        ]}
      />
    </Section>
  );
}

function Tensors({ release: { manifest } }: { release: ReleaseDetail }) {
  const rows = [
    ...manifest.inputs.map((tensor) => ({ direction: 'input', ...tensor })),
    ...manifest.outputs.map((tensor) => ({ direction: 'output', ...tensor })),
  ];
  return (
    <Section title="Inputs and outputs" id="tensors">
      <Table
        caption="Inputs and outputs"
        rows={rows}
        rowKey={({ direction, name }) => `${direction} ${name}`}
        columns={[
          { title: 'Direction', cell: ({ direction }) => direction },
          { title: 'Name', cell: ({ name }) => name },
          { title: 'Type', cell: ({ datatype }) => datatype },
          { title: 'Shape', cell: ({ shape }) => shape.join(' x ') },
        ]}
      />
    </Section>
  );
}
