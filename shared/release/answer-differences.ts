// How different two releases answer the same input: a number in [0, 1] for each compared output (0:
// alike). Pure. Rows of a batch are compared one by one and averaged. Sizes that a model chooses
// freely (boxes found, tokens written) may differ; where sizes must agree and do not, the
// difference is 1. An element that is not finite is a difference of 1.
import type { Comparison, Datatype } from './model-manifest.js';

type Row = readonly number[];

/** The answer of one output: its elements in row-major order. */
export interface Answer {
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly elements: ArrayLike<number | bigint>;
}

/** Index of an old label -> index of the new one; null where there are no labels. */
export type LabelMap = readonly number[] | null;

/** An answer that one of them does not give is a difference of 1. */
export function answerDifference(
  comparison: Comparison,
  one: Answer | undefined,
  other: Answer | undefined,
  labelOf: LabelMap,
): number {
  if (one === undefined || other === undefined) return 1;
  switch (comparison.kind) {
    case 'class':
      return ofRows(one, other, (row, before) =>
        largest(row) === (labelOf === null ? largest(before) : labelOf[largest(before)]) ? 0 : 1,
      );
    case 'vector':
      return ofRows(one, other, ofVectors);
    case 'scores':
    case 'value':
      return ofSizes(one, other, comparison.scale ?? null);
    case 'boxes':
      return ofBoxes(comparison, one, other);
    case 'sequence':
      return ofSequences(one, other);
    case 'none':
      return 0;
  }
}

/** Mean over the rows; the same number of rows must agree. */
function ofRows(fresh: Answer, old: Answer, compare: (row: Row, before: Row) => number): number {
  const [rows, oldRows] = [rowsOf(fresh), rowsOf(old)];
  if (rows.length !== oldRows.length) return 1;
  return mean(
    rows.map((row, i) => {
      const before = oldRows[i] ?? [];
      return row.every(Number.isFinite) && before.every(Number.isFinite) ? compare(row, before) : 1;
    }),
  );
}

/** 1 - cosine, at most 1. */
function ofVectors(row: Row, before: Row): number {
  if (row.length !== before.length) return 1;
  const dot = (one: Row, other: Row): number =>
    one.reduce((sum, value, i) => sum + value * (other[i] ?? 0), 0);
  const sizes = Math.sqrt(dot(row, row) * dot(before, before));
  if (sizes === 0) return row.every((value, i) => value === before[i]) ? 0 : 1;
  return Math.min(1, Math.max(0, 1 - dot(row, before) / sizes));
}

/**
 * Sum of the distances over the sum of the larger sizes (of one value: its relative change), over
 * the whole tensor, so that elements near zero weigh nothing. With a scale: mean distance in units
 * of it, each at most 1.
 */
function ofSizes(fresh: Answer, old: Answer, scale: number | null): number {
  const [values, before] = [fresh.elements, old.elements];
  if (values.length !== before.length) return 1;
  let [apart, size] = [0, 0];
  for (let i = 0; i < values.length; i += 1) {
    const [one, other] = [Number(values[i]), Number(before[i])];
    const distance = Math.abs(one - other);
    if (!Number.isFinite(distance)) return 1;
    apart += scale === null ? distance : Math.min(1, distance / scale);
    size += scale === null ? Math.max(Math.abs(one), Math.abs(other)) : 1;
  }
  return size === 0 ? 0 : Math.min(1, apart / size);
}

// --- boxes ---

/** Corners x1, y1, x2, y2, then score and class where there are so many columns. */
interface Box {
  readonly corners: readonly [number, number, number, number];
  readonly score: number;
  readonly label: number;
}

const SAME_BOX_IOU = 0.5;
const USUAL_LEAST_SCORE = 0.5;
/** Matching is quadratic; the best scored ones decide. */
const BOXES_MOST = 300;

