// The one test for means of observations in [0, 1] against a limit: share of different answers,
// share of failed requests, share of slow requests. An observation is the mean of a block of time,
// because neighbouring inputs are alike (decisions.md R9). A bet of size l multiplies its stake by
// 1 + l * (x - limit); if the mean given the past is at most the limit, the expected factor is at
// most 1, so the product is a nonnegative supermartingale that ever reaches 1/alpha with chance at
// most alpha (Ville), over any number of looks. The mean over ten sizes of bets is one too
// (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B
// 2024).
//
// The product does not depend on the order of the blocks, so a tally keeps how often each value
// occurred, in whole thousandths, and the server can judge the same evidence again. Values are
// rounded up when they are stored, and evidence above a limit uses the lower end of what a stored
// value can stand for: rounding never makes evidence. Equal answers (0) are stored exactly.
import { Type, type Static } from 'typebox';
import { limits } from '../base/limits.js';

/** Up to this, values are stored in steps of 1 thousandth; above it in steps of COARSE. */
const FINE_UP_TO = 100;
const COARSE = 5;

const StoredValue = Type.Integer({ minimum: 0, maximum: 1000 });

/** Block means: [thousandths, how many blocks], sorted by the first. */
const BlockCounts = Type.Array(
  Type.Tuple([StoredValue, Type.Integer({ minimum: 1, maximum: 1_000_000_000 })]),
  { maxItems: FINE_UP_TO + 1 + (1000 - FINE_UP_TO) / COARSE },
);

/** All blocks, and the first ones in their order, which the server pools by rounds (R8). */
export const BlockTally = Type.Object(
  {
    counts: BlockCounts,
    first: Type.Array(StoredValue, { maxItems: limits.trialRoundsMaxCount }),
  },
  { additionalProperties: false },
);
export type BlockTally = Static<typeof BlockTally>;

export const emptyTally = (): BlockTally => ({ counts: [], first: [] });

/** The tally with one more block, whose mean is in [0, 1] (what lies outside is clamped). */
export function addBlock(tally: BlockTally, mean: number): BlockTally {
  const value = stored(mean);
  const place = tally.counts.findIndex(([other]) => other >= value);
  const at = place === -1 ? tally.counts.length : place;
  const here = tally.counts[at];
  const known = here?.[0] === value;
  return {
    counts: tally.counts.toSpliced(at, known ? 1 : 0, [value, known ? here[1] + 1 : 1]),
    first: tally.first.length < limits.trialRoundsMaxCount ? [...tally.first, value] : tally.first,
  };
}

export function blocksOf({ counts }: BlockTally): number {
  return counts.reduce((sum, [, count]) => sum + count, 0);
}

/** Mean of the blocks, 0 without any. An estimate for people; each value counts as its middle. */
export function meanOf({ counts }: BlockTally): number {
  const sum = counts.reduce(
    (total, [value, count]) => total + (count * (upper(value) + lower(value))) / 2,
    0,
  );
  return sum / Math.max(1, blocksOf({ counts, first: [] }));
}

/**
 * Fractions of the largest bet that can never lose all. Large ones for equal answers and for means
 * that vary little, small ones for shares just above a small limit.
 */
const BETS = [0.99, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.04, 0.015];

/** An observation and how often it was made. */
type Weighted = readonly [value: number, count: number];

/** log e-value against "the mean is at most `limit`". 0 where no value can lie above. */
export function logEvidenceAbove({ counts }: BlockTally, limit: number): number {
  return logBets(
    counts.map(([value, count]) => [lower(value), count]),
    limit,
    'above',
  );
}

/** log e-value against "the mean is at least `limit`". Infinite (certain) at a limit of 1. */
export function logEvidenceBelow({ counts }: BlockTally, limit: number): number {
  return logBets(
    counts.map(([value, count]) => [upper(value), count]),
    limit,
    'below',
  );
}

/**
 * All means that the blocks do not rule out, at `alpha` and over any number of looks: the limits
 * against which neither side's evidence reaches 2/alpha.
 */
export function meanInterval(tally: BlockTally, alpha: number): { low: number; high: number } {
  const goal = Math.log(2 / alpha);
  const estimate = meanOf(tally);
  return {
    low: edge(0, estimate, (limit) => logEvidenceAbove(tally, limit) >= goal),
    high: edge(1, estimate, (limit) => logEvidenceBelow(tally, limit) >= goal),
  };
}

