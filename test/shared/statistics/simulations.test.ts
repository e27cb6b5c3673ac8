// Promises of the statistics by seeded simulation: false alarms within their chance, and what is
// found. Exact values are in the test of each module; `npm run mutants` runs those and not these,
// which take seconds.
import { describe, expect, it } from 'vitest';
import {
  addBlock,
  advanceRounds,
  blocksOf,
  emptyTally,
  logEvidenceAbove,
  logEvidenceBelow,
  logRoundsAbove,
  logRoundsBelow,
} from '../../../shared/statistics/betting.js';
import { BlockMeter } from '../../../shared/statistics/block-length.js';
import {
  detectorValue,
  emptyDetector,
  observeStep,
} from '../../../shared/statistics/condition-detector.js';
import {
  chanceOfHalting,
  expectedTakes,
  failuresToHalt,
  haltBoundary,
  medianTakes,
  type HaltBoundary,
} from '../../../shared/statistics/halt-boundary.js';
import {
  haltTest,
  strataPlan,
  type StrataPlan,
  type Take,
} from '../../../shared/statistics/halt-test.js';
import { classShift, meanMargin } from '../../../shared/statistics/answer-shifts.js';
import { addSlot, emptySilence, silenceReading } from '../../../shared/statistics/silence-test.js';
import { chosen, inputs } from '../../support/input-signatures.js';
import { atMost, seeded } from '../../support/random.js';

const usual = { acceptable: 0.02, alarming: 0.1, alpha: 0.05 };
const mean = (values: readonly number[]) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const planned = (takes: number): HaltBoundary => haltBoundary({ ...usual, takes });
const wrong = (random: () => number, share: number): number => (random() < share ? 1 : 0);

describe('betting', () => {
  it('a_20_percent_wrong_model_is_found_against_10_percent', () => {
    const random = seeded(4);
    let tally = emptyTally();
    while (logEvidenceAbove(tally, 0.1) < Math.log(100))
      tally = addBlock(tally, wrong(random, 0.2));
    expect(blocksOf(tally)).toBeLessThan(250);
  });

  const sides = [
    ['above', logEvidenceAbove],
    ['below', logEvidenceBelow],
  ] as const;
  const shapes = [
    ['single_inputs', (random: () => number) => wrong(random, 0.1)],
    [
      'blocks_of_five',
      (random: () => number) => mean([1, 2, 3, 4, 5].map(() => wrong(random, 0.1))),
    ],
    ['a_spread', (random: () => number) => random() * 0.2],
  ] as const;
  const cases = sides.flatMap(([side, logE]) =>
    shapes.map(([shape, draw]) => ({ side, logE, shape, draw })),
  );
  it.each(cases)('a_mean_at_the_limit_is_rarely_called_$side.$shape', ({ logE, draw }) => {
    const random = seeded(20_260_101);
    const runs = 600;
    let alarms = 0;
    for (let run = 0; run < runs; run++) {
      let tally = emptyTally();
      for (let block = 1; block <= 200; block++) {
        tally = addBlock(tally, draw(random));
        if (block % 4 === 0 && logE(tally, 0.1) >= Math.log(20)) {
          alarms++;
          break;
        }
      }
    }
    expect(alarms / runs).toBeLessThanOrEqual(atMost(0.05, runs));
  });

  it('fifty_devices_of_fifteen_pairs_each_decide_together', () => {
    const random = seeded(50);
    const found = Array.from({ length: 200 }, () => pooled(0.2, random)).filter(
      (rounds) => logRoundsAbove(rounds, 0.1) >= Math.log(100),
    );
    expect(found.length / 200).toBeGreaterThan(0.95);
    const atLimit = Array.from({ length: 1000 }, () => pooled(0.1, random));
    expect(atLimit[0]).toHaveLength(15);
    for (const logE of [logRoundsAbove, logRoundsBelow])
      expect(
        atLimit.filter((rounds) => logE(rounds, 0.1) >= Math.log(20)).length / 1000,
      ).toBeLessThanOrEqual(atMost(0.05, 1000));
  });

  const pooled = (share: number, random: () => number) =>
    advanceRounds(
      [],
      Array.from({ length: 50 }, (_, site) => ({
        site: String(site),
        heard: true,
        first: Array.from({ length: 15 }, () => 1000 * wrong(random, share)),
      })),
    );
});

