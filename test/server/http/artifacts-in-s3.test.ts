// A real server whose files are in an S3 bucket (the strict double): a release is published, and
// every file of it comes back over HTTP, through the server or by a redirect to the bucket.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HttpFetcher } from '../../../agent/platform/fetcher.js';
import { sha256 } from '../../../shared/base/bytes.js';
import type { Log } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { realClock } from '../../../shared/platform/clock.js';
import type { SimRelease } from '../../sim/release.js';
import { publish, startFleet, type TestFleet } from '../../support/fleet-server.js';
import { S3_KEY, S3Double } from '../../support/s3-double.js';

const lines: string[] = [];
const write = (fields: object, message: string): void => {
  lines.push(JSON.stringify([fields, message]));
};
const log: Log = { debug: write, info: write, warn: write, error: write, child: () => log };

describe.each([false, true])('a server with its files in S3, redirecting: %s', (redirect) => {
  let folder: string;
  let double: S3Double;
  let fleet: TestFleet;
  let release: SimRelease;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'linnet-s3-'));
    const credentials = join(folder, 'credentials');
    writeFileSync(
      credentials,
      `aws_access_key_id = ${S3_KEY.accessKeyId}\n` +
        `aws_secret_access_key = ${S3_KEY.secretAccessKey}\n`,
    );
    double = await new S3Double().start();
    fleet = await startFleet(
      `artifacts = "s3://models/fleet"\nartifacts_redirect = ${redirect}\n` +
        `[s3]\nendpoint = "${double.endpoint}"\nregion = "${double.region}"\n` +
        `path_style = true\ncredentials_file = "${credentials}"\n`,
      log,
    );
    release = await publish(fleet, '1.0.0');
  });
  afterAll(async () => {
    await fleet.close();
    await double.stop();
    rmSync(folder, { recursive: true });
  });

  const urlOf = (digest: string): string => `${fleet.server.address}/repo/image/files/${digest}`;

  test('every_file_of_a_published_release_comes_back', async () => {
    expect(release.files.size).toBeGreaterThan(0);
    for (const [digest, bytes] of release.files) {
      expect(double.objects.has(`fleet/${digest}`)).toBe(true);
      const answer = await fetch(urlOf(digest));
      expect(answer.redirected).toBe(redirect);
      expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true);
    }
  });

  test('file_of_many_parts_comes_back_to_a_device_from_any_offset', async () => {
    const bytes = Buffer.alloc(limits.s3PartBytes + 12_345, 'weights');
    await fleet.admin.putFile(sha256(bytes), [bytes], bytes.length);
    const device = new HttpFetcher({
      server: fleet.server.address,
      authorization: () => Promise.resolve('Linnet-Device t0ken'),
      clock: realClock,
    });
    for (const offset of [0, 1_000_001, bytes.length - 1]) {
      const pieces: Uint8Array[] = [];
      const path = `/repo/image/files/${sha256(bytes)}`;
      for await (const piece of await device.open(path, offset)) pieces.push(piece);
      expect(Buffer.concat(pieces).equals(bytes.subarray(offset))).toBe(true);
    }
    device.close();
    expect(double.seen.some(({ query }) => query.has('X-Amz-Signature'))).toBe(redirect);
  });

  test('redirect_is_temporary_and_kept_by_no_cache', async () => {
    const [digest = ''] = [...release.files.keys()];
    const answer = await fetch(urlOf(digest), { redirect: 'manual' });
    await answer.arrayBuffer();
    expect(answer.status).toBe(redirect ? 307 : 200);
    expect(answer.headers.get('location')?.startsWith(`${double.endpoint}/models/fleet/`)).toBe(
      redirect ? true : undefined,
    );
    expect(answer.headers.get('cache-control')).toMatch(redirect ? /^no-store$/ : /immutable/);
  });

  test('head_and_unchanged_and_absent_files_are_answered_by_the_server', async () => {
    const [[digest, bytes] = ['', new Uint8Array()]] = release.files;
    const head = await fetch(urlOf(digest), { method: 'HEAD', redirect: 'manual' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, `${bytes.length}`]);
    // Without it, fetch would ask for a fresh copy.
    const headers = { 'if-none-match': `"${digest}"`, 'cache-control': 'max-age=0' };
    expect((await fetch(urlOf(digest), { headers, redirect: 'manual' })).status).toBe(304);
    expect((await fetch(urlOf('ab'.repeat(32)), { redirect: 'manual' })).status).toBe(404);
  });

  test('store_that_refuses_is_502_and_the_server_lives_on', async () => {
    const [digest = ''] = [...release.files.keys()];
    double.trouble = () => ({ kind: 'status', status: 403, code: 'AccessDenied' });
    const answer = await fetch(urlOf(digest));
    expect([answer.status, await answer.json()]).toMatchObject([
      502,
      { code: 'artifact_store_refused' },
    ]);
    double.trouble = () => null;
    expect((await fetch(urlOf(digest))).status).toBe(200);
  });

  test('no_log_line_holds_the_secret_or_a_link', () => {
    expect(lines.join('\n')).not.toContain(S3_KEY.secretAccessKey);
    expect(lines.join('\n')).not.toContain('X-Amz-');
  });
});
