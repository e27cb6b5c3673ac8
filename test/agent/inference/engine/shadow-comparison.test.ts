// The trial's measuring alone, with a shadow that the test controls: when a comparison runs, what
// is queued and dropped, and what counts as comparable.
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
import { realClock, realRandom } from '../../../../shared/platform/clock.js';
import { adder, fp32, install, LABELS, type Recipe } from '../../../support/inference-releases.js';

const x = fp32('x', [1, 4], [1, 2, 3, 9]);
const logits = (...values: number[]): Tensor => fp32('logits', [values.length / 4, 4], values);
/** Class d. */
const answer = logits(1, 2, 3, 9);

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

function trialOf(current: Installed, more: Partial<TrialOptions> = {}): Trial {
  return new Trial(current.release, {
    clock: { ...realClock, monotonic: () => now },
    random: realRandom,
    limits: limitsWith(),
    shadowSample: 1,
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
      trial.offer([x], [answer]);
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
    trial.offer([x], [answer]);
    trial.offer([x], [answer]);
    trial.pump();
    trial.pump();
    expect(shadow.runs).toBe(1);
    trial.attach(null);
    await shadow.finish([answer]);
    trial.pump();
    expect(shadow.runs).toBe(1);
    expect(trial.evidence().pairs).toBe(0);
  });

  it('the_next_pair_follows_when_the_shadow_is_free_and_the_engine_is_told', async () => {
    let told = 0;
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'), {
      onCompared: () => (told += 1),
    });
    trial.offer([x], [answer]);
    trial.offer([x], [answer]);
    trial.pump();
    await shadow.finish([answer]);
    expect([shadow.runs, told, trial.evidence().pairs]).toEqual([2, 1, 1]);
    await shadow.finish([answer]);
    expect([shadow.runs, told, trial.evidence().pairs]).toEqual([2, 2, 2]);
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
    for (let i = 0; i <= limits.shadowQueueMaxCount; i += 1) trial.offer([x], [answer]);
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
    for (let i = 0; i < 3; i += 1) trial.offer([x], [answer]); // 16 + 16 bytes each
    expect(await runsAfter(trial, shadow)).toBe(pairs);
  });

  it('bytes_of_a_compared_pair_are_free_again', async () => {
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'), {
      limits: limitsWith({ requestMaxBytes: 32 }),
    });
    for (let i = 1; i <= 3; i += 1) {
      trial.offer([x], [answer]);
      expect(await runsAfter(trial, shadow)).toBe(i);
    }
  });

  it('a_sample_is_taken_by_chance', async () => {
    const fractions = [0.24, 0.25, 0.9, 0];
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'), {
      shadowSample: 0.25,
      random: { ...realRandom, fraction: () => fractions.shift() ?? 1 },
    });
    for (let i = 0; i < 4; i += 1) trial.offer([x], [answer]);
    expect(await runsAfter(trial, shadow)).toBe(2);
  });

  it('pairs_of_a_replaced_shadow_are_dropped', async () => {
    const { trial } = compared(release('1.1.0'), release('1.0.0'));
    trial.offer([x], [answer]);
    const next = new ControlledShadow(release('0.9.0'));
    trial.attach(next);
    expect(await runsAfter(trial, next)).toBe(0);
  });

  it('attaching_the_same_shadow_again_keeps_its_pairs', async () => {
    const { trial, shadow } = compared(release('1.1.0'), release('1.0.0'));
    trial.offer([x], [answer]);
    trial.attach(shadow);
    expect(await runsAfter(trial, shadow)).toBe(1);
  });
});

describe('counting', () => {
  async function evidenceOf(
    [current, fresh]: [Installed, Tensor],
    [old, previous]: [Installed, Tensor | Fault],
    input: Tensor = x,
  ) {
    const { trial, shadow } = compared(current, old);
    trial.offer([input], [fresh]);
    trial.pump();
    await shadow.finish(previous instanceof Fault ? previous : [previous]);
    return trial.evidence();
  }

  it('every_row_is_one_pair_and_rows_of_other_classes_disagree', async () => {
    const evidence = await evidenceOf(
      [release('1.1.0'), logits(9, 0, 0, 0, 0, 9, 0, 0)],
      [release('1.0.0'), logits(9, 0, 0, 0, 0, 0, 9, 0)],
      fp32('x', [2, 4], [0, 0, 0, 0, 0, 0, 0, 0]),
    );
    expect(evidence).toMatchObject({
      pairs: 2,
      disagreed: 1,
      comparable: true,
      new: { classes: [1, 1, 0, 0] },
      old: { classes: [1, 0, 1, 0] },
    });
  });

  it('answers_with_another_number_of_rows_disagree_in_every_row', async () => {
    const evidence = await evidenceOf(
      [release('1.1.0'), logits(9, 0, 0, 0, 9, 0, 0, 0)],
      [release('1.0.0'), logits(9, 0, 0, 0)],
    );
    expect(evidence).toMatchObject({ pairs: 2, disagreed: 2 });
  });

  it.each([
    ['crashes', new Fault('host_died', 'crashed')],
    ['fails', new Fault('model_run_failed', 'failed')],
    ['answers NaN', logits(NaN, 0, 0, 0)],
  ])('shadow_that_%s_makes_no_pair', async (_, previous) => {
    const evidence = await evidenceOf([release('1.1.0'), answer], [release('1.0.0'), previous]);
    expect(evidence).toMatchObject({ pairs: 0, disagreed: 0, failed: 0, modelFaults: 0 });
  });

  it('answers_without_a_classifier_agree_up_to_the_tolerance_of_the_new_release', async () => {
    const tolerance = { absolute: 0.5, relative: 0 };
    const current = release('1.1.0', { classifier: null, tolerance });
    const old = release('1.0.0', { classifier: null, tolerance: { absolute: 0, relative: 0 } });
    const within = await evidenceOf([current, logits(1.5, 2, 3, 9)], [old, answer]);
    expect(within).toMatchObject({ pairs: 1, disagreed: 0, new: null, old: null });
    const beyond = await evidenceOf([current, logits(1.75, 2, 3, 9)], [old, answer]);
    expect(beyond).toMatchObject({ pairs: 1, disagreed: 1, new: null, old: null });
  });

  it('evidence_counts_requests_faults_and_seconds', () => {
    const trial = trialOf(release('1.1.0'));
    now = 2_500;
    for (let i = 0; i < 3; i += 1) trial.countServed();
    for (let i = 0; i < 2; i += 1) trial.countFailed();
    trial.countFault();
    expect(trial.evidence()).toEqual({
      seconds: 2.5,
      served: 3,
      failed: 2,
      modelFaults: 1,
      pairs: 0,
      disagreed: 0,
      new: null,
      old: null,
      comparable: false,
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
    trial.offer([x], [answer]);
    trial.pump();
    expect(trial.evidence().comparable).toBe(comparable);
    expect(shadow.runs).toBe(comparable ? 1 : 0);
  });
});
