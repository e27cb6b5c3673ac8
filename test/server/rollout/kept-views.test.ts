// The details of large rollouts that are kept: who shares one, for how long, and what ends it.
import { beforeEach, expect, it } from 'vitest';
import { KeptViews } from '../../../server/rollout/kept-views.js';
import { limits } from '../../../shared/base/limits.js';
import type { RolloutDetail } from '../../../shared/protocol/operator-api.js';
import { ManualClock } from '../../sim/manual-clock.js';
import { rollout } from '../../support/rollout-rows.js';

const LARGE = limits.conductorPageRowsMaxCount + 1;
const TOOK_MS = 200;

let clock: ManualClock;
let views: KeptViews;
let made: number;

beforeEach(() => {
  clock = new ManualClock();
  views = new KeptViews(clock);
  made = 0;
});

const make = (devices: number) => (): Promise<RolloutDetail> => {
  made += 1;
  clock.pass(TOOK_MS);
  const counts = [{ wave: 0, state: 'waiting', devices }];
  return Promise.resolve({ counts } as Partial<RolloutDetail> as RolloutDetail);
};

it('many_that_ask_for_a_large_rollout_cost_one_reading_in_a_while', async () => {
  await Promise.all(Array.from({ length: 5 }, () => views.of(rollout(), make(LARGE))));
  clock.pass(TOOK_MS * limits.rolloutViewKeptFactor - 1);
  await views.of(rollout(), make(LARGE));
  expect(made).toBe(1);
  clock.pass(1);
  await views.of(rollout(), make(LARGE));
  expect(made).toBe(2);
});

it('a_small_rollout_is_read_with_each_request', async () => {
  for (let times = 0; times < 3; times++) await views.of(rollout(), make(LARGE - 1));
  expect(made).toBe(3);
});

it('a_rollout_whose_state_or_wave_changed_is_read_again', async () => {
  await views.of(rollout(), make(LARGE));
  await views.of(rollout({ state: 'held' }), make(LARGE));
  expect(made).toBe(2);
  await views.of(rollout({ state: 'held', wave: 1 }), make(LARGE));
  expect(made).toBe(3);
});

it('a_command_is_answered_with_what_is_true_after_it_and_the_next_request_shares_that', async () => {
  await views.of(rollout(), make(LARGE));
  await views.anew(rollout(), make(LARGE));
  expect(made).toBe(2);
  await views.of(rollout(), make(LARGE));
  expect(made).toBe(2);
});

it('a_reading_that_failed_is_not_kept', async () => {
  const fails = (): Promise<RolloutDetail> => Promise.reject(new Error('the database is away'));
  await expect(views.of(rollout(), fails)).rejects.toThrow('the database is away');
  await views.of(rollout(), make(LARGE));
  expect(made).toBe(1);
});
