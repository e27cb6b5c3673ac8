// The server's online keys: read from the repository folder's `online/`, and from nowhere else.
// They sign with node:crypto, which is much faster than tweetnacl and makes the same bytes (Ed25519
// is deterministic, RFC 8032). None of them can sign a release, a root or the image repository's
// targets.
import { createPrivateKey, sign } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault } from '../../shared/base/fault-codes.js';
import { whenFound } from '../../shared/platform/errno-faults.js';
import { readPrivateFile } from '../../shared/platform/private-file.js';
import { decodeKeyFile, openSeed } from '../../shared/trust/keyfile.js';
import { signerFromSeed, type Signer } from '../../shared/trust/signer.js';

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
 * All online keys of a repository folder (`linnet repo init`). Faults: config_invalid when it is
 * none; key_invalid, naming the file.
 */
export async function readOnlineKeys(
  folder: string,
  passphrase: string | null = null,
): Promise<OnlineKeys> {
  if ((await whenFound(() => stat(join(folder, 'online')))) === null)
    throw new Fault(
      'config_invalid',
      `repository ${folder} is no repository: \`linnet repo init --out FOLDER\` makes one, and ` +
        'its folder server/ belongs here',
    );
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
  const bytes = await readPrivateFile(path);
  return fastSigningKey(openSeed(decodeKeyFile(bytes, path), passphrase, path));
}