describe('block length', () => {
  it('scenes_of_a_hundred_frames_need_blocks_longer_than_a_scene', () => {
    // Two frames a second: a scene lasts 50 s.
    const seconds = chosen(inputs(40_000, 0.5, 100));
    expect(seconds).toBeGreaterThanOrEqual(64);
    expect(seconds).toBeLessThanOrEqual(512);
  });

  it('what_was_long_ago_is_forgotten', () => {
    const meter = new BlockMeter();
    for (const input of inputs(9000, 0.125, 8)) meter.add(input);
    const before = meter.chooseSeconds() ?? 0;
    expect(before).toBeGreaterThanOrEqual(1);
    for (const input of inputs(90_000, 0.125, 1))
      meter.add({ ...input, seconds: input.seconds + 2000 });
    expect(meter.chooseSeconds()).toBe(0.125);
  });
});

describe('the watch without an end', () => {
  it('false_alarms_are_at_least_the_threshold_apart_on_average', () => {
    const random = seeded(90);
    const steps = Array.from({ length: 200 }, () =>
      stepsToAlarm(500, () => (random() < 0.05 ? 1 : 0), 20_000),
    );
    expect(steps.reduce((a, b) => a + b) / steps.length).toBeGreaterThan(500);
    expect(Math.min(...steps)).toBeLessThan(20_000);
  });

  it('a_change_after_a_long_quiet_time_is_found_soon', () => {
    const random = seeded(91);
    const delays = Array.from({ length: 100 }, () => {
      const at = stepsToAlarm(
        540_000,
        (step) => (random() < (step > 2000 ? 0.5 : 0.02) ? 1 : 0),
        5000,
      );
      return at - 2000;
    });
    expect(delays.every((delay) => delay > 0 && delay < 100)).toBe(true);
  });
});

/** Steps until the alarm, at most `most`. */
function stepsToAlarm(threshold: number, draw: (step: number) => number, most: number): number {
  let state = emptyDetector();
  for (let step = 1; step <= most; step++) {
    state = observeStep(state, draw(step), 0.05);
    if (detectorValue(state) >= threshold) return step;
  }
  return most;
}

describe('the boundary of the halt test', () => {
  it.each([
    [5, 0.2],
    [100, 0.02],
    [100, 0.1],
    [1000, 0.2],
    [2000, 0.04],
  ])('agrees_with_simulation_for_%d_takes_at_%d', (takes, share) => {
    const boundary = planned(takes);
    const random = seeded(20_261_126);
    const runs = Array.from({ length: 4000 }, () => simulate(boundary, share, random));
    const mean = runs.reduce((sum, run) => sum + run.takes, 0) / runs.length;
    const square = runs.reduce((sum, run) => sum + (run.takes - mean) ** 2, 0) / runs.length;
    expect(Math.abs(mean - expectedTakes(boundary, share))).toBeLessThanOrEqual(
      3.5 * Math.sqrt(square / runs.length),
    );
    const halted = runs.filter((run) => run.halted).length / runs.length;
    const chance = chanceOfHalting(boundary, share);
    expect(halted).toBeLessThanOrEqual(atMost(chance, runs.length));
    expect(chance).toBeLessThanOrEqual(atMost(halted, runs.length));
    const middle = runs.map((run) => run.takes).sort((a, b) => a - b)[2000] ?? 0;
    expect(Math.abs(middle / medianTakes(boundary, share) - 1)).toBeLessThan(0.15);
  });

  it.each([1, 2, 3, 4, 5, 7, 10, 20, 50, 100, 333, 1000, 5000, 10_000, 100_000])(
    'of_a_false_halt_is_at_most_alpha_for_%d_takes',
    (takes) => {
      for (const acceptable of [0.005, 0.02, 0.1]) {
        const boundary = haltBoundary({ takes, acceptable, alarming: 3 * acceptable, alpha: 0.05 });
        expect(boundary.chance).toBeLessThanOrEqual(0.05);
        expect(boundary.level).toBeLessThanOrEqual(Math.log(20));
      }
    },
  );

  it('is_fast_for_ten_thousand_takes_and_usable_for_a_hundred_thousand', () => {
    const start = performance.now();
    planned(10_000);
    planned(100_000);
    expect(performance.now() - start).toBeLessThan(600);
  });
});

/** Takes until the halt (or the end), of one run; `halted` says which. */
function simulate(boundary: HaltBoundary, share: number, random: () => number) {
  let failures = 0;
  for (let take = 1; take <= boundary.takes; take++) {
    if (random() < share) failures++;
    if (failures >= failuresToHalt(boundary, take)) return { takes: take, halted: true };
  }
  return { takes: boundary.takes, halted: false };
}

