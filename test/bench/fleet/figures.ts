// Measured figures with their aims, and how they are printed: a table for people, the same table in
// Markdown for SCALE.md, or JSON.
import type { BackendName } from './backends.js';

export interface Figure {
  readonly scenario: string;
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** At most, or at least. */
  readonly aim?: { readonly max: number } | { readonly min: number };
}

export interface Run {
  readonly backend: BackendName;
  readonly title: string;
  readonly devices: number;
  readonly figures: readonly Figure[];
}

/** How many times worse than the first backend the second one may be. */
const RATIO_AIM = 2;

const isMet = ({ value, aim }: Figure): boolean =>
  aim === undefined || ('max' in aim ? value <= aim.max : value >= aim.min);

export function table(runs: readonly Run[], isMarkdown: boolean): string {
  const [first] = runs;
  if (first === undefined) return '';
  const head = [
    '',
    'aim',
    ...runs.map(({ title }) => title),
    ...(runs.length > 1 ? ['ratio'] : []),
  ];
  const rows = first.figures.map((figure) => {
    const all = runs.map(({ figures }) =>
      figures.find(({ scenario, what }) => scenario === figure.scenario && what === figure.what),
    );
    const cells = [`${figure.scenario}: ${figure.what}`, aimOf(figure), ...all.map(shown)];
    return runs.length > 1 ? [...cells, ratio(all[0], all[1])] : cells;
  });
  if (isMarkdown) {
    const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
    return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
  }
  const widths = head.map((_, at) =>
    Math.max(...[head, ...rows].map((row) => row[at]?.length ?? 0)),
  );
  return [head, ...rows]
    .map((row) =>
      row
        .map((cell, at) =>
          at === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[at] ?? 0),
        )
        .join('  '),
    )
    .join('\n');
}

function aimOf({ aim, unit }: Figure): string {
  if (aim === undefined) return '';
  return 'max' in aim ? `<= ${number(aim.max)} ${unit}` : `>= ${number(aim.min)} ${unit}`;
}

function shown(figure: Figure | undefined): string {
  if (figure === undefined) return '';
  return `${number(figure.value)} ${figure.unit}${isMet(figure) ? '' : ' (!)'}`;
}

/** How many times worse the second is. */
function ratio(one: Figure | undefined, other: Figure | undefined): string {
  if (one?.aim === undefined || other === undefined || one.value === 0 || other.value === 0)
    return '';
  const times = 'max' in one.aim ? other.value / one.value : one.value / other.value;
  return `${times.toFixed(2)}${times > RATIO_AIM ? ' (!)' : ''}`;
}

const number = (value: number): string =>
  value.toLocaleString('en', { maximumSignificantDigits: value >= 1000 ? 5 : 3 });

export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
