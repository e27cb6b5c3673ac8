// Key files of the people who sign: written whole with mode 0600, never over an existing one, and
// refused when other users can read them. Passphrases come from the environment alone
// (LINNET_KEY_PASSPHRASE), so that none ends up in a shell's history or a process list. The format
// is in shared/trust/keyfile.ts.
import { link, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Fault, reason, systemCode } from '../../../shared/base/fault-codes.js';
import {
  decodeKeyFile,
  encodeKeyFile,
  openSeed,
  type KeyFile,
} from '../../../shared/trust/keyfile.js';
import type { Random } from '../../../shared/base/interfaces.js';
import { hex } from '../../../shared/base/bytes.js';
import { signerFromSeed, type Signer } from '../../../shared/trust/signer.js';

export type Environment = Readonly<Record<string, string | undefined>>;

export const KEY_SUFFIX = '.key.json';
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
  return decodeKeyFile(await readPrivate(file), file);
}

/** Fault key_invalid: missing, readable by others, undecodable, or the wrong passphrase. */
export async function readSigningKey(
  file: string,
  env: Environment = process.env,
): Promise<Signer> {
  return signerFromSeed(openSeed(await readKeyFile(file), passphraseOf(env), file));
}

async function readPrivate(file: string): Promise<Uint8Array> {
  try {
    const { mode } = await stat(file);
    if ((mode & 0o077) !== 0)
      throw new Fault(
        'key_invalid',
        `${file} can be read by others (mode ${(mode & 0o777).toString(8)}): run chmod 600 ${file}`,
      );
    return await readFile(file);
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault('key_invalid', `cannot read the key file ${file}: ${reason(error)}`, {
      cause: error,
    });
  }
}

/**
 * Temp file beside it, fsync, rename (or link, which refuses to replace), fsync of the folder.
 * Faults: conflict, disk_full, disk_failed.
 */
export async function writeWhole(
  file: string,
  bytes: Uint8Array,
  options: { mode?: number; random: Random; overwrite: boolean },
): Promise<void> {
  const temp = tempBeside(file, options.random);
  try {
    const handle = await open(temp, 'wx', options.mode ?? 0o644);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await settle(temp, file, options.overwrite);
  } catch (error) {
    await discard(temp);
    throw asFault(error, file);
  }
}

export function tempBeside(file: string, random: Random): string {
  return join(dirname(file), `.${basename(file)}.${hex(random.bytes(6))}.tmp`);
}

/**
 * Removes what a failed write left. Where even that fails (the folder is a file, a read-only disk)
 * the error of the write is the one reported.
 */
export async function discard(temp: string): Promise<void> {
  await rm(temp, { force: true }).catch(() => {});
}

/** Gives a finished temporary file its name, durably. */
export async function settle(temp: string, file: string, overwrite: boolean): Promise<void> {
  if (overwrite) await rename(temp, file);
  else {
    await link(temp, file);
    await rm(temp);
  }
  const folder = await open(dirname(file), 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * What a failed write of `file` is: Faults conflict, disk_full, disk_failed; anything else (a bug,
 * a Fault) as it came.
 */
export function asFault(error: unknown, file: string): unknown {
  switch (systemCode(error)) {
    case 'EEXIST':
      return new Fault('conflict', `${file} already exists; it is not overwritten`, {
        cause: error,
      });
    case 'ENOSPC':
    case 'EDQUOT':
      return new Fault('disk_full', `cannot write ${file}: ${reason(error)}`, { cause: error });
    default:
      return isSystemError(error)
        ? new Fault('disk_failed', `cannot write ${file}: ${reason(error)}`, { cause: error })
        : error;
  }
}

/**
 * Whether the error is the operating system's (ENOENT, EISDIR, EROFS, ENOTEMPTY, ...) and not a
 * bug.
 */
function isSystemError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error && 'errno' in error;
}
