// What only the store in S3 promises, against a strict double: uploads in parts with bounded memory
// that leave nothing when they fail, retries within limits, clear faults, links, both styles of
// address. The clock passes waits at once and fires the limits of idleness only when told to.
import dns from 'node:dns';
import http from 'node:http';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { ArtifactStore } from '../../../server/interfaces.js';
import { s3Location } from '../../../server/artifacts/s3-settings.js';
import type { Clock, Log } from '../../../shared/base/interfaces.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { limits } from '../../../shared/base/limits.js';
import { MIB } from '../../../shared/base/units.js';
import { openS3, S3_KEY, S3Double, type S3Seen, type S3Trouble } from '../../support/s3-double.js';

let double: S3Double;
let store: ArtifactStore;
let waits: number[];
let idle: Set<() => void>;
let nowMs: number;

const clock: Clock = {
  now: () => nowMs,
  monotonic: () => nowMs,
  after: (ms, fn) => {
    if (ms < limits.storeIdleMs) {
      waits.push(ms);
      setImmediate(fn);
      return () => {};
    }
    idle.add(fn);
    return () => idle.delete(fn);
  },
};
const random = { bytes: (count: number) => new Uint8Array(count), fraction: () => 0.5 };

beforeEach(async () => {
  waits = [];
  idle = new Set();
  nowMs = Date.UTC(2026, 10, 2);
  double = await new S3Double().start();
  double.now = () => nowMs;
  store = await openS3(double, { clock, random });
  double.seen.length = 0;
});
afterEach(async () => {
  vi.restoreAllMocks();
  store.close?.();
  await double.stop();
});

const SMALL = Buffer.from('a small model');
const LARGE = Buffer.alloc(2 * limits.s3PartBytes + 5, 'linnet');
const KEY = (bytes: Uint8Array): string => `some/where/${sha256(bytes)}`;

async function* inChunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += MIB)
    yield await Promise.resolve(bytes.subarray(at, at + MIB));
}
const put = (bytes: Uint8Array, digest = sha256(bytes)): Promise<{ stored: boolean }> =>
  store.put(digest, inChunks(bytes), { maxBytes: 1024 * MIB });

const isPut = ({ method }: S3Seen): boolean => method === 'PUT';
const isPart = ({ method, query }: S3Seen): boolean => method === 'PUT' && query.has('partNumber');
const isEnd = ({ method, query }: S3Seen): boolean => method === 'POST' && query.has('uploadId');
const isRead = ({ method }: S3Seen): boolean => method === 'GET';

/** The first `times` of the requests that `which` names go wrong. */
function trouble(which: (seen: S3Seen) => boolean, times: number, kind: S3Trouble): void {
  let left = times;
  double.trouble = (seen) => (which(seen) && (left -= 1) >= 0 ? kind : null);
}
const FAILING: S3Trouble = { kind: 'status', status: 500, code: 'InternalError' };
const SLOW: S3Trouble = { kind: 'status', status: 503, code: 'SlowDown' };
const DENIED: S3Trouble = { kind: 'status', status: 403, code: 'AccessDenied' };

function nothingIsLeft(): void {
  expect([...double.objects.keys()]).toEqual([]);
  expect(double.uploads.size).toBe(0);
}

test('small_artifact_is_one_put_and_large_one_is_parts', async () => {
  await put(SMALL);
  expect(double.seen.map(({ method }) => method)).toEqual(['HEAD', 'PUT']);
  double.seen.length = 0;
  await put(LARGE);
  expect(double.seen.filter(isPart).length).toBe(3);
  expect(double.objects.get(KEY(LARGE))?.equals(LARGE)).toBe(true);
  expect(double.uploads.size).toBe(0);
});

test('artifact_of_exactly_one_part_is_one_put', async () => {
  const bytes = LARGE.subarray(0, limits.s3PartBytes);
  await put(bytes);
  expect(double.seen.map(({ method }) => method)).toEqual(['HEAD', 'PUT']);
});