function ofBoxes({ leastScore = USUAL_LEAST_SCORE }: Comparison, fresh: Answer, old: Answer) {
  const [boxes, before] = [boxesOf(fresh, leastScore), boxesOf(old, leastScore)];
  if (boxes === null || before === null) return 1;
  if (boxes.length + before.length === 0) return 0;
  const left = new Set(before);
  let matched = 0;
  for (const box of boxes) {
    const same = [...left].filter(({ label }) => label === box.label);
    const best = same.reduce<Box | null>(
      (found, one) => (found === null || iou(box, one) > iou(box, found) ? one : found),
      null,
    );
    if (best === null || iou(box, best) < SAME_BOX_IOU) continue;
    left.delete(best);
    matched += 1;
  }
  return 1 - (2 * matched) / (boxes.length + before.length);
}

function boxesOf(tensor: Answer, leastScore: number): Box[] | null {
  const rows = rowsOf(tensor);
  if (!rows.every((row) => row.length >= 4 && row.every(Number.isFinite))) return null;
  return rows
    .map(([x1 = 0, y1 = 0, x2 = 0, y2 = 0, score = 1, label = 0]) => ({
      corners: [x1, y1, x2, y2] as const,
      score,
      label,
    }))
    .filter(({ score }) => score >= leastScore)
    .sort((one, other) => other.score - one.score)
    .slice(0, BOXES_MOST);
}

function iou({ corners: [ax1, ay1, ax2, ay2] }: Box, { corners: [bx1, by1, bx2, by2] }: Box) {
  const width = Math.min(ax2, bx2) - Math.max(ax1, bx1);
  const height = Math.min(ay2, by2) - Math.max(ay1, by1);
  const shared = Math.max(0, width) * Math.max(0, height);
  const all = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared;
  return all > 0 ? shared / all : 0;
}

// --- sequences ---

/** Elements of a sequence that are compared; the rest is not looked at. */
const SEQUENCE_MOST = 512;

/** Edit distance over the longer length. */
function ofSequences(fresh: Answer, old: Answer): number {
  const [rows, oldRows] = [sequencesOf(fresh), sequencesOf(old)];
  if (rows === null || oldRows === null || rows.length !== oldRows.length) return 1;
  return mean(
    rows.map((row, i) => {
      const before = oldRows[i] ?? [];
      const longer = Math.max(row.length, before.length);
      return longer === 0 ? 0 : editDistance(row, before) / longer;
    }),
  );
}

/** Of whole numbers as they are; of scores the best element of each step, repeats taken once. */
function sequencesOf(tensor: Answer): Row[] | null {
  const rows = rowsOf(tensor);
  if (!rows.every((row) => row.every(Number.isFinite))) return null;
  if (tensor.datatype !== 'FP32' && tensor.datatype !== 'FP64')
    return rows.map((row) => row.slice(0, SEQUENCE_MOST));
  const steps = rows.map(largest);
  return [steps.filter((step, i) => step !== steps[i - 1]).slice(0, SEQUENCE_MOST)];
}

function editDistance(one: Row, other: Row): number {
  let line = Array.from({ length: other.length + 1 }, (_, i) => i);
  one.forEach((value, i) => {
    const next = [i + 1];
    other.forEach((target, j) => {
      const replaced = (line[j] ?? 0) + (value === target ? 0 : 1);
      next.push(Math.min(replaced, (line[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    });
    line = next;
  });
  return line[other.length] ?? 0;
}

/** The class of an answer of one row; null where there are more, or none that is a number. */
export function argmaxOf(answer: Answer): number | null {
  const [row, ...more] = rowsOf(answer);
  return row === undefined || more.length > 0 || !row.every(Number.isFinite) ? null : largest(row);
}

// --- rows ---

/** The last axis as rows; a scalar is one row of one element. */
function rowsOf(tensor: Answer): Row[] {
  const { elements } = tensor;
  const width = tensor.shape.at(-1) ?? 1;
  const rows: number[][] = [];
  for (let start = 0; width > 0 && start + width <= elements.length; start += width)
    rows.push(Array.from({ length: width }, (_, i) => Number(elements[start + i])));
  return rows;
}

/** Index of the largest element; the lower one of equals. */
const largest = (row: Row): number =>
  row.reduce((best, value, i) => (value > (row[best] ?? value) ? i : best), 0);

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
