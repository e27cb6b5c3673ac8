// What quantization cost: two models on the same held-out inputs (accuracy, agreement, distance
// between outputs, size, latency). Accuracy and distances are exact and repeatable; latency is of
// this machine, with rounds of the two models interleaved so that both see the same noise. The
// clock is an argument.
import { Fault } from '../../shared/base/fault-codes.js';
import { digestOfFeeds } from './input-data/feeds.js';
import { openModel } from './session.js';
import type { Feeds, Session } from './session.js';

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
        const startedAt = now();
        await session.run(feeds[(done + i) % feeds.length]!);
        taken[which]!.push((now() - startedAt) * 1000);
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
