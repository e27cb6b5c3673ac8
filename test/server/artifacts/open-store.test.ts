// The setting `artifacts`: which folder it names, and what it refuses.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openArtifactStore } from '../../../server/artifacts/open-store.js';
import { serverSettings } from '../../../server/config.js';
import { realRandom } from '../../../shared/platform/clock.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'linnet-open-store-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const settingsWith = (line: string) =>
  serverSettings(`data_dir = "/d"\nrepository = "/r"\n${line}\n`, {});

test('file_location_is_used_and_the_standard_folder_is_not_created', async () => {
  const named = join(folder, 'with space');
  const { artifacts } = settingsWith(`artifacts = "file:${named}"`);
  const standard = join(folder, 'files');
  await openArtifactStore({ location: artifacts, folder: standard, random: realRandom });
  expect(existsSync(named)).toBe(true);
  expect(existsSync(standard)).toBe(false);
});

test('no_location_is_the_standard_folder', async () => {
  const standard = join(folder, 'files');
  const { artifacts } = settingsWith('');
  await openArtifactStore({ location: artifacts, folder: standard, random: realRandom });
  expect(existsSync(standard)).toBe(true);
});

test.each(['s3://bucket', 'file:relative', 'file://host/x', 'file:/a%2fb', '/plain'])(
  'location_%s_is_refused',
  (location) => {
    expect(() => settingsWith(`artifacts = "${location}"`)).toThrow(/artifacts/);
  },
);
