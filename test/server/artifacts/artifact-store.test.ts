// The contract of the artifact store, over all implementations: what goes in comes out, whole or
// in ranges; what does not match is refused and leaves nothing. Then what only the disk promises.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DiskArtifactStore } from '../../../server/artifacts/disk.js';
import type { ArtifactLimits, ArtifactStore, ByteRange } from '../../../server/interfaces.js';
import type { FaultCode } from '../../../shared/base/fault-codes.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { MemoryArtifactStore } from '../../sim/memory-artifacts.js';
import { DockerRegistry, hasDockerRegistry } from '../../support/docker-registry.js';
import { OciDouble, openOci } from '../../support/oci-double.js';
import { openS3, S3Double } from '../../support/s3-double.js';

let folder: string;
let remote: { stop(): Promise<void> } | null = null;
let registry: DockerRegistry | null = null;

if (!hasDockerRegistry) console.warn('docker-registry is not installed: its tests are skipped');
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'linnet-artifacts-'));
});
afterEach(async () => {
  rmSync(folder, { recursive: true, force: true });
  await remote?.stop();
  remote = null;
  registry?.remove();
  registry = null;
});

const inS3 = async (): Promise<ArtifactStore> => {
  const s3 = await new S3Double().start();
  remote = s3;
  return openS3(s3);
};

const inOci = async (): Promise<ArtifactStore> => {
  const double = await new OciDouble().start();
  remote = double;
  return openOci(double.host);
};

const inDockerRegistry = async (): Promise<ArtifactStore> => {
  registry = await new DockerRegistry().start();
  remote = registry;
  return openOci(registry.host);
};

const onDisk = (): Promise<DiskArtifactStore> =>
  DiskArtifactStore.open({ folder: join(folder, 'made', 'files'), random: realRandom });

async function* inChunks(bytes: Uint8Array, chunkBytes = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes)
    yield await Promise.resolve(bytes.subarray(at, at + chunkBytes));
}

async function namesOf(store: ArtifactStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { digest } of store.list()) found.push(digest);
  return found.sort();
}

const BYTES = Buffer.from(Array.from({ length: 70_001 }, (_, index) => (index * 7) % 251));
const DIGEST = sha256(BYTES);
const EMPTY = sha256('');
const put = (
  store: ArtifactStore,
  bytes: Uint8Array,
  limits: ArtifactLimits = { maxBytes: 1e6 },
): Promise<{ stored: boolean }> => store.put(sha256(bytes), inChunks(bytes), limits);

async function read(
  store: ArtifactStore,
  digest: string,
  range?: ByteRange,
): Promise<Buffer | null> {
  const artifact = await store.get(digest, range);
  return artifact === null ? null : Buffer.concat(await artifact.stream.toArray());
}

async function refused(attempt: Promise<unknown>, code: FaultCode): Promise<void> {
  await expect(attempt).rejects.toMatchObject({ code });
}

