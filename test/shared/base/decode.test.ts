// Decoding at the boundary: what is not JSON, not UTF-8, nested too deeply, or not of the schema.
import { Type } from 'typebox';
import { describe, expect, it } from 'vitest';
import { decodeJson, parseJson } from '../../../shared/base/decode.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';

const DEPTH = limits.jsonDepthMaxCount;
const nested = (depth: number, open = '[', close = ']'): string =>
  open.repeat(depth) + close.repeat(depth);

function detailOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (isFault(error, 'request_undecodable')) return error.detail;
    throw error;
  }
  return 'no fault';
}
const parse = (text: string | Uint8Array): unknown =>
  parseJson(text, 'the request', 'request_undecodable');

describe('nesting', () => {
  it('json_nested_to_the_limit_is_parsed', () => {
    expect(() => parse(nested(DEPTH))).not.toThrow();
    expect(() => parse(Buffer.from(nested(DEPTH)))).not.toThrow();
  });

  it.each([
    ['arrays', nested(DEPTH + 1)],
    ['objects', `${'{"a":'.repeat(DEPTH + 1)}1${'}'.repeat(DEPTH + 1)}`],
    ['both', `${'[{"a":'.repeat(DEPTH / 2)}[]${'}]'.repeat(DEPTH / 2)}`],
    ['twenty thousand arrays', nested(20_000)],
    ['arrays that are never closed', '['.repeat(20_000)],
    ['arrays with blanks between', nested(DEPTH + 1, ' [\n', ' ]')],
    ['an array after a string with an escaped quote', `["\\"",${nested(DEPTH)}]`],
    ['an array after a string that ends in a backslash', `["\\\\",${nested(DEPTH)}]`],
  ])('json_nested_deeper_than_the_limit_is_refused_%s', (_, text) => {
    const expected = `the request is nested deeper than ${DEPTH} levels`;
    expect(detailOf(() => parse(text))).toBe(expected);
    expect(detailOf(() => parse(Buffer.from(text)))).toBe(expected);
  });

  it.each([
    ['brackets', JSON.stringify(['['.repeat(100), '{'.repeat(100)])],
    ['an escaped quote before brackets', JSON.stringify([`"${'['.repeat(100)}`])],
    ['two escaped backslashes before brackets', JSON.stringify([`\\\\"${'['.repeat(100)}`])],
    ['arrays one after another', `[${Array.from({ length: 200 }, () => '[[]]').join(',')}]`],
    ['objects one after another', `[${Array.from({ length: 200 }, () => '{"a":{}}').join(',')}]`],
  ])('brackets_that_do_not_nest_deeply_are_parsed_%s', (_, text) => {
    expect(parse(text)).toEqual(JSON.parse(text));
  });
});

describe('text', () => {
  it.each([
    ['cut short', '{"a":'],
    ['empty', ''],
    ['a string without its end', '["abc'],
    ['a bare word', 'yes'],
    ['a closing bracket too many', '[]]'],
  ])('text_that_is_not_json_is_refused_%s', (_, text) => {
    expect(detailOf(() => parse(text))).toBe('the request is not JSON');
  });

  it('bytes_that_are_not_utf8_are_refused', () => {
    expect(detailOf(() => parse(Uint8Array.of(0x22, 0xc3, 0x28, 0x22)))).toBe(
      'the request is not JSON',
    );
  });
});

it('every_complaint_about_a_value_is_listed', () => {
  const schema = Type.Object({ a: Type.Integer(), b: Type.String() });
  const detail = detailOf(() =>
    decodeJson(schema, '{"a":"1","b":2}', 'the request', 'request_undecodable'),
  );
  expect(detail).toMatch(/^the request: \/a: .*; \/b: /);
});
