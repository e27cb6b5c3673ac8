// `linnet release`: the published releases, what each holds, and what it was made from.
import type { Command } from 'commander';
import { ReleaseDetail, ReleasePage } from '../../../shared/protocol/operator-api.js';
import {
  declaredDifferences,
  differenceText,
} from '../../../shared/release/expected-differences.js';
import { connect, connectionOptions, type FleetClient } from '../../fleet/fleet-client.js';
import { releaseOf } from '../../fleet/rollout-spec.js';
import { ago, refText, timeText } from '../fleet-text.js';
import { filesTable, manifestText } from '../manifest-text.js';
import { table, type Output } from '../output.js';
import { pageOf, pageOptions, type PageOptions } from './pages.js';

const KIB = 1024;

export function registerReleaseCommands(program: Command, out: Output): void {
  const release = program
    .command('release')
    .description('published releases')
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet release list\n  $ linnet release show digits@1.1.0\n',
    );
  list(release, out);
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
