// The trial's measuring alone, with a shadow that the test controls: when a comparison runs, what
// is queued and dropped, what is counted, and what counts as comparable. Over 400 lines because
// all of it shares one controlled shadow.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  Trial,
  type Shadow,
  type TrialOptions,
} from '../../../../agent/inference/engine/shadow-comparison.js';
import { limitsWith } from '../../../../agent/inference/inference-limits.js';
import type { Tensor } from '../../../../agent/inference/model/tensor.js';
import type { Installed } from '../../../../agent/interfaces.js';
import { Fault } from '../../../../shared/base/fault-codes.js';
import { limits } from '../../../../shared/base/limits.js';
import { BlockMeter } from '../../../../shared/statistics/block-length.js';
import { blocksOf, meanOf, type BlockTally } from '../../../../shared/statistics/betting.js';
import { realClock, realRandom } from '../../../../shared/platform/clock.js';
import { adder, fp32, install, LABELS, type Recipe } from '../../../support/inference-releases.js';

const x = fp32('x', [1, 4], [1, 2, 3, 9]);
const logits = (...values: number[]): Tensor => fp32('logits', [values.length / 4, 4], values);
/** Class d. */
const answer = logits(1, 2, 3, 9);

const RUN = { runMs: 5, score: 0.9 };
const pairsOf = (trial: Trial): number => trial.evidence().comparisons[0]?.pairs ?? 0;

let root: string;
let now: number;
let idle: boolean;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'linnet-trial-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  now = 0;
  idle = true;
});

const release = (version: string, more: Partial<Recipe> = {}): Installed =>
  install(root, adder(version, [0, 0, 0, 0], more));

/** Its runs end when the test calls `finish`. */
class ControlledShadow implements Shadow {
  readonly installed: Installed;
  runs = 0;
  #end: ((outputs: Tensor[] | Fault) => void) | null = null;

  constructor(installed: Installed) {
    this.installed = installed;
  }

  get free(): boolean {
    return this.#end === null;
  }

  run(): Promise<Tensor[]> {
    this.runs += 1;
    return new Promise((resolve, reject) => {
      this.#end = (outputs) => (outputs instanceof Fault ? reject(outputs) : resolve(outputs));
    });
  }

  async finish(outputs: Tensor[] | Fault): Promise<void> {
    const end = this.#end;
    this.#end = null;
    end?.(outputs);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The serving replica; it is only run to compare times. */
const serving = (installed: Installed): Shadow => ({
  installed,
  free: false,
  run: () => Promise.reject(new Error('not asked')),
});

function trialOf(current: Installed | Shadow, more: Partial<TrialOptions> = {}): Trial {
  return new Trial('run' in current ? current : serving(current), {
    isNew: 'serving',
    meter: new BlockMeter(),
    oldErrorPermille: null,
    slowMs: 50,
    clock: { ...realClock, monotonic: () => now },
    random: realRandom,
    limits: limitsWith(),
    shadowSample: 1,
    rehearsedWith: () => [],
    isIdle: () => idle,
    onCompared: () => {},
    ...more,
  });
}

/** A trial with one attached shadow of `old`. */
function compared(
  current: Installed,
  old: Installed,
  more: Partial<TrialOptions> = {},
): { trial: Trial; shadow: ControlledShadow } {
  const trial = trialOf(current, more);
  const shadow = new ControlledShadow(old);
  trial.attach(shadow);
  return { trial, shadow };
}

describe('when a comparison runs', () => {
  it('comparison_waits_until_idle_and_runs_at_intervals_on_a_device_that_is_never_idle', () => {
    const trial = trialOf(release('1.0.0'));
    let runs = 0;
    trial.attach({
      installed: release('1.0.0'),
      free: true,
      run: () => ((runs += 1), new Promise(() => {})),
    });
    const pumped = (): number => {
      trial.served([x], [answer], RUN);
      trial.pump();
      return runs;
    };
    idle = false;
    expect(pumped()).toBe(0);
    idle = true;
    expect(pumped()).toBe(1);
    idle = false;
    now = limits.shadowWaitMaxMs - 1;
    expect(pumped()).toBe(1);
    now += 1;
    expect(pumped()).toBe(2);
    expect(pumped()).toBe(2);
  });

  it('nothing_runs_without_a_pair_without_a_shadow_or_while_the_shadow_computes', async () => {
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'));
    trial.pump();
    expect(shadow.runs).toBe(0);
    trial.served([x], [answer], RUN);
    trial.served([x], [answer], RUN);
    trial.pump();
    trial.pump();
    expect(shadow.runs).toBe(1);
    trial.attach(null);
    await shadow.finish([answer]);
    trial.pump();
    expect(shadow.runs).toBe(1);
    expect(pairsOf(trial)).toBe(0);
  });

  it('the_next_pair_follows_when_the_shadow_is_free_and_the_engine_is_told', async () => {
    let told = 0;
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'), {
      onCompared: () => (told += 1),
    });
    trial.served([x], [answer], RUN);
    trial.served([x], [answer], RUN);
    trial.pump();
    await shadow.finish([answer]);
    expect([shadow.runs, told, pairsOf(trial)]).toEqual([2, 1, 1]);
    await shadow.finish([answer]);
    expect([shadow.runs, told, pairsOf(trial)]).toEqual([2, 2, 2]);
  });
});

