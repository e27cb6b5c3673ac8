// Files that arrive encoded: fetch, resume, limits and digest checks hold for any codec.
import { beforeEach, describe, expect, it } from 'vitest';
import { chooseEncoding } from '../../../../agent/update/codec/codec.js';
import { sha256, utf8 } from '../../../../shared/base/bytes.js';
import { limits } from '../../../../shared/base/limits.js';
import { bootDevice, settle, type SimDevice } from '../../../sim/device.js';
import { SimDisk } from '../../../sim/disk.js';
import { seeded } from '../../../support/random.js';
import { gzipCodec, xorCodec, type TestCodec } from '../../../sim/codecs.js';
import { assignmentFor, simRelease, type SimRelease } from '../../../sim/release.js';

const v1 = simRelease('1.0.0');
const body = utf8(`${'a model that compresses well '.repeat(40)}\n`);
const makers = { xor: xorCodec, gzip: gzipCodec };

let disk: SimDisk;
let codec: TestCodec;
let encoded: Uint8Array;
let release: SimRelease;
let device: SimDevice;

/** A device on 1.0.0 that has the codec and is offered an encoded 1.1.0. */
async function offered(name: keyof typeof makers, bytes?: Uint8Array): Promise<void> {
  codec = makers[name]();
  encoded = bytes ?? codec.encode(body);
  release = simRelease('1.1.0', { body, encoded: { codec: name, bytes: encoded } });
  device = await bootDevice(disk, [v1, release], { codecs: [codec] });
}

const outcome = () => device.driver.record.outcome;
/** Offsets at which a file was asked for. */
const opened = (bytes: Uint8Array): number[] =>
  device.fetcher.opened
    .filter((path) => path.includes(sha256(bytes)))
    .map((path) => Number(path.split('@')[1]));

beforeEach(async () => {
  disk = new SimDisk(seeded(1));
  await settle(await bootDevice(disk, [v1]), assignmentFor(v1, 1));
});

describe.each(Object.keys(makers) as (keyof typeof makers)[])('codec_%s', (name) => {
  it('file_is_fetched_encoded_and_the_update_is_confirmed', async () => {
    await offered(name);
    await settle(device, assignmentFor(release, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed', assignmentId: 2 });
    expect(opened(encoded)).toEqual([0]);
    expect(opened(body)).toEqual([]);
    expect(codec.decodedBytes).toBe(encoded.length);
    const stored = await disk.read('/data/components/digits/slots/b/model.onnx', 1e6);
    expect(sha256(stored ?? new Uint8Array())).toBe(sha256(body));
  });

  it('interrupted_transfer_resumes_at_the_encoded_byte_where_it_ended', async () => {
    await offered(name);
    device.fetcher.cutAfter = 50;
    await settle(device, assignmentFor(release, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed' });
    expect(opened(encoded).slice(0, 2)).toEqual([0, 50]);
    expect(codec.decodedBytes).toBe(encoded.length);
  });

  it('progress_counts_the_bytes_that_are_transferred', async () => {
    await offered(name);
    device.fetcher.tamper = (bytes) => {
      device.clock.at += limits.inferenceEveryMs; // Progress is reported once in this time.
      return bytes;
    };
    await settle(device, assignmentFor(release, 2));
    const [, probes] = release.manifest.files;
    const totals = device.reports.flatMap(({ kind, body: report }) => {
      const { progress } = report as { progress?: { doneBytes: number; totalBytes: number } };
      return kind === 'update' && progress ? [progress] : [];
    });
    const total = encoded.length + (probes?.length ?? 0);
    expect(totals.length).toBeGreaterThan(0);
    for (const { doneBytes, totalBytes } of totals) {
      expect(totalBytes).toBe(total);
      expect(doneBytes).toBeLessThanOrEqual(total);
    }
  });

  it('encoded_bytes_torn_once_are_fetched_again', async () => {
    await offered(name);
    let torn = 0;
    device.fetcher.tamper = (bytes) => {
      const copy = Uint8Array.from(bytes);
      if (torn++ === 0) copy[5] = (copy[5] ?? 0) ^ 1;
      return copy;
    };
    await settle(device, assignmentFor(release, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed' });
    expect(opened(encoded)).toEqual([0, 0]);
  });

  it('tampered_encoded_bytes_never_reach_the_decoder', async () => {
    await offered(name);
    device.fetcher.tamper = (bytes) => {
      const copy = Uint8Array.from(bytes);
      copy[5] = (copy[5] ?? 0) ^ 1;
      return copy;
    };
    await settle(device, assignmentFor(release, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'file_digest' });
    expect(codec.decodedBytes).toBe(0);
    expect(device.runtime.history).toEqual(['1.0.0']);
  });

  it('encoding_of_other_bytes_is_refused', async () => {
    const other = Uint8Array.from(body);
    other[3] = 0x21;
    await offered(name, makers[name]().encode(other));
    await settle(device, assignmentFor(release, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'file_digest' });
    expect(device.runtime.history).toEqual(['1.0.0']);
  });

  it('encoding_that_decodes_to_more_or_fewer_bytes_is_refused', async () => {
    for (const other of [body.subarray(0, body.length - 9), Buffer.concat([body, body])]) {
      const bytes = makers[name]().encode(other);
      if (bytes.length >= body.length) continue; // Never chosen.
      await offered(name, bytes);
      await settle(device, assignmentFor(release, device.driver.record.assignmentId + 1));
      expect(outcome()).toMatchObject({ result: 'refused', code: 'file_length' });
      expect(device.runtime.history).toEqual(['1.0.0']);
    }
  });

  it('device_without_the_codec_fetches_the_file_as_it_is', async () => {
    await offered(name);
    device = await bootDevice(disk, [v1, release], { codecs: [] });
    await settle(device, assignmentFor(release, 2));
    expect(outcome()).toMatchObject({ result: 'confirmed' });
    expect(opened(encoded)).toEqual([]);
    expect(opened(body)).toEqual([0]);
  });

  it('disk_needs_room_for_both_forms', async () => {
    await offered(name);
    disk.freeBytesLeft = encoded.length + 1024 * 1024;
    await settle(device, assignmentFor(release, 2));
    expect(outcome()).toMatchObject({ result: 'refused', code: 'contract_disk' });
    expect(device.fetcher.opened).toEqual([]);
  });
});

describe('the choice of an encoding', () => {
  const file = { name: 'f', role: 'other', sha256: 'a'.repeat(64), length: 100 };
  const codecs = [xorCodec(), gzipCodec()];
  const encoding = (name: string, length: number) => ({
    codec: name,
    sha256: 'b'.repeat(64),
    length,
  });

  it.each([
    ['none', undefined, null],
    ['unknown', [encoding('zstd', 1)], null],
    ['shortest', [encoding('xor', 60), encoding('gzip', 50)], 'gzip'],
    ['shortest_first', [encoding('gzip', 50), encoding('xor', 60)], 'gzip'],
    ['not_shorter_than_the_file', [encoding('gzip', 100)], null],
  ] as const)('%s', (_name, encodings, expected) => {
    const entry = encodings === undefined ? file : { ...file, encodings: [...encodings] };
    expect(chooseEncoding(entry, codecs)?.codec.name ?? null).toBe(expected);
  });
});
