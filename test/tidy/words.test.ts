// One thing, one word (ARCHITECTURE.md, "Words"): the words that this project does not use, each
// with the word to use instead. Identifiers are read as the words that they are made of, so a
// banned word is found in `fooBar`, `FOO_BAR`, `foo-bar.ts`, comments, messages and documents
// alike.
import { posix } from 'node:path';
import { expect, it } from 'vitest';
import { documents, scripts, typeScriptFiles, type SourceFile } from './source-files.js';

interface BannedWord {
  /** Matched against a line whose identifiers were split into lower-case words. */
  readonly banned: RegExp;
  readonly instead: string;
  /** Phrases in which the word has its common meaning. */
  readonly allowed?: RegExp;
  /** Paths that the ban covers; everywhere when it is not given. */
  readonly within?: RegExp;
}

const BANNED: readonly BannedWord[] = [
  {
    banned: /\bdoors?\b/g,
    instead: 'inference server, app, layer or boundary',
  },
  { banned: /\bdesks?\b/g, instead: 'release tools, the `linnet` command, service or repository' },
  { banned: /\bhearings?\b/g, instead: 'reception' },
  { banned: /\b(?:story|stories|chapters?)\b/g, instead: 'demo, scenario, step or check' },
  { banned: /\bknock(?:s|ed|ing)?\b/g, instead: 'pending enrolment, request' },
  { banned: /\bwhoever\b/g, instead: 'a caller that, anyone who' },
  { banned: /\bshall\b/g, instead: 'must, is to' },
  { banned: /\bmend(?:s|ed|ing)?\b/g, instead: 'fix, repair, restore' },
  { banned: /\b(?:take|takes|taken|took|taking) (?:it )?back\b/g, instead: 'revoke, roll back' },
  { banned: /\b(?:put|puts|putting) (?:it )?out\b/g, instead: 'revoke, publish' },
  { banned: /\b(?:un)?vet(?:s|ted|ting)?\b/g, instead: 'admission, admit' },
  { banned: /\bgenerations?\b/g, instead: 'replica (a process) or revision (a row)' },
  {
    banned: /\bbounds\b/g,
    instead: 'limits',
    // The last one is a field of OTLP.
    allowed: /\b(?:out of|confidence|upper|lower|statistical|explicit) bounds\b/g,
  },
  {
    banned: /\borders\b|\b(?:an|standing|newer) order\b|\border (?:number|back)\b/g,
    instead: 'assignment, assignment id',
  },
  {
    banned: /\border\b/g,
    instead: 'assignment, assignment id',
    allowed: new RegExp(
      [
        'order (?:by|of|in|as|that|to)',
        'in (?:[a-z]+ ){0,3}order',
        '(?:any|byte|sort|fixed|same|hash|key|manifest|c) order',
        'orders? of magnitude',
      ].join('|'),
      'g',
    ),
    // The order of a group and of its elements is a term of elliptic curves.
    within: /^(?:agent|server|shared)\/(?!trust\/ed25519)/,
  },
  { banned: /\bhaste\b/g, instead: 'pace, rate' },
  { banned: /\bbreath\b/g, instead: 'at once, in lockstep' },
  { banned: /\bworlds?\b/g, instead: 'environment; in a test: fixture, setup' },
  {
    banned: /\bwords\b/g,
    instead: 'reasons',
    // `COMP_WORDS` and `words[CURRENT]` are what bash and zsh give a completion.
    allowed: new RegExp(
      [
        '\\b(?:banned|the|those|lower case|of|comp) words\\b',
        '\\bwords (?:(?:in words )?test|current|i)\\b',
      ].join('|'),
      'g',
    ),
  },
  {
    banned: /\bframes?\b/g,
    instead: 'packet (ipc frames go to the model process)',
    allowed: /\bframe (?:ancestors|it)\b/g, // Content-Security-Policy
    within: /^server\//,
  },
];

const SELF = ['test/tidy/words.test.ts'];

/** `FooBar`, `foo_bar` and `foo-bar.ts` become `foo bar`, all in lower case. */
function asWords(line: string): string {
  return line
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/[^A-Za-z]+/g, ' ')
    .toLowerCase();
}

function findings({ path, lines }: SourceFile): string[] {
  const numbered = [{ text: path, at: 0 }, ...lines.map((text, at) => ({ text, at: at + 1 }))];
  return numbered.flatMap(({ text, at }) => {
    const words = asWords(text);
    return BANNED.filter(({ within }) => within === undefined || within.test(path)).flatMap(
      ({ banned, instead, allowed }) =>
        [...(allowed === undefined ? words : words.replace(allowed, ' ')).matchAll(banned)].map(
          ([found]) => `${path}:${at} "${found}": say ${instead}`,
        ),
    );
  });
}

const read = ({ path }: SourceFile): boolean => !SELF.includes(path);

it('no_text_uses_a_banned_word', () => {
  expect([...typeScriptFiles, ...scripts, ...documents].filter(read).flatMap(findings)).toEqual([]);
});

it('a_banned_word_is_found_inside_identifiers_and_file_names', () => {
  const file = (path: string, line: string): SourceFile => ({ path, text: line, lines: [line] });
  for (const text of ['const frontDoor = 1;', 'FRONT_DOORS', '// the door', 'the_door_is_shut'])
    expect(findings(file('agent/x.ts', text)), text).toHaveLength(1);
  expect(findings(file('agent/release-desk.ts', ''))).toHaveLength(1);
  expect(findings(file('agent/x.ts', 'an order to the device'))).not.toEqual([]);
  expect(findings(file('agent/x.ts', "query.orderBy('id') // in order to, byte order"))).toEqual(
    [],
  );
  expect(findings(file('agent/x.ts', 'indoors, improvement, generate, unbounded'))).toEqual([]);
});

it('no_file_is_named_after_nothing', () => {
  const vague = /^(?:utils?|helpers?|managers?|misc|common|ports)\./;
  expect(
    typeScriptFiles.map(({ path }) => path).filter((path) => vague.test(posix.basename(path))),
  ).toEqual([]);
});
