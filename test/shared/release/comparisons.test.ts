// Which comparison each output gets, and which limit a release declares.
import { describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import { comparisonsOf, declaredPermille } from '../../../shared/release/comparisons.js';
import type { TensorSpec } from '../../../shared/release/model-manifest.js';

const output = (
  name: string,
  shape: number[],
  datatype: TensorSpec['datatype'] = 'FP32',
): TensorSpec => ({ name, datatype, shape });
const kinds = (...outputs: TensorSpec[]) =>
  comparisonsOf({ classifier: null, outputs }).map(({ kind }) => kind);

describe('derived_comparisons', () => {
  it.each<[string, number[], TensorSpec['datatype'], string]>([
    ['detection_boxes', [-1, -1, 6], 'FP32', 'boxes'],
    ['boxes', [-1, 4], 'FP32', 'boxes'],
    ['boxes', [-1, 84], 'FP32', 'vector'],
    ['embedding', [1, 8], 'FP32', 'vector'],
    ['logits', [1, 4], 'FP32', 'vector'],
    ['y', [1, 512], 'FP32', 'vector'],
    ['y', [1, 1], 'FP32', 'value'],
    ['y', [], 'FP64', 'value'],
    ['y', [1, 1, -1, -1], 'FP32', 'value'],
    ['mask_scores', [1, 1, -1, -1], 'FP32', 'scores'],
    ['token_ids', [-1, -1], 'INT64', 'sequence'],
  ])('output_%s_%j_%s_is_compared_as_%s', (name, shape, datatype, kind) => {
    expect(kinds(output(name, shape, datatype))).toEqual([kind]);
  });

  it('the_classifiers_output_is_compared_by_class', () => {
    const classifier = { output: 'y', scale: 'logits' as const, labels: ['a', 'b'] };
    const outputs = [output('y', [-1, 2]), output('embedding', [-1, 64])];
    expect(comparisonsOf({ classifier, outputs })).toEqual([
      { output: 'y', kind: 'class' },
      { output: 'embedding', kind: 'vector' },
    ]);
  });

  it('a_declared_comparison_wins_and_none_is_left_out', () => {
    const outputs = [output('a', [1, 512]), output('b', [1, 1])];
    const comparisons = [
      { output: 'a', kind: 'none' as const },
      { output: 'b', kind: 'value' as const, scale: 3 },
    ];
    expect(comparisonsOf({ classifier: null, outputs, comparisons })).toEqual([comparisons[1]]);
  });

  it('no_more_than_a_trial_takes', () => {
    const outputs = Array.from({ length: 32 }, (_, i) => output(`y${i}`, [1]));
    expect(kinds(...outputs)).toHaveLength(limits.trialComparisonsMaxCount);
  });
});

describe('declared_limits', () => {
  const base = 'a'.repeat(64);
  const measured = { version: '1.0.0', evaluationSha256: 'e'.repeat(64) };
  const outputs = [{ output: 'y', sum: 300, count: 2000 }];
  const expectedDifferences = [{ base, ...measured, outputs }];

  it('are_those_of_the_release_that_is_replaced', () => {
    expect(declaredPermille({ expectedDifferences }, { digest: base }, 'y')).toBe(194);
  });

  it('are_open_for_another_base_or_output_and_absent_without_any', () => {
    expect(declaredPermille({ expectedDifferences }, { digest: 'b'.repeat(64) }, 'y')).toBe(1000);
    expect(declaredPermille({ expectedDifferences }, { digest: base }, 'z')).toBe(1000);
    expect(declaredPermille({}, { digest: base }, 'y')).toBeNull();
    expect(declaredPermille({ expectedDifferences: [] }, { digest: base }, 'y')).toBeNull();
  });
});
