// What many devices with little traffic each show together: it holds a rollout or frees places, and
// confirms nobody.
import { describe, expect, it } from 'vitest';
import { plan } from '../../../server/rollout/plan.js';
import { isPoolGood, pool, poolHold } from '../../../server/rollout/pool.js';
import type { RolloutRow } from '../../../server/interfaces.js';
import type { Situation } from '../../../server/rollout/situation.js';
import { windowOf, countsOf } from '../../../server/rollout/window.js';
import { addBlock, emptyTally } from '../../../shared/statistics/betting.js';
import { seeded } from '../../support/random.js';
import {
  answered,
  facts,
  member,
  reports,
  rollout,
  situation,
  T0,
  trial,
  update,
} from '../../support/rollout-rows.js';
import { trialEvidence } from '../../support/trial-evidence.js';

interface Fleet {
  readonly devices: number;
  readonly pairs: number;
  readonly wrong: number;
  readonly site?: (n: number) => string;
  readonly change?: (n: number) => Partial<ReturnType<typeof member>>;
}

function fleetOf(random: () => number, { devices, pairs, wrong, site, change }: Fleet): Situation {
  const members = Array.from({ length: devices }, (_, n) =>
    member(n, { state: 'unproven', site: site?.(n) ?? `s${n}`, ...change?.(n) }),
  );
  const heard = members.map((_, n) => {
    let blocks = emptyTally();
    for (let pair = 0; pair < pairs; pair++) blocks = addBlock(blocks, random() < wrong ? 1 : 0);
    const evidence = trialEvidence({
      comparisons: [
        {
          output: 'logits',
          kind: 'class',
          declaredPermille: null,
          rehearsed: { pairs: 0, blocks: 0 },
          pairs,
          blocks,
        },
      ],
    });
    return facts({ update: update({ state: 'swapped' }), trial: trial(evidence) }, n);
  });
  return situation({ members, facts: reports(...heard), now: T0 + 1000 });
}

const after = (whole: Situation): RolloutRow => pool(whole)?.rollout ?? whole.rollout;
const hold = (whole: Situation) => poolHold({ ...whole, rollout: after(whole) });

describe('fifty devices of five pairs each', () => {
  it('find_a_release_that_is_wrong_on_20_percent_where_no_single_one_can', () => {
    const random = seeded(8);
    const held = (wrong: number, pairs = 5) => {
      let count = 0;
      for (let run = 0; run < 100; run++)
        if (hold(fleetOf(random, { devices: 50, pairs, wrong })) !== null) count++;
      return count;
    };
    expect(held(0.2)).toBeGreaterThan(50);
    expect(held(0.2, 10)).toBeGreaterThan(95);
    // The limit is 10 %.
    expect(held(0.1)).toBeLessThanOrEqual(5);
    expect(held(0.1, 20)).toBeLessThanOrEqual(5);
    expect(held(0.05, 20)).toBe(0);
  });

  it('hold_it_with_the_arithmetic_and_are_told_once', () => {
    const whole = fleetOf(seeded(1), { devices: 50, pairs: 5, wrong: 0.4 });
    const row = hold(whole)?.rollout;
    expect(row).toMatchObject({ state: 'held', asked: true });
    expect(row?.reasons[0]).toMatch(
      /^answers of logits differ by \d+ % on average over the sites of the wave, in 5 rounds; the limit is 10 %; e-value \d+\.\d >= 8$/,
    );
    expect(poolHold({ ...whole, rollout: { ...row!, state: 'rolling' } })).toBeNull();
  });
});

it('rollout_counts_the_rounds_and_is_then_held', () => {
  const change = () => ({ state: 'trial' as const });
  const whole = fleetOf(seeded(1), { devices: 50, pairs: 5, wrong: 0.4, change });
  const first = plan({ ...whole, rollout: answered({}) });
  expect(first?.rollout).toMatchObject({ state: 'rolling', pool: { wave: 0 } });
  const next = plan({ ...whole, rollout: first!.rollout });
  expect(next?.rollout).toMatchObject({ state: 'held', pool: { told: true } });
});

describe('rounds', () => {
  it('of_devices_that_share_a_site_are_one_observation', () => {
    const own = { devices: 30, pairs: 5, wrong: 0 };
    const bad = (n: number) => (n < 29 ? 'shop' : 'other');
    const shared = after(fleetOf(seeded(1), { ...own, site: bad })).pool?.outputs['logits'];
    expect(shared?.rounds).toHaveLength(5);
  });

  it('wait_for_devices_on_trial_and_not_for_failed_or_waiting_ones_or_another_wave', () => {
    const base = { devices: 5, pairs: 3, wrong: 0 };
    const rounds = (change: NonNullable<Fleet['change']>) =>
      after(fleetOf(seeded(1), { ...base, change })).pool?.outputs['logits']?.rounds.length ?? 0;
    expect(rounds(() => ({}))).toBe(3);
    expect(rounds((n) => (n < 3 ? { state: 'failed' } : {}))).toBe(0);
    expect(rounds((n) => (n < 3 ? { wave: 1 } : {}))).toBe(0);
    expect(rounds((n) => (n < 2 ? { state: 'taken' } : {}))).toBe(3);
    expect(pool(situation({ rollout: rollout(), members: [] }))).toBeNull();
  });

  it('that_were_counted_are_not_counted_again', () => {
    const whole = fleetOf(seeded(1), { devices: 5, pairs: 3, wrong: 0 });
    expect(pool({ ...whole, rollout: after(whole) })).toBeNull();
  });
});

describe('the window', () => {
  it('is_freed_of_unproven_devices_when_all_show_together_that_it_differs_little', () => {
    const open = (pairs: number) => {
      const whole = fleetOf(seeded(1), { devices: 5, pairs, wrong: 0 });
      const row = after(whole);
      return [isPoolGood(row), windowOf(row, countsOf(whole.members), null).open];
    };
    expect(open(5)).toEqual([false, 5]);
    expect(open(64)).toEqual([true, 0]);
  });

  it('is_not_freed_by_the_devices_of_an_earlier_wave', () => {
    const row = after(fleetOf(seeded(1), { devices: 5, pairs: 64, wrong: 0 }));
    expect(isPoolGood({ ...row, wave: 1 })).toBe(false);
  });
});
