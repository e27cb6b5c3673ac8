// `linnet release`: the published releases, what each holds, and what it was made from.
import type { Command } from 'commander';
import { limits } from '../../../shared/base/limits.js';
import { HOUR_MS } from '../../../shared/base/units.js';
import {
  FleetHistory,
  fleetHistoryQuery,
  ReleaseDetail,
  ReleasePage,
} from '../../../shared/protocol/operator-api.js';
import {
  declaredDifferences,
  differenceText,
} from '../../../shared/release/expected-differences.js';
import { modelBom } from '../../../shared/release/model-bom.js';
import { connect, connectionOptions, type FleetClient } from '../../fleet/fleet-client.js';
import { releaseOf } from '../../fleet/rollout-spec.js';
import { numberOf } from '../arguments.js';
import { ago, refText, timeText } from '../fleet-text.js';
import { filesTable, manifestText } from '../manifest-text.js';
import { table, type Output } from '../output.js';
import { pageOf, pageOptions, type PageOptions } from './pages.js';

const KIB = 1024;
const DEFAULT_HOURS = 24;

export function registerReleaseCommands(program: Command, out: Output): void {
  const release = program
    .command('release')
    .description('published releases')
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet release list\n  $ linnet release show digits@1.1.0\n',
    );
  list(release, out);
  history(release, out);
  connectionOptions(release.command('show'))
    .description('one release: inputs, outputs, contract, lineage, files')
    .argument('<component@version>', 'the release', releaseOf)
    .addHelpText('after', '\nExample:\n  $ linnet release show digits@1.1.0\n')
    .action(async (what: ReleaseName, _options: unknown, command: Command) => {
      const detail = await releaseNamed(await connect(command), what);
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
    });
  connectionOptions(release.command('lineage'))
    .description('what a release was made from, and how far it differs from older ones')
    .argument('<component@version>', 'the release', releaseOf)
    .addHelpText('after', '\nExample:\n  $ linnet release lineage digits@1.1.0\n')
    .action(async (what: ReleaseName, _options: unknown, command: Command) => {
      const detail = await releaseNamed(await connect(command), what);
      const { lineage } = detail.manifest;
      const differences = declaredDifferences(detail.manifest);
      out.result({ release: detail.digest, lineage, differences }, () => lineageText(detail));
    });
  connectionOptions(release.command('bom'))
    .description('the bill of materials of a release: CycloneDX 1.6 (ML-BOM), from its manifest')
    .argument('<component@version>', 'the release', releaseOf)
    .addHelpText('after', '\nExample:\n  $ linnet release bom digits@1.1.0 > digits.cdx.json\n')
    .action(async (what: ReleaseName, _options: unknown, command: Command) => {
      const detail = await releaseNamed(await connect(command), what);
      const bom = modelBom(detail, detail.publishedAt);
      out.result(bom, () => JSON.stringify(bom, null, 2));
    });
}

type ReleaseName = ReturnType<typeof releaseOf>;

const releaseNamed = (
  client: FleetClient,
  { component, version }: ReleaseName,
): Promise<ReleaseDetail> => {
  const path = `/releases/${encodeURIComponent(component)}/${encodeURIComponent(version)}`;
  return client.request('GET', path, ReleaseDetail);
};

function list(release: Command, out: Output): void {
  pageOptions(connectionOptions(release.command('list')))
    .description('published releases, the newest first')
    .addHelpText('after', '\nExample:\n  $ linnet release list\n')
    .action(async (options: PageOptions, command: Command) => {
      const items = await pageOf(await connect(command), '/releases', ReleasePage, options, out);
      out.result(items, () =>
        items.length === 0
          ? 'no releases'
          : table([
              ['RELEASE', 'SIZE', 'PUBLISHED', 'DIGEST', 'DESCRIPTION'],
              ...items.map((row) => [
                refText(row),
                sizeText(row.bytes),
                ago(row.publishedAt, Date.now()),
                row.digest,
                row.description,
              ]),
            ]),
      );
    });
}

function history(release: Command, out: Output): void {
  connectionOptions(release.command('history'))
    .description('which releases the enrolled devices ran, by the hour, the newest first')
    .option(
      '--hours <count>',
      `how far back, at most ${limits.fleetVersionsKeptMs / HOUR_MS}`,
      numberOf('--hours', fleetHistoryQuery.hours),
      DEFAULT_HOURS,
    )
    .addHelpText('after', '\nExample:\n  $ linnet release history --hours 168\n')
    .action(async ({ hours }: { hours: number }, command: Command) => {
      const client = await connect(command);
      const found = await client.request('GET', `/fleet/history?hours=${hours}`, FleetHistory);
      out.result(found, () => historyText(found));
    });
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
  return rows.length === 0
    ? 'nothing was counted yet: the server counts every five minutes'
    : table([['HOUR', 'COMPONENT', 'DEVICES BY VERSION'], ...rows]);
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
