// The fleet server's settings: one TOML file, overridden by LINNET_SERVER__... variables, decoded
// once. All mistakes are reported together, before anything is opened. Secrets are in files that
// the settings name.
import { join } from 'node:path';
import { Type, type Static } from 'typebox';
import { Fault } from '../shared/base/fault-codes.js';
import { InputFile, resolveSettings } from '../shared/base/config.js';
import { limits } from '../shared/base/limits.js';
import { isNetwork } from './access/connection-limits.js';
import { isOci } from './artifacts/oci-settings.js';
import { isS3 } from './artifacts/s3-settings.js';

const strict = { additionalProperties: false } as const;
const Host = Type.String({ minLength: 1, maxLength: 255 });
/** 0 takes any free port, for tests. */
const Port = (standard: number) => Type.Integer({ minimum: 0, maximum: 65_535, default: standard });
const Path = Type.String({ minLength: 1, maxLength: limits.filePathMaxChars });
const ReadFile = InputFile(limits.filePathMaxChars);
const BROKER_IDENTITY = '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$';

const S3_BUCKET = '[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]';
/** What needs no encoding in a URL. */
const S3_SEGMENT = '[A-Za-z0-9_-][A-Za-z0-9._-]*';
const OCI_REGISTRY = '([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?';
/** Of the distribution specification. */
const OCI_SEGMENT = '[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*';

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
    database_password_file: Type.Optional(ReadFile),
    /**
     * Folder of the repositories, created by `linnet repo init`: metadata, files and the online
     * keys.
     */
    repository: Path,
    /**
     * Where artifacts are kept: `file:/absolute/folder`, `s3://bucket/prefix` or
     * `oci://registry/repository`. Default: `files` in `repository`.
     */
    artifacts: Type.Optional(
      Type.String({
        pattern:
          `^(file:/[^/%?#][^%?#]*|s3://${S3_BUCKET}(/${S3_SEGMENT})*|` +
          `oci://${OCI_REGISTRY}(/${OCI_SEGMENT})+)$`,
        maxLength: limits.filePathMaxChars,
      }),
    ),
    /**
     * Devices fetch files of releases from the bucket itself, by links that work for minutes, or
     * from the registry, if it gives them to anybody.
     */
    artifacts_redirect: Type.Boolean({ default: false }),
    /** Of the bucket that `artifacts` names. */
    s3: Type.Optional(
      Type.Object(
        {
          /** Default: that of AWS for the region. */
          endpoint: Type.Optional(
            Type.String({ pattern: '^https?://[^/@?#\\s]+/?$', maxLength: 500 }),
          ),
          region: Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$', default: 'us-east-1' }),
          /** `endpoint/bucket/...` instead of `bucket.endpoint/...`. */
          path_style: Type.Boolean({ default: false }),
          /** Default: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the environment. */
          credentials_file: Type.Optional(ReadFile),
        },
        strict,
      ),
    ),
    /** Of the registry that `artifacts` names. */
    oci: Type.Optional(
      Type.Object(
        {
          /** Without TLS: for a registry on the same machine. */
          plain_http: Type.Boolean({ default: false }),
          /** PEM certificates that the registry is trusted by, instead of the system's. */
          ca_file: Type.Optional(ReadFile),
          /** Default: LINNET_OCI_USERNAME and LINNET_OCI_PASSWORD of the environment, or none. */
          credentials_file: Type.Optional(ReadFile),
        },
        strict,
      ),
    ),
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
          password_file: Type.Optional(ReadFile),
          /** Where devices reach it, when not at `url`. */
          public_url: Type.Optional(Type.String({ pattern: '^mqtts?://[^/ ]+$', maxLength: 500 })),
          /** PEM certificates that the broker is trusted by, instead of the system's; mqtts. */
          ca_file: Type.Optional(ReadFile),
          /** The server's name at the broker, else `linnet-server`; each has its own. */
          identity: Type.Optional(Type.String({ pattern: BROKER_IDENTITY })),
          /** Where the list of revoked client certificates is written, for the broker. */
          crl_file: Type.Optional(Path),
          /**
           * Where a web server offers that file: named in each client certificate, for brokers
           * that fetch the list (EMQX).
           */
          crl_url: Type.Optional(
            Type.String({ pattern: '^https?://[^/@ ]+/[^ ]+$', maxLength: 500 }),
          ),
        },
        strict,
      ),
    ),
    /** The operator's own CA for devices, instead of the one that `linnet server init` makes. */
    device_ca: Type.Optional(Type.Object({ cert_file: ReadFile, key_file: ReadFile }, strict)),
    /**
     * Addresses or networks of HTTP and TCP proxies in front of the server. Their X-Forwarded-For
     * is believed, and they may hold more connections than one address.
     */
    trusted_proxies: Type.Array(
      Type.String({ pattern: '^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$', maxLength: 50 }),
      { maxItems: 64, default: [] },
    ),
    /** For HTTP and the embedded broker alike, where devices then log in by certificate. */
    tls: Type.Optional(Type.Object({ cert_file: ReadFile, key_file: ReadFile }, strict)),
    /** Security events to a log collector. */
    syslog: Type.Optional(
      Type.Object(
        {
          host: Host,
          port: Type.Integer({ minimum: 1, maximum: 65_535 }),
          transport: Type.Enum(['udp', 'tcp', 'tls'], { default: 'tls' }),
          format: Type.Enum(['rfc5424', 'cef'], { default: 'rfc5424' }),
          /** Of the collector's certificate, where it is not one of the system's. */
          ca_file: Type.Optional(ReadFile),
        },
        strict,
      ),
    ),
    /** Security events to an HTTP endpoint, signed. */
    webhook: Type.Optional(
      Type.Object(
        {
          url: Type.String({ pattern: '^https?://[^/ ]+', maxLength: 500 }),
          secret_file: ReadFile,
        },
        strict,
      ),
    ),
    /** Security events and this server's metrics to an OpenTelemetry collector, by OTLP/HTTP. */
    otlp: Type.Optional(
      Type.Object(
        {
          /** Without `/v1/...`, as `http://127.0.0.1:4318`. */
          url: Type.String({ pattern: '^https?://[^/@?# ]+(/[^?# ]*)?$', maxLength: 500 }),
          /** Lines `name = value`, such as an API key. */
          headers_file: Type.Optional(ReadFile),
        },
        strict,
      ),
    ),
    /** A device that has sent nothing for this long is shown as silent. */
    silent_after_seconds: Type.Integer({ minimum: 1, maximum: 30 * 86_400, default: 60 }),
    log_level: Type.Enum(['debug', 'info', 'warn', 'error', 'silent'], { default: 'info' }),
  },
  strict,
);
export type ServerSettings = Static<typeof ServerSettings>;
type BrokerSettings = NonNullable<ServerSettings['broker']>;

