// Counts of several kinds over time, stacked, with the same as a table. An hour without a count is
// a gap: nothing is drawn between.
import { Table } from './basics.js';

interface StackRow {
  /** ISO 8601. */
  readonly at: string;
  /** In the order of the names. */
  readonly counts: readonly number[];
}

interface Props {
  readonly label: string;
  /** The lowest first. */
  readonly names: readonly string[];
  readonly rows: readonly StackRow[];
  /** The picture is over this time; milliseconds. */
  readonly from: number;
  readonly to: number;
  /** Length of the time that a row stands for. */
  readonly rowMs: number;
  readonly timeText: (iso: string) => string;
}

const WIDTH = 600;
const HEIGHT = 160;
/** Distinct fills of the style sheet. */
const FILLS = 6;

export function StackChart({ label, names, rows, from, to, rowMs, timeText }: Props) {
  const most = Math.max(1, ...rows.map(({ counts }) => sum(counts)));
  const x = (ms: number): number => (WIDTH * (ms - from)) / Math.max(1, to - from);
  const y = (count: number): number => HEIGHT - (HEIGHT * count) / most;
  /** Of one name: a box for each row. */
  const boxes = (index: number): string =>
    rows
      .filter(({ counts }) => (counts[index] ?? 0) > 0)
      .map(({ at, counts }) => {
        const left = x(Date.parse(at));
        const right = Math.min(WIDTH, x(Date.parse(at) + rowMs));
        const below = sum(counts.slice(0, index));
        const [bottom, top] = [y(below), y(below + (counts[index] ?? 0))];
        const [l, r, b, t] = [left, right, bottom, top].map((value) => value.toFixed(1));
        return `M${l} ${b}V${t}H${r}V${b}Z`;
      })
      .join('');
  const last = rows.at(-1);
  const summary =
    last === undefined
      ? `${label}: nothing was counted yet`
      : `${label}, at ${timeText(last.at)}: ` +
        names.map((name, index) => `${name} ${last.counts[index] ?? 0}`).join(', ');
  return (
    <figure>
      <svg
        class="chart stack"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={summary}
      >
        {names.map((name, index) => (
          <path key={name} class={`series-${index % FILLS}`} d={boxes(index)} />
        ))}
      </svg>
      <figcaption>
        <p class="quiet ends">
          <span>{timeText(new Date(from).toISOString())}</span>
          <span>at most {most.toLocaleString('en')}</span>
          <span>{timeText(new Date(to).toISOString())}</span>
        </p>
        {names.map((name, index) => (
          <span key={name} class="key box">
            <svg viewBox="0 0 10 10" class="swatch" aria-hidden="true">
              <rect class={`series-${index % FILLS}`} width="10" height="10" />
            </svg>{' '}
            {name}
          </span>
        ))}
      </figcaption>
      <details>
        <summary>{label} as a table</summary>
        <Table
          caption={label}
          rows={rows.toReversed()}
          rowKey={({ at }) => at}
          columns={[
            { title: 'Time', cell: ({ at }) => timeText(at) },
            ...names.map((name, index) => ({
              title: name,
              cell: ({ counts }: StackRow) => (counts[index] ?? 0).toLocaleString('en'),
            })),
          ]}
        />
      </details>
    </figure>
  );
}

const sum = (counts: readonly number[]): number =>
  counts.reduce((total, count) => total + count, 0);
