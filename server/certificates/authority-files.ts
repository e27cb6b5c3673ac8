// Where the device CA is kept: in data_dir, made by `linnet server init`, or in the operator's own
// files (`device_ca`). The key is read only when nobody but its owner can read it, and is encrypted
// with LINNET_KEY_PASSPHRASE where that is set.
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { utf8 } from '../../shared/base/bytes.js';
import type { Clock, Random } from '../../shared/base/interfaces.js';
import { readPrivateFile } from '../../shared/platform/private-file.js';
import { readSettingFile } from '../../shared/platform/setting-files.js';
import { tempBeside, writeWhole } from '../../shared/platform/durable-files.js';
import { withDiskFaults } from '../../shared/platform/errno-faults.js';
import { CertificateAuthority, newAuthority } from './authority.js';

export interface AuthorityPaths {
  readonly certificate: string;
  readonly key: string;
}

interface Needs {
  readonly clock: Clock;
  readonly random: Random;
  readonly passphrase: string | null;
}

interface Settings {
  readonly data_dir: string;
  readonly device_ca?: { readonly cert_file: string; readonly key_file: string } | undefined;
  readonly broker?: { readonly crl_url?: string | undefined } | undefined;
}

export function authorityPaths({ data_dir, device_ca }: Settings): AuthorityPaths {
  return device_ca === undefined
    ? { certificate: join(data_dir, 'device-ca.crt'), key: join(data_dir, 'device-ca.key') }
    : { certificate: device_ca.cert_file, key: device_ca.key_file };
}

/** Makes the CA in data_dir unless the operator has one or it is there. Faults: disk_*. */
export async function makeAuthority(settings: Settings, needs: Needs): Promise<void> {
  const paths = authorityPaths(settings);
  if (settings.device_ca !== undefined || (await exists(paths.certificate))) return;
  const { random, clock, passphrase } = needs;
  const made = await newAuthority(random, clock.now(), passphrase);
  // The certificate last: where it is, the key is too.
  await write(paths.key, made.key, 0o600, random);
  await write(paths.certificate, made.certificate, 0o644, random);
}

/** Null when this server has none. Faults: key_invalid, config_invalid. */
export async function openAuthority(
  settings: Settings,
  { clock, random, passphrase }: Needs,
): Promise<CertificateAuthority | null> {
  const paths = authorityPaths(settings);
  if (settings.device_ca === undefined && !(await exists(paths.certificate))) return null;
  const certificate = readSettingFile('the device CA', paths.certificate).toString('utf8');
  const key = Buffer.from(await readPrivateFile(paths.key)).toString('utf8');
  const listUrl = settings.broker?.crl_url;
  const options = { random, nowMs: clock.now(), passphrase, what: paths.key, listUrl };
  return CertificateAuthority.open({ certificate, key }, options);
}

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

function write(path: string, text: string, mode: number, random: Random): Promise<void> {
  const temp = tempBeside(path, random);
  return withDiskFaults(`write ${path}`, () =>
    writeWhole(path, [utf8(text)], { temp, mode }).then(() => undefined),
  );
}