/**
 * Settings from the text of a config file and the environment. Faults: config_invalid, with all
 * mistakes.
 */
export function serverSettings(
  toml: string,
  env: Readonly<Record<string, string | undefined>>,
  file?: string,
): ServerSettings {
  return resolveSettings(ServerSettings, toml, 'server', env, file);
}

/** Rules about several settings together. Faults: config_invalid. */
export function checkTogether(settings: ServerSettings): void {
  const { http, mqtt, broker, database } = settings;
  if (broker !== undefined) checkBroker(broker);
  checkArtifacts(settings);
  for (const proxy of settings.trusted_proxies)
    if (!isNetwork(proxy))
      throw new Fault('config_invalid', `trusted_proxies: ${proxy} is no address and no network`);
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

function checkArtifacts({
  artifacts,
  s3,
  oci,
  artifacts_redirect: redirect,
}: ServerSettings): void {
  const needs = (setting: string, form: string): Fault =>
    new Fault('config_invalid', `${setting} needs artifacts = ${form}`);
  const [inS3, inOci] = ['"s3://bucket/prefix"', '"oci://registry/repository"'];
  if (s3 !== undefined && !isS3(artifacts)) throw needs('s3', inS3);
  if (oci !== undefined && !isOci(artifacts)) throw needs('oci', inOci);
  if (redirect && !isS3(artifacts) && !isOci(artifacts))
    throw needs('artifacts_redirect', `${inS3} or ${inOci}`);
}

function checkBroker({ url, public_url, ca_file, identity }: BrokerSettings): void {
  for (const [setting, value] of Object.entries({ url, public_url })) {
    if (value === undefined) continue;
    const complaint = urlComplaint(value);
    if (complaint !== null) throw new Fault('config_invalid', `broker.${setting} ${complaint}`);
  }
  if (ca_file !== undefined && ![url, public_url].some((each) => each?.startsWith('mqtts:')))
    throw new Fault('config_invalid', 'broker.ca_file is for mqtts, and no broker URL is mqtts');
  if (identity !== undefined && /^dev-[0-9a-f]{20}$/.test(identity))
    throw new Fault('config_invalid', 'broker.identity has the form of a device id');
}

function urlComplaint(text: string): string | null {
  if (!URL.canParse(text)) return 'is not a URL (is its port a number up to 65535?)';
  const { username, password } = new URL(text);
  return username === '' && password === '' ? null : 'must not carry a user or password';
}

/** Where the list of revoked client certificates is written. */
export const revocationListFile = ({ broker, data_dir }: ServerSettings): string =>
  broker?.crl_file ?? join(data_dir, 'device-ca.crl');

/** Whether a server can have this name at an external broker. */
export const isBrokerIdentity = (name: string): boolean => new RegExp(BROKER_IDENTITY).test(name);