describe('the queue', () => {
  const runsAfter = async (trial: Trial, shadow: ControlledShadow): Promise<number> => {
    trial.pump();
    while (!shadow.free) await shadow.finish([answer]);
    return shadow.runs;
  };

  it('pairs_beyond_the_count_limit_are_dropped', async () => {
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'));
    for (let i = 0; i <= limits.shadowQueueMaxCount; i += 1) trial.served([x], [answer], RUN);
    expect(await runsAfter(trial, shadow)).toBe(limits.shadowQueueMaxCount);
  });

  it.each([
    [64, 2],
    [63, 1],
    [32, 1],
    [31, 0],
  ])('pairs_beyond_the_byte_limit_are_dropped_%s_bytes_hold_%s_pairs', async (bytes, pairs) => {
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'), {
      limits: limitsWith({ requestMaxBytes: bytes }),
    });
    for (let i = 0; i < 3; i += 1) trial.served([x], [answer], RUN); // 16 + 16 bytes each
    expect(await runsAfter(trial, shadow)).toBe(pairs);
  });

  it('bytes_of_a_compared_pair_are_free_again', async () => {
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'), {
      limits: limitsWith({ requestMaxBytes: 32 }),
    });
    for (let i = 1; i <= 3; i += 1) {
      trial.served([x], [answer], RUN);
      expect(await runsAfter(trial, shadow)).toBe(i);
    }
  });

  it('a_sample_is_taken_by_chance', async () => {
    const fractions = [0.24, 0.25, 0.9, 0];
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'), {
      shadowSample: 0.25,
      random: { ...realRandom, fraction: () => fractions.shift() ?? 1 },
    });
    for (let i = 0; i < 4; i += 1) trial.served([x], [answer], RUN);
    expect(await runsAfter(trial, shadow)).toBe(2);
  });

  it('pairs_of_a_replaced_shadow_are_dropped', async () => {
    const { trial } = compared(release('1.1.0'), release('1.0.0'));
    trial.served([x], [answer], RUN);
    const next = new ControlledShadow(release('0.9.0'));
    trial.attach(next);
    expect(await runsAfter(trial, next)).toBe(0);
  });

  it('attaching_the_same_shadow_again_keeps_its_pairs', async () => {
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'));
    trial.served([x], [answer], RUN);
    trial.attach(shadow);
    expect(await runsAfter(trial, shadow)).toBe(1);
  });
});

