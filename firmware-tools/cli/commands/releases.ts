// `linnet release`: the published releases, what each holds, and what it was made from.
import type { Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import { limits } from '../../../shared/base/limits.js';
import { HOUR_MS } from '../../../shared/base/units.js';
import { connectionOptions, pageOptions, wholeNumber } from '../options.js';
import type { Output } from '../output.js';

const actions = () => import('../actions/releases.js');

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
    .argument('<component@version>', 'the release')
    .addHelpText('after', '\nExample:\n  $ linnet release show digits@1.1.0\n')
    .action(lazily(out, async () => (await actions()).show));
  connectionOptions(release.command('lineage'))
    .description('what a release was made from, and how far it differs from older ones')
    .argument('<component@version>', 'the release')
    .addHelpText('after', '\nExample:\n  $ linnet release lineage digits@1.1.0\n')
    .action(lazily(out, async () => (await actions()).lineage));
  connectionOptions(release.command('bom'))
    .description('the bill of materials of a release: CycloneDX 1.6 (ML-BOM), from its manifest')
    .argument('<component@version>', 'the release')
    .addHelpText('after', '\nExample:\n  $ linnet release bom digits@1.1.0 > digits.cdx.json\n')
    .action(lazily(out, async () => (await actions()).bom));
}

function list(release: Command, out: Output): void {
  pageOptions(connectionOptions(release.command('list')))
    .description('published releases, the newest first')
    .option('--component <name>', 'only of this component')
    .option(
      '--search <text>',
      'only with this text in component@version or the description, or with such a digest',
    )
    .addHelpText('after', '\nExample:\n  $ linnet release list --component digits\n')
    .action(lazily(out, async () => (await actions()).list));
}

function history(release: Command, out: Output): void {
  connectionOptions(release.command('history'))
    .description('which releases the enrolled devices ran, by the hour, the newest first')
    .option(
      '--hours <count>',
      `how far back, at most ${limits.fleetVersionsKeptMs / HOUR_MS}`,
      wholeNumber,
      DEFAULT_HOURS,
    )
    .addHelpText('after', '\nExample:\n  $ linnet release history --hours 168\n')
    .action(lazily(out, async () => (await actions()).history));
}
