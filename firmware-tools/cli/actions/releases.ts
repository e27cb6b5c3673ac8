// `linnet release`: the published releases, what each holds, and what it was made from.
import type { Command } from 'commander';
import {
  FleetHistory,
  fleetHistoryQuery,
  ReleaseDetail,
  ReleasePage,
  releaseQuery,
} from '../../../shared/protocol/operator-api.js';
import {
  declaredDifferences,
  differenceText,
} from '../../../shared/release/expected-differences.js';
import { modelBom } from '../../../shared/release/model-bom.js';
import { connect } from '../../fleet/fleet-client.js';
import { releaseOf } from '../../fleet/rollout-spec.js';
import { requireForm } from '../arguments.js';
import { ago, refText, timeText } from '../fleet-text.js';
import { filesTable, manifestText } from '../manifest-text.js';
import { listText, type Output, table } from '../output.js';
import { filtered, pageOf, type Filters, type PageOptions } from './pages.js';

const KIB = 1024;

async function releaseNamed(what: string, command: Command): Promise<ReleaseDetail> {
  const { component, version } = releaseOf(what);
  const path = `/releases/${encodeURIComponent(component)}/${encodeURIComponent(version)}`;
  return (await connect(command)).request('GET', path, ReleaseDetail);
}

function historyText({ components }: FleetHistory): string {
  const rows = components.flatMap(({ component, versions, hours }) =>
    hours.toReversed().map(({ at, devices }) => [
      timeText(at),
      component,
      versions
        .flatMap((version, index) => {
          const count = devices[index] ?? 0;
          return count === 0 ? [] : [`${version ?? 'nothing'}: ${count}`];
        })
        .join(', '),
    ]),
  );
  return listText(
    'nothing was counted yet: the server counts every five minutes',
    ['HOUR', 'COMPONENT', 'DEVICES BY VERSION'],
    rows,
  );
}

function lineageText(detail: ReleaseDetail): string {
  const { lineage } = detail.manifest;
  const base = lineage.baseModel;
  const report = Object.entries(lineage.quantization ?? {}).map(([key, value]) => [
    `  ${key}`,
    typeof value === 'string' ? value : JSON.stringify(value),
  ]);
  const differences = declaredDifferences(detail.manifest);
  return [
    table([
      ['release', `${refText(detail)} ${detail.digest}`],
      ['training data', lineage.trainingDataSha256],
      ['source commit', lineage.sourceCommit],
      ['base model', base === null ? 'none' : `${base.name} ${base.sha256}`],
      ['quantization', lineage.quantization === null ? 'none' : 'report:'],
      ...report,
    ]),
    ...differences.map((declared) => `expected: ${differenceText(declared)}`),
  ].join('\n');
}

/** `850 bytes`, `12.3 KiB`, `4.5 MiB`. */
function sizeText(bytes: number): string {
  if (bytes < KIB) return `${bytes} bytes`;
  return bytes < KIB * KIB
    ? `${(bytes / KIB).toFixed(1)} KiB`
    : `${(bytes / KIB / KIB).toFixed(1)} MiB`;
}

export async function show(
  out: Output,
  what: string,
  _options: unknown,
  command: Command,
): Promise<void> {
  const detail = await releaseNamed(what, command);
  out.result(detail, () =>
    [
      `${refText(detail)}  ${sizeText(detail.bytes)}, ` +
        `published ${timeText(detail.publishedAt)}`,
      manifestText(detail.manifest),
      `  release     ${detail.digest}`,
      '',
      filesTable(detail.manifest),
    ].join('\n'),
  );
}

export async function lineage(
  out: Output,
  what: string,
  _options: unknown,
  command: Command,
): Promise<void> {
  const detail = await releaseNamed(what, command);
  const { lineage } = detail.manifest;
  const differences = declaredDifferences(detail.manifest);
  out.result({ release: detail.digest, lineage, differences }, () => lineageText(detail));
}

export async function bom(
  out: Output,
  what: string,
  _options: unknown,
  command: Command,
): Promise<void> {
  const detail = await releaseNamed(what, command);
  const bom = modelBom(detail, detail.publishedAt);
  out.result(bom, () => JSON.stringify(bom, null, 2));
}

export async function list(
  out: Output,
  options: PageOptions & Filters,
  command: Command,
): Promise<void> {
  const path = filtered('/releases', releaseQuery, options);
  const items = await pageOf(await connect(command), path, ReleasePage, options, out);
  out.result(items, () =>
    listText(
      path.includes('?') ? 'no release fits' : 'no releases',
      ['RELEASE', 'SIZE', 'PUBLISHED', 'DIGEST', 'DESCRIPTION'],
      items.map((row) => [
        refText(row),
        sizeText(row.bytes),
        ago(row.publishedAt, Date.now()),
        row.digest,
        row.description,
      ]),
    ),
  );
}

export async function history(
  out: Output,
  { hours }: { hours: number },
  command: Command,
): Promise<void> {
  requireForm('--hours', fleetHistoryQuery.hours, hours);
  const client = await connect(command);
  const found = await client.request('GET', `/fleet/history?hours=${hours}`, FleetHistory);
  out.result(found, () => historyText(found));
}
