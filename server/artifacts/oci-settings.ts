// Where an OCI registry is and who asks it: from the settings, the environment and secret files.
// The password is in no URL, in no message and in no log.
import { Fault } from '../../shared/base/fault-codes.js';
import { readSettingFile } from '../../shared/platform/setting-files.js';

export interface OciCredentials {
  readonly username: string;
  readonly password: string;
}

export interface OciSettings {
  readonly plain_http: boolean;
  readonly ca_file?: string | undefined;
  readonly credentials_file?: string | undefined;
}

/** A repository of a registry. */
export interface OciLocation {
  /** `https://registry.example/v2/some/where/` */
  readonly base: URL;
  /** `some/where` */
  readonly repository: string;
  /** Null: the system's authorities. */
  readonly ca: Buffer | null;
  /** For messages: `oci://registry.example/some/where`. */
  readonly name: string;
}

export const isOci = (location: string | undefined): boolean =>
  location?.startsWith('oci://') ?? false;

/** From `oci://registry/repository`. Faults: config_invalid. */
export function ociLocation(name: string, settings: OciSettings): OciLocation {
  const rest = name.slice('oci://'.length);
  const slash = rest.indexOf('/');
  const [host, repository] = [rest.slice(0, slash), rest.slice(slash + 1)];
  const base = `${settings.plain_http ? 'http' : 'https'}://${host}/v2/${repository}/`;
  if (!URL.canParse(base))
    throw new Fault('config_invalid', `artifacts: ${host} is no host with a port up to 65535`);
  const { ca_file: caFile } = settings;
  if (caFile !== undefined && settings.plain_http)
    throw new Fault('config_invalid', 'oci.ca_file is of no use with oci.plain_http');
  const ca = caFile === undefined ? null : readSettingFile('oci.ca_file', caFile);
  return { base: new URL(base), repository, ca, name };
}

/**
 * From the file (lines `username = ...` and `password = ...`), or else from the variables
 * LINNET_OCI_USERNAME and LINNET_OCI_PASSWORD. Null, where neither is there: the registry is asked
 * without. Faults: config_invalid.
 */
export function ociCredentials(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): OciCredentials | null {
  if (file === undefined) {
    const { LINNET_OCI_USERNAME: username = '', LINNET_OCI_PASSWORD: password = '' } = env;
    if (username === '' && password === '') return null;
    if (username === '' || password === '')
      throw new Fault(
        'config_invalid',
        'oci: LINNET_OCI_USERNAME and LINNET_OCI_PASSWORD belong together',
      );
    return { username, password };
  }
  const found = { username: '', password: '' };
  const text = readSettingFile('oci.credentials_file', file).toString('utf8');
  for (const line of text.split('\n')) {
    const [, key, value = ''] = /^\s*(username|password)\s*=\s*(\S.*?)\s*$/.exec(line) ?? [];
    if (key !== 'username' && key !== 'password') continue;
    if (found[key] !== '')
      throw new Fault('config_invalid', `oci.credentials_file ${file} names ${key} twice`);
    found[key] = value;
  }
  if (found.username === '' || found.password === '' || found.username.includes(':'))
    throw new Fault(
      'config_invalid',
      `oci.credentials_file ${file} must name username (without a colon) and password`,
    );
  return found;
}
