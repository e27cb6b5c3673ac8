// What the release desk says about models before it ships one: what a file holds (inspect), and
// what quantization cost (compare: accuracy on held-out labelled inputs, agreement, distance
// between outputs, size, latency). Accuracy and distances are exact and repeatable; latency is this
// machine's, rounds of the two models interleaved so that both see the same noise. Reads no clock
// by itself.
import { createHash } from 'node:crypto';
import { Fault } from '../../shared/base/fault-codes.js';
import { allNodes, decodeModel, elementTypeName, opsetOf, tensorData, toNumber } from './onnx.js';
import type { NpyArray } from './input-data/npy.js';
import { digestOfFeeds, sha256 } from './quantize/quantize.js';
import { isQuantizedOp } from './quantize/prepare.js';
import { openModel } from './session.js';
import type { Feeds, Session, TensorMeta } from './session.js';

export interface Inspection {
  inputs: TensorMeta[];
  outputs: TensorMeta[];
  opset: number;
  irVersion: number;
  producer: string;
  /** Nodes by operator, subgraphs included, in alphabetical order. */
  ops: Record<string, number>;
  /** Numbers held in constants. */
  parameters: number;
  /** Constants by element type, in numbers held. */
  parametersByType: Record<string, number>;
  bytes: number;
  quantized: boolean;
  sha256: string;
}

/**
 * What an ONNX file holds. Fault model_not_onnx when it is none or when ONNX Runtime cannot load
 * it.
 */
export async function inspect(bytes: Uint8Array, what = 'model'): Promise<Inspection> {
  const model = decodeModel(bytes, what);
  const session = await openModel(bytes, { what });
  await session.release();
  const ops: Record<string, number> = {};
  let constants = [...(model.graph.initializer ?? [])];
  for (const node of allNodes(model.graph)) {
    ops[node.opType ?? ''] = (ops[node.opType ?? ''] ?? 0) + 1;
    if (node.opType === 'Constant')
      constants = constants.concat((node.attribute ?? []).flatMap((a) => a.t ?? []));
  }
  const parametersByType: Record<string, number> = {};
  for (const tensor of constants) {
    const type = elementTypeName(tensor.dataType);
    parametersByType[type] = (parametersByType[type] ?? 0) + (tensorData(tensor)?.length ?? 0);
  }
  return {
    inputs: session.inputs,
    outputs: session.outputs,
    opset: opsetOf(model),
    irVersion: toNumber(model.irVersion),
    producer: [model.producerName, model.producerVersion].filter(Boolean).join(' '),
    ops: Object.fromEntries(Object.entries(ops).sort(([a], [b]) => (a < b ? -1 : 1))),
    parameters: Object.values(parametersByType).reduce((a, b) => a + b, 0),
    parametersByType,
    bytes: bytes.byteLength,
    quantized: Object.keys(ops).some(isQuantizedOp),
    sha256: sha256(bytes),
  };
}

/**
 * Cuts arrays of stacked samples ([count, ...], one array for each input) into one feed a sample,
 * or a feed of as many samples as the model's first dimension fixes; a rest that does not fill one
 * is left out.
 */
export function feedsOf(inputs: TensorMeta[], arrays: Record<string, NpyArray>): Feeds[] {
  const problems: string[] = [];
  const counts = new Set<number>();
  const steps = new Set<number>();
  for (const meta of inputs) {
    const array = arrays[meta.name];
    if (!array) {
      problems.push(`input '${meta.name}' is not given`);
      continue;
    }
    const fixed = meta.shape[0];
    const shapeFits =
      array.shape.length === meta.shape.length &&
      meta.shape.every((d, i) => i === 0 || typeof d === 'string' || d < 0 || d === array.shape[i]);
    const takes = `input '${meta.name}' takes`;
    if (!shapeFits)
      problems.push(`${takes} [${meta.shape.join(', ')}], the data is [${array.shape.join(', ')}]`);
    const type = { f4: 'float32', u1: 'uint8', i4: 'int32', i8: 'int64' }[array.dtype];
    const typeFits = type === meta.type || (meta.type === 'bool' && type === 'uint8');
    if (!typeFits) problems.push(`${takes} ${meta.type}, the data is ${type}`);
    counts.add(array.shape[0] ?? 0);
    steps.add(typeof fixed === 'number' && fixed > 0 ? fixed : 1);
  }
  const strangers = Object.keys(arrays).filter((name) => !inputs.some((m) => m.name === name));
  problems.push(...strangers.map((name) => `the model has no input '${name}'`));
  if (counts.size > 1)
    problems.push(`inputs hold different numbers of samples: ${[...counts].join(', ')}`);
  if (steps.size > 1) problems.push(`inputs fix different batch sizes: ${[...steps].join(', ')}`);
  if (problems.length > 0) throw new Fault('model_tensors_differ', problems.join('; '));
  const [count = 0] = counts;
  const [step = 1] = steps;
  return Array.from({ length: Math.floor(count / step) }, (_, i) =>
    Object.fromEntries(
      inputs.map(({ name }) => {
        const { data, shape } = arrays[name]!;
        const stride = data.length / (shape[0] || 1);
        return [
          name,
          {
            data: data.slice(i * step * stride, (i + 1) * step * stride),
            dims: [step, ...shape.slice(1)],
          },
        ];
      }),
    ),
  );
}

/**
 * SHA-256 (hex) of each sample over all inputs: name, shape, then bytes, inputs by name. Arrays as
 * feedsOf accepts them.
 */