test('large_artifact_is_absent_until_its_last_byte_was_verified', async () => {
  const during: number[] = [];
  double.trouble = (seen) => {
    if (isPart(seen)) during.push(double.objects.size);
    return null;
  };
  await put(LARGE);
  expect(during).toEqual([0, 0, 0]);
});

test('large_upload_with_another_digest_leaves_nothing', async () => {
  await expect(put(LARGE, sha256('other'))).rejects.toMatchObject({ code: 'file_digest' });
  expect(double.seen.some(isPart)).toBe(true);
  nothingIsLeft();
});

test('large_upload_whose_sender_breaks_leaves_nothing', async () => {
  const broken = (async function* () {
    yield* inChunks(LARGE);
    throw new Error('the sender went away');
  })();
  await expect(store.put(sha256(LARGE), broken, { maxBytes: 1e9 })).rejects.toThrow('went away');
  expect(double.seen.some(isPart)).toBe(true);
  nothingIsLeft();
});

test('upload_that_fails_ends_the_stream_of_its_sender', async () => {
  let ended = false;
  const stream = (async function* () {
    try {
      yield* inChunks(LARGE);
    } finally {
      ended = true;
    }
  })();
  trouble(isPart, Infinity, DENIED);
  const attempt = store.put(sha256(LARGE), stream, { maxBytes: 1e9 });
  await expect(attempt).rejects.toMatchObject({ code: 'artifact_store_refused' });
  expect(ended).toBe(true);
  nothingIsLeft();
});

test.each([
  ['error 500', FAILING],
  ['error 503', SLOW],
  ['cut within the body', { kind: 'cut' }],
  ['answer lost', { kind: 'cut after work' }],
] as const)('put_is_tried_again_after_%s', async (_name, kind) => {
  trouble(isPut, 2, kind);
  expect(await put(SMALL)).toEqual({ stored: true });
  expect(double.objects.get(KEY(SMALL))?.equals(SMALL)).toBe(true);
  expect(waits).toEqual([150, 300]);
  waits.length = 0;
  trouble(isPart, 2, kind);
  await put(LARGE);
  expect(double.objects.get(KEY(LARGE))?.equals(LARGE)).toBe(true);
  expect(waits).toEqual([150, 300]);
});

test('tries_are_limited_and_a_large_upload_is_then_aborted', async () => {
  trouble(isPart, Infinity, FAILING);
  await expect(put(LARGE)).rejects.toMatchObject({
    code: 'artifact_store_unreachable',
    detail: expect.stringContaining('PUT answered 500 (InternalError of the double)') as string,
  });
  expect(double.seen.filter(isPart).length).toBe(limits.storeTriesMaxCount);
  nothingIsLeft();
});

test('end_of_an_upload_that_fails_after_its_head_is_tried_again', async () => {
  trouble(isEnd, 1, { kind: 'failed end' });
  await put(LARGE);
  expect(double.seen.filter(isEnd).length).toBe(2);
  expect(double.objects.get(KEY(LARGE))?.equals(LARGE)).toBe(true);
});

test('end_of_an_upload_whose_answer_was_lost_is_an_end', async () => {
  trouble(isEnd, 1, { kind: 'cut after work' });
  expect(await put(LARGE)).toEqual({ stored: true });
  expect(double.seen.filter(isEnd).length).toBe(2);
});

test('upload_that_disappeared_is_no_success', async () => {
  double.trouble = (seen) => {
    if (isEnd(seen)) double.uploads.clear();
    return null;
  };
  await expect(put(LARGE)).rejects.toMatchObject({ code: 'artifact_store_unreachable' });
});

test('abort_that_fails_is_logged_and_the_first_fault_is_told', async () => {
  const warned: object[] = [];
  const log: Log = { ...silentLog, warn: (fields) => warned.push(fields) };
  store.close?.();
  store = await openS3(double, { clock, random, log });
  double.trouble = (seen) => (isPart(seen) || seen.method === 'DELETE' ? DENIED : null);
  await expect(put(LARGE)).rejects.toMatchObject({ code: 'artifact_store_refused' });
  expect(warned).toMatchObject([{ digest: sha256(LARGE) }]);
});

