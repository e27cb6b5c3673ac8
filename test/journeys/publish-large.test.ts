// A release with a file of 300 MB is built, published and served while the temp folder has 64 MiB:
// no part of the way, at the publisher or on the server, may copy a file through it. The test
// watches the temp folder all the time.
import { readdirSync, readFileSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readSigningKey } from '../../firmware-tools/release/keys/key-files.js';
import { publishBundle } from '../../firmware-tools/release/publish.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { startFleet, type TestFleet } from '../support/fleet-server.js';
import { build, smallSpec, writeSpec } from '../support/release-builder.js';
import { mountSmallDisk, type SmallDisk } from '../support/small-disk.js';
import { isWhole } from '../support/whole.js';

const LARGE_BYTES = 300_000_000;
const TEMP_MIB = 64;
/** A few small files would be no copy of a release. */
const TEMP_USE_MAX_BYTES = 1024 * 1024;
const FILE = 'weights.bin';

let fleet: TestFleet;
let temp: SmallDisk | null;
const ordinaryTemp = process.env['TMPDIR'];

beforeAll(async () => {
  // The fleet's own folder is made in the ordinary temp folder, before the small one takes over.
  fleet = await startFleet();
  temp = mountSmallDisk(TEMP_MIB, 'publishing with a small temp folder');
  if (temp !== null) process.env['TMPDIR'] = temp.folder;
}, 60_000);

afterAll(async () => {
  if (ordinaryTemp === undefined) delete process.env['TMPDIR'];
  else process.env['TMPDIR'] = ordinaryTemp;
  await fleet.close();
  temp?.unmount();
}, 60_000);

/** The most bytes that were in use in a folder's file system until `stop`. */
function watch(folder: string): { stop: () => number } {
  const used = (): number => {
    const { blocks, bfree, bsize } = statfsSync(folder);
    return (blocks - bfree) * bsize;
  };
  const before = used();
  let most = before;
  const timer = setInterval(() => (most = Math.max(most, used())), 5);
  return {
    stop: () => {
      clearInterval(timer);
      return Math.max(most, used()) - before;
    },
  };
}

it.skipIf(!isWhole)(
  'file_larger_than_the_temp_folder_is_built_published_and_served',
  async (test) => {
    if (temp === null) return test.skip();
    const watched = watch(temp.folder);
    const folder = join(fleet.folder, 'large');
    const spec = writeSpec(folder, smallSpec('1.0.0', `[[files]]\npath = "${FILE}"`));
    writeFileSync(join(folder, FILE), '');
    truncateSync(join(folder, FILE), LARGE_BYTES);
    const offline = join(fleet.folder, 'repo', 'offline');
    const key = (name: string) => readSigningKey(join(offline, `${name}.key.json`), {});
    await build(folder, spec, 'large.bundle', await key('release'));
    const published = await publishBundle({
      floor: null,
      bundle: join(folder, 'large.bundle'),
      root: readFileSync(join(fleet.folder, 'repo', 'trust', 'image-root.json')),
      targetsKeys: [await key('image-targets')],
      memory: join(offline, 'published-targets.json'),
      client: fleet.admin,
      clock: realClock,
      random: realRandom,
    });
    expect(published.uploaded).toContain(FILE);

    const entry = published.release.manifest.files.find(({ name }) => name === FILE);
    const response = await fetch(`${fleet.server.address}/repo/image/files/${entry?.sha256}`);
    let served = 0;
    for await (const chunk of response.body ?? []) served += (chunk as Uint8Array).length;
    expect(served).toBe(LARGE_BYTES);

    expect(watched.stop()).toBeLessThan(TEMP_USE_MAX_BYTES);
    expect(readdirSync(temp.folder)).toEqual([]);
  },
  240_000,
);
