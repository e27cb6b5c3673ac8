// Releases for the tests of the inference room, in real files: tiny ONNX models built here, probes
// computed by hand, manifests as `linnet bundle build` writes them. They have no signature: the
// update room verifies releases, and the inference room gets verified ones.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Installed } from '../../agent/interfaces.js';
import { compiledChild } from '../../agent/inference/model-process/spawn-child.js';
import { tensorOf, type Tensor } from '../../agent/inference/model/tensor.js';
import { makeNode } from '../../firmware-tools/model/onnx/nodes.js';
import type { NodeProto, TensorProto } from '../../firmware-tools/model/onnx/onnx_pb.js';
import { ElementType, makeTensor, makeValue } from '../../firmware-tools/model/onnx/tensors.js';
import { onnxModel } from './onnx-models.js';
import type { Manifest } from '../../shared/release/manifest.js';
import type { Classifier, Datatype, TensorSpec } from '../../shared/release/model-manifest.js';
import { manifestBytes } from '../../shared/release/manifest.js';
import { sha256 } from '../../shared/base/bytes.js';

/** The compiled model process, from the sources as well as from dist/. */
export const childPath = compiledChild.includes('/dist/')
  ? compiledChild
  : compiledChild.replace('/agent/inference/', '/dist/agent/inference/');

export interface Recipe {
  version?: string;
  component?: string;
  model: Uint8Array;
  inputs: TensorSpec[];
  outputs: TensorSpec[];
  classifier?: Classifier | null;
  probes: { inputs: Tensor[]; outputs: Tensor[] }[];
  tolerance?: { absolute: number; relative: number };
  contract?: Partial<Manifest['contract']>;
}

/** Writes a release's folder and returns it as the update room does after verifying it. */
export function install(root: string, recipe: Recipe): Installed {
  const { version = '1.0.0', component = 'digits', contract = {} } = recipe;
  const base64 = (tensors: Tensor[]) =>
    tensors.map((t) => ({
      name: t.name,
      datatype: t.datatype,
      shape: [...t.shape],
      data: Buffer.from(t.data).toString('base64'),
    }));
  const probes = Buffer.from(
    JSON.stringify({
      format: 'linnet.probes/1',
      probes: recipe.probes.map((probe, i) => ({
        id: `p${i}`,
        inputs: base64(probe.inputs),
        outputs: base64(probe.outputs),
      })),
    }),
  );
  const manifest: Manifest = {
    format: 'linnet.release/1',
    kind: 'model',
    component,
    version,
    description: '',
    hardware: ['sim'],
    files: [
      {
        name: 'model.onnx',
        role: 'model',
        sha256: sha256(recipe.model),
        length: recipe.model.length,
      },
      { name: 'probes.json', role: 'probes', sha256: sha256(probes), length: probes.length },
    ],
    inputs: recipe.inputs,
    outputs: recipe.outputs,
    classifier: recipe.classifier ?? null,
    probes: {
      count: recipe.probes.length,
      tolerance: recipe.tolerance ?? { absolute: 1e-4, relative: 1e-4 },
    },
    contract: { peakMemoryMiB: 2000, p99LatencyMs: 5000, ...contract },
    lineage: {
      trainingDataSha256: '0'.repeat(64),
      sourceCommit: 'unknown',
      baseModel: null,
      quantization: null,
    },
  };
  const folder = join(root, `${component}-${version}`);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'model.onnx'), recipe.model);
  writeFileSync(join(folder, 'probes.json'), probes);
  return {
    folder,
    release: { component, version, digest: sha256(manifestBytes(manifest)), manifest },
  };
}

export function fp32(name: string, shape: number[], values: ArrayLike<number>): Tensor {
  return tensorOf(name, 'FP32', shape, Float32Array.from(values));
}

export function modelOf(
  nodes: NodeProto[],
  inputs: [string, number, (number | string)[]][],
  outputs: [string, number, (number | string)[]][],
  initializer: TensorProto[] = [],
): Uint8Array {
  return onnxModel({
    nodes,
    inputs: inputs.map(([name, type, dims]) => makeValue(name, type, dims)),
    outputs: outputs.map(([name, type, dims]) => makeValue(name, type, dims)),
    initializers: initializer,
  });
}

export const LABELS = ['a', 'b', 'c', 'd'];

