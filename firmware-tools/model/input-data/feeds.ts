// Arrays of stacked samples as inputs of a model: cut into feeds, and digests that name exactly which
// data a measurement saw.
import { createHash } from 'node:crypto';
import { Fault } from '../../../shared/base/fault-codes.js';
import type { Feeds, TensorMeta } from '../session.js';
import type { NpyArray } from './npy.js';

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
