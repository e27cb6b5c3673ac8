// Reads classes and confidences from a model's answer as the manifest's classifier declares: the
// last axis of the named output is the class axis, and every index of the other axes is one row.
// Pure. Softmax subtracts the row's largest logit first (log-sum-exp), so finite logits never
// overflow.
import type { Classifier } from '../../../shared/release/model-manifest.js';
import { elementsOf, type Tensor } from './tensor.js';

export interface Classified {
  /** Index into the classifier's labels. */
  readonly index: number;
  /** In [0, 1]. */
  readonly confidence: number;
}

/**
 * One entry per row. Null when the output is absent, its class axis has another length than the
 * labels, or an element is not finite. A tie goes to the lower index.
 */
export function classify(classifier: Classifier, outputs: readonly Tensor[]): Classified[] | null {
  const tensor = outputs.find((output) => output.name === classifier.output);
  const width = tensor?.shape.at(-1);
  if (tensor === undefined || width !== classifier.labels.length) return null;
  const elements = elementsOf(tensor);
  const rows: Classified[] = [];
  for (let start = 0; start + width <= elements.length; start += width) {
    const row = classifyRow(elements, start, width, classifier.scale);
    if (row === null) return null;
    rows.push(row);
  }
  return rows;
}

function classifyRow(
  elements: ArrayLike<number | bigint>,
  start: number,
  width: number,
  scale: Classifier['scale'],
): Classified | null {
  let index = 0;
  let best = Number(elements[start]);
  for (let i = 0; i < width; i += 1) {
    const value = Number(elements[start + i]);
    if (!Number.isFinite(value)) return null;
    if (value > best) {
      best = value;
      index = i;
    }
  }
  if (scale === 'probabilities') return { index, confidence: Math.min(1, Math.max(0, best)) };
  let sum = 0;
  for (let i = 0; i < width; i += 1) sum += Math.exp(Number(elements[start + i]) - best);
  return { index, confidence: 1 / sum };
}
