// The fleet server's settings: one TOML file, overridden by LINNET_SERVER__... variables, decoded
// once. All mistakes are reported together, before anything is opened. Secrets are in files that
// the settings name.
import { Type, type Static } from 'typebox';
import { Fault } from '../shared/base/fault-codes.js';
import { resolveSettings } from '../shared/base/config.js';
import { limits } from '../shared/base/limits.js';

const strict = { additionalProperties: false } as const;
const Host = Type.String({ minLength: 1, maxLength: 255 });
/** 0 takes any free port, for tests. */
const Port = (standard: number) => Type.Integer({ minimum: 0, maximum: 65_535, default: standard });
const Path = Type.String({ minLength: 1, maxLength: limits.filePathMaxChars });

export const ServerSettings = Type.Object(
  {
    /** Folder of the database, unless `database` names another one. */
    data_dir: Path,
    /**
     * A PostgreSQL database, which several servers may share, instead of SQLite in data_dir. The
     * password: from the file below, else from PGPASSWORD.
     */
    database: Type.Optional(
      Type.String({ pattern: '^postgres(?:ql)?://[^ ]+/[^ ]+$', maxLength: 1000 }),
    ),
    database_password_file: Type.Optional(Path),
    /**
     * Folder of the repositories, created by `linnet repo init`: metadata, files and the online
     * keys.
     */
    repository: Path,
    http: Type.Object(
      { host: Type.String({ ...Host, default: '127.0.0.1' }), port: Port(7300) },
      { ...strict, default: {} },
    ),
    /** The embedded broker; not used when `broker` is set. */
    mqtt: Type.Object(
      { host: Type.String({ ...Host, default: '127.0.0.1' }), port: Port(7301) },
      { ...strict, default: {} },
    ),
    /** An external broker instead. Its own rules must confine each device to its topics. */
    broker: Type.Optional(
      Type.Object(
        {
          url: Type.String({ pattern: '^mqtts?://[^/ ]+$', maxLength: 500 }),
          username: Type.Optional(Type.String({ maxLength: limits.nameMaxChars })),
          password_file: Type.Optional(Path),
        },
        strict,
      ),
    ),
    /** For HTTP and the embedded broker alike. */
    tls: Type.Optional(Type.Object({ cert_file: Path, key_file: Path }, strict)),
    /** A device that has sent nothing for this long is shown as silent. */
    silent_after_seconds: Type.Integer({ minimum: 1, maximum: 30 * 86_400, default: 60 }),
    log_level: Type.Enum(['debug', 'info', 'warn', 'error', 'silent'], { default: 'info' }),
  },
  strict,
);
export type ServerSettings = Static<typeof ServerSettings>;

/**
 * Settings from the text of a config file and the environment. Faults: config_invalid, with all
 * mistakes.
 */
export function serverSettings(
  toml: string,
  env: Readonly<Record<string, string | undefined>>,
): ServerSettings {
  return resolveSettings(ServerSettings, toml, 'server', env);
}

/** Rules about several settings together. Faults: config_invalid. */
export function checkTogether(settings: ServerSettings): void {
  const { http, mqtt, database } = settings;
  if (database !== undefined && (!URL.canParse(database) || new URL(database).password !== ''))
    throw new Fault(
      'config_invalid',
      'database is not a URL without a password; that belongs in the file which ' +
        'database_password_file names, or in PGPASSWORD',
    );
  if (database === undefined && settings.database_password_file !== undefined)
    throw new Fault('config_invalid', 'database_password_file is of no use without database');
  if (
    settings.broker === undefined &&
    http.port !== 0 &&
    http.port === mqtt.port &&
    http.host === mqtt.host
  ) {
    throw new Fault(
      'config_invalid',
      `http and mqtt cannot both listen on ${http.host}:${http.port}`,
    );
  }
}
