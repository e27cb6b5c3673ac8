// Bundles as an enemy or a bad cable would leave them: every single byte changed, cut at every kind
// of place, made longer, signed by the wrong key, and repacked with consistent lies.
import { createHash } from 'node:crypto';
import {
  openSync,
  closeSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
  copyFileSync,
  appendFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { readBundle, bundleFile } from '../../firmware-tools/release/bundle/read.js';
import {
  headerBytes,
  indexBytes,
  indexOf,
  paddingBytes,
} from '../../firmware-tools/release/bundle/layout.js';
import type { Built } from '../../firmware-tools/release/bundle/build.js';
import { isFault, type FaultCode } from '../../shared/base/fault-codes.js';
import {
  manifestBytes,
  RELEASE_PAYLOAD_TYPE,
  type Manifest,
} from '../../shared/release/manifest.js';
import { sha256, utf8 } from '../../shared/base/bytes.js';
import { signEnvelope, type Envelope } from '../../shared/trust/envelope.js';
import type { KeyRing } from '../../shared/trust/key-ring.js';
import { refused } from '../support/metadata-device.js';
import { tempFolder } from '../support/temp-folders.js';
import { isWhole } from '../support/whole.js';
import { build, otherKey, releaseKey, ringOf, writeSpec } from '../support/release-builder.js';

const ring = ringOf(releaseKey);
let folder: string;
let bundle: string;
let built: Built;
let whole: Buffer;

beforeAll(async () => {
  folder = tempFolder();
  built = await build(folder, writeSpec(folder), 'small.bundle');
  bundle = join(folder, 'small.bundle');
  whole = readFileSync(bundle);
});

async function codeOf(file: string, keys: KeyRing | null = ring): Promise<string> {
  try {
    await readBundle(file, keys);
    return 'accepted';
  } catch (error) {
    if (isFault(error)) return error.code;
    throw error;
  }
}

test('an_untouched_bundle_is_verified_byte_by_byte', async () => {
  const view = await readBundle(bundle, ring);
  expect(view).toMatchObject({
    verified: true,
    bytes: whole.length,
    sha256: createHash('sha256').update(whole).digest('hex'),
  });
  expect(view.release.digest).toBe(built.release.digest);
  expect(view.files.map(({ entry }) => entry.name)).toEqual([
    'labels.txt',
    'probes.json',
    'small.onnx',
  ]);
});

/** An odd one, so that every bit of a byte has its turn. */
const BYTE_STEP = isWhole ? 1 : 7;

test(
  'tampered_byte_anywhere_in_the_file_one_at_a_time_is_refused',
  { timeout: 300_000 },
  async () => {
    const copy = join(folder, 'tampered.bundle');
    copyFileSync(bundle, copy);
    const codes = new Map<string, number>();
    const endOfEnvelope = (await readBundle(copy, ring)).files[0]?.offset ?? 0;
    const file = openSync(copy, 'r+');
    try {
      for (let at = 0; at < whole.length; at += BYTE_STEP) {
        const byte = whole[at] ?? 0;
        writeSync(file, Buffer.from([byte ^ (1 << (at % 8))]), 0, 1, at);
        // Behind the envelope the signature check passes as before and is slow in pure JavaScript:
        // made for every 67th byte only.
        const code = await codeOf(copy, at < endOfEnvelope || at % 67 === 0 ? ring : null);
        expect(code, `byte ${at}`).not.toBe('accepted');
        codes.set(code, (codes.get(code) ?? 0) + 1);
        writeSync(file, Buffer.from([byte]), 0, 1, at);
      }
    } finally {
      closeSync(file);
    }
    expect(await codeOf(copy)).toBe('accepted');
    expect([...codes.keys()].sort()).toEqual(['bundle_undecodable', 'file_digest']);
  },
);

test(
  'truncated_at_every_kind_of_length_the_bundle_is_refused_as_cut_short',
  { timeout: 120_000 },
  async () => {
    const copy = join(folder, 'short.bundle');
    const lengths = new Set([
      0,
      1,
      511,
      512,
      513,
      whole.length - 1,
      whole.length - 512,
      whole.length - 1024,
      whole.length - 1025,
    ]);
    for (let length = 0; length < whole.length; length += 97) lengths.add(length);
    for (const length of [...lengths].sort((a, b) => b - a)) {
      writeFileSync(copy, whole);
      truncateSync(copy, length);
      expect(await codeOf(copy), `cut to ${length} bytes`).toBe('bundle_truncated');
    }
  },
);

test('longer_bytes_after_the_end_are_refused', async () => {
  const copy = join(folder, 'long.bundle');
  copyFileSync(bundle, copy);
  appendFileSync(copy, Buffer.alloc(512));
  expect(await codeOf(copy)).toBe('bundle_undecodable');
});

test('not_a_bundle_at_all', async () => {
  const other = join(folder, 'other');
  for (const bytes of [
    Buffer.alloc(10_240),
    Buffer.from('GIF89a'.repeat(1000)),
    readFileSync(join(folder, 'small.onnx')),
  ]) {
    writeFileSync(other, bytes);
    expect(await codeOf(other)).toMatch(/^bundle_(undecodable|truncated)$/);
  }
  await refused(readBundle(join(folder, 'missing'), ring), 'file_unreadable');
});

describe('repacked with consistent digests', () => {
  /**
   * A bundle file around any envelope and files: what an attacker without the release key can make.
   */
  async function repack(
    name: string,
    envelope: Uint8Array,
    manifest: Manifest,
    contents: ReadonlyMap<string, Uint8Array>,
  ): Promise<string> {
    const index = indexOf(manifest, { length: envelope.length, sha256: sha256(envelope) });
    const parts: Uint8Array[] = [];
    const put = (entry: string, bytes: Uint8Array): void => {
      parts.push(
        headerBytes(entry, bytes.length),
        bytes,
        new Uint8Array(paddingBytes(bytes.length)),
      );
    };
    put('bundle.json', indexBytes(index));
    put('release.dsse.json', envelope);
    for (const { name: entry } of index.entries.slice(1))
      put(entry, contents.get(entry.slice('files/'.length)) ?? new Uint8Array());
    const file = join(folder, name);
    writeFileSync(file, Buffer.concat([...parts, new Uint8Array(1024)]));
    return file;
  }

  async function contentsOf(): Promise<Map<string, Uint8Array>> {
    const view = await readBundle(bundle, ring);
    const contents = new Map<string, Uint8Array>();
    for (const { entry } of view.files) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of bundleFile(view, entry.name)) chunks.push(chunk);
      contents.set(entry.name, Buffer.concat(chunks));
    }
    return contents;
  }

  const signed = async (manifest: Manifest, key = releaseKey): Promise<Uint8Array> => {
    const envelope = await signEnvelope(RELEASE_PAYLOAD_TYPE, manifestBytes(manifest), [key]);
    return utf8(`${JSON.stringify(envelope, null, 2)}\n`);
  };
  const check = async (file: string, code: FaultCode): Promise<unknown> =>
    refused(readBundle(file, ring), code);

  test('the_repacking_itself_makes_the_genuine_file', async () => {
    const view = await readBundle(bundle, ring);
    const file = await repack(
      'same.bundle',
      view.envelope,
      view.release.manifest,
      await contentsOf(),
    );
    expect(readFileSync(file).equals(whole)).toBe(true);
  });

  test('wrong_key_a_whole_release_signed_by_somebody_else', async () => {
    const { manifest } = (await readBundle(bundle, ring)).release;
    await check(
      await repack(
        'wrong-key.bundle',
        await signed(manifest, otherKey),
        manifest,
        await contentsOf(),
      ),
      'signature_invalid',
    );
  });

  test('tampered_manifest_other_content_under_the_old_signature', async () => {
    const view = await readBundle(bundle, ring);
    const envelope = JSON.parse(Buffer.from(view.envelope).toString()) as Envelope;
    const manifest = { ...view.release.manifest, hardware: ['anything'] };
    const forged = utf8(
      JSON.stringify({
        ...envelope,
        payload: Buffer.from(manifestBytes(manifest)).toString('base64'),
      }),
    );
    await check(
      await repack('manifest.bundle', forged, manifest, await contentsOf()),
      'signature_invalid',
    );
  });

  test('tampered_signature', async () => {
    const view = await readBundle(bundle, ring);
    const envelope = JSON.parse(Buffer.from(view.envelope).toString()) as Envelope;
    const [first] = envelope.signatures;
    if (first === undefined) throw new Error('a signature');
    const sig = Buffer.from(first.sig, 'base64');
    sig[5] = (sig[5] ?? 0) ^ 1;
    const forged = utf8(
      JSON.stringify({ ...envelope, signatures: [{ ...first, sig: sig.toString('base64') }] }),
    );
    await check(
      await repack('signature.bundle', forged, view.release.manifest, await contentsOf()),
      'signature_invalid',
    );
  });

  test('another_payload_type_under_a_good_signature_is_no_release', async () => {
    const { manifest } = (await readBundle(bundle, ring)).release;
    const envelope = utf8(
      JSON.stringify(
        await signEnvelope('application/vnd.other+json', manifestBytes(manifest), [releaseKey]),
      ),
    );
    await check(
      await repack('type.bundle', envelope, manifest, await contentsOf()),
      'signature_invalid',
    );
  });

  test('manifest_undecodable_signed_but_not_what_its_schema_says', async () => {
    const { manifest } = (await readBundle(bundle, ring)).release;
    const broken = { ...manifest, contract: { peakMemoryMiB: -1, p99LatencyMs: 50 } };
    await check(
      await repack('schema.bundle', await signed(broken), broken, await contentsOf()),
      'manifest_undecodable',
    );
  });

  test('swapped_model_the_manifest_and_its_signature_stay_the_model_is_another', async () => {
    const view = await readBundle(bundle, ring);
    const contents = await contentsOf();
    const model = Buffer.from(contents.get('small.onnx') ?? []);
    model[model.length - 30] = (model[model.length - 30] ?? 0) ^ 0xff;
    contents.set('small.onnx', model);
    await check(
      await repack('model.bundle', view.envelope, view.release.manifest, contents),
      'file_digest',
    );
  });

  test('mix_and_match_the_index_of_one_release_around_the_manifest_of_another', async () => {
    const second = tempFolder();
    await build(
      second,
      writeSpec(
        second,
        readFileSync(join(folder, 'release.toml'), 'utf8').replace('1.0.0', '1.0.1'),
      ),
      'other.bundle',
    );
    const other = await readBundle(join(second, 'other.bundle'), ring);
    const mine = await readBundle(bundle, ring);
    const lie = await repack(
      'mix.bundle',
      other.envelope,
      { ...mine.release.manifest },
      await contentsOf(),
    );
    await check(lie, 'bundle_undecodable');
  });

  test('a_file_that_changes_after_it_was_verified_is_never_yielded_whole', async () => {
    const copy = join(folder, 'changing.bundle');
    copyFileSync(bundle, copy);
    const view = await readBundle(copy, ring);
    const at = view.files.find(({ entry }) => entry.name === 'small.onnx')?.offset ?? 0;
    const file = openSync(copy, 'r+');
    writeSync(file, Buffer.from([0xff]), 0, 1, at);
    closeSync(file);
    const { entry } = view.files.find((one) => one.entry.name === 'small.onnx')!;
    let yielded = 0;
    await refused(
      (async () => {
        for await (const chunk of bundleFile(view, 'small.onnx')) yielded += chunk.length;
      })(),
      'file_digest',
    );
    expect(yielded).toBeLessThan(entry.length);
  });
});
