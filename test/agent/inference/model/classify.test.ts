// Classes and confidences of a model's answer.
import { describe, expect, it } from 'vitest';
import { classify } from '../../../../agent/inference/model/classify.js';
import { tensorOf } from '../../../../agent/inference/model/tensor.js';
import type { Classifier } from '../../../../shared/release/model-manifest.js';
import { fp32 } from '../../../support/inference-releases.js';

const classifier = { output: 'y', scale: 'logits', labels: ['a', 'b', 'c'] } as const;
it('softmax_does_not_overflow_and_every_row_is_classified', () => {
  const rows = classify({ ...classifier, labels: [...classifier.labels] }, [
    fp32('y', [2, 3], [1000, 999, 0, 0, 0, 0]),
  ]);
  expect(rows?.map(({ index }) => index)).toEqual([0, 0]);
  expect(rows?.[0]?.confidence).toBeCloseTo(1 / (1 + Math.exp(-1)), 6);
  expect(rows?.[1]?.confidence).toBeCloseTo(1 / 3, 6);
});

it('answer_that_is_not_finite_or_has_another_width_has_no_classes', () => {
  const labels = [...classifier.labels];
  expect(classify({ ...classifier, labels }, [fp32('y', [1, 3], [1, NaN, 2])])).toBeNull();
  expect(classify({ ...classifier, labels }, [fp32('y', [1, 2], [1, 2])])).toBeNull();
  expect(
    classify({ ...classifier, scale: 'probabilities', labels }, [
      fp32('y', [1, 3], [0.1, 0.7, 0.2]),
    ])?.[0],
  ).toMatchObject({
    index: 1,
  });
});

const logits: Classifier = { output: 'y', scale: 'logits', labels: ['a', 'b', 'c'] };
const probabilities: Classifier = { ...logits, scale: 'probabilities' };

describe('rows', () => {
  it.each([
    [[3, 1, 2], 0],
    [[1, 3, 2], 1],
    [[1, 2, 3], 2],
    [[-3, -1, -2], 1],
    [[5, 5, 5], 0],
    [[1, 5, 5], 1],
  ])('largest_value_of_%j_is_class_%s_and_a_tie_goes_to_the_lower_index', (values, index) => {
    expect(classify(logits, [fp32('y', [3], values)])?.map((row) => row.index)).toEqual([index]);
  });

  it('every_index_of_the_other_axes_is_a_row', () => {
    const values = [9, 0, 0, 0, 9, 0, 0, 0, 9, 9, 0, 0];
    const rows = classify(logits, [fp32('other', [1], [1]), fp32('y', [2, 2, 3], values)]);
    expect(rows?.map(({ index }) => index)).toEqual([0, 1, 2, 0]);
  });

  it('integers_are_classified_too', () => {
    const answer = tensorOf('y', 'INT64', [1, 3], BigInt64Array.of(1n, 7n, 3n));
    expect(classify(probabilities, [answer])).toEqual([{ index: 1, confidence: 1 }]);
  });
});

describe('confidences', () => {
  it('softmax_of_logits', () => {
    const [row] = classify(logits, [fp32('y', [3], [0, Math.log(2), Math.log(5)])]) ?? [];
    expect(row?.index).toBe(2);
    expect(row?.confidence).toBeCloseTo(5 / 8, 6);
  });

  it.each([
    [[0.1, 0.7, 0.2], 0.7],
    [[0, 1.5, 0], 1],
    [[-0.5, -0.2, -0.3], 0],
  ])('probability_of_%j_is_%d_within_0_and_1', (values, confidence) => {
    expect(classify(probabilities, [fp32('y', [3], values)])?.[0]?.confidence).toBeCloseTo(
      confidence,
      6,
    );
  });
});

describe('no classes', () => {
  it.each([
    ['the_output_is_absent', [fp32('z', [1, 3], [1, 2, 3])]],
    ['the_answer_is_a_scalar', [fp32('y', [], [1])]],
    ['there_are_fewer_classes_than_labels', [fp32('y', [1, 2], [1, 2])]],
    ['there_are_more_classes_than_labels', [fp32('y', [1, 4], [1, 2, 3, 4])]],
    ['an_element_is_nan', [fp32('y', [1, 3], [1, 2, NaN])]],
    ['an_element_is_infinite', [fp32('y', [1, 3], [Infinity, 2, 1])]],
    ['the_first_element_is_nan', [fp32('y', [1, 3], [NaN, 2, 1])]],
    ['a_later_row_is_not_finite', [fp32('y', [2, 3], [1, 2, 3, 1, -Infinity, 3])]],
  ])('when_%s', (_, outputs) => {
    expect(classify(logits, outputs)).toBeNull();
    expect(classify(probabilities, outputs)).toBeNull();
  });
});