/** logits = x + bias, FP32[-1,4]: the bias shows which release answered. */
export function adder(
  version: string,
  bias: readonly number[],
  more: Partial<Recipe> = {},
): Recipe {
  const model = modelOf(
    [makeNode('Add', 'add', ['x', 'bias'], ['logits'])],
    [['x', ElementType.float32, ['N', 4]]],
    [['logits', ElementType.float32, ['N', 4]]],
    [makeTensor('bias', [4], Float32Array.from(bias))],
  );
  return {
    version,
    model,
    inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 4] }],
    outputs: [{ name: 'logits', datatype: 'FP32', shape: [-1, 4] }],
    classifier: { output: 'logits', scale: 'logits', labels: LABELS },
    probes: [
      {
        inputs: [fp32('x', [1, 4], [1, 2, 3, 4])],
        outputs: [
          fp32(
            'logits',
            [1, 4],
            [1, 2, 3, 4].map((v, i) => v + (bias[i] ?? 0)),
          ),
        ],
      },
    ],
    ...more,
  };
}

/**
 * y = x multiplied by itself eight times, FP32[-1,-1]: quick for 2x2, a second or so for 1500x1500.
 */
export function slow(version = '1.0.0', more: Partial<Recipe> = {}): Recipe {
  const names = Array.from({ length: 9 }, (_, i) => (i === 0 ? 'x' : i === 8 ? 'y' : `m${i}`));
  const nodes = names
    .slice(1)
    .map((name, i) => makeNode('MatMul', name, [names[i] as string, 'x'], [name]));
  return {
    version,
    model: modelOf(
      nodes,
      [['x', ElementType.float32, ['N', 'M']]],
      [['y', ElementType.float32, ['N', 'M']]],
    ),
    inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, -1] }],
    outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, -1] }],
    probes: [
      { inputs: [fp32('x', [2, 2], [1, 0, 0, 1])], outputs: [fp32('y', [2, 2], [1, 0, 0, 1])] },
    ],
    ...more,
  };
}

/** y = log(x): NaN for negative input, which the guard accepts. */
export function logarithm(version = '1.0.0'): Recipe {
  return {
    version,
    model: modelOf(
      [makeNode('Log', 'log', ['x'], ['y'])],
      [['x', ElementType.float32, [2]]],
      [['y', ElementType.float32, [2]]],
    ),
    inputs: [{ name: 'x', datatype: 'FP32', shape: [2] }],
    outputs: [{ name: 'y', datatype: 'FP32', shape: [2] }],
    probes: [{ inputs: [fp32('x', [2], [1, 1])], outputs: [fp32('y', [2], [0, 0])] }],
  };
}

/** Passes one tensor of each datatype through. */
export function everyType(version = '1.0.0'): Recipe {
  const types: [Datatype, number][] = [
    ['BOOL', ElementType.bool],
    ['UINT8', ElementType.uint8],
    ['INT8', ElementType.int8],
    ['UINT16', ElementType.uint16],
    ['INT16', ElementType.int16],
    ['INT32', ElementType.int32],
    ['INT64', ElementType.int64],
    ['FP32', ElementType.float32],
    ['FP64', ElementType.float64],
  ];
  const specs = (side: string): TensorSpec[] =>
    types.map(([datatype]) => ({ name: `${side}_${datatype}`, datatype, shape: [2] }));
  const zeros = (side: string): Tensor[] =>
    specs(side).map(({ name, datatype }) => ({
      name,
      datatype,
      shape: [2],
      data: new Uint8Array(2 * SIZES[datatype]),
    }));
  return {
    version,
    model: modelOf(
      types.map(([datatype]) =>
        makeNode('Identity', `id_${datatype}`, [`in_${datatype}`], [`out_${datatype}`]),
      ),
      types.map(([datatype, code]) => [`in_${datatype}`, code, [2]]),
      types.map(([datatype, code]) => [`out_${datatype}`, code, [2]]),
    ),
    inputs: specs('in'),
    outputs: specs('out'),
    probes: [{ inputs: zeros('in'), outputs: zeros('out') }],
  };
}

const SIZES: Readonly<Record<Datatype, number>> = {
  BOOL: 1,
  UINT8: 1,
  INT8: 1,
  UINT16: 2,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  FP32: 4,
  FP64: 8,
};

/**
 * Convolution over a time axis of any length, without labels: fixtures/onnx/dyn_dim.onnx, and
 * dyn_dim_b.onnx with its weights times 1.02.
 */
export const convolution = (root: string, file: string, version: string): Installed =>
  install(root, {
    version,
    component: 'waves',
    model: readFileSync(new URL(`../fixtures/onnx/${file}`, import.meta.url)),
    inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 3, -1] }],
    outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 2, -1] }],
    probes: [
      {
        inputs: [fp32('x', [1, 3, 8], new Float32Array(24))],
        outputs: [fp32('y', [1, 2, 8], new Float32Array(16))],
      },
    ],
  });
