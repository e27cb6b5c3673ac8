// A publisher who uploads and never publishes: quota, expiry, collection; and what must never be
// collected.
import { beforeEach, describe, expect, test } from 'vitest';
import { Uploads } from '../../../server/artifacts/uploads.js';
import { Store } from '../../../server/store/store.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { ManualClock } from '../../sim/manual-clock.js';
import { MemoryArtifactStore } from '../../sim/memory-artifacts.js';

let clock: ManualClock;
let store: Store;
let artifacts: MemoryArtifactStore;
let published: Set<string>;
let uploads: Uploads;
beforeEach(async () => {
  clock = new ManualClock();
  store = await Store.open(':memory:');
  artifacts = new MemoryArtifactStore();
  published = new Set();
  uploads = new Uploads({
    store: store.uploads,
    artifacts,
    clock,
    log: silentLog,
    referenced: () => Promise.resolve(published),
  });
  return () => store.close();
});

const chunks = async function* (text: string): AsyncGenerator<Uint8Array> {
  yield await Promise.resolve(Buffer.from(text));
};
async function put(text: string, more: { operator?: string; lengthBytes?: number | null } = {}) {
  const digest = sha256(text);
  await uploads.put({
    digest,
    operator: 'pat',
    lengthBytes: text.length,
    stream: chunks(text),
    ...more,
  });
  return digest;
}
const isStored = async (digest: string): Promise<boolean> =>
  (await artifacts.stat(digest)) !== null;
const rows = async (): Promise<[string, number][]> =>
  (await store.uploads.all()).map(({ digest, bytes }) => [digest, bytes]);
/** As publishing does. */
async function publish(...digests: string[]): Promise<void> {
  await uploads.claim(new Set(digests));
  for (const digest of digests) published.add(digest);
  await uploads.published(new Set(digests));
}

describe('collection', () => {
  test('upload_that_nobody_publishes_expires', async () => {
    const digest = await put('never');
    clock.pass(limits.uploadKeptMs - 1);
    expect(await uploads.collect()).toBe(0);
    expect(await isStored(digest)).toBe(true);
    clock.pass(1);
    expect(await uploads.collect()).toBe(1);
    expect([await isStored(digest), await rows()]).toEqual([false, []]);
    await put('never');
    expect(await isStored(digest)).toBe(true);
  });

  test('published_file_is_never_collected_and_fills_no_quota', async () => {
    const digest = await put('good');
    await publish(digest);
    expect(await rows()).toEqual([]);
    clock.pass(10 * limits.uploadKeptMs);
    expect(await uploads.collect()).toBe(0);
    expect(await isStored(digest)).toBe(true);
  });

  test('crash_between_publishing_and_the_row_deletes_nothing', async () => {
    const digest = await put('good');
    published.add(digest);
    clock.pass(10 * limits.uploadKeptMs);
    expect(await uploads.collect()).toBe(0);
    expect([await isStored(digest), await rows()]).toEqual([true, []]);
  });

  test('file_without_a_row_expires_from_when_it_is_found', async () => {
    const text = 'of a crash';
    await artifacts.put(sha256(text), chunks(text), { maxBytes: 100 });
    clock.pass(10 * limits.uploadKeptMs);
    expect(await uploads.collect()).toBe(0);
    expect(await rows()).toEqual([[sha256(text), text.length]]);
    clock.pass(limits.uploadKeptMs);
    expect(await uploads.collect()).toBe(1);
  });

  test('file_that_is_being_published_survives_a_collection_that_began_before', async () => {
    const digest = await put('just in time');
    clock.pass(limits.uploadKeptMs + 1);
    const racing = new Uploads({
      store: store.uploads,
      artifacts,
      clock,
      log: silentLog,
      // The collection has read what is published; now another server publishes.
      referenced: async () => {
        const before = new Set(published);
        await uploads.claim(new Set([digest]));
        return before;
      },
    });
    expect(await racing.collect()).toBe(0);
    await publish(digest);
    expect(await isStored(digest)).toBe(true);
  });

  test('file_that_is_being_deleted_refuses_its_publication_and_its_upload', async () => {
    const digest = await put('too late');
    clock.pass(limits.uploadKeptMs + 1);
    expect(await store.uploads.collect(digest, clock.now() - limits.uploadKeptMs)).toBe(true);
    await expect(uploads.claim(new Set([digest]))).rejects.toMatchObject({ code: 'conflict' });
    await expect(put('too late')).rejects.toMatchObject({ code: 'conflict' });
    // The server died there: the next pass ends it.
    expect(await uploads.collect()).toBe(1);
    await put('too late');
    await publish(digest);
    expect(await isStored(digest)).toBe(true);
  });

  test('upload_under_way_for_longer_than_the_expiry_is_kept', async () => {
    const text = 'slow';
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      yield await Promise.resolve(Buffer.from('sl'));
      clock.pass(limits.uploadKeptMs + 1);
      expect(await uploads.collect()).toBe(0);
      yield Buffer.from('ow');
    };
    await uploads.put({ digest: sha256(text), operator: 'pat', lengthBytes: 4, stream: slow() });
    expect(await uploads.collect()).toBe(0);
    expect([await isStored(sha256(text)), await rows()]).toEqual([true, [[sha256(text), 4]]]);
  });

  test('asking_for_a_file_again_keeps_it', async () => {
    const digest = await put('twice');
    clock.pass(limits.uploadKeptMs - 1);
    await put('twice');
    clock.pass(limits.uploadKeptMs - 1);
    expect(await uploads.collect()).toBe(0);
    expect(await isStored(digest)).toBe(true);
  });
});

describe('quota', () => {
  test('files_without_a_release_have_a_greatest_number_for_each_operator', async () => {
    for (let n = 0; n < limits.uploadsPerOperatorMaxCount; n++) await put(`file ${n}`);
    await expect(put('one more')).rejects.toMatchObject({ code: 'quota_exceeded' });
    // One that is there takes no more room; another operator has a quota of its own.
    await put('file 0');
    await put('other', { operator: 'quinn' });
    await publish(sha256('file 0'));
    await put('one more');
  });

  test('announced_bytes_count_before_the_first_of_them_arrives', async () => {
    const bytes = limits.releaseFileMaxBytes;
    const fits = Math.floor(limits.uploadsPerOperatorMaxBytes / bytes);
    for (let n = 0; n < fits; n++)
      await store.uploads.put({
        digest: sha256(`${n}`),
        operator: 'pat',
        bytes,
        touchedAt: clock.now(),
      });
    for (const lengthBytes of [3, null])
      await expect(put('abc', { lengthBytes })).rejects.toMatchObject({ code: 'quota_exceeded' });
    expect(await isStored(sha256('abc'))).toBe(false);
  });

  test('upload_that_fails_gives_its_room_back', async () => {
    const failing = uploads.put({
      digest: sha256('right'),
      operator: 'pat',
      lengthBytes: null,
      stream: chunks('wrong'),
    });
    await expect(failing).rejects.toMatchObject({ code: 'file_digest' });
    expect(await rows()).toEqual([]);
  });

  test('row_has_the_length_that_arrived', async () => {
    const digest = await put('abcdef', { lengthBytes: null });
    expect(await rows()).toEqual([[digest, 6]]);
  });
});
