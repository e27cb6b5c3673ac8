// One release: who signed it, what it was made from and what that cost, what devices accept it by,
// its files, and where it runs.
import type { ReleaseDetail } from '../../../../shared/protocol/operator-api.js';
import { ask } from '../api.js';
import { useAction } from '../parts/action.js';
import { announce } from '../parts/announcer.js';
import {
  Ago,
  Facts,
  Heading,
  Loading,
  RowsTable,
  Section,
  State,
  Table,
  Trouble,
} from '../parts/basics.js';
import { saveFile } from '../parts/save-file.js';
import { lists, reads } from '../reads.js';
import { either, oneOf, topics, useResource, useRows } from '../resource.js';
import { Link } from '../router.js';
import { useMay } from '../self.js';
import { bytesText, counted, releaseText, share } from '../text.js';
import { Quantization } from './release-quantization.js';

export function ReleasePage({ component, version }: { component: string; version: string }) {
  const { data, failure } = useResource(
    reads.release(component, version),
    topics('releases', 'rollouts'),
  );
  const may = useMay();
  const ref = `${component}@${version}`;
  return (
    <>
      <Heading title={`Release ${component} ${version}`}>
        {may('operator') && (
          <Link to={`new-rollout?release=${encodeURIComponent(ref)}`} class="button primary">
            Roll it out
          </Link>
        )}
        {data !== undefined && <BomButton release={data} />}
      </Heading>
      <Trouble failure={failure} />
      {data === undefined ? failure === null && <Loading /> : <Detail release={data} />}
    </>
  );
}

function BomButton({ release }: { release: ReleaseDetail }) {
  const { busy, failure, run } = useAction();
  const { component, version } = release;
  const download = async (): Promise<void> => {
    const response = await ask(`${reads.release(component, version).path}/bom`, {});
    saveFile(`${component}-${version}.cdx.json`, 'application/json', await response.text());
    announce('Downloaded the bill of materials');
  };
  return (
    <div>
      <button type="button" disabled={busy} onClick={() => void run(download)}>
        Download the bill of materials
      </button>
      <Trouble failure={failure} />
    </div>
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
        <Signatures release={release} />
        <Acceptance release={release} />
        <Lineage release={release} />
        <Quantization release={release} />
      </div>
      <Rollouts release={release} />
      <FailedOn release={release} />
      <Expected release={release} />
      <Files release={release} />
      <Tensors release={release} />
    </>
  );
}

function WhereItRuns({ release }: { release: ReleaseDetail }) {
  const { component, version, rollouts } = release;
  const { data } = useResource(reads.fleet(), either(topics('devices', 'rollouts')));
  const runs = (data?.components ?? []).filter(
    (row) => row.component === component && row.version === version,
  );
  const devices = runs.reduce((sum, { count }) => sum + count, 0);
  const groups = [...new Set(runs.map(({ group }) => group))];
  const standing = rollouts.some((rollout) => rollout.standing);
  return (
    <Section title="Where it runs" id="where">
      <p>
        <Link to={`devices?running=${encodeURIComponent(`${component}@${version}`)}`}>
          {counted(devices, 'device')}
        </Link>
        {groups.length > 0 && ` in ${groups.join(', ')}`}
      </p>
      <p>
        {standing ? (
          <>
            <State text="standing" tone="good" />: devices that enrol or return later take it.
          </>
        ) : (
          <>
            <State text="not standing" tone="quiet" />: no device takes it by itself.
          </>
        )}
      </p>
    </Section>
  );
}

function Signatures({ release: { signatures, signersNeeded } }: { release: ReleaseDetail }) {
  return (
    <Section title="Signatures" id="signatures">
      <p>
        {counted(signersNeeded, 'release key')} of the image root must have signed it. Devices check
        this again at every start.
      </p>
      <Table
        caption="Signatures"
        none="The server has lost the signed envelope. Publish the release again."
        rows={signatures}
        rowKey={({ keyid }) => keyid}
        columns={[
          { title: 'Key', cell: ({ keyid }) => <code>{keyid}</code> },
          { title: 'Role', cell: () => 'release' },
          {
            title: 'State',
            cell: ({ valid }) =>
              valid ? (
                <State text="valid" tone="good" />
              ) : (
                <State text="not of a key of the present root" tone="bad" />
              ),
          },
        ]}
      />
    </Section>
  );
}

