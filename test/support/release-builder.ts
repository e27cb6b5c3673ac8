// A release to build, in a temporary folder: a very small but real ONNX model, a spec, probe inputs,
// and keys.
import { writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildBundle, type Built } from '../../firmware-tools/release/bundle/build.js';
import { encodeNpy } from '../../firmware-tools/model/input-data/npy.js';
import { makeNode } from '../../firmware-tools/model/onnx/nodes.js';
import { ElementType, makeTensor, makeValue } from '../../firmware-tools/model/onnx/tensors.js';
import { realRandom } from '../../shared/platform/clock.js';
import { sha256 } from '../../shared/base/bytes.js';
import type { KeyRing } from '../../shared/trust/key-ring.js';
import { signerFromSeed, type Signer } from '../../shared/trust/signer.js';
import { onnxModel } from './onnx-models.js';

export const releaseKey = signerFromSeed(Buffer.from(sha256('release key'), 'hex'));
export const otherKey = signerFromSeed(Buffer.from(sha256('somebody else'), 'hex'));

export function ringOf(...keys: Signer[]): KeyRing {
  return {
    keys: Object.fromEntries(keys.map((key) => [key.keyId, key.publicKey])),
    keyids: keys.map((key) => key.keyId),
    threshold: 1,
  };
}

/** logits = x + bias, x float32 [N, 2]. */
export function smallModel(bias: readonly [number, number] = [0.5, -0.5]): Uint8Array {
  return onnxModel({
    nodes: [makeNode('Add', 'add', ['x', 'bias'], ['logits'])],
    initializers: [makeTensor('bias', [2], Float32Array.from(bias))],
    inputs: [makeValue('x', ElementType.float32, ['N', 2])],
    outputs: [makeValue('logits', ElementType.float32, ['N', 2])],
  });
}

export const smallSpec = (version = '1.0.0', more = ''): string => `
component = "small"
version = "${version}"
description = "adds a bias"
hardware = ["sim-x86", "arm64"]
model = "small.onnx"
${more}
[classifier]
output = "logits"
scale = "logits"
labels = ["no", "yes"]
[ranges.x]
min = -10.0
max = 10.0
[probes]
inputs = "probes.npy"
[contract]
peak_memory_mib = 100
p99_latency_ms = 50
[lineage]
training_data_sha256 = "${'ab'.repeat(32)}"
`;

export const labelsFile = '[[files]]\npath = "labels.txt"\nrole = "labels"';

/** Writes model, probes, labels and spec into `folder`; returns the spec's path. */
export function writeSpec(
  folder: string,
  spec: string = smallSpec('1.0.0', labelsFile),
  model: Uint8Array = smallModel(),
): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'small.onnx'), model);
  writeFileSync(join(folder, 'labels.txt'), 'no\nyes\n');
  writeFileSync(
    join(folder, 'probes.npy'),
    encodeNpy({ dtype: 'f4', shape: [3, 2], data: Float32Array.from([0, 1, 2, 3, -1, 0.25]) }),
  );
  const file = join(folder, 'release.toml');
  writeFileSync(file, spec);
  return file;
}

export function build(
  folder: string,
  spec: string,
  out: string,
  key: Signer = releaseKey,
): Promise<Built> {
  return buildBundle(spec, key, join(folder, out), realRandom);
}
