// A cheap summary of an input: SUMMARY_SIZE means over equal parts of its tensors, each from a
// limited number of elements. It tells whether the inputs of a device change (block-length.ts), not
// what they are, and never leaves the device.
import { elementsOf, type Tensor } from './tensor.js';

const SUMMARY_SIZE = 16;
/** Elements of each part that are read, so that a large image costs no more than a small one. */
const READ_MOST = 64;

export function inputSummary(inputs: readonly Tensor[]): number[] {
  const summary = new Array<number>(SUMMARY_SIZE).fill(0);
  for (const tensor of inputs) {
    const elements = elementsOf(tensor) as ArrayLike<number | bigint>;
    const size = elements.length / SUMMARY_SIZE;
    for (let part = 0; part < SUMMARY_SIZE; part++) {
      const [from, to] = [Math.floor(part * size), Math.floor((part + 1) * size)];
      const step = Math.max(1, Math.floor((to - from) / READ_MOST));
      let [sum, count] = [0, 0];
      for (let i = from; i < to; i += step) {
        sum += Number(elements[i]);
        count += 1;
      }
      if (count > 0) summary[part] = (summary[part] ?? 0) + sum / count;
    }
  }
  return summary;
}
