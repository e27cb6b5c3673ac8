// What a command prints, and where: the result on stdout (text by default, one JSON value with
// --json), progress and hints on stderr, so that a pipe gets the result alone. Exit codes: 0 done,
// 1 bug, 2 usage, 3 refused, 4 temporary failure (retry), 5 gave up after a limit, 6 the command
// ran and its result is negative (a reverted rollout, a failed check).
import { Fault, reason, type FaultCode, type FaultKind } from '../../shared/base/fault-codes.js';
import { jsonText, printable, printableInLine } from './printable.js';
import type { Terminal } from './terminal.js';

export const EXIT = {
  done: 0,
  bug: 1,
  usage: 2,
  refused: 3,
  flaked: 4,
  spent: 5,
  badNews: 6,
} as const;
/** For --help and docs/command-line.md. */
export const EXIT_MEANING: Readonly<Record<keyof typeof EXIT, string>> = {
  done: 'done',
  bug: 'a bug in Linnet',
  usage: 'the command line is wrong, or a file that it names cannot be read; nothing was done',
  refused: 'refused: do not retry before something has changed',
  flaked: 'temporary failure: retry',
  spent: 'gave up after a limit of retries',
  badNews: 'the command ran and its result is negative (a reverted rollout, a broken audit chain)',
};
const EXIT_OF_KIND: Readonly<Record<FaultKind, number>> = {
  refused: EXIT.refused,
  flaked: EXIT.flaked,
  spent: EXIT.spent,
};

/** Faults of the command line itself, whatever their kind. */
const USAGE_CODES: ReadonlySet<FaultCode> = new Set(['usage', 'file_unreadable']);

export interface Output {
  readonly json: boolean;
  /** One line of human text on stdout; silent with --json. */
  line(text: string): void;
  /** The result: as JSON with --json, else what `human` makes of it. */
  result(value: unknown, human: () => string): void;
  /**
   * One of several results in a row, for commands that watch: with --json one JSON object a line
   * (NDJSON), else silent.
   */
  event(value: unknown): void;
  /** One JSON object a line, with --json and without it: for data that is exported. */
  record(value: unknown): void;
  /** Progress on stderr; silent with --json. */
  progress(text: string): void;
  /** On stderr after the result, with --json too: what the result does not say of itself. */
  hint(text: string): void;
  /** To draw on in place of lines; null with --json and where stdout is no terminal. */
  terminal(): Promise<Terminal | null>;
}

export interface Streams {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly terminal?: () => Promise<Terminal | null>;
}

export function makeOutput(json: boolean, streams: Streams): Output {
  // Below the result: above a long table nobody would see them.
  const hints: string[] = [];
  return {
    json,
    line: (text) => {
      if (!json) streams.out(`${printable(text)}\n`);
    },
    result: (value, human) => {
      streams.out(json ? `${jsonText(value, 2)}\n` : `${printable(human())}\n`);
      for (const hint of hints.splice(0)) streams.err(`${printable(hint)}\n`);
    },
    event: (value) => {
      if (json) streams.out(`${jsonText(value)}\n`);
    },
    record: (value) => streams.out(`${jsonText(value)}\n`),
    progress: (text) => {
      if (!json) streams.err(`${printable(text)}\n`);
    },
    hint: (text) => void hints.push(text),
    terminal: async () => (json ? null : ((await streams.terminal?.()) ?? null)),
  };
}

/**
 * What an error is with --json: always one line, so that it also stands among the lines of a
 * command that watches.
 */
export interface ErrorBody {
  readonly error: string;
  readonly code: string;
  readonly kind: string;
  readonly todo: string;
}

export function isErrorBody(value: unknown): value is ErrorBody {
  const body = value as Partial<ErrorBody> | null;
  return (
    typeof body?.error === 'string' &&
    typeof body.code === 'string' &&
    typeof body.kind === 'string'
  );
}

/**
 * Prints an error (as JSON on stdout with --json, so that a machine needs one stream) and returns
 * the exit code.
 */
export function printError(error: unknown, json: boolean, streams: Streams): number {
  if (error instanceof Fault) {
    if (json)
      streams.out(
        errorLine({
          error: error.detail,
          code: error.code,
          kind: error.kind,
          todo: error.entry.todo,
        }),
      );
    else
      streams.err(
        `error: ${printable(error.detail)}\n  code: ${error.code} ` +
          `(${error.entry.meaning})\n  what to do: ${error.entry.todo}\n`,
      );
    return USAGE_CODES.has(error.code) ? EXIT.usage : EXIT_OF_KIND[error.kind];
  }
  const reasons = reason(error);
  if (json)
    streams.out(
      errorLine({ error: reasons, code: 'internal', kind: 'bug', todo: 'Report it with the log.' }),
    );
  else
    streams.err(
      printable(
        `linnet has a bug: ${reasons}\n${error instanceof Error ? (error.stack ?? '') : ''}\n`,
      ),
    );
  return EXIT.bug;
}

function errorLine(body: ErrorBody): string {
  return `${jsonText(body)}\n`;
}

/** A list as a table under `head`; `none` where it has no rows. */
export const listText = (
  none: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string => (rows.length === 0 ? none : table([head, ...rows]));

/** Rows as an aligned table; the first row is the head. A line break in a cell is shown as `\n`. */
export function table(given: readonly (readonly string[])[]): string {
  const rows = given.map((row) => row.map(printableInLine));
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
