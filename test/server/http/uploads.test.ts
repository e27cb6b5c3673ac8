// Uploads over the API: a file counts for its operator until a release that names it is published.
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ImageRepositoryService } from '../../../server/interfaces.js';
import { referencedFiles } from '../../../server/tuf/referenced-files.js';
import { sha256, utf8 } from '../../../shared/base/bytes.js';
import { targetPath } from '../../../shared/release/release-ref.js';
import { publish, startFleet, type TestFleet } from '../../support/fleet-server.js';

let fleet: TestFleet;
beforeAll(async () => {
  fleet = await startFleet();
});
afterAll(() => fleet.close());

test('upload_counts_for_its_operator_and_publishing_ends_that', async () => {
  const bytes = utf8('never published');
  await fleet.admin.putFile(sha256(bytes), [bytes], bytes.length);
  await publish(fleet, '1.0.0');
  expect(await fleet.store.uploads.all()).toMatchObject([
    { digest: sha256(bytes), bytes: bytes.length, operator: 'first-admin', isCollected: false },
  ]);
});

test('every_file_of_a_published_release_is_referenced', async () => {
  const { envelope, digest, files, manifest } = await publish(fleet, '1.1.0');
  const targets = {
    targets: {
      [targetPath(manifest.component, '1.1.0')]: { length: 1, hashes: { sha256: digest } },
    },
  } as unknown as ReturnType<ImageRepositoryService['targets']>;
  const found = await referencedFiles({
    targets: () => targets,
    targetFile: () => Promise.resolve(envelope),
  });
  for (const file of files.keys()) expect(found.has(file)).toBe(true);
  await expect(
    referencedFiles({ targets: () => targets, targetFile: () => Promise.resolve(null) }),
  ).rejects.toMatchObject({ code: 'not_found' });
});