test('refusal_is_not_tried_again_and_says_what_the_store_said', async () => {
  trouble(isPut, Infinity, DENIED);
  await expect(put(SMALL)).rejects.toMatchObject({
    code: 'artifact_store_refused',
    detail: 's3://models/some/where: PUT answered 403 (AccessDenied of the double)',
  });
  expect(waits).toEqual([]);
  nothingIsLeft();
});

test('wrong_secret_or_region_is_refused_at_the_start_without_showing_the_secret', async () => {
  const secretAccessKey = 'wrong-and-secret';
  const attempt = openS3(double, { clock, credentials: { ...S3_KEY, secretAccessKey } });
  const error = await attempt.catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: 'artifact_store_refused' });
  expect(String(error)).toContain('SignatureDoesNotMatch');
  expect(String(error)).not.toContain(secretAccessKey);
  const location = s3Location('s3://models', {
    ...{ endpoint: double.endpoint, region: 'other-1', path_style: true },
  });
  await expect(openS3(double, { clock, location })).rejects.toThrow('AuthorizationHeaderMalformed');
});

test('store_that_does_not_answer_at_the_start_is_a_warning', async () => {
  const warned: string[] = [];
  const log: Log = { ...silentLog, warn: (_fields, message) => warned.push(message) };
  double.trouble = () => SLOW;
  const opened = await openS3(double, { clock, random, log });
  opened.close();
  expect(warned).toEqual(['the artifact store does not answer']);
});

test('answer_cut_short_is_a_fault_of_the_stream', async () => {
  await put(LARGE);
  trouble(isRead, 1, { kind: 'truncated' });
  const artifact = await store.get(sha256(LARGE));
  await expect(artifact?.stream.toArray()).rejects.toMatchObject({
    code: 'artifact_store_unreachable',
  });
});

test('page_of_the_list_cut_short_is_asked_for_again', async () => {
  await put(SMALL);
  trouble(isRead, 1, { kind: 'truncated' });
  const found: string[] = [];
  for await (const { digest } of store.list()) found.push(digest);
  expect(found).toEqual([sha256(SMALL)]);
  expect(waits).toEqual([150]);
});

test('store_that_goes_silent_is_given_up', async () => {
  trouble(isRead, Infinity, { kind: 'silent' });
  const attempt = expect(store.get(sha256(SMALL))).rejects.toMatchObject({
    code: 'artifact_store_unreachable',
    detail: expect.stringContaining(`nothing moved for ${limits.storeIdleMs} ms`) as string,
  });
  for (let tries = 1; tries <= limits.storeTriesMaxCount; tries += 1) {
    await vi.waitUntil(() => double.seen.length === tries, { timeout: 20_000 });
    for (const fire of [...idle]) fire();
  }
  await attempt;
});

test('artifact_that_nobody_reads_is_let_go', async () => {
  await put(LARGE);
  const artifact = await store.get(sha256(LARGE));
  artifact?.stream.destroy();
  await vi.waitUntil(() => idle.size === 0, { timeout: 20_000 });
});

test('list_goes_through_all_pages_and_passes_foreign_objects_over', async () => {
  const all = Array.from({ length: 8 }, (_, index) => Buffer.from(`model ${index}`));
  for (const bytes of all) await put(bytes);
  double.objects.set('some/where/readme.txt', SMALL);
  double.objects.set(`elsewhere/${sha256(SMALL)}`, SMALL);
  double.seen.length = 0;
  const found: string[] = [];
  for await (const { digest } of store.list()) found.push(digest);
  expect(found.sort()).toEqual(all.map((bytes) => sha256(bytes)).sort());
  expect(double.seen.length).toBe(3);
});

