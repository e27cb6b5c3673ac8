// Key files of the people who sign: written whole with mode 0600, never over an existing one, and
// refused when other users can read them. Passphrases come from the environment alone
// (LINNET_KEY_PASSPHRASE), so that none ends up in a shell's history or a process list. The format
// is in shared/trust/keyfile.ts.
import { tempBeside, writeWhole as writeDurably } from '../../../shared/platform/durable-files.js';
import { diskFault } from '../../../shared/platform/errno-faults.js';
import { readPrivateFile } from '../../../shared/platform/private-file.js';
import { Fault, systemCode } from '../../../shared/base/fault-codes.js';
import {
  decodeKeyFile,
  encodeKeyFile,
  openSeed,
  type KeyFile,
} from '../../../shared/trust/keyfile.js';
import type { Random } from '../../../shared/base/interfaces.js';
import { signerFromSeed, type Signer } from '../../../shared/trust/signer.js';

export type Environment = Readonly<Record<string, string | undefined>>;

const PASSPHRASE = 'LINNET_KEY_PASSPHRASE';

/** Null when it is not set or empty. */
export function passphraseOf(env: Environment): string | null {
  const passphrase = env[PASSPHRASE];
  return passphrase === undefined || passphrase === '' ? null : passphrase;
}

/** A new key in `file`, sealed when there is a passphrase. Fault conflict when the file exists. */
export async function createKeyFile(
  file: string,
  options: { role?: string; passphrase: string | null; random: Random },
): Promise<Signer> {
  const seed = options.random.bytes(32);
  const sealing =
    options.passphrase === null
      ? null
      : {
          passphrase: options.passphrase,
          salt: options.random.bytes(16),
          nonce: options.random.bytes(24),
        };
  await writeWhole(file, encodeKeyFile(seed, options.role, sealing), {
    mode: 0o600,
    random: options.random,
    overwrite: false,
  });
  return signerFromSeed(seed);
}

/** The public part of a key file; needs no passphrase. Fault key_invalid. */
export async function readKeyFile(file: string): Promise<KeyFile> {
  return decodeKeyFile(await readPrivateFile(file), file);
}

/** Fault key_invalid: missing, readable by others, undecodable, or the wrong passphrase. */
export async function readSigningKey(
  file: string,
  env: Environment = process.env,
): Promise<Signer> {
  return signerFromSeed(openSeed(await readKeyFile(file), passphraseOf(env), file));
}

/**
 * Writes a file whole and durably, with a temporary name beside it. Faults: conflict (it exists and
 * must not be overwritten), disk_full, disk_failed.
 */
export async function writeWhole(
  file: string,
  bytes: Uint8Array,
  options: { mode?: number; random: Random; overwrite: boolean },
): Promise<void> {
  const { mode = 0o644, random, overwrite } = options;
  try {
    await writeDurably(file, [bytes], { temp: tempBeside(file, random), mode, overwrite });
  } catch (error) {
    throw asFault(error, file);
  }
}

/** What a failed write of `file` is: Faults conflict, disk_full, disk_failed; else as it came. */
export function asFault(error: unknown, file: string): unknown {
  if (systemCode(error) === 'EEXIST')
    return new Fault('conflict', `${file} already exists; it is not overwritten`, {
      cause: error,
    });
  return diskFault(error, `write ${file}`);
}
