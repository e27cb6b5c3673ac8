// Arrays of stacked samples as inputs of a model: cut into feeds, and digests that name exactly
// which data a measurement saw.
import { createHash } from 'node:crypto';
import { Fault } from '../../../shared/base/fault-codes.js';
import type { Feeds, TensorMeta, TensorValue } from '../session.js';
import type { NpyArray } from './npy.js';

const TYPES = { f4: 'float32', u1: 'uint8', i4: 'int32', i8: 'int64' } as const;

/** How one input takes its array: shape of one sample, and samples in one feed. */
interface Cut {
  readonly name: string;
  readonly array: NpyArray;
  readonly sampleDims: readonly number[];
  /** Samples that one feed takes; null where the model has no batch axis for this input. */
  readonly batch: number | null;
}

/**
 * Cuts arrays of stacked samples ([count, ...], one array for each input) into one feed a sample,
 * or a feed of as many samples as the model's first dimension fixes; a rest that does not fill one
 * is left out. An array with one axis more than its input takes (a scalar input: [count]) is one
 * value of that input a sample. Fault data_mismatch, with every complaint.
 */
export function feedsOf(
  inputs: readonly TensorMeta[],
  arrays: Readonly<Record<string, NpyArray>>,
): Feeds[] {
  const problems: string[] = [];
  const cuts = inputs.flatMap((meta) => {
    const array = Object.hasOwn(arrays, meta.name) ? arrays[meta.name] : undefined;
    if (array !== undefined) return cutOf(meta, array, problems);
    problems.push(`input '${meta.name}' is not given`);
    return [];
  });
  const others = Object.keys(arrays).filter((name) => !inputs.some((m) => m.name === name));
  problems.push(...others.map((name) => `the model has no input '${name}'`));
  const counts = new Set(cuts.map(({ array }) => array.shape[0] ?? 0));
  const batches = new Set(cuts.map(({ batch }) => batch ?? 1));
  if (counts.size > 1)
    problems.push(`inputs hold different numbers of samples: ${[...counts].join(', ')}`);
  if (batches.size > 1)
    problems.push(`inputs fix different batch sizes: ${[...batches].join(', ')}`);
  if (problems.length > 0) throw new Fault('data_mismatch', problems.join('; '));
  const [count = 0] = counts;
  const [batch = 1] = batches;
  return Array.from({ length: Math.floor(count / batch) }, (_, at) =>
    Object.fromEntries(cuts.map((cut) => [cut.name, sliceOf(cut, count, at * batch, batch)])),
  );
}

function cutOf(meta: TensorMeta, array: NpyArray, problems: string[]): Cut[] {
  const fits = (dims: readonly number[], sizes: readonly (number | string)[]): boolean =>
    dims.length === sizes.length &&
    sizes.every((size, i) => typeof size === 'string' || size < 0 || size === dims[i]);
  const { name, shape, type } = meta;
  const [first, ...rest] = shape;
  const sampleDims = array.shape.slice(1);
  const stacked = array.shape.length === shape.length + 1 && fits(sampleDims, shape);
  if (!stacked && !(array.shape.length === shape.length && fits(sampleDims, rest)))
    problems.push(
      `input '${name}' takes [${shape.join(', ')}], the data is [${array.shape.join(', ')}]`,
    );
  const given = TYPES[array.dtype];
  if (given !== type && !(type === 'bool' && given === 'uint8'))
    problems.push(`input '${name}' takes ${type}, the data is ${given}`);
  const batch = stacked ? null : typeof first === 'number' && first > 0 ? first : 1;
  return [{ name, array, sampleDims, batch }];
}

function sliceOf(
  { array, sampleDims, batch }: Cut,
  count: number,
  from: number,
  samples: number,
): TensorValue {
  const stride = array.data.length / (count || 1);
  return {
    data: array.data.slice(from * stride, (from + samples) * stride),
    dims: batch === null ? [...sampleDims] : [batch, ...sampleDims],
  };
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

/** SHA-256 (hex) over every tensor: name, dims, then its bytes, inputs in their order. */
export function digestOfFeeds(feeds: readonly Feeds[]): string {
  const hash = createHash('sha256');
  for (const feed of feeds) {
    for (const name of Object.keys(feed).sort()) {
      const { data, dims } = feed[name]!;
      const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
      hash.update(`${name}[${dims.join(',')}]\n`).update(bytes);
    }
  }
  return hash.digest('hex');
}