describe('counting', () => {
  /** A meter that has seen enough independent inputs for blocks of 1/8 s. */
  function warmMeter(): BlockMeter {
    const meter = new BlockMeter();
    for (let i = 0; i < 40; i += 1)
      meter.add({ seconds: i - 100, score: null, summary: [Math.sin(i * i)] });
    return meter;
  }

  /** One pair; its block is closed by a later one. Null: that release failed the request. */
  async function evidenceOf(
    [current, fresh]: [Installed, Tensor | null],
    [old, previous]: [Installed, Tensor | Fault],
    input: Tensor = x,
  ) {
    const { trial, shadow } = compared(current, old, { meter: warmMeter() });
    if (fresh === null) trial.failed([input]);
    else trial.served([input], [fresh], RUN);
    trial.pump();
    await shadow.finish(previous instanceof Fault ? previous : [previous]);
    now += 1000;
    trial.served([input], [fresh ?? answer], RUN);
    return trial.evidence();
  }
  const differencesOf = ({ comparisons }: Awaited<ReturnType<typeof evidenceOf>>) =>
    comparisons.map(({ blocks }) => blocks.first);

  it('a_batch_is_one_pair_and_its_difference_the_share_of_rows_of_other_classes', async () => {
    const evidence = await evidenceOf(
      [release('1.1.0'), logits(9, 0, 0, 0, 0, 9, 0, 0)],
      [release('1.0.0'), logits(9, 0, 0, 0, 0, 0, 9, 0)],
      fp32('x', [2, 4], [0, 0, 0, 0, 0, 0, 0, 0]),
    );
    expect(evidence).toMatchObject({
      comparisons: [{ output: 'logits', kind: 'class', pairs: 1, declaredPermille: null }],
      comparable: true,
      blockSeconds: 0.125,
      new: { classes: [1, 1, 0, 0] },
      old: { classes: [1, 0, 1, 0] },
    });
    expect(differencesOf(evidence)).toEqual([[500]]);
  });

  it('answers_with_another_number_of_rows_are_a_difference_of_1', async () => {
    const evidence = await evidenceOf(
      [release('1.1.0'), logits(9, 0, 0, 0, 9, 0, 0, 0)],
      [release('1.0.0'), logits(9, 0, 0, 0)],
    );
    expect(differencesOf(evidence)).toEqual([[1000]]);
    expect(evidence.new?.classes).toEqual([0, 0, 0, 0]);
  });

  it('classes_are_compared_by_label_not_by_index', async () => {
    const classifier = {
      output: 'logits',
      scale: 'logits' as const,
      labels: [...LABELS].reverse(),
    };
    const evidence = await evidenceOf(
      [release('1.1.0'), logits(9, 0, 0, 0)],
      [release('1.0.0', { classifier }), logits(0, 0, 0, 9)],
    );
    expect(differencesOf(evidence)).toEqual([[0]]);
    expect(evidence.old?.classes).toEqual([1, 0, 0, 0]);
  });

  it('a_shadow_that_crashes_makes_no_pair', async () => {
    const evidence = await evidenceOf(
      [release('1.1.0'), answer],
      [release('1.0.0'), new Fault('host_died', 'crashed')],
    );
    expect(evidence).toMatchObject({ failed: 0, comparisons: [{ pairs: 0 }] });
    expect(evidence.errors.share.first).toEqual([]);
  });

  it.each([
    ['fails', new Fault('model_run_failed', 'failed')],
    ['answers_nan', logits(NaN, 0, 0, 0)],
  ])('a_shadow_that_%s_counts_for_the_new_release', async (_, previous) => {
    const evidence = await evidenceOf([release('1.1.0'), answer], [release('1.0.0'), previous]);
    expect(evidence).toMatchObject({ failed: 0, comparisons: [{ pairs: 0 }] });
    expect(evidence.errors.onlyOne.first).toEqual([0]);
  });

  it('a_request_that_both_fail_counts_for_neither', async () => {
    const evidence = await evidenceOf(
      [release('1.1.0'), null],
      [release('1.0.0'), new Fault('model_run_failed', 'odd size')],
    );
    expect(evidence).toMatchObject({ failed: 0, served: 1, comparisons: [{ pairs: 0 }] });
    expect(evidence.errors).toMatchObject({ onlyOne: { first: [] }, share: { first: [] } });
  });

  it('a_withheld_answer_is_an_error_and_a_difference_of_1', async () => {
    const evidence = await evidenceOf([release('1.1.0'), null], [release('1.0.0'), answer]);
    expect(evidence).toMatchObject({ failed: 1, comparisons: [{ pairs: 1 }] });
    expect(differencesOf(evidence)).toEqual([[1000]]);
    expect(evidence.errors).toMatchObject({ onlyOne: { first: [1000] }, share: { first: [1000] } });
  });

  it('without_a_classifier_weights_changed_by_2_percent_are_a_small_difference', async () => {
    const probeTolerance = { absolute: 1e-6, relative: 0 };
    const evidence = await evidenceOf(
      [
        release('1.1.0', { classifier: null, tolerance: probeTolerance }),
        logits(1.02, 2.04, 3.06, 9.18),
      ],
      [release('1.0.0', { classifier: null }), answer],
    );
    expect(evidence).toMatchObject({ new: null, old: null, comparable: true });
    expect(evidence.comparisons[0]?.kind).toBe('vector');
    expect(differencesOf(evidence)).toEqual([[0]]);
  });

  it('inputs_that_never_change_make_no_block', async () => {
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'));
    for (let i = 0; i < 100; i += 1) {
      now += 1000;
      trial.served([x], [answer], RUN);
      trial.pump();
      if (!shadow.free) await shadow.finish([answer]);
    }
    const { blockSeconds, comparisons } = trial.evidence();
    expect(blockSeconds).toBeNull();
    expect(comparisons[0]).toMatchObject({ pairs: 100, blocks: { counts: [] } });
  });

  it('one_input_a_block_is_timed_on_both_releases', async () => {
    const runs: string[] = [];
    const timed = (name: string, installed: Installed, ms: number): Shadow => ({
      installed,
      free: true,
      run: () => {
        runs.push(name);
        now += ms;
        return Promise.resolve([answer]);
      },
    });
    const trial = new Trial(timed('new', release('1.1.0'), 20), {
      isNew: 'serving',
      clock: { ...realClock, monotonic: () => now },
      random: { ...realRandom, fraction: () => 0.4 },
      limits: limitsWith(),
      shadowSample: 1,
      meter: warmMeter(),
      oldErrorPermille: null,
      slowMs: 50,
      rehearsedWith: () => [],
      isIdle: () => true,
      onCompared: () => {},
    });
    trial.attach(timed('old', release('1.0.0'), 10));
    const compare = async (): Promise<void> => {
      trial.served([x], [answer], RUN);
      trial.pump();
      await new Promise((resolve) => setImmediate(resolve));
    };
    await compare();
    expect(runs).toEqual(['new', 'old']);
    await compare();
    expect(runs).toEqual(['new', 'old', 'old']);
    now += 1000;
    await compare();
    expect(runs.slice(3)).toEqual(['new', 'old']);
    // 20 ms over 10 ms: 1.05 to the power of 14 is 1.98.
    expect(trial.evidence().latency.ratios).toEqual([[14, 2]]);
  });

  it('a_busy_device_that_is_slow_with_both_releases_is_not_slow_with_the_new_one', async () => {
    const slowRuns = async (oldMs: number): Promise<BlockTally> => {
      const old: Shadow = {
        installed: release('1.0.0'),
        free: true,
        run: () => {
          now += oldMs;
          return Promise.resolve([answer]);
        },
      };
      const trial = new Trial(
        { ...old, installed: release('1.1.0') },
        {
          isNew: 'serving',
          clock: { ...realClock, monotonic: () => now },
          random: realRandom,
          limits: limitsWith({ shadowWaitMaxMs: 0 }),
          shadowSample: 1,
          meter: warmMeter(),
          oldErrorPermille: null,
          rehearsedWith: () => [],
          slowMs: 50,
          isIdle: () => false,
          onCompared: () => {},
        },
      );
      trial.attach(old);
      for (let i = 0; i < 3; i += 1) {
        trial.served([x], [answer], { runMs: 60, score: null });
        trial.pump();
        await new Promise((resolve) => setImmediate(resolve));
        now += 1000;
      }
      return trial.evidence().latency.onlyOneSlow;
    };
    expect(blocksOf(await slowRuns(70))).toBe(0);
    const alone = await slowRuns(10);
    expect(blocksOf(alone)).toBe(2);
    expect(meanOf(alone)).toBeGreaterThan(0.99);
  });

  it('slow_answers_while_another_process_starts_say_nothing_and_failed_ones_count', () => {
    const trial = trialOf(release('1.1.0'), { meter: warmMeter() });
    const answerSlowly = (): void => {
      for (let i = 0; i < 3; i += 1) {
        trial.served([x], [answer], { runMs: 60, score: null });
        now += 1000;
      }
    };
    trial.disturb(true);
    answerSlowly();
    trial.failed([x]);
    expect(blocksOf(trial.evidence().latency.slow)).toBe(0);
    expect(trial.evidence()).toMatchObject({ served: 3, failed: 1 });
    trial.disturb(false);
    answerSlowly();
    expect(meanOf(trial.evidence().latency.slow)).toBeGreaterThan(0.99);
  });

  it('evidence_counts_requests_faults_and_seconds', () => {
    const trial = trialOf(release('1.1.0'));
    now = 2_500;
    for (let i = 0; i < 3; i += 1) trial.served([x], [answer], RUN);
    for (let i = 0; i < 2; i += 1) trial.failed([x]);
    trial.countFault();
    expect(trial.evidence()).toMatchObject({
      seconds: 2.5,
      served: 3,
      failed: 2,
      look: null,
      modelFaults: 1,
      comparisons: [],
      comparable: false,
      new: null,
      old: null,
    });
  });
});