describe.each([
  ['disk', onDisk],
  ['memory', () => Promise.resolve(new MemoryArtifactStore())],
  ['S3', inS3],
  ['OCI', inOci],
  ...(hasDockerRegistry ? ([['docker-registry', inDockerRegistry]] as const) : []),
] as const)('artifacts in %s', (_kind, open) => {
  let store: ArtifactStore;
  beforeEach(async () => {
    store = await open();
  });

  test('stored_artifact_comes_back_whole', async () => {
    expect(await put(store, BYTES)).toEqual({ stored: true });
    expect(await store.stat(DIGEST)).toEqual({ digest: DIGEST, lengthBytes: BYTES.length });
    expect(await read(store, DIGEST)).toEqual(BYTES);
  });

  test('ranges_are_inclusive_and_report_the_whole_length', async () => {
    await put(store, BYTES);
    for (const [start, end] of [
      [0, 0],
      [0, 9],
      [999, 1001],
      [70_000, 70_000],
      [69_000, null],
      [70_000, null],
    ] as const) {
      const artifact = await store.get(DIGEST, { start, end });
      expect(artifact?.lengthBytes).toBe(BYTES.length);
      const bytes = Buffer.concat((await artifact?.stream.toArray()) ?? []);
      expect(bytes).toEqual(BYTES.subarray(start, end === null ? undefined : end + 1));
    }
  });

  test('range_outside_the_artifact_is_a_bug_of_the_caller', async () => {
    await put(store, BYTES);
    for (const range of [
      { start: 70_001, end: null },
      { start: 0, end: 70_001 },
      { start: -1, end: 3 },
    ])
      await expect((async () => store.get(DIGEST, range))()).rejects.toThrow('is not inside');
  });

  test('empty_artifact_is_an_artifact', async () => {
    expect(await put(store, Buffer.alloc(0))).toEqual({ stored: true });
    expect(await store.stat(EMPTY)).toEqual({ digest: EMPTY, lengthBytes: 0 });
    expect(await read(store, EMPTY)).toEqual(Buffer.alloc(0));
  });

  test('present_artifact_is_kept_and_the_stream_is_not_read', async () => {
    await put(store, BYTES);
    let reads = 0;
    const stream = (async function* () {
      reads += 1;
      yield await Promise.resolve(Buffer.from('other'));
    })();
    expect(await store.put(DIGEST, stream, { maxBytes: 1e6 })).toEqual({ stored: false });
    expect(reads).toBe(0);
    expect(await read(store, DIGEST)).toEqual(BYTES);
  });

  test('upload_with_another_digest_is_refused_and_leaves_nothing', async () => {
    await refused(
      store.put(sha256('a'), inChunks(Buffer.from('b')), { maxBytes: 9 }),
      'file_digest',
    );
    await refused(store.put(DIGEST, inChunks(BYTES.subarray(1)), { maxBytes: 1e6 }), 'file_digest');
    await refused(store.put(DIGEST, inChunks(Buffer.alloc(0)), { maxBytes: 1e6 }), 'file_digest');
    expect(await namesOf(store)).toEqual([]);
    expect(await store.stat(DIGEST)).toBeNull();
  });

  test('upload_of_another_length_is_refused_and_leaves_nothing', async () => {
    const length = BYTES.length;
    await refused(put(store, BYTES, { maxBytes: length - 1 }), 'file_length');
    await refused(put(store, BYTES, { maxBytes: 1e6, lengthBytes: length - 1 }), 'file_length');
    await refused(put(store, BYTES, { maxBytes: 1e6, lengthBytes: length + 1 }), 'file_length');
    await refused(put(store, BYTES, { maxBytes: 1e6, lengthBytes: 1e6 + 1 }), 'file_length');
    expect(await namesOf(store)).toEqual([]);
    expect(await put(store, BYTES, { maxBytes: length, lengthBytes: length })).toEqual({
      stored: true,
    });
  });

  test('too_long_an_upload_is_stopped_before_its_end', async () => {
    let sent = 0;
    const endless = (async function* () {
      for (;;) {
        sent += 1000;
        yield await Promise.resolve(Buffer.alloc(1000));
      }
    })();
    await refused(store.put(DIGEST, endless, { maxBytes: 10_000 }), 'file_length');
    expect(sent).toBe(11_000);
  });

  test('name_that_is_not_a_digest_is_refused_and_reads_nothing', async () => {
    for (const name of [
      '../../etc/passwd',
      '',
      DIGEST.toUpperCase(),
      DIGEST.slice(1),
      `${DIGEST}0`,
    ]) {
      await refused(store.put(name, inChunks(BYTES), { maxBytes: 1e6 }), 'message_undecodable');
      expect(await store.stat(name)).toBeNull();
      expect(await store.get(name)).toBeNull();
      expect(await store.delete(name)).toBe(false);
    }
  });

  test('stream_that_breaks_passes_its_error_and_leaves_nothing', async () => {
    const broken = (async function* () {
      yield await Promise.resolve(BYTES.subarray(0, 5000));
      throw new Error('the connection was reset');
    })();
    await expect(store.put(DIGEST, broken, { maxBytes: 1e6 })).rejects.toThrow(
      'the connection was reset',
    );
    expect(await namesOf(store)).toEqual([]);
    expect(await put(store, BYTES)).toEqual({ stored: true });
  });

  test('absent_artifact_is_null', async () => {
    expect(await store.stat(DIGEST)).toBeNull();
    expect(await store.get(DIGEST)).toBeNull();
    expect(await store.get(DIGEST, { start: 5, end: null })).toBeNull();
    expect(await store.delete(DIGEST)).toBe(false);
  });

  test('deleted_artifact_is_gone_and_can_be_stored_again', async () => {
    await put(store, BYTES);
    expect(await store.delete(DIGEST)).toBe(true);
    expect(await store.stat(DIGEST)).toBeNull();
    expect(await read(store, DIGEST)).toBeNull();
    expect(await put(store, BYTES)).toEqual({ stored: true });
  });

  test('list_names_every_artifact_with_its_length', async () => {
    await put(store, BYTES);
    await put(store, Buffer.from('abc'));
    const found: [string, number][] = [];
    for await (const { digest, lengthBytes } of store.list()) found.push([digest, lengthBytes]);
    expect(new Map(found)).toEqual(
      new Map([
        [DIGEST, BYTES.length],
        [sha256('abc'), 3],
      ]),
    );
  });

  test('same_upload_many_times_at_once_is_one_artifact', async () => {
    const answers = await Promise.all(Array.from({ length: 5 }, () => put(store, BYTES)));
    expect(answers.some(({ stored }) => stored)).toBe(true);
    expect(await namesOf(store)).toEqual([DIGEST]);
    expect(await read(store, DIGEST)).toEqual(BYTES);
  });
});

describe('artifacts on the disk', () => {
  const files = (): string[] => readdirSync(join(folder, 'made', 'files'));

  test('artifact_is_a_file_named_by_its_digest_and_survives_a_restart', async () => {
    await put(await onDisk(), BYTES);
    expect(files()).toEqual([DIGEST]);
    expect(readFileSync(join(folder, 'made', 'files', DIGEST))).toEqual(BYTES);
    expect(await read(await onDisk(), DIGEST)).toEqual(BYTES);
  });

  test('unfinished_upload_is_under_another_name_and_a_restart_removes_it', async () => {
    const store = await onDisk();
    let during: string[] = [];
    const slow = Readable.from(
      (async function* () {
        yield await Promise.resolve(BYTES.subarray(0, 5000));
        during = files();
        yield BYTES.subarray(5000);
      })(),
    );
    await store.put(DIGEST, slow, { maxBytes: 1e6 });
    expect(during.length).toBe(1);
    expect(during).not.toEqual([DIGEST]);
    writeFileSync(join(folder, 'made', 'files', during[0] ?? ''), 'what a power cut left');
    expect(await namesOf(store)).toEqual([DIGEST]);
    await onDisk();
    expect(files()).toEqual([DIGEST]);
  });
});
