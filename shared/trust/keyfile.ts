// Key files: one Ed25519 signing key as JSON. The seed is plain, or sealed with a passphrase
// (scrypt of RFC 7914, then tweetnacl secretbox). Pure: salt and nonce are arguments; files are
// read and written by firmware-tools/release/keys and shared/platform/private-file. The scrypt cost
// is checked before scrypt allocates memory.
import { scryptSync } from 'node:crypto';
import nacl from 'tweetnacl';
import { Type, type Static } from 'typebox';
import { decodeJson } from '../base/decode.js';
import { Fault } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';
import { fromHex, hex, utf8 } from '../base/bytes.js';
import { Hex32 } from '../base/hex-schemas.js';
import { keyIdOf, PublicKey, signerFromSeed } from './signer.js';

const strict = { additionalProperties: false } as const;

/** OWASP's recommendation for interactive use: 128 MiB and about half a second. */
const SCRYPT_COST = { N: 2 ** 17, r: 8, p: 1 } as const;

export const KeyFile = Type.Object(
  {
    format: Type.Literal('linnet.key/1'),
    keyId: Hex32,
    /** What the key is for, for people; nothing depends on it. */
    role: Type.Optional(Type.String({ maxLength: 100 })),
    public: Hex32,
    secret: Type.Union([
      Type.Object({ kind: Type.Literal('plain'), seed: Hex32 }, strict),
      Type.Object(
        {
          kind: Type.Literal('scrypt-secretbox'),
          salt: Type.String({ pattern: '^[0-9a-f]{32}$' }),
          N: Type.Integer({ minimum: 2, maximum: 2 ** 20 }),
          r: Type.Integer({ minimum: 1, maximum: 32 }),
          p: Type.Integer({ minimum: 1, maximum: 16 }),
          nonce: Type.String({ pattern: '^[0-9a-f]{48}$' }),
          box: Type.String({ pattern: '^[0-9a-f]{96}$' }),
        },
        strict,
      ),
    ]),
  },
  strict,
);
export type KeyFile = Static<typeof KeyFile>;

export interface Sealing {
  readonly passphrase: string;
  /** 16 random bytes. */
  readonly salt: Uint8Array;
  /** 24 random bytes. */
  readonly nonce: Uint8Array;
}

/** Bytes of a key file for a 32-byte seed; sealed when `sealing` is given. */
export function encodeKeyFile(
  seed: Uint8Array,
  role: string | undefined,
  sealing: Sealing | null,
): Uint8Array {
  const { keyId, publicKey } = signerFromSeed(seed);
  const file: KeyFile = {
    format: 'linnet.key/1',
    keyId,
    ...(role === undefined ? {} : { role }),
    public: publicKey.keyval.public,
    secret:
      sealing === null
        ? { kind: 'plain', seed: hex(seed) }
        : {
            kind: 'scrypt-secretbox',
            salt: hex(sealing.salt),
            ...SCRYPT_COST,
            nonce: hex(sealing.nonce),
            box: hex(
              nacl.secretbox(
                seed,
                sealing.nonce,
                stretched(sealing.passphrase, sealing.salt, SCRYPT_COST),
              ),
            ),
          },
  };
  return utf8(`${JSON.stringify(file, null, 2)}\n`);
}

/** Decodes a key file without its seed. `what` names the file in messages. Fault key_invalid. */
export function decodeKeyFile(bytes: Uint8Array, what: string): KeyFile {
  const file = decodeJson(KeyFile, bytes, what, 'key_invalid');
  const key: PublicKey = { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: file.public } };
  if (keyIdOf(key) !== file.keyId)
    throw new Fault('key_invalid', `${what}: the key id does not match the public key`);
  return file;
}

/**
 * The seed. Fault key_invalid: sealed and no passphrase, wrong passphrase, or a seed of another
 * key.
 */
export function openSeed(file: KeyFile, passphrase: string | null, what: string): Uint8Array {
  const seed =
    file.secret.kind === 'plain'
      ? fromHex(file.secret.seed)
      : unseal(file.secret, passphrase, what);
  if (signerFromSeed(seed).keyId !== file.keyId)
    throw new Fault('key_invalid', `${what}: the secret does not match the public key`);
  return seed;
}

function unseal(
  secret: Extract<KeyFile['secret'], { kind: 'scrypt-secretbox' }>,
  passphrase: string | null,
  what: string,
): Uint8Array {
  if (passphrase === null)
    throw new Fault(
      'key_invalid',
      `${what} is sealed: set LINNET_KEY_PASSPHRASE to its passphrase`,
    );
  if (
    128 * secret.N * secret.r > limits.scryptMemoryMaxBytes ||
    (secret.N & (secret.N - 1)) !== 0
  ) {
    throw new Fault(
      'key_invalid',
      `${what}: scrypt cost N=${secret.N}, r=${secret.r} is above the limit or not a power of two`,
    );
  }
  const seed = nacl.secretbox.open(
    fromHex(secret.box),
    fromHex(secret.nonce),
    stretched(passphrase, fromHex(secret.salt), secret),
  );
  if (seed === null)
    throw new Fault('key_invalid', `${what}: the passphrase in LINNET_KEY_PASSPHRASE is wrong`);
  return seed;
}

function stretched(
  passphrase: string,
  salt: Uint8Array,
  cost: { N: number; r: number; p: number },
): Uint8Array {
  const { N, r, p } = cost;
  return new Uint8Array(
    scryptSync(passphrase, salt, nacl.secretbox.keyLength, {
      N,
      r,
      p,
      maxmem: 128 * N * r + 128 * r * p + 1024 * 1024,
    }),
  );
}
