// The server's online keys: read from the repository folder's `online/`, and from nowhere else.
// They sign with node:crypto, which is much faster than tweetnacl and makes the
// same bytes (Ed25519 is deterministic, RFC 8032). None of them can sign a release, a root or the
// image repository's targets.
import { createPrivateKey, sign } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, reason } from '../../shared/base/fault-codes.js';
import { decodeKeyFile, openSeed } from '../../shared/trust/keyfile.js';
import { signerFromSeed, type Signer } from '../../shared/trust/signer.js';

const KEY_FILE_MAX_BYTES = 16 * 1024;
/** PKCS #8 wrapping of a raw Ed25519 seed (RFC 8410). */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');

export interface ImageKeys {
  readonly snapshot: Signer;
  readonly timestamp: Signer;
}

export interface DirectorKeys {
  readonly targets: Signer;
  readonly snapshot: Signer;
  readonly timestamp: Signer;
}

export interface OnlineKeys {
  readonly image: ImageKeys;
  readonly director: DirectorKeys;
}

/** A signing key from its 32-byte seed, by node:crypto. */
export function fastSigningKey(seed: Uint8Array): Signer {
  const { keyId, publicKey } = signerFromSeed(seed);
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8_ED25519, seed]),
    format: 'der',
    type: 'pkcs8',
  });
  return {
    keyId,
    publicKey,
    sign: (message) => Promise.resolve(new Uint8Array(sign(null, message, key))),
  };
}

/**
 * All online keys of a repository folder (`linnet repo init`). Fault key_invalid, naming the file.
 */
export async function readOnlineKeys(
  folder: string,
  passphrase: string | null = null,
): Promise<OnlineKeys> {
  const key = (name: string): Promise<Signer> =>
    readKey(join(folder, 'online', `${name}.key.json`), passphrase);
  return {
    image: { snapshot: await key('snapshot'), timestamp: await key('timestamp') },
    director: {
      targets: await key('director-targets'),
      snapshot: await key('director-snapshot'),
      timestamp: await key('director-timestamp'),
    },
  };
}

async function readKey(path: string, passphrase: string | null): Promise<Signer> {
  const bytes = await readPrivate(path);
  return fastSigningKey(openSeed(decodeKeyFile(bytes, path), passphrase, path));
}

async function readPrivate(path: string): Promise<Uint8Array> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (error) {
    throw new Fault('key_invalid', `${path} cannot be read: ${reason(error)}`, { cause: error });
  }
  try {
    const { mode, size } = await file.stat();
    if ((mode & 0o077) !== 0)
      throw new Fault(
        'key_invalid',
        `${path} can be read by others (mode ${(mode & 0o777).toString(8)}): chmod 600 it`,
      );
    if (size > KEY_FILE_MAX_BYTES)
      throw new Fault('key_invalid', `${path} has ${size} bytes, which is too long for a key file`);
    return await file.readFile();
  } finally {
    await file.close();
  }
}