/** Between `out` and `inside`, where `ruledOut` changes; `out` itself if it is not ruled out. */
function edge(out: number, inside: number, ruledOut: (limit: number) => boolean): number {
  const limit = { out, inside };
  while (Math.abs(limit.inside - limit.out) > 1e-4) {
    const middle = (limit.out + limit.inside) / 2;
    if (ruledOut(middle)) limit.out = middle;
    else limit.inside = middle;
  }
  return limit.out;
}

function logBets(values: readonly Weighted[], limit: number, side: 'above' | 'below'): number {
  if (limit <= 0) return side === 'above' && values.some(([value]) => value > 0) ? Infinity : 0;
  if (limit >= 1) return side === 'below' ? Infinity : 0;
  const largest = side === 'above' ? 1 / limit : -1 / (1 - limit);
  const logs = BETS.map((fraction) =>
    values.reduce(
      (sum, [value, count]) => sum + count * Math.log1p(fraction * largest * (value - limit)),
      0,
    ),
  );
  const top = Math.max(...logs);
  return top + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - top), 0) / logs.length);
}

/** Factors of one observation for each size of bet, against "the mean is at most `limit`". */
export function betFactors(value: number, limit: number): number[] {
  return BETS.map((fraction) => 1 + (fraction / limit) * (value - limit));
}

/**
 * Rounds of a fixed list of devices, pooled: the lower and upper end of each round's value. Plain
 * JSON, to be stored between looks: a round that was counted never changes.
 */
export const PooledRounds = Type.Array(
  Type.Tuple([Type.Number({ minimum: 0, maximum: 1 }), Type.Number({ minimum: 0, maximum: 1 })]),
  { maxItems: limits.trialRoundsMaxCount },
);
export type PooledRounds = Static<typeof PooledRounds>;

/** One device of the list that is open (neither failed nor gone). */
export interface PooledDevice {
  readonly site: string;
  /** It is still heard: a round waits for its block. */
  readonly heard: boolean;
  /** `first` of its tally. */
  readonly first: readonly number[];
}

/**
 * The rounds that are complete now. Round r is the r-th block of each device: the mean over the
 * devices of a site, then over sites. It is complete when every device that is still heard has it.
 */
export function advanceRounds(
  rounds: PooledRounds,
  devices: readonly PooledDevice[],
): PooledRounds {
  const next = [...rounds];
  const waitedFor = devices.filter(({ heard }) => heard);
  while (next.length < limits.trialRoundsMaxCount) {
    const round = next.length;
    if (waitedFor.some(({ first }) => first.length <= round)) break;
    const bySite = new Map<string, number[]>();
    for (const { site, first } of devices) {
      const value = first[round];
      if (value !== undefined) bySite.set(site, [...(bySite.get(site) ?? []), value]);
    }
    if (bySite.size === 0) break;
    const meanOver = (end: (value: number) => number): number =>
      average([...bySite.values()].map((values) => average(values.map(end))));
    next.push([meanOver(lower), meanOver(upper)]);
  }
  return next;
}

/** log e-value of the rounds against "the mean over sites is at most `limit`". */
export function logRoundsAbove(rounds: PooledRounds, limit: number): number {
  return logBets(
    rounds.map(([low]) => [low, 1]),
    limit,
    'above',
  );
}

/** log e-value of the rounds against "the mean over sites is at least `limit`". */
export function logRoundsBelow(rounds: PooledRounds, limit: number): number {
  return logBets(
    rounds.map(([, high]) => [high, 1]),
    limit,
    'below',
  );
}

/** The thousandths that a mean is stored as: the next step at or above it. */
function stored(mean: number): number {
  // A hair above a step is the step: 0.1 + 0.2 is 300 thousandths.
  const value = Math.ceil(Math.min(1, Math.max(0, mean)) * 1000 - 1e-9);
  return value <= FINE_UP_TO ? Math.max(0, value) : Math.ceil(value / COARSE) * COARSE;
}

const upper = (value: number): number => value / 1000;

/** The least that a stored value can stand for. */
function lower(value: number): number {
  return Math.max(0, value - (value <= FINE_UP_TO ? 1 : COARSE)) / 1000;
}

const average = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
