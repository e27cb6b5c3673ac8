// The terminal that a command may draw on: its size, and whether it shows colours (NO_COLOR,
// https://no-color.org). A pipe or a file is none. Text is cut to the width here, before it is
// coloured, so that a line never wraps.
import { styleText } from 'node:util';
import { limits } from '../../shared/base/limits.js';
import { printableInLine } from './printable.js';

export interface Terminal {
  readonly columns: number;
  readonly rows: number;
  readonly colors: boolean;
  /** Replaces what was drawn before, in place. */
  draw(text: string): void;
  /** Leaves what is drawn and shows the cursor again. */
  done(): void;
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
/** Text with one style. */
export type Span = readonly [text: string, style?: Style | undefined];

/** Code points: what is wider or narrower than one column is wrapped by log-update. */
const lengthOf = (text: string): number => Array.from(text).length;

/**
 * One line of at most `columns` characters; what does not fit ends with an ellipsis. Control
 * characters of the texts are shown and have no effect.
 */
export function lineOf(
  given: readonly Span[],
  { columns, colors }: Pick<Terminal, 'columns' | 'colors'>,
): string {
  const spans = given.map(([text, style]) => [printableInLine(text), style] as const);
  const width = Math.max(limits.terminalMinColumns, columns);
  const length = spans.reduce((sum, [text]) => sum + lengthOf(text), 0);
  let room = length > width ? width - 1 : width;
  const parts: string[] = [];
  for (const [text, style] of spans) {
    const shown = Array.from(text).slice(0, room).join('');
    room -= lengthOf(shown);
    if (shown !== '') parts.push(style === undefined || !colors ? shown : styleText(style, shown));
  }
  return length > width ? `${parts.join('')}…` : parts.join('').trimEnd();
}

/** Text in lines of at most `columns` characters; a longer word has a line of its own. */
export function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1);
    if (last === undefined || lengthOf(last) + 1 + lengthOf(word) > columns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

type Env = Readonly<Record<string, string | undefined>>;

/** Null where standard output is no terminal, or one that cannot be drawn on. */
export async function terminalOf(
  stream: NodeJS.WriteStream,
  env: Env = process.env,
): Promise<Terminal | null> {
  if (!stream.isTTY || env['TERM'] === 'dumb') return null;
  // Loaded here: most commands draw nothing.
  const { createLogUpdate } = await import('log-update');
  const update = createLogUpdate(stream);
  return {
    get columns() {
      return stream.columns;
    },
    get rows() {
      return stream.rows;
    },
    colors: (env['NO_COLOR'] ?? '') === '' && stream.hasColors(),
    draw: (text) => update(text),
    done: () => update.done(),
  };
}
