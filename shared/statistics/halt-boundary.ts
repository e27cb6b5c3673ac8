// The exact boundary of the test that halts a rollout. Devices that took the release are
// observations in the order of taking: failed or not, and an undecided one counts as good, so the
// test value only rises as outcomes come in. The value is the log likelihood ratio of the alarming
// against the acceptable share of failures (Wald's sequential test), and the rollout halts when it
// ever reaches the boundary's level within the planned number of takes. The level is the smallest
// whose exact chance at the acceptable share is at most alpha (dynamic programming over takes and
// failures). By Ville's inequality it is never above log(1/alpha), which would hold for any number
// of takes but gives up power for a planned one.
//
// One failure alone halts only where one failure at any place of the plan does (1 or 2 takes at 2 %
// and alpha 5 %). Without this rule a plan of a dozen devices would halt when its very first device
// fails and not when its second does.
import assert from 'node:assert/strict';

export interface HaltPlan {
  /** How many devices are planned to take the release. */
  readonly takes: number;
  /** Share of failing devices at which the release is acceptable. */
  readonly acceptable: number;
  /** Share of failing devices that the test is most sensitive to. */
  readonly alarming: number;
  /** Chance of halting a release that fails at the acceptable share. */
  readonly alpha: number;
}

export interface HaltBoundary extends HaltPlan {
  /** Log likelihood ratio that halts. */
  readonly level: number;
  /** Fewer failures than this never halt. */
  readonly leastFailures: number;
  /** Exact chance of reaching the boundary at the share that it is calibrated for. */
  readonly chance: number;
}

/** At an alternative of 1 a single device without a failure would end the test for ever. */
const ALTERNATIVE_MOST = 0.99;
/** Values and chances this close are equal: 5 * 5 computed through logarithms is 25. */
const CLOSE = 1e-9;
/** A branch of the computation that changes a chance by less than this is dropped. */
const NEGLIGIBLE = 1e-16;

/**
 * Level for the planned number of takes whose exact chance at the acceptable share is at most
 * alpha. Shares are in (0, 1) and acceptable < alarming; alpha is in (0, 1).
 */
export function haltBoundary(plan: HaltPlan): HaltBoundary {
  return calibrated(plan, plan.acceptable);
}

/**
 * The level that holds a rollout for a person. It is the same test calibrated at half of the
 * acceptable share (decisions.md R15): a release that is twice as good as it must be calls a person
 * with chance at most alpha.
 */
export function holdBoundary(plan: HaltPlan): HaltBoundary {
  return calibrated(plan, plan.acceptable / 2);
}

/** The test's value after `takes` takes of which `failures` failed. */
export function haltLogRatio(plan: HaltPlan, failures: number, takes: number): number {
  const { gain, loss } = stepsOf(plan);
  return failures * gain - takes * loss;
}

/** How many failures halt when `takesSoFar` devices took the release. */
export function failuresToHalt(boundary: HaltBoundary, takesSoFar: number): number {
  return needed(boundary, stepsOf(boundary), takesSoFar);
}

/** Exact chance that a release which fails on `share` of devices is halted within the plan. */
export function chanceOfHalting(boundary: HaltBoundary, share: number): number {
  return walk(boundary, share, () => false);
}

/** Mean number of devices that take such a release until the halt or the end of the plan. */
export function expectedTakes(boundary: HaltBoundary, share: number): number {
  let sum = 1;
  let counted = 1;
  const chance = walk(boundary, share, (takes, reached) => {
    if (takes < boundary.takes) sum += 1 - reached;
    counted = takes + 1;
    return false;
  });
  return sum + Math.max(0, boundary.takes - counted) * (1 - chance);
}

/** Median number of devices that take such a release until the halt or the end of the plan. */
export function medianTakes(boundary: HaltBoundary, share: number): number {
  let median = boundary.takes;
  walk(boundary, share, (takes, reached) => {
    if (reached < 0.5) return false;
    median = takes;
    return true;
  });
  return median;
}

/** The value rises by `gain - loss` with a failure and falls by `loss` without one. */
interface Steps {
  readonly gain: number;
  readonly loss: number;
}

