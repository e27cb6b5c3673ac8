// `linnet publish`: the work is in release/publish.ts; this prints the result.
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
import { connect } from '../../fleet/fleet-client.js';
import { readSigningKey } from '../../release/keys/key-files.js';
import { KEY_SUFFIX } from '../../release/keys/key-suffix.js';
import { PUBLISHED_TARGETS_NAME, publishBundle, type Published } from '../../release/publish.js';
import { readRoot, requireFiles } from '../arguments.js';
import type { Output } from '../output.js';

interface Options {
  readonly keys: string;
  readonly root: string;
  readonly floor?: string;
  readonly acceptance?: string;
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

export async function publish(
  out: Output,
  bundle: string,
  options: Options,
  command: Command,
): Promise<void> {
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
}
