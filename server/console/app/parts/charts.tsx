// Small charts as SVG, each with the same as text.
import type { RolloutEvidence } from '../../../../shared/protocol/operator-api.js';
import { counted } from '../text.js';

interface Point {
  readonly x: number;
  readonly y: number;
}

const WIDTH = 600;
const HEIGHT = 160;
const EDGE = 8;

const stairs = (points: readonly Point[]): string =>
  points.map(({ x, y }, index) => (index === 0 ? `M${x} ${y}` : `H${x}V${y}`)).join('');

/** Failures over takes, against the number of failures that halts. */
export function EvidenceChart({ evidence }: { evidence: RolloutEvidence }) {
  const { takes, planned, failures, failedAt, boundary } = evidence;
  const needed = boundary.findLast((step) => step.takes <= Math.max(1, takes))?.failures;
  if (planned === 0 || needed === undefined) return null;
  const top = Math.max(failures + 1, boundary.at(-1)?.failures ?? 1, 2);
  const x = (at: number): number => EDGE + ((WIDTH - 2 * EDGE) * at) / planned;
  const y = (count: number): number => HEIGHT - EDGE - ((HEIGHT - 2 * EDGE) * count) / top;
  const limit = boundary.map((step) => ({ x: x(step.takes), y: y(step.failures) }));
  const curve = [
    { x: x(0), y: y(0) },
    ...failedAt.map((at, index) => ({ x: x(at), y: y(index + 1) })),
    { x: x(takes), y: y(failures) },
  ];
  const summary =
    `${failures} of ${counted(takes, 'device')} that took it failed, of ${planned} planned; ` +
    `${counted(needed, 'failure')} ${needed === 1 ? 'halts' : 'halt'} so far.`;
  return (
    <figure>
      <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={summary}>
        <line class="axis" x1={EDGE} x2={WIDTH - EDGE} y1={y(0)} y2={y(0)} />
        <path class="limit" d={stairs(limit)} />
        <path class="curve" d={stairs(curve)} />
        <circle class="head" cx={x(takes)} cy={y(failures)} r="4" />
      </svg>
      <figcaption>
        <span class="key limit">Failures that halt</span>
        <span class="key curve">Failures so far</span> {summary}
      </figcaption>
    </figure>
  );
}

/** A line over time, the oldest first; null: nothing was measured. */
export function Sparkline({
  values,
  label,
  format,
}: {
  values: readonly (number | null)[];
  label: string;
  format: (value: number) => string;
}) {
  const known = values.filter((value) => value !== null);
  const last = known.at(-1);
  if (last === undefined) return <p class="quiet">{label}: not measured.</p>;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const step = (WIDTH - 2 * EDGE) / Math.max(1, values.length - 1);
  const height = 60;
  const y = (value: number): number =>
    height - EDGE - ((height - 2 * EDGE) * (value - low)) / Math.max(high - low, 1e-9);
  let drawing = false;
  const path = values
    .map((value, index) => {
      if (value === null) {
        drawing = false;
        return '';
      }
      const mark = drawing ? 'L' : 'M';
      drawing = true;
      return `${mark}${(EDGE + index * step).toFixed(1)} ${y(value).toFixed(1)}`;
    })
    .join('');
  const summary = `${label}: now ${format(last)}, from ${format(low)} to ${format(high)}`;
  return (
    <figure class="spark">
      <svg class="chart" viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={summary}>
        <path class="curve" d={path} />
        {known.length === 1 && (
          <circle class="head" cx={EDGE + values.indexOf(last) * step} cy={y(last)} r="4" />
        )}
      </svg>
      <figcaption>{summary}</figcaption>
    </figure>
  );
}

/** Counts by class or bin, as columns; a second row of counts is drawn beside it. */
export function Histogram({
  counts,
  label,
  names,
}: {
  counts: readonly number[];
  label: string;
  names: (index: number) => string;
}) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return <p class="quiet">{label}: nothing yet.</p>;
  const most = Math.max(...counts);
  const width = (WIDTH - 2 * EDGE) / counts.length;
  const height = 80;
  const top = counts
    .map((count, index) => ({ count, index }))
    .sort((one, other) => other.count - one.count)
    .slice(0, 3)
    .map(({ count, index }) => `${names(index)} ${((100 * count) / total).toFixed(1)} %`);
  const summary = `${label}: ${top.join(', ')}`;
  return (
    <figure>
      <svg class="chart" viewBox={`0 0 ${WIDTH} ${height}`} role="img" aria-label={summary}>
        {counts.map((count, index) => {
          const tall = ((height - EDGE) * count) / most;
          return (
            <rect
              key={index}
              class="column"
              x={EDGE + index * width}
              y={height - tall}
              width={Math.max(1, width - 1)}
              height={tall}
            />
          );
        })}
      </svg>
      <figcaption>{summary}</figcaption>
    </figure>
  );
}