function stepsOf({ acceptable, alarming }: HaltPlan): Steps {
  assert(0 < acceptable && acceptable < alarming && alarming <= 1, 'acceptable < alarming');
  const alternative = Math.min(alarming, Math.max(ALTERNATIVE_MOST, (1 + acceptable) / 2));
  const loss = Math.log((1 - acceptable) / (1 - alternative));
  return { gain: Math.log(alternative / acceptable) + loss, loss };
}

function needed(
  { level, leastFailures }: Pick<HaltBoundary, 'level' | 'leastFailures'>,
  { gain, loss }: Steps,
  takes: number,
): number {
  return Math.max(leastFailures, Math.ceil((level + takes * loss - CLOSE) / gain));
}

function calibrated(plan: HaltPlan, share: number): HaltBoundary {
  assert(Number.isInteger(plan.takes) && plan.takes > 0, 'a plan has takes');
  assert(plan.alpha > 0 && plan.alpha < 1, 'alpha is in (0, 1)');
  const steps = stepsOf(plan);
  const single = 1 - (1 - share) ** plan.takes <= plan.alpha + CLOSE;
  const base = { ...plan, leastFailures: single ? 1 : 2 };
  const lowest = base.leastFailures * steps.gain - plan.takes * steps.loss;
  const exceeds = (level: number): boolean => {
    const stop = (_takes: number, reached: number): boolean => reached > plan.alpha + CLOSE;
    return walk({ ...base, level, chance: 0 }, share, stop) > plan.alpha + CLOSE;
  };
  const ville = Math.log(1 / plan.alpha);
  let level = Math.min(lowest, ville);
  if (exceeds(level)) {
    let high = ville;
    while (high - level > CLOSE) {
      const middle = (level + high) / 2;
      if (exceeds(middle)) level = middle;
      else high = middle;
    }
    // The first value above `level` that the test can take.
    level = Math.min(ville, nextValue(base, steps, level + 2 * CLOSE));
  }
  const boundary = { ...base, level, chance: 0 };
  return { ...boundary, chance: walk(boundary, share, () => false) };
}

/** The smallest value at or above `level` that the test can take. */
function nextValue(
  { takes, leastFailures }: Pick<HaltBoundary, 'takes' | 'leastFailures'>,
  steps: Steps,
  level: number,
): number {
  let next = Number.POSITIVE_INFINITY;
  for (let count = leastFailures; count <= takes; count++) {
    const failures = needed({ level, leastFailures }, steps, count);
    if (failures <= count) next = Math.min(next, failures * steps.gain - count * steps.loss);
  }
  return next;
}

/**
 * Runs the distribution of failures over the takes, without the part that has halted, and tells
 * `visit` the chance of having halted by each take until it returns true or nothing can change any
 * more. Returns that chance. Low counts of failures whose mass, or whose chance of ever halting, is
 * negligible are dropped, so few are alive at a time.
 */
function walk(
  boundary: HaltBoundary,
  share: number,
  visit: (takes: number, reached: number) => boolean,
): number {
  const { takes, acceptable, level } = boundary;
  const steps = stepsOf(boundary);
  const alive = new Float64Array(needed(boundary, steps, takes) + 2);
  alive[0] = 1;
  let [low, high, reached] = [0, 0, 0];
  for (let count = 1; count <= takes && low <= high; count++) {
    high++;
    for (let failures = high; failures >= low; failures--)
      alive[failures] =
        (alive[failures] ?? 0) * (1 - share) +
        (failures > low ? (alive[failures - 1] ?? 0) * share : 0);
    const halting = needed(boundary, steps, count);
    for (; high >= halting; high--) {
      reached += alive[high] ?? 0;
      alive[high] = 0;
    }
    // At the acceptable share or below, exp(value - level) limits the chance of ever halting.
    const hope = (failures: number): number =>
      share > acceptable
        ? 1
        : Math.exp(Math.min(0, failures * steps.gain - count * steps.loss - level));
    while (low <= high && (alive[low] ?? 0) * hope(low) < NEGLIGIBLE) low++;
    if (visit(count, reached)) break;
  }
  return Math.min(1, reached);
}
