// Configuration in three steps: fragments (a TOML file, environment variables) -> inputs (one plain
// object) -> settings (decoded, frozen). A mistake is refused at start with every complaint at
// once. Secrets are never settings: they are named by file or read from the environment by the room
// that needs them.
import { parse as parseToml } from 'smol-toml';
import { Type, type Static, type TSchema } from 'typebox';
import { Value } from 'typebox/value';
import { counted } from './counted.js';
import { complaints } from './decode.js';
import { Fault } from './fault-codes.js';

const IS_READ = 'x-linnet-read';

/** A setting that names a file which is read; `inputFiles` finds these. */
export const InputFile = (maxLength: number) =>
  Type.String({ minLength: 1, maxLength, [IS_READ]: true });

export interface NamedFile {
  /** As `otlp.headers_file`. */
  readonly setting: string;
  readonly path: string;
}

/** The files that the settings of a schema name, in the schema's order. */
export function inputFiles(schema: TSchema, settings: unknown, prefix = ''): NamedFile[] {
  const { properties } = schema as { properties?: Readonly<Record<string, TSchema>> };
  if (typeof settings !== 'object' || settings === null || properties === undefined) return [];
  return Object.entries(properties).flatMap(([key, inner]) => {
    const value = (settings as Readonly<Record<string, unknown>>)[key];
    const setting = `${prefix}${key}`;
    return IS_READ in inner && typeof value === 'string'
      ? [{ setting, path: value }]
      : inputFiles(inner, value, `${setting}.`);
  });
}

/**
 * Settings of `schema` from the text of a TOML file and the environment. `LINNET_<SCOPE>__A__B=x`
 * overrides key `a.b` (lower-cased; `_` inside a name stays); values that parse as JSON are taken
 * as such, others as text. Keys that are absent take the schema's defaults. `file`: for messages.
 */
export function resolveSettings<T extends TSchema>(
  schema: T,
  toml: string,
  scope: string,
  env: Readonly<Record<string, string | undefined>>,
  file: string = 'the file',
): NoInfer<Static<T>> {
  const inputs = parseFile(toml, file);
  const prefix = `LINNET_${scope.toUpperCase()}__`;
  const variables = new Map<string, string>();
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith(prefix) || text === undefined) continue;
    const path = name.slice(prefix.length).toLowerCase().split('__');
    override(inputs, path, scalar(text), name);
    variables.set(`/${path.join('/')}`, name);
  }
  const filled = Value.Default(schema, inputs);
  const found = complaints(schema, filled).map((complaint) => withVariable(complaint, variables));
  if (found.length > 0)
    throw new Fault(
      'config_invalid',
      `${counted(found.length, 'mistake')} in the ${scope} configuration:\n  ${found.join('\n  ')}`,
    );
  return freeze(filled) as Static<T>;
}

/** A mistake that is in the environment is not looked for in the file. */
function withVariable(complaint: string, variables: ReadonlyMap<string, string>): string {
  const [, path = '', unknown] = /^(\/\S*): (?:unknown key (\S+))?/.exec(complaint) ?? [];
  const whole = unknown === undefined ? path : `${path === '/' ? '' : path}/${unknown}`;
  const set = [...variables].find(([key]) => whole === key || whole.startsWith(`${key}/`));
  return set === undefined ? complaint : `${complaint} (set by ${set[1]})`;
}

function parseFile(toml: string, file: string): Record<string, unknown> {
  try {
    return parseToml(toml);
  } catch (error) {
    throw new Fault(
      'config_invalid',
      `${file} is not TOML: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
}

function override(
  inputs: Record<string, unknown>,
  path: readonly string[],
  value: unknown,
  name: string,
): void {
  let table = inputs;
  for (const key of path.slice(0, -1)) {
    const inner = (table[key] ??= {});
    if (typeof inner !== 'object' || Array.isArray(inner))
      throw new Fault('config_invalid', `${name}: ${key} is not a table`);
    table = inner as Record<string, unknown>;
  }
  const last = path.at(-1);
  if (last === undefined || last === '') throw new Fault('config_invalid', `${name} names no key`);
  table[last] = value;
}

function scalar(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text; // Not JSON: plain text, the usual case for paths and addresses.
  }
}

function freeze(value: unknown): unknown {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(freeze);
    Object.freeze(value);
  }
  return value;
}
