// `linnet publish`: signs a bundle into the image repository and uploads its files. The work is in
// release/publish.ts; this file reads the command line and prints the result.
import { access } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Command } from 'commander';
import { complaints } from '../../../shared/base/decode.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import {
  declaredDifferences,
  differenceText,
  type DeclaredDifference,
} from '../../../shared/release/expected-differences.js';
import { Version } from '../../../shared/release/manifest-head.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { connect, connectionOptions } from '../../fleet/fleet-client.js';
import { KEY_SUFFIX, readSigningKey } from '../../release/keys/key-files.js';
import { PUBLISHED_TARGETS_NAME, publishBundle, type Published } from '../../release/publish.js';
import { readRoot, requireFiles } from '../arguments.js';
import type { Output } from '../output.js';

const HELP = `
Verifies the bundle with the root's release keys and the server's current targets with the root's
targets keys, signs the next targets with OFFLINE_DIR/image-targets.key.json, uploads the files that
the server does not have yet, and publishes. Publishing the same bundle again does nothing; another
bundle of the same version is refused.

Example:
  linnet publish digits-1.1.0.bundle --keys fleet/offline --root fleet/trust/image-root.json \\
    --server http://127.0.0.1:7300 --token-file fleet/publisher.token`;

interface Options {
  readonly keys: string;
  readonly root: string;
  readonly floor?: string;
  readonly acceptance?: string;
}

export function registerPublishCommand(program: Command, out: Output): void {
  const command = program
    .command('publish')
    .description('sign a release into the image repository and upload it')
    .argument('<bundle>', 'bundle to publish')
    .requiredOption('--keys <dir>', 'folder offline/ of linnet repo init (image-targets.key.json)')
    .requiredOption('--root <file>', 'trusted image-root.json')
    .option(
      '--floor <version>',
      'from now on devices may be sent back to this version, and no further (signed)',
    );
  connectionOptions(command)
    .option(
      '--acceptance <file>',
      'from now on releases of this component must pass this acceptance set',
    )
    .addHelpText('after', HELP)
    .action(async (bundle: string, options: Options) => {
      const key = join(options.keys, `image-targets${KEY_SUFFIX}`);
      await requireOfflineKeys(options.keys, key);
      await requireFiles(bundle, options.root, key, options.acceptance);
      const published = await publishBundle({
        bundle,
        root: await readRoot(options.root),
        targetsKeys: [await readSigningKey(key)],
        memory: join(options.keys, PUBLISHED_TARGETS_NAME),
        client: await connect(command),
        floor: options.floor === undefined ? null : floorVersion(options.floor),
        ...(options.acceptance === undefined ? {} : { acceptance: options.acceptance }),
        clock: realClock,
        random: realRandom,
        progress: (text) => out.progress(text),
      });
      const { release, targetsVersion, uploaded, already, accepted } = published;
      const { component, version, digest } = release;
      const differences = declaredDifferences(release.manifest);
      out.result(
        {
          component,
          version,
          release: digest,
          targetsVersion,
          uploaded,
          already,
          accepted,
          differences,
        },
        () => [publishedText(published), ...differences.map(differenceLine)].join('\n'),
      );
    });
}

/**
 * The server's folder has keys as well, under the same names but for their folder: who names it is
 * told which one is meant. Fault file_unreadable.
 */
async function requireOfflineKeys(folder: string, key: string): Promise<void> {
  if ((await found(key)) || !(await found(folder))) return;
  throw new Fault(
    'file_unreadable',
    `--keys ${folder}: there is no ${basename(key)} in it; name the folder offline/ that ` +
      '`linnet repo init` made, with the keys of people (server/ has those of the server)',
  );
}

const found = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

function floorVersion(text: string): string {
  if (complaints(Version, text).length > 0)
    throw new Fault('usage', `--floor ${text}: a version like 1.0.0 is expected`);
  return text;
}

const differenceLine = (declared: DeclaredDifference): string =>
  `  expected ${differenceText(declared)}`;

function publishedText(published: Published): string {
  const { release, targetsVersion, uploaded, already, accepted } = published;
  const { component, version, digest } = release;
  if (already) return `${component} ${version} is already published; nothing to do`;
  return [
    `published ${component} ${version}`,
    `  release  ${digest}`,
    `  targets  version ${targetsVersion}`,
    `  files    ${uploaded.length === 0 ? 'none new' : uploaded.join(', ')}`,
    ...(accepted === null ? [] : [`  accepted ${accepted}`]),
  ].join('\n');
}
