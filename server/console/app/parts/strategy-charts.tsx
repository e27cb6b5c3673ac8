// Pictures of the strategies as SVG, each with the same as text.
import type { ArmsView, ShadowView } from '../../../../shared/protocol/operator-api.js';
import { counted, MARKS, share, type Tone } from '../text.js';

const WIDTH = 600;
const EDGE = 8;
const along = (part: number): number => EDGE + (WIDTH - 2 * EDGE) * Math.min(1, Math.max(0, part));

/** Shares are stored in steps of half a percent. */
const whole = (value: number): string => `${Math.round(100 * value)} %`;

type Metric = ArmsView['metrics'][number];

/** The share of comparisons in which the metric was higher in arm B, with its interval. */
export function ShareChart({ metric }: { metric: Metric }) {
  const { higherInB, name, comparisons } = metric;
  if (higherInB === null) return <p class="quiet">{name}: nothing was compared yet.</p>;
  const { low, high } = higherInB;
  const summary =
    `Higher in arm B on ${whole(higherInB.share)} of ${counted(comparisons, 'comparison')}; ` +
    `the true share is from ${whole(low)} to ${whole(high)}. 50 %: no difference.`;
  return (
    <figure>
      <svg class="chart" viewBox={`0 0 ${WIDTH} 40`} role="img" aria-label={summary}>
        <line class="limit" x1={along(0.5)} x2={along(0.5)} y1="2" y2="38" />
        <line class="interval" x1={along(low)} x2={along(high)} y1="20" y2="20" />
        <circle class="head" cx={along(higherInB.share)} cy="20" r="6" />
      </svg>
      <figcaption>{summary}</figcaption>
    </figure>
  );
}

/** E-values that B is worse, and that it is better, against the one that decides. */
export function EvidenceBars({ metric, needed }: { metric: Metric; needed: number }) {
  const { worse, better } = metric;
  /** A tenth of evidence and less is no bar; the boundary is at four fifths. */
  const part = (evalue: number): number =>
    (0.8 * Math.log(Math.max(0.1, evalue) * 10)) / Math.log(needed * 10);
  const summary =
    `Evidence that B is worse: ${evalueText(worse)}; that B is better: ${evalueText(better)}. ` +
    `${needed.toFixed(0)} decides.`;
  return (
    <figure>
      <svg class="chart" viewBox={`0 0 ${WIDTH} 48`} role="img" aria-label={summary}>
        <rect class="fill bad" x={EDGE} y="6" width={along(part(worse)) - EDGE} height="14" />
        <rect class="fill good" x={EDGE} y="28" width={along(part(better)) - EDGE} height="14" />
        <line class="decides" x1={along(0.8)} x2={along(0.8)} y1="2" y2="46" />
      </svg>
      <figcaption>
        Above: B is worse. Below: B is better. Dashed: what decides. {summary}
      </figcaption>
    </figure>
  );
}

const evalueText = (evalue: number): string =>
  evalue >= 1e6 ? evalue.toExponential(0) : evalue.toFixed(evalue < 10 ? 2 : 0);

/** How far answers of one output differ, against the limit and the cap. */
export function DifferenceChart({ of }: { of: ShadowView['outputs'][number] }) {
  const { output, devices, pairs, mean, worst, worstDevice, limit, cap } = of;
  const length = 1.1 * Math.max(cap, worst);
  const at = (value: number): number => along(value / length);
  const summary =
    `${output}: differs by ${share(mean)} on average over ${counted(devices, 'device')} ` +
    `(${counted(pairs, 'input')}), at most by ${share(worst)} on ${worstDevice}; ` +
    `the limit is ${share(limit)}, the cap ${share(cap)}.`;
  return (
    <figure>
      <svg class="chart" viewBox={`0 0 ${WIDTH} 40`} role="img" aria-label={summary}>
        <rect
          class={`fill ${mean > limit ? 'bad' : 'good'}`}
          x={EDGE}
          y="12"
          width={at(mean) - EDGE}
          height="16"
        />
        <circle class="head" cx={at(worst)} cy="20" r="6" />
        <line class="limit" x1={at(limit)} x2={at(limit)} y1="2" y2="38" />
        <line class="cap" x1={at(cap)} x2={at(cap)} y1="2" y2="38" />
      </svg>
      <figcaption>{summary}</figcaption>
    </figure>
  );
}

interface Part {
  readonly name: string;
  readonly count: number;
  readonly tone: Tone;
}

/** Parts of a whole beside each other. */
export function PartsBar({ label, parts }: { label: string; parts: readonly Part[] }) {
  const total = parts.reduce((sum, { count }) => sum + count, 0);
  const shown = parts.filter(({ count }) => count > 0);
  const summary = shown.map(({ name, count }) => `${count} ${name}`).join(', ');
  const left = (index: number): number =>
    shown.slice(0, index).reduce((sum, { count }) => sum + count, 0) / Math.max(1, total);
  return (
    <figure>
      <svg class="chart" viewBox={`0 0 ${WIDTH} 30`} role="img" aria-label={`${label}: ${summary}`}>
        {shown.map(({ name, count, tone }, index) => (
          <rect
            key={name}
            class={`fill ${tone}`}
            x={along(left(index))}
            y="5"
            width={Math.max(1, along(left(index) + count / total) - along(left(index)) - 2)}
            height="20"
          />
        ))}
      </svg>
      <figcaption>
        {label}:{' '}
        {shown.map(({ name, count, tone }) => (
          <span key={name} class={`state ${tone} key-text`}>
            <span aria-hidden="true">{MARKS[tone]}</span> {count} {name}
          </span>
        ))}
      </figcaption>
    </figure>
  );
}
