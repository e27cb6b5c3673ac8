// Decoding at the boundary: an unknown value becomes a typed one, or a Fault that lists every
// complaint at once. Schemas are TypeBox, so that one declaration is the TypeScript type, the
// check, and the OpenAPI schema.
import type { Static, TSchema } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import { Settings } from 'typebox/system';
import { Fault, type FaultCode } from './fault-codes.js';
import { limits } from './limits.js';
import { patternText } from './pattern-texts.js';

/**
 * TypeBox stops at 8 by default, and counts every wrong branch of a union. Still bounded: hostile
 * input must stay cheap.
 */
Settings.Set({ maxErrors: limits.decodeErrorsMaxCount });
const compiled = new WeakMap<object, Validator>();

function validatorOf(schema: TSchema): Validator {
  let validator = compiled.get(schema);
  if (validator === undefined) {
    validator = Compile(schema);
    compiled.set(schema, validator);
  }
  return validator;
}

/**
 * Every way in which `value` is not what `schema` says, as `path: complaint`; empty when it fits.
 */
export function complaints(schema: TSchema, value: unknown): string[] {
  const validator = validatorOf(schema);
  if (validator.Check(value)) return [];
  const found = validator
    .Errors(value)
    .map((error) => {
      const params = error.params as {
        additionalProperties?: string[];
        requiredProperties?: string[];
        allowedValues?: unknown[];
        pattern?: string;
      };
      if (params.additionalProperties !== undefined)
        return (
          `${error.instancePath || '/'}: unknown key ` + params.additionalProperties.join(', ')
        );
      if (params.requiredProperties !== undefined)
        return `${error.instancePath || '/'}: missing ${params.requiredProperties.join(', ')}`;
      if (params.allowedValues !== undefined)
        return `${error.instancePath}: must be one of ${params.allowedValues.join(', ')}`;
      const asked = params.pattern === undefined ? null : patternText(params.pattern);
      return `${error.instancePath || '/'}: ${asked ?? error.message}`;
    })
    .filter((line) => !line.endsWith('schema is false'));
  const unique = [...new Set(found)];
  const more = unique.length - limits.listedMaxCount;
  return more > 0 ? [...unique.slice(0, limits.listedMaxCount), `and ${more} more`] : unique;
}

/**
 * `value` as the schema's type, or a Fault with `code` that names `what` and every complaint.
 * NoInfer, here and wherever a function is generic over a schema: the compiler would otherwise
 * compare the types of two unknown schemas, which took 40 % of its time.
 */
export function decode<T extends TSchema>(
  schema: T,
  value: unknown,
  what: string,
  code: FaultCode = 'message_undecodable',
): NoInfer<Static<T>> {
  const found = complaints(schema, value);
  if (found.length > 0) throw new Fault(code, `${what}: ${found.join('; ')}`);
  return value as Static<T>;
}

/**
 * Bytes -> JSON -> the schema's type. Invalid UTF-8, invalid JSON and JSON that is nested deeper
 * than jsonDepthMaxCount are refused with the same code.
 */
export function decodeJson<T extends TSchema>(
  schema: T,
  bytes: Uint8Array | string,
  what: string,
  code: FaultCode = 'message_undecodable',
): NoInfer<Static<T>> {
  return decode<T>(schema, parseJson(bytes, what, code), what, code);
}

export function parseJson(
  bytes: Uint8Array | string,
  what: string,
  code: FaultCode = 'message_undecodable',
): unknown {
  try {
    const text =
      typeof bytes === 'string' ? bytes : new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    // Before the parser: deep values overflow the stack of whatever walks them later.
    if (isNestedDeeperThan(text, limits.jsonDepthMaxCount))
      throw new Fault(code, `${what} is nested deeper than ${limits.jsonDepthMaxCount} levels`);
    return JSON.parse(text) as unknown;
  } catch (error) {
    // Only the decoder's and the parser's own errors mean bad input.
    if (error instanceof SyntaxError || error instanceof TypeError)
      throw new Fault(code, `${what} is not JSON`, { cause: error });
    throw error;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const OPEN_OBJECT = 0x7b;
const CLOSE_ARRAY = 0x5d;
const CLOSE_OBJECT = 0x7d;

/**
 * Of arrays and objects in JSON text; brackets inside strings do not count. Linear, no recursion.
 */
function isNestedDeeperThan(text: string, maxCount: number): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) at = endOfString(text, at);
    else if (unit === OPEN_ARRAY || unit === OPEN_OBJECT) {
      depth += 1;
      if (depth > maxCount) return true;
    } else if (unit === CLOSE_ARRAY || unit === CLOSE_OBJECT) depth -= 1;
  }
  return false;
}

/** Index of the quote that closes the string opened at `from`; the end of the text without one. */
function endOfString(text: string, from: number): number {
  let at = text.indexOf('"', from + 1);
  while (at >= 0 && isEscaped(text, at)) at = text.indexOf('"', at + 1);
  return at < 0 ? text.length : at;
}

function isEscaped(text: string, at: number): boolean {
  let backslashes = 0;
  while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes += 1;
  return backslashes % 2 === 1;
}
