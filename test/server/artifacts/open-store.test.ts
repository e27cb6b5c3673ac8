// The setting `artifacts`: which folder or bucket it names, and what it refuses.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openArtifactStore } from '../../../server/artifacts/open-store.js';
import { s3Credentials, s3Location } from '../../../server/artifacts/s3-settings.js';
import { checkTogether, serverSettings } from '../../../server/config.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { Proxies } from '../../../shared/platform/proxies.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'linnet-open-store-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const rest = {
  ...{ s3: undefined, oci: undefined, links: false, env: {}, proxies: new Proxies({}) },
  ...{ clock: realClock, random: realRandom, log: silentLog },
};
const settingsWith = (line: string) =>
  serverSettings(`data_dir = "/d"\nrepository = "/r"\n${line}\n`, {});

test('file_location_is_used_and_the_standard_folder_is_not_created', async () => {
  const named = join(folder, 'with space');
  const { artifacts } = settingsWith(`artifacts = "file:${named}"`);
  const standard = join(folder, 'files');
  await openArtifactStore({ ...rest, location: artifacts, folder: standard });
  expect(existsSync(named)).toBe(true);
  expect(existsSync(standard)).toBe(false);
});

test('no_location_is_the_standard_folder', async () => {
  const standard = join(folder, 'files');
  const { artifacts } = settingsWith('');
  await openArtifactStore({ ...rest, location: artifacts, folder: standard });
  expect(existsSync(standard)).toBe(true);
});

const REFUSED = [
  ...['s3://Bucket', 's3://key:secret@bucket', 's3://bucket/../x', 's3://bucket/a//b', 's3:bucket'],
  ...['s3://bucket/a?b', 's3://bucket/', 'oci://registry', 'oci://registry/UP'],
  ...['oci://u:p@registry/x', 'oci://registry/a//b', 'oci://registry/x:tag', 'oci:///x'],
];
test.each([...REFUSED, 'file:relative', 'file://host/x', 'file:/a%2fb', '/plain'])(
  'location_%s_is_refused',
  (location) => {
    expect(() => settingsWith(`artifacts = "${location}"`)).toThrow(/artifacts/);
  },
);

test('bucket_is_a_host_of_its_own_or_a_path', () => {
  const plain = { region: 'eu-west-1', path_style: false };
  expect(s3Location('s3://models/a/b', plain)).toEqual({
    ...{ protocol: 'https:', hostname: 'models.s3.eu-west-1.amazonaws.com', port: '' },
    ...{ region: 'eu-west-1', root: '/', prefix: 'a/b/', name: 's3://models/a/b' },
  });
  const endpoint = 'http://minio.local:9000';
  expect(s3Location('s3://models', { ...plain, path_style: true, endpoint })).toMatchObject({
    ...{ protocol: 'http:', hostname: 'minio.local', port: '9000', root: '/models/', prefix: '' },
  });
});

test('bucket_that_cannot_be_a_host_needs_path_style', () => {
  const virtual = { region: 'r', path_style: false };
  const at = (name: string, endpoint: string) => () => s3Location(name, { ...virtual, endpoint });
  expect(at('s3://models', 'http://127.0.0.1:9000')).toThrow(/set path_style = true/);
  expect(at('s3://models', 'http://[::1]:9000')).toThrow(/set path_style = true/);
  expect(at('s3://my.models', 'https://s3.local')).toThrow(/set path_style = true/);
});

test('credentials_come_from_the_environment_or_from_a_file', () => {
  const env = { AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'secret' };
  expect(s3Credentials(undefined, env)).toEqual({ accessKeyId: 'id', secretAccessKey: 'secret' });
  const file = join(folder, 'credentials');
  writeFileSync(
    file,
    '[default]\naws_access_key_id = A\naws_secret_access_key=B/+=\naws_session_token = C\n',
  );
  expect(s3Credentials(file, env)).toEqual({
    ...{ accessKeyId: 'A', secretAccessKey: 'B/+=', sessionToken: 'C' },
  });
});

test('missing_or_doubtful_credentials_are_refused_without_showing_them', () => {
  expect(() => s3Credentials(undefined, {})).toThrow(/set AWS_ACCESS_KEY_ID/);
  expect(() => s3Credentials(join(folder, 'none'), {})).toThrow(/cannot read s3.credentials_file/);
  const file = join(folder, 'credentials');
  writeFileSync(file, 'aws_secret_access_key = B\n');
  expect(() => s3Credentials(file, {})).toThrow(/must name aws_access_key_id/);
  writeFileSync(file, '[a]\naws_access_key_id = hidden1\n[b]\naws_access_key_id = hidden2\n');
  expect(() => s3Credentials(file, {})).toThrow(/names aws_access_key_id twice$/);
});

test('settings_of_s3_without_a_bucket_are_refused', () => {
  for (const line of ['artifacts_redirect = true', '[s3]\nregion = "r"']) {
    const settings = settingsWith(line);
    expect(() => checkTogether(settings)).toThrow(/needs artifacts = "s3:/);
  }
  expect(() => settingsWith('[s3]\nendpoint = "https://key:secret@host"')).toThrow(/endpoint/);
});
