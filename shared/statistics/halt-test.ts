// The halt test of a rollout: one exact boundary (halt-boundary.ts) for all devices together and
// one for each kind of hardware, so that a kind of eight devices in a large fleet halts on its own
// failures. With several kinds, alpha is split: 4/5 for all together, and 1/5 in equal parts for
// the kinds. The sum of the chances is at most alpha. The null is that each kind of hardware fails
// at most at the acceptable share, whatever was seen before a device took the release. Pure
// numbers; what a person reads is written by the caller.
import assert from 'node:assert/strict';
import {
  failuresToHalt,
  haltBoundary,
  haltLogRatio,
  type HaltBoundary,
  type HaltPlan,
} from './halt-boundary.js';

/** Share of alpha that the test of all devices together has, where there are several kinds. */
const POOLED_SHARE = 0.8;

/** Boundaries of one rollout. */
export interface StrataPlan {
  readonly pooled: HaltBoundary;
  /** By kind of hardware; empty where there is only one. */
  readonly kinds: ReadonlyMap<string, HaltBoundary>;
}

/** `kinds`: planned takes of each kind of hardware. */
export function strataPlan(
  plan: Omit<HaltPlan, 'takes'> & { readonly kinds: ReadonlyMap<string, number> },
): StrataPlan {
  const { acceptable, alarming, alpha } = plan;
  const common = { acceptable, alarming };
  const kinds = [...plan.kinds].filter(([, takes]) => takes > 0);
  const takes = kinds.reduce((sum, [, count]) => sum + count, 0);
  if (kinds.length < 2)
    return { pooled: haltBoundary({ ...common, takes, alpha }), kinds: new Map() };
  const own = ((1 - POOLED_SHARE) * alpha) / kinds.length;
  return {
    pooled: haltBoundary({ ...common, takes, alpha: POOLED_SHARE * alpha }),
    kinds: new Map(
      kinds.map(([kind, count]) => [kind, haltBoundary({ ...common, takes: count, alpha: own })]),
    ),
  };
}

/** One device that took the release. */
export interface Take {
  /** Of hardware. */
  readonly kind: string;
  /** It has failed. An undecided device has not. */
  readonly failed: boolean;
}

/** Where one test stands. */
export interface HaltReading {
  /** Null for the test of all devices together. */
  readonly kind: string | null;
  readonly boundary: HaltBoundary;
  readonly takes: number;
  readonly failures: number;
  /**
   * The prefix of the takes that decides: the first that reaches the boundary, else the one with
   * the largest ratio (with at least as many failures as can halt, where there are so many); all
   * takes where none failed.
   */
  readonly prefix: {
    readonly takes: number;
    readonly failures: number;
    readonly logRatio: number;
    /** Failures among so many takes that would halt. */
    readonly failuresToHalt: number;
  };
  readonly halt: boolean;
}

export interface HaltResult {
  readonly halt: boolean;
  /** The test that halted first, else the test of all devices together. */
  readonly decisive: HaltReading;
  /** All tests: all devices together, then the kinds. */
  readonly readings: readonly HaltReading[];
}

/**
 * The halt test over devices in the order in which they took the release. Takes beyond the planned
 * number belong to no test.
 */
export function haltTest(takes: readonly Take[], plan: StrataPlan): HaltResult {
  const pooled = reading(null, takes, plan.pooled);
  const kinds = [...plan.kinds].map(([kind, boundary]) =>
    reading(
      kind,
      takes.filter((take) => take.kind === kind),
      boundary,
    ),
  );
  const readings = [pooled, ...kinds];
  const decisive = readings.find(({ halt }) => halt) ?? pooled;
  return { halt: decisive.halt, decisive, readings };
}

/** The test of a rollout that holds it for a person, over the same devices. */
export function holdTest(takes: readonly Take[], boundary: HaltBoundary): HaltReading {
  return reading(null, takes, boundary);
}

function reading(kind: string | null, takes: readonly Take[], boundary: HaltBoundary): HaltReading {
  const counted = takes.slice(0, boundary.takes);
  const total = counted.filter(({ failed }) => failed).length;
  const enough = Math.max(1, Math.min(total, boundary.leastFailures));
  let failures = 0;
  let best: HaltReading['prefix'] | null = null;
  let halt = false;
  for (const [index, { failed }] of counted.entries()) {
    if (failed) failures++;
    if (failures < enough) continue;
    const prefix = prefixAt(boundary, index + 1, failures);
    halt = failures >= prefix.failuresToHalt;
    if (halt || best === null || prefix.logRatio > best.logRatio) best = prefix;
    if (halt) break;
  }
  return {
    kind,
    boundary,
    takes: counted.length,
    failures: total,
    prefix: best ?? prefixAt(boundary, counted.length, 0),
    halt,
  };
}

function prefixAt(boundary: HaltBoundary, takes: number, failures: number) {
  assert(failures <= takes, 'failures are takes');
  return {
    takes,
    failures,
    logRatio: haltLogRatio(boundary, failures, takes),
    failuresToHalt: failuresToHalt(boundary, takes),
  };
}
