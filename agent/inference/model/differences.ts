// How different two releases answer the same input, for tensors of the device. The arithmetic is
// shared/release/answer-differences.ts's, which `linnet bundle build` measures with as well.
import {
  answerDifference,
  type Answer,
  type LabelMap,
} from '../../../shared/release/answer-differences.js';
import type { Comparison } from '../../../shared/release/model-manifest.js';
import { elementsOf, type Tensor } from './tensor.js';

export function difference(
  comparison: Comparison,
  fresh: readonly Tensor[],
  old: readonly Tensor[],
  labelOf: LabelMap,
): number {
  const of = (tensors: readonly Tensor[]): Answer | undefined => {
    const tensor = tensors.find(({ name }) => name === comparison.output);
    return tensor === undefined
      ? undefined
      : { datatype: tensor.datatype, shape: tensor.shape, elements: elementsOf(tensor) };
  };
  return answerDifference(comparison, of(fresh), of(old), labelOf);
}
