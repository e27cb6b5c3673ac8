// Text of devices, servers and files cannot act on the operator's terminal: everything that a
// command prints passes through cli/printable.ts.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { makeOutput, printError, table } from '../../../firmware-tools/cli/output.js';
import { linnet } from '../../../firmware-tools/cli/main.js';
import { lineOf } from '../../../firmware-tools/cli/terminal.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { typeScriptFiles } from '../../tidy/source-files.js';

const ATTACKS: readonly [string, string, string][] = [
  ['sets_the_clipboard', '\u001b]52;c;ZXZpbA==\u0007', '\\u{1b}]52;c;ZXZpbA==\\u{7}'],
  ['clears_the_screen', '\u001b[2J\u001b[H', '\\u{1b}[2J\\u{1b}[H'],
  ['uses_one_byte_sequences', '\u009b2J\u009d0;title\u009c', '\\u{9b}2J\\u{9d}0;title\\u{9c}'],
  ['returns_to_the_begin_of_the_line', 'bad\rgood', 'bad\\u{d}good'],
  ['reorders_the_line', 'abc\u202edcba\u2066', 'abc\\u{202e}dcba\\u{2066}'],
  ['breaks_the_line_elsewhere', 'a\u2028b\u0085c\u000bd', 'a\\u{2028}b\\u{85}c\\u{b}d'],
];

interface Printed {
  out: string;
  err: string;
}
function streams(): Printed & { take: { out(text: string): void; err(text: string): void } } {
  const printed = { out: '', err: '', take: { out, err } };
  function out(text: string): void {
    printed.out += text;
  }
  function err(text: string): void {
    printed.err += text;
  }
  return printed;
}

it.each(ATTACKS)('text_that_%s_is_shown_and_has_no_effect', async (_name, attack, shown) => {
  const printed = streams();
  const out = makeOutput(false, printed.take);
  out.line(attack);
  out.result({}, () => attack);
  expect(printed.out).toBe(`${shown}\n${shown}\n`);
  out.progress(attack);
  printError(new Fault('not_found', attack), false, printed.take);
  printError(new Error(attack), false, printed.take);
  expect(printed.err.split(shown).length).toBeGreaterThanOrEqual(4);
  expect(printed.err).not.toContain(attack);
  expect(table([['NAME'], [attack]])).toBe(`NAME\n${shown}`);
  expect(lineOf([[attack]], { columns: 80, colors: true })).toBe(shown);
});

it('line_breaks_in_a_table_and_on_a_terminal_make_no_row', () => {
  expect(
    table([
      ['NAME', 'WHY'],
      ['cam-1\ncam-2  fine', 'a\nb'],
    ]),
  ).toBe('NAME                WHY\ncam-1\\ncam-2  fine  a\\nb');
  expect(lineOf([['a\nb']], { columns: 80, colors: false })).toBe('a\\nb');
});

it('an_argument_that_a_refusal_repeats_has_no_effect', async () => {
  const printed = streams();
  await linnet(['\u001b[2Jmodle'], printed.take);
  expect(printed.err).toContain("unknown command '\\u{1b}[2Jmodle'");
});

it('with_json_the_text_is_exact_and_escaped_by_json', () => {
  const printed = streams();
  const text = ATTACKS.map(([, attack]) => attack).join('');
  makeOutput(true, printed.take).result({ text }, () => '');
  expect(JSON.parse(printed.out)).toEqual({ text });
  expect(printed.out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e\u2066]/);
});

it('commands_print_through_the_output_only', () => {
  const direct = typeScriptFiles
    .filter(
      ({ path }) =>
        path.startsWith('firmware-tools/cli/') ||
        /^(?:agent|server)\/(?:commands|backup-commands|run-[a-z]+)\.ts$/.test(path),
    )
    .filter(({ path }) => /console\.|process\.std(out|err)\.write/.test(readFileSync(path, 'utf8')))
    .map(({ path }) => path);
  // The one that makes an output of the streams of its process.
  expect(direct).toEqual(['firmware-tools/cli/runner.ts']);
});
