// A candidate in a process of its own, on labelled inputs of somebody else.
import { describe, expect, it } from 'vitest';
import type { AcceptanceSet } from '../../../../shared/release/acceptance-set.js';
import { floats } from '../../../support/acceptance-sets.js';
import { tempFolder } from '../../../support/temp-folders.js';
import { testEngine } from '../../../support/inference-engines.js';
import { adder, fp32, install, LABELS } from '../../../support/inference-releases.js';

/** Ten inputs, of which `wrong` have the label of another class. */
const setWith = (wrong: number, shape = [1, 4]): AcceptanceSet => ({
  format: 'linnet.acceptance/1',
  component: 'digits',
  metric: 'accuracy',
  least: 0.9,
  samples: Array.from({ length: 10 }, (_, i) => ({
    inputs: [floats('x', shape, ...[0, 1, 2, 3].map((at) => (at === i % 4 ? 1 : 0)))],
    label: LABELS[(i + (i < wrong ? 1 : 0)) % 4]!,
  })),
});
const probe = async (set: AcceptanceSet | null, bias = [0, 0, 0, 0], more = {}) => {
  const root = tempFolder();
  return testEngine(root, {}).probe(install(root, adder('1.0.0', bias, more)), set);
};

describe('a_probe_with_an_acceptance_set', () => {
  it('passes_a_release_that_reaches_it_and_says_so', async () => {
    const report = await probe(setWith(1));
    expect(report).toMatchObject({ passed: true, code: null });
    expect(report.reasons).toMatch(
      /; accuracy on the acceptance set is 90 % \(10 inputs; at least 90 %\)$/,
    );
  });

  it('refuses_a_release_whose_own_goldens_agree_but_which_answers_wrong', async () => {
    const wrong = [0, 0, 0, 5];
    expect(await probe(null, wrong)).toMatchObject({ passed: true });
    expect(await probe(setWith(0), wrong)).toMatchObject({
      passed: false,
      code: 'acceptance_failed',
      reasons: 'accuracy on the acceptance set is 20 % (10 inputs; at least 90 %)',
    });
  });

  it('inputs_that_the_release_refuses_are_answered_wrong', async () => {
    expect(await probe(setWith(0, [4]))).toMatchObject({
      code: 'acceptance_failed',
      reasons: 'accuracy on the acceptance set is 0 % (10 inputs; at least 90 %)',
    });
  });

  it('goldens_that_differ_are_reported_first', async () => {
    const probes = [
      {
        inputs: [fp32('x', [1, 4], [1, 2, 3, 4])],
        outputs: [fp32('logits', [1, 4], [9, 2, 3, 4])],
      },
    ];
    expect(await probe(setWith(10), undefined, { probes })).toMatchObject({
      code: 'probe_differs',
    });
  });
});