export function sampleDigests(arrays: Record<string, NpyArray>): string[] {
  const named = Object.entries(arrays).sort(([a], [b]) => (a < b ? -1 : 1));
  const count = named[0]?.[1].shape[0] ?? 0;
  return Array.from({ length: count }, (_, at) => {
    const hash = createHash('sha256');
    for (const [name, { data, shape }] of named) {
      const stride = data.length / count;
      const { buffer, byteOffset, byteLength } = data.subarray(at * stride, (at + 1) * stride);
      hash
        .update(`${name}[${shape.slice(1).join(',')}]\n`)
        .update(new Uint8Array(buffer, byteOffset, byteLength));
    }
    return hash.digest('hex');
  });
}

export interface Latency {
  p50Us: number;
  p99Us: number;
}

export interface Comparison {
  samples: number;
  /** SHA-256 over every tensor that the models were compared on, as digestOfFeeds makes it. */
  evaluationSha256: string;
  /** Shares 0..1; null without labels. */
  fp32Accuracy: number | null;
  int8Accuracy: number | null;
  /** Share of samples whose largest output is the same in both. */
  agreement: number;
  /** Over all outputs: largest absolute difference, smallest cosine of a sample's output vector. */
  maxAbsDiff: number;
  minCosine: number;
  fp32Bytes: number;
  int8Bytes: number;
  /** Of session.run on this machine, one thread, one sample. */
  latency: { fp32: Latency; int8: Latency; runs: number };
}

export interface CompareOptions {
  /** One label a sample: the index of the right class along the first output's last axis. */
  labels?: ArrayLike<number | bigint>;
  /** Milliseconds that never go back. */
  now: () => number;
  /** Timed runs of each model (default 300). */
  latencyRuns?: number;
}

function winners(data: ArrayLike<number | bigint>, classes: number): number[] {
  const found: number[] = [];
  for (let row = 0; row < data.length; row += classes) {
    let best = 0;
    for (let c = 1; c < classes; c++)
      if (Number(data[row + c]) > Number(data[row + best])) best = c;
    found.push(best);
  }
  return found;
}

/** Cosine of two vectors; 1 for two zero vectors. */
export function cosine(a: ArrayLike<number | bigint>, b: ArrayLike<number | bigint>): number {
  let dot = 0,
    aa = 0,
    bb = 0;
  for (let i = 0; i < a.length; i++) {
    const x = Number(a[i]),
      y = Number(b[i]);
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  return aa === 0 && bb === 0 ? 1 : dot / Math.sqrt(aa * bb);
}

function quantile(sorted: number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}

const ROUND_RUNS = 20;

async function latencies(
  pair: [Session, Session],
  feeds: Feeds[],
  runs: number,
  now: () => number,
): Promise<[Latency, Latency]> {
  const taken: [number[], number[]] = [[], []];
  for (const session of pair)
    for (let i = 0; i < 10; i++) await session.run(feeds[i % feeds.length]!);
  for (let done = 0; done < runs; done += ROUND_RUNS) {
    for (const [which, session] of pair.entries()) {
      for (let i = 0; i < Math.min(ROUND_RUNS, runs - done); i++) {
        const begun = now();
        await session.run(feeds[(done + i) % feeds.length]!);
        taken[which]!.push((now() - begun) * 1000);
      }
    }
  }
  const summary = (us: number[]): Latency => {
    us.sort((a, b) => a - b);
    return { p50Us: quantile(us, 0.5), p99Us: quantile(us, 0.99) };
  };
  return [summary(taken[0]), summary(taken[1])];
}

/**
 * Runs both models on the same held-out inputs. Accuracy and agreement look at the first output's
 * last axis.
 */
export async function compare(
  fp32: Uint8Array,
  int8: Uint8Array,
  feeds: Feeds[],
  options: CompareOptions,
): Promise<Comparison> {
  if (feeds.length === 0)
    throw new Fault('data_undecodable', 'there are no inputs to compare the models on');
  const { labels } = options;
  const a = await openModel(fp32, { what: 'fp32 model' });
  const b = await openModel(int8, { what: 'int8 model' });
  try {
    let rows = 0,
      same = 0,
      rightA = 0,
      rightB = 0,
      maxAbsDiff = 0,
      minCosine = 1;
    for (const feed of feeds) {
      const left = await a.run(feed);
      const right = await b.run(feed);
      for (const { name } of a.outputs) {
        const x = left[name]!.data,
          y = right[name]!.data;
        for (let i = 0; i < x.length; i++)
          maxAbsDiff = Math.max(maxAbsDiff, Math.abs(Number(x[i]) - Number(y[i])));
        minCosine = Math.min(minCosine, cosine(x, y));
      }
      const { data, dims } = left[a.outputs[0]!.name]!;
      const classes = dims.at(-1) ?? 1;
      const wa = winners(data, classes);
      const wb = winners(right[a.outputs[0]!.name]!.data, classes);
      for (const [i, winner] of wa.entries()) {
        if (winner === wb[i]) same++;
        const label = labels === undefined ? undefined : Number(labels[rows]);
        if (winner === label) rightA++;
        if (wb[i] === label) rightB++;
        rows++;
      }
    }
    if (labels !== undefined && labels.length !== rows) {
      throw new Fault('data_undecodable', `there are ${labels.length} labels for ${rows} answers`);
    }
    const runs = options.latencyRuns ?? 300;
    const [latencyA, latencyB] = await latencies([a, b], feeds, runs, options.now);
    return {
      samples: rows,
      evaluationSha256: digestOfFeeds(feeds),
      fp32Accuracy: labels === undefined ? null : rightA / rows,
      int8Accuracy: labels === undefined ? null : rightB / rows,
      agreement: same / rows,
      maxAbsDiff,
      minCosine,
      fp32Bytes: fp32.byteLength,
      int8Bytes: int8.byteLength,
      latency: { fp32: latencyA, int8: latencyB, runs },
    };
  } finally {
    await a.release();
    await b.release();
  }
}
