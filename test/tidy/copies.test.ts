// No two places hold more than twelve lines of the same logic. Lines are compared without
// indentation; blank lines, comments, imports and lines of brackets alone do not count. That finds
// copies, also within one file; code that only looks alike under other names is left to review.
import { expect, it } from 'vitest';
import { typeScriptFiles } from './source-files.js';

const SAME_MAX_LINES = 12;

interface CountedLine {
  readonly text: string;
  readonly number: number;
}

/** The lines that count, with their numbers in the file. */
function logicOf(text: string): CountedLine[] {
  return text
    .replace(/^(?:import|export)\b[^;]*?\bfrom '[^']*';$/gm, (found) => found.replace(/.+/g, ''))
    .replace(/^ *\/\*\*[^]*?\*\/$/gm, (found) => found.replace(/.+/g, ''))
    .split('\n')
    .map((line, at) => ({ text: line.trim(), number: at + 1 }))
    .filter(({ text: line }) => !line.startsWith('//') && /\w/.test(line));
}

/** Pairs of places that share more lines than allowed, each pair once at its first line. */
function copiesIn(files: readonly { path: string; text: string }[]): string[] {
  const seen = new Map<string, string>();
  const found: string[] = [];
  for (const { path, text } of files) {
    const lines = logicOf(text);
    let inside = false;
    for (let at = 0; at + SAME_MAX_LINES < lines.length; at += 1) {
      const window = lines.slice(at, at + SAME_MAX_LINES + 1);
      const key = window.map((line) => line.text).join('\n');
      const here = `${path}:${window[0]?.number}`;
      const before = seen.get(key);
      if (before === undefined) seen.set(key, here);
      else if (!inside) found.push(`${before} and ${here}`);
      inside = before !== undefined;
    }
  }
  return found;
}

it('no_two_places_share_more_than_twelve_lines', () => {
  expect(copiesIn(typeScriptFiles)).toEqual([]);
});

it('a_copy_of_thirteen_lines_is_found_and_one_of_twelve_is_not', () => {
  const lines = (count: number): string =>
    Array.from({ length: count }, (_, at) => `const line${at} = ${at};`).join('\n');
  const pair = (text: string): string[] =>
    copiesIn([
      { path: 'a.ts', text: `first();\n${text}\nlast();` },
      { path: 'b.ts', text: `// other\n\n  begin();\n${text.replace(/^/gm, '  ')}\nend();` },
    ]);
  expect(pair(lines(13))).toEqual(['a.ts:2 and b.ts:4']);
  expect(pair(lines(12))).toEqual([]);
});