function Acceptance({ release: { acceptance, component } }: { release: ReleaseDetail }) {
  return (
    <Section title="Acceptance" id="acceptance">
      {acceptance === null ? (
        <p class="quiet">The image targets name no acceptance set for {component}.</p>
      ) : (
        <>
          <p>
            Each device runs the set before the release serves, and refuses it below the limit: see
            “Devices on which it failed” below. What it reached where it passed is in the log of the
            agent.
          </p>
          <Facts
            of={[
              ['Needed', `${acceptance.metric} of at least ${share(acceptance.least)}`],
              ['On', counted(acceptance.inputs, 'labelled input')],
              ['SHA-256 of the set', <code>{acceptance.sha256}</code>],
            ]}
          />
        </>
      )}
    </Section>
  );
}

function Lineage({ release }: { release: ReleaseDetail }) {
  const { lineage } = release.manifest;
  return (
    <Section title="Lineage" id="lineage">
      <Facts
        of={[
          ['Training data', <code>{lineage.trainingDataSha256}</code>],
          ['Source commit', <code>{lineage.sourceCommit}</code>],
          [
            'Base model',
            lineage.baseModel === null ? (
              'none'
            ) : (
              <>
                {lineage.baseModel.name} <code>{lineage.baseModel.sha256}</code>
              </>
            ),
          ],
        ]}
      />
    </Section>
  );
}

function Rollouts({ release }: { release: ReleaseDetail }) {
  return (
    <Section title="Rollouts of it" id="release-rollouts">
      <Table
        caption="Rollouts of the release"
        none="No rollout yet."
        rows={release.rollouts}
        rowKey={({ id }) => id}
        columns={[
          {
            title: 'Rollout',
            cell: ({ id }) => <Link to={`rollouts/${encodeURIComponent(id)}`}>{id}</Link>,
          },
          { title: 'State', cell: ({ state }) => <State text={state} /> },
          { title: 'Standing', cell: ({ standing }) => (standing ? 'yes' : 'no') },
          {
            title: 'Devices',
            cell: ({ counts }) =>
              counts.map(({ state, devices }) => `${devices} ${state}`).join(', '),
          },
          { title: 'Created', cell: ({ createdAt }) => <Ago at={createdAt} /> },
        ]}
      />
    </Section>
  );
}

/** The device says why with the arithmetic: its acceptance set, its probes, its trial. */
function FailedOn({ release }: { release: ReleaseDetail }) {
  const failed = release.rollouts.filter((rollout) => rollout.failed > 0);
  return (
    <Section title="Devices on which it failed" id="failed">
      {failed.length === 0 && <p class="quiet">None in its newest rollouts.</p>}
      {failed.map(({ id }) => (
        <FailedIn key={id} rollout={id} />
      ))}
    </Section>
  );
}

function FailedIn({ rollout }: { rollout: string }) {
  const rows = useRows(
    `failed in ${rollout}`,
    lists.members(rollout, { failed: 'true' }),
    oneOf('rollouts', rollout),
  );
  return (
    <>
      <h3>
        In rollout <Link to={`rollouts/${encodeURIComponent(rollout)}`}>{rollout}</Link>
      </h3>
      <RowsTable
        caption={`Devices on which it failed in ${rollout}`}
        what="devices"
        rows={rows}
        rowKey={({ device }) => device}
        columns={[
          {
            title: 'Device',
            cell: ({ device, name }) => (
              <Link to={`devices/${encodeURIComponent(device)}`}>{name}</Link>
            ),
          },
          { title: 'Since', cell: ({ since }) => <Ago at={since} /> },
          { title: 'Why', cell: ({ reasons }) => reasons },
        ]}
      />
    </>
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