describe('the halt test over kinds of hardware', () => {
  // decisions.md section 8: both strata at the acceptable rate, each kind's first device taken
  // alone, its next ones only after good outcomes (the cap per stratum).
  it('two_strata_at_the_acceptable_rate_halt_at_most_the_exact_bound', () => {
    const plan = strataPlan({
      ...usual,
      kinds: new Map([
        ['a', 150],
        ['b', 50],
      ]),
    });
    const random = seeded(63);
    const runs = 2000;
    let halts = 0;
    for (let run = 0; run < runs; run++) halts += cappedRun(plan, random) ? 1 : 0;
    const bound = plan.pooled.chance + [...plan.kinds.values()].reduce((s, k) => s + k.chance, 0);
    expect(bound).toBeLessThanOrEqual(0.05);
    expect(halts / runs).toBeLessThanOrEqual(atMost(bound, runs));
    expect(halts).toBeGreaterThan(0);
  });
});

/** Each kind's window is its confirmed devices (at least 1): who comes next depends on outcomes. */
function cappedRun(plan: StrataPlan, random: () => number): boolean {
  const left = new Map([...plan.kinds].map(([kind, { takes }]) => [kind, takes]));
  const confirmed = new Map<string, number>();
  const takes: Take[] = [];
  while ([...left.values()].some((count) => count > 0)) {
    const before = new Map(confirmed);
    for (const [kind, count] of left) {
      const window = Math.min(count, Math.max(1, before.get(kind) ?? 0));
      for (let i = 0; i < window; i++) {
        const failed = random() < 0.02;
        takes.push({ kind, failed });
        if (!failed) confirmed.set(kind, (confirmed.get(kind) ?? 0) + 1);
      }
      left.set(kind, count - window);
    }
  }
  return haltTest(takes, plan).halt;
}

describe('the silence test', () => {
  /** 48 slots; every device goes silent at the rate of its site (touched: times `factor`). */
  function run(sites: number, factor: number, random: () => number): boolean {
    let state = emptySilence();
    const exposed = Array.from({ length: sites }, () => ({ touched: 3, control: 9 }));
    for (let slot = 0; slot < 48; slot++) {
      const blackout = random() < 0.02;
      const slotSites = exposed.map(({ touched, control }) => {
        const rate = blackout ? 0.6 : 0.05 * random();
        const count = (atRisk: number, chance: number) => ({
          atRisk,
          events: Array.from({ length: atRisk }).filter(() => random() < chance).length,
        });
        return {
          touched: count(touched, Math.min(1, factor * rate)),
          control: count(control, rate),
        };
      });
      state = addSlot(state, slotSites);
      if (silenceReading(state).hold) return true;
    }
    return false;
  }

  it('a_release_that_silences_nobody_is_rarely_held_even_with_blackouts', () => {
    const random = seeded(48);
    const holds = Array.from({ length: 1000 }, () => run(5, 1, random)).filter(Boolean).length;
    expect(holds / 1000).toBeLessThanOrEqual(atMost(0.05, 1000));
  });

  it('a_release_that_silences_ten_times_as_often_is_held', () => {
    const random = seeded(49);
    const holds = Array.from({ length: 100 }, () => run(5, 10, random)).filter(Boolean).length;
    expect(holds).toBeGreaterThan(95);
  });
});

describe('shifts and margins', () => {
  it('psi_of_equal_samples_stays_below_what_chance_does', () => {
    const random = seeded(99);
    const draw = (n: number) => {
      const counts = new Array<number>(10).fill(0);
      for (let i = 0; i < n; i++) counts[Math.floor(random() * 10)]! += 1;
      return counts;
    };
    let above = 0;
    for (let run = 0; run < 2000; run++) {
      const found = classShift(draw(200), draw(200), 0.05)!;
      if (found.psi > found.chance) above++;
    }
    expect(above / 2000).toBeLessThan(0.07);
    expect(above / 2000).toBeGreaterThan(0.02);
    // Notes 3.10: the calibrated 1 % threshold at 10 bins and n = m = 100 is 0.433.
    expect(classShift(draw(100), draw(100), 0.01)!.chance).toBeCloseTo(0.433, 2);
  });

  it('a_mean_stays_inside_its_margin_at_every_count_at_once', () => {
    const random = seeded(5);
    let outside = 0;
    for (let run = 0; run < 1000; run++) {
      let sum = 0;
      for (let count = 1; count <= 1000; count++) {
        sum += random() - 0.5;
        if (count >= 30 && Math.abs(sum / count) > meanMargin(Math.sqrt(1 / 12), count, 0.05)) {
          outside++;
          break;
        }
      }
    }
    expect(outside / 1000).toBeLessThan(0.05 + 3 * Math.sqrt((0.05 * 0.95) / 1000));
  });
});