describe('comparable releases', () => {
  const classifier = (labels: string[]) => ({
    classifier: { output: 'logits', scale: 'logits' as const, labels },
  });

  it.each<[string, Partial<Recipe>, Partial<Recipe>, boolean]>([
    ['the_same_labels', {}, {}, true],
    ['the_same_labels_in_another_order', {}, classifier([...LABELS].reverse()), true],
    ['another_label', {}, classifier(['a', 'b', 'c', 'e']), false],
    ['fewer_labels', {}, classifier(['a', 'b', 'c']), false],
    ['a_label_twice', {}, classifier(['a', 'b', 'c', 'c']), false],
    ['a_classifier_on_one_side_only', {}, { classifier: null }, false],
    ['no_classifier', { classifier: null }, { classifier: null }, true],
    [
      'no_classifier_and_another_output',
      { classifier: null },
      { classifier: null, outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 4] }] },
      false,
    ],
    [
      'no_classifier_and_another_output_datatype',
      { classifier: null },
      { classifier: null, outputs: [{ name: 'logits', datatype: 'FP64', shape: [-1, 4] }] },
      false,
    ],
    ['another_input', {}, { inputs: [{ name: 'z', datatype: 'FP32', shape: [-1, 4] }] }, false],
    [
      'another_input_datatype',
      {},
      { inputs: [{ name: 'x', datatype: 'FP64', shape: [-1, 4] }] },
      false,
    ],
    ['another_input_rank', {}, { inputs: [{ name: 'x', datatype: 'FP32', shape: [4] }] }, false],
    ['another_input_size', {}, { inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 4] }] }, true],
  ])('releases_with_%s', (_, current, old, comparable) => {
    const { trial, shadow } = compared(release('1.1.0', current), release('1.0.0', old));
    trial.served([x], [answer], RUN);
    trial.pump();
    expect(trial.evidence().comparable).toBe(comparable);
    expect(shadow.runs).toBe(comparable ? 1 : 0);
  });
});

