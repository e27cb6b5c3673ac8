// Where an S3 bucket is and who asks it: from the settings, the environment and a secret file. The
// secret is in no URL, in no message and in no log.
import { isIP } from 'node:net';
import { Fault } from '../../shared/base/fault-codes.js';
import { readSettingFile } from '../../shared/platform/setting-files.js';

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface S3Settings {
  readonly endpoint?: string | undefined;
  readonly region: string;
  readonly path_style: boolean;
  readonly credentials_file?: string | undefined;
}

/** A bucket and the beginning of all keys in it. */
export interface S3Location {
  readonly protocol: 'http:' | 'https:';
  readonly hostname: string;
  /** Empty: the standard one. */
  readonly port: string;
  readonly region: string;
  /** Path of the bucket: `/` or `/bucket/`. */
  readonly root: string;
  /** Empty, or ends with a slash. */
  readonly prefix: string;
  /** For messages: `s3://bucket/prefix`. */
  readonly name: string;
}

export const isS3 = (location: string | undefined): boolean =>
  location?.startsWith('s3://') ?? false;

/** From `s3://bucket/prefix`. Faults: config_invalid. */
export function s3Location(name: string, settings: S3Settings): S3Location {
  const [bucket = '', ...rest] = name.slice('s3://'.length).split('/');
  const { region, path_style: pathStyle } = settings;
  const endpoint = new URL(settings.endpoint ?? `https://s3.${region}.amazonaws.com`);
  const { hostname, port } = endpoint;
  const protocol = endpoint.protocol === 'http:' ? 'http:' : 'https:';
  if (!pathStyle && isIP(hostname.replace(/[[\]]/g, '')) !== 0)
    throw new Fault('config_invalid', `s3: ${hostname} is an address: set path_style = true`);
  if (!pathStyle && protocol === 'https:' && bucket.includes('.'))
    throw new Fault(
      'config_invalid',
      `s3: no certificate covers a bucket name with dots (${bucket}): set path_style = true`,
    );
  return {
    protocol,
    hostname: pathStyle ? hostname : `${bucket}.${hostname}`,
    port,
    region,
    root: pathStyle ? `/${bucket}/` : '/',
    prefix: rest.map((part) => `${part}/`).join(''),
    name,
  };
}

const NAMES = ['aws_access_key_id', 'aws_secret_access_key', 'aws_session_token'] as const;

/**
 * From the file (lines `aws_access_key_id = ...`, as the tools of AWS write them), or else from the
 * variables AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. Faults: config_invalid.
 */
export function s3Credentials(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): S3Credentials {
  const found = file === undefined ? fromEnvironment(env) : fromFile(file);
  const [accessKeyId = '', secretAccessKey = '', sessionToken = ''] = NAMES.map((name) =>
    found.get(name),
  );
  if (accessKeyId === '' || secretAccessKey === '')
    throw new Fault(
      'config_invalid',
      file === undefined
        ? 's3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or s3.credentials_file'
        : `s3.credentials_file ${file} must name aws_access_key_id and aws_secret_access_key`,
    );
  return { accessKeyId, secretAccessKey, ...(sessionToken === '' ? {} : { sessionToken }) };
}

const fromEnvironment = (env: Readonly<Record<string, string | undefined>>): Map<string, string> =>
  new Map(NAMES.map((name) => [name, env[name.toUpperCase()] ?? '']));

function fromFile(file: string): Map<string, string> {
  const found = new Map<string, string>();
  const text = readSettingFile('s3.credentials_file', file).toString('utf8');
  for (const line of text.split('\n')) {
    const [, name, value] = /^\s*(\w+)\s*=\s*(\S+)\s*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) continue;
    if (found.has(name))
      throw new Fault('config_invalid', `s3.credentials_file ${file} names ${name} twice`);
    found.set(name, value);
  }
  return found;
}
