// The agent's settings: one TOML file and environment overrides (`LINNET_AGENT__API__PORT=7311`).
// All mistakes are reported at once. Secrets are not settings: the device's key is in data_dir, a
// claim token comes from a file or LINNET_CLAIM.
import { Type, type Static } from 'typebox';
import { InputFile, resolveSettings } from '../shared/base/config.js';
import { limits } from '../shared/base/limits.js';
import { NO_PROXY_AT_ALL } from '../shared/platform/proxies.js';
import { WindowText, ZoneName } from '../shared/base/update-hours.js';
import { Component, HardwareId } from '../shared/release/manifest-head.js';

/** Checked by the parser that later reads it; without a password, which would end up in logs. */
const Url = (pattern: string, description: string) =>
  Type.Refine(
    Type.String({ pattern, description }),
    (text) => urlComplaint(text) === null,
    (text) => urlComplaint(text) ?? '',
  );

function urlComplaint(text: string): string | null {
  if (!URL.canParse(text)) return 'is not a URL (is its port a number up to 65535?)';
  const url = new URL(text);
  if (url.username !== '' || url.password !== '')
    return 'must not carry a user or password: the device signs for itself';
  if (url.protocol === 'file:' && url.host !== '')
    return 'names a host: a folder of this device is file:///folder';
  return null;
}

function proxyComplaint(text: string): string | null {
  if (text === NO_PROXY_AT_ALL) return null;
  if (!URL.canParse(text)) return 'is not a URL (is its port a number up to 65535?)';
  const { username, password } = new URL(text);
  return username === '' && password === ''
    ? null
    : 'must not carry a user or password: those belong into HTTPS_PROXY of the environment';
}

const strict = { additionalProperties: false } as const;
const Path = Type.String({ minLength: 1, maxLength: limits.filePathMaxChars });
const ReadFile = InputFile(limits.filePathMaxChars);

const Settings = Type.Object(
  {
    name: Type.String({
      pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$',
      description: 'what people call this device',
    }),
    hardware: HardwareId,
    components: Type.Refine(
      Type.Array(Component, {
        minItems: 1,
        maxItems: 16,
        description: 'what is updated here, e.g. ["digits"]',
      }),
      (names) => new Set(names).size === names.length,
      () => 'names a component twice',
    ),
    data_dir: Path,
    server: Type.Object(
      {
        url: Url('^https?://[^/?#]+/?$', 'the fleet server'),
        mirrors: Type.Array(Url('^(https?|file)://', 'http(s)://host or file:///folder'), {
          default: [],
          maxItems: 8,
          description: 'where release files may be fetched first',
        }),
        poll_seconds: Type.Number({
          minimum: 0.2,
          maximum: 86_400,
          default: 60,
          description: 'how often to look without a hint',
        }),
        proxy: Type.Optional(
          Type.Refine(
            Type.String({
              pattern: '^(none|http://[^/?#]+/?)$',
              description: 'for requests to other machines, and MQTT; none: ignore HTTPS_PROXY',
            }),
            (text) => proxyComplaint(text) === null,
            (text) => proxyComplaint(text) ?? '',
          ),
        ),
        claim_file: Type.Optional(ReadFile),
        ca_file: Type.Optional(ReadFile),
      },
      strict,
    ),
    mqtt: Type.Object(
      {
        url: Type.Optional(
          Url('^mqtts?://', 'the broker; the fleet server says where, when left out'),
        ),
      },
      { ...strict, default: {} },
    ),
    trust: Type.Object(
      {
        image_root: ReadFile,
        director_root: ReadFile,
      },
      strict,
    ),
    api: Type.Object(
      {
        host: Type.String({ default: '127.0.0.1' }),
        port: Type.Integer({ minimum: 0, maximum: 65_535, default: 7310 }),
        host_names: Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
          maxItems: 64,
          default: [],
          description: 'names of this device that clients may use besides localhost and `host`',
        }),
        socket: Type.Optional(Path),
      },
      { ...strict, default: {} },
    ),
    runtime: Type.Object(
      {
        intra_op_threads: Type.Integer({ minimum: 1, maximum: 64, default: 1 }),
        shadow_sample: Type.Number({
          minimum: 0,
          maximum: 1,
          default: 1,
          description: 'share of live requests that both models answer during a trial',
        }),
      },
      { ...strict, default: {} },
    ),
    rehearsal: Type.Record(
      Component,
      Type.Object(
        {
          max_mib: Type.Integer({
            minimum: 1,
            maximum: limits.rehearsalInputsMaxMib,
            default: 16,
            description:
              'memory for recent inputs to try the next release on; then as much for answers',
          }),
          max_age_hours: Type.Number({
            exclusiveMinimum: 0,
            maximum: limits.rehearsalAgeMaxHours,
            default: 24,
            description: 'how long an input is kept',
          }),
        },
        // Without a default of its own, the defaults inside are not taken.
        { ...strict, default: {} },
      ),
      { ...strict, default: {} },
    ),
    update: Type.Object(
      {
        windows: Type.Array(WindowText, {
          maxItems: 16,
          default: [],
          description: 'when an update may begin, e.g. ["22:00-05:00"]; any time when empty',
        }),
        zone: Type.Optional(ZoneName),
      },
      { ...strict, default: {} },
    ),
    telemetry: Type.Object(
      {
        spool_max_bytes: Type.Integer({
          minimum: 64 * 1024,
          maximum: 1024 * 1024 * 1024,
          default: 8 * 1024 * 1024,
        }),
      },
      { ...strict, default: {} },
    ),
    log_level: Type.Enum(['debug', 'info', 'warn', 'error', 'silent'], { default: 'info' }),
  },
  strict,
);

/** Components with a rehearsal that are not updated here; a wrong file may lack either table. */
const unknownRehearsals = ({ components, rehearsal }: Partial<Static<typeof Settings>>): string[] =>
  Object.keys(rehearsal ?? {}).filter((name) => components?.includes(name) === false);

export const AgentSettings = Type.Refine(
  Settings,
  (settings) => unknownRehearsals(settings).length === 0,
  (settings) =>
    `/rehearsal names ${unknownRehearsals(settings).join()}, which is no component here`,
);
export type AgentSettings = Static<typeof Settings>;

export function agentSettings(
  toml: string,
  env: Readonly<Record<string, string | undefined>>,
  file?: string,
): AgentSettings {
  return resolveSettings(AgentSettings, toml, 'agent', env, file);
}
