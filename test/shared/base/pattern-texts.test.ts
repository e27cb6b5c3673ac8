// Patterns of schemas as sentences, and that no pattern which an operator meets is shown as such.
import ts from 'typescript';
import { expect, it } from 'vitest';
import { Type } from 'typebox';
import { AgentSettings } from '../../../agent/config.js';
import { ServerSettings } from '../../../server/config.js';
import { complaints } from '../../../shared/base/decode.js';
import { patternText } from '../../../shared/base/pattern-texts.js';
import { nodesOf, productFiles } from '../../tidy/source-files.js';

it('a_wrong_name_is_told_what_a_name_is', () => {
  const schema = Type.Object({ group: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,62}$' }) });
  expect(complaints(schema, { group: 'Bad Name' })).toEqual([
    '/group: must be 1 to 63 characters of a-z 0-9 -, the first of a-z 0-9',
  ]);
});

it('a_digest_and_an_id_are_told_by_their_digits', () => {
  expect(patternText('^[0-9a-f]{64}$')).toBe('must be 64 hexadecimal digits in lower case');
  expect(patternText('^dev-[0-9a-f]{20}$')).toBe(
    'must be dev- and 20 hexadecimal digits in lower case',
  );
});

it('a_pattern_that_is_not_known_is_shown_itself', () => {
  const schema = Type.String({ pattern: '^(a|b)+$' });
  expect(patternText('^(a|b)+$')).toBeNull();
  expect(complaints(schema, 'c')).toEqual(['/: must match pattern "^(a|b)+$"']);
});

it('every_pattern_of_requests_and_settings_has_a_sentence', () => {
  const files =
    /^(?:shared\/(?:protocol\/operator-api|release\/manifest-head)|server\/config)\.ts$/;
  const patterns = productFiles
    .filter(({ path }) => files.test(path))
    .flatMap((file) => [...nodesOf(file.tree)])
    .filter((node) => ts.isPropertyAssignment(node))
    .filter((node) => node.name.getText() === 'pattern')
    .map(({ initializer }) => initializer)
    .filter((node) => ts.isStringLiteral(node))
    .map((node) => node.text);
  expect(patterns.length).toBeGreaterThan(10);
  expect(patterns.filter((pattern) => patternText(pattern) === null)).toEqual([]);
});

/** Of a schema and all that it holds. */
function patternsIn(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const { pattern } = schema as { pattern?: unknown };
  const inner = Object.values(schema).flatMap(patternsIn);
  return typeof pattern === 'string' ? [pattern, ...inner] : inner;
}

it.each([
  ['agent', AgentSettings],
  ['server', ServerSettings],
])('every_pattern_of_the_settings_of_the_%s_has_a_sentence', (_, schema) => {
  const patterns = patternsIn(schema);
  expect(patterns.length).toBeGreaterThan(5);
  expect(patterns.filter((pattern) => patternText(pattern) === null)).toEqual([]);
});