describe('a candidate that never serves', () => {
  /** One request that the old release serves, or fails (null), and a copy for the candidate. */
  async function shadowed(
    ofOld: Tensor | null,
    ofCandidate: Tensor | Fault,
    { candidate = release('1.1.0'), input = x } = {},
  ) {
    const { trial, shadow } = compared(release('1.0.0'), candidate, { isNew: 'shadow' });
    if (ofOld === null) trial.failed([input]);
    else trial.served([input], [ofOld], RUN);
    trial.pump();
    const { runs } = shadow;
    await shadow.finish(ofCandidate instanceof Fault ? ofCandidate : [ofCandidate]);
    return { ...trial.evidence(), runs };
  }

  it('its_answers_are_the_new_ones_and_what_is_served_the_old_ones', async () => {
    const evidence = await shadowed(logits(9, 0, 0, 0), logits(0, 9, 0, 0));
    expect(evidence).toMatchObject({
      served: 1,
      failed: 0,
      comparable: true,
      comparisons: [{ output: 'logits', pairs: 1 }],
      new: { classes: [0, 1, 0, 0] },
      old: { classes: [1, 0, 0, 0] },
    });
  });

  it('requests_that_it_was_not_given_are_not_counted_as_its_own', () => {
    const trial = trialOf(release('1.0.0'), { isNew: 'shadow' });
    for (let i = 0; i < 3; i += 1) trial.served([x], [answer], RUN);
    trial.failed([x]);
    expect(trial.evidence()).toMatchObject({ served: 0, failed: 0, look: null });
    expect(trial.evidence().latency.slow.first).toEqual([]);
  });

  it.each([
    ['fails', new Fault('model_run_failed', 'failed')],
    ['answers_nan', logits(NaN, 0, 0, 0)],
  ])('one_that_%s_alone_has_failed_the_copy', async (_, ofCandidate) => {
    const evidence = await shadowed(answer, ofCandidate);
    expect(evidence).toMatchObject({ served: 0, failed: 1, comparisons: [{ pairs: 1 }] });
  });

  it('one_that_answers_what_the_old_release_fails_is_not_blamed', async () => {
    const evidence = await shadowed(null, answer);
    expect(evidence).toMatchObject({ served: 1, failed: 0, comparisons: [{ pairs: 0 }] });
  });

  it('an_input_that_both_fail_counts_for_neither', async () => {
    const evidence = await shadowed(null, new Fault('model_run_failed', 'odd size'));
    expect(evidence).toMatchObject({ served: 0, failed: 0, comparisons: [{ pairs: 0 }] });
  });

  it('one_that_crashes_makes_no_pair', async () => {
    const evidence = await shadowed(answer, new Fault('host_died', 'crashed'));
    expect(evidence).toMatchObject({ served: 0, failed: 0, comparisons: [{ pairs: 0 }] });
  });

  it('an_input_that_its_guard_refuses_is_no_failure', async () => {
    const inputs = [{ name: 'x', datatype: 'FP32' as const, shape: [1, 4] }];
    const evidence = await shadowed(logits(9, 0, 0, 0, 9, 0, 0, 0), answer, {
      candidate: release('1.1.0', { inputs }),
      input: fp32('x', [2, 4], [0, 0, 0, 0, 0, 0, 0, 0]),
    });
    expect(evidence).toMatchObject({ runs: 0, served: 0, failed: 0, comparable: true });
  });

  it('one_that_cannot_be_compared_answers_copies_all_the_same', async () => {
    const labels = ['a', 'b', 'c', 'e'];
    const classifier = { output: 'logits', scale: 'logits' as const, labels };
    const evidence = await shadowed(answer, answer, {
      candidate: release('1.1.0', { classifier }),
    });
    expect(evidence).toMatchObject({ runs: 1, served: 1, comparable: false, comparisons: [] });
  });

  it('run_times_are_its_own_over_those_of_the_old_release', async () => {
    const timed = (installed: Installed, ms: number): Shadow => ({
      installed,
      free: true,
      run: () => {
        now += ms;
        return Promise.resolve([answer]);
      },
    });
    const meter = { add: () => false, chooseSeconds: () => 0.125 };
    const options = { isNew: 'shadow' as const, meter };
    const trial = trialOf(timed(release('1.0.0'), 10), options);
    trial.attach(timed(release('1.1.0'), 20));
    trial.served([x], [answer], RUN);
    trial.pump();
    await new Promise((resolve) => setImmediate(resolve));
    expect(trial.evidence().latency.ratios).toEqual([[14, 1]]);
  });
});