test('upload_of_64_mebibytes_holds_two_parts_at_most', async () => {
  const chunk = Buffer.alloc(64 * 1024, 'weights');
  let given = 0;
  let most = 0;
  const bytes = async function* (): AsyncGenerator<Uint8Array> {
    for (; given < 64 * MIB; given += chunk.length) {
      most = Math.max(most, given - double.received);
      yield await Promise.resolve(chunk);
    }
  };
  const digest = sha256(Buffer.alloc(64 * MIB, chunk));
  await store.put(digest, bytes(), { maxBytes: 64 * MIB, lengthBytes: 64 * MIB });
  expect(double.objects.get(`some/where/${digest}`)?.length).toBe(64 * MIB);
  expect(most).toBeLessThanOrEqual(2 * limits.s3PartBytes);
});

test('download_of_64_mebibytes_waits_for_its_reader', async () => {
  const bytes = Buffer.alloc(64 * MIB, 'weights');
  const digest = sha256(bytes);
  double.objects.set(`some/where/${digest}`, bytes);
  const artifact = await store.get(digest);
  let read = 0;
  let most = 0;
  for await (const chunk of artifact?.stream ?? []) {
    await new Promise((resolve) => setImmediate(resolve));
    read += (chunk as Buffer).length;
    most = Math.max(most, double.sent - read);
  }
  expect(read).toBe(bytes.length);
  // What the sockets of the kernel hold is in it.
  expect(most).toBeLessThanOrEqual(24 * MIB);
});

test('link_reads_for_minutes_with_ranges_and_needs_no_header', async () => {
  await put(SMALL);
  const link = store.link?.(sha256(SMALL)) ?? '';
  expect(link).not.toContain(S3_KEY.secretAccessKey);
  const whole = await fetch(link);
  expect(Buffer.from(await whole.arrayBuffer())).toEqual(SMALL);
  const range = await fetch(link, { headers: { range: 'bytes=2-' } });
  expect([range.status, await range.text()]).toEqual([206, SMALL.subarray(2).toString()]);
  expect((await fetch(link, { method: 'PUT', body: 'x' })).status).toBe(403);
  expect((await fetch(link.replace(sha256(SMALL), sha256(LARGE)))).status).toBe(403);
  nowMs += limits.s3LinkMs + 1000;
  expect((await fetch(link)).status).toBe(403);
});

test('no_links_where_they_are_not_wanted', async () => {
  const closed = await openS3(double, { clock, links: false });
  expect(closed.link(sha256(SMALL))).toBeNull();
  expect(store.link?.('../other')).toBeNull();
  closed.close();
});

test('bucket_as_a_host_and_a_session_token_are_signed', async () => {
  const own = dns.lookup;
  vi.spyOn(dns, 'lookup').mockImplementation(((_name: string, ...rest: never[]) =>
    (own as (...all: unknown[]) => void)('127.0.0.1', ...rest)) as typeof dns.lookup);
  const location = s3Location('s3://models', {
    ...{ endpoint: `http://s3.test:${double.port}`, region: double.region, path_style: false },
  });
  store.close?.();
  const credentials = { ...S3_KEY, sessionToken: 'of+a/session=' };
  store = await openS3(double, { clock, location, credentials });
  await put(SMALL);
  const last = double.seen.at(-1);
  expect(last?.headers.host).toBe(`models.s3.test:${double.port}`);
  expect(last?.headers['x-amz-security-token']).toBe('of+a/session=');
  expect(double.objects.get(sha256(SMALL))).toEqual(SMALL);
  const link = new URL(store.link?.(sha256(SMALL)) ?? '');
  const status = await new Promise((resolve, reject) =>
    http
      .get(
        {
          ...{ host: '127.0.0.1', port: double.port, path: link.pathname + link.search },
          headers: { host: link.host },
        },
        (response) => resolve(response.resume().statusCode),
      )
      .on('error', reject),
  );
  expect(status).toBe(200);
});
