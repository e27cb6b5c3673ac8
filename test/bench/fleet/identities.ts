// The devices of the benchmark: each is known by its number, from which every process derives the
// same key, id and source address. Keys sign by node:crypto, because ten thousand of them sign on
// the machine that is measured. Devices are written into the database as an import would write
// them: enrolment itself is not measured here.
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { portions } from '../../../server/store/database.js';
import type { Store } from '../../../server/store/store.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { deviceIdOf, makeDeviceToken, type TokenUse } from '../../../shared/trust/device-token.js';
import { publicKeyOf, keyIdOf, type Signer } from '../../../shared/trust/signer.js';

/** Of the rollout whose hints are timed. */
export const WINDOW_GROUP = 'window';
export const COMPONENT = 'digits';
/** Devices behind one source address, as behind a gateway. */
const ADDRESS_DEVICES = 100;
const BLOCKS_OF_OCTET = 250;
/** A PKCS #8 private key of Ed25519, up to its 32 bytes; and a public key, likewise. */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_BYTES = 12;

export interface BenchDevice {
  readonly id: string;
  readonly signer: Signer;
  /** Of its connections: Linux answers on all of 127.0.0.0/8. */
  readonly address: string;
  /** For the fleet of this audience. */
  token(use: TokenUse, audience: string): Promise<string>;
}

export function benchDevice(index: number): BenchDevice {
  const seed = Buffer.from(sha256(`linnet bench ${index}`), 'hex');
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8, seed]),
    format: 'der',
    type: 'pkcs8',
  });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const publicKey = publicKeyOf(spki.subarray(SPKI_BYTES));
  const signer: Signer = {
    keyId: keyIdOf(publicKey),
    publicKey,
    sign: (message) => Promise.resolve(sign(null, message, key)),
  };
  const id = deviceIdOf(publicKey);
  const block = Math.floor(index / ADDRESS_DEVICES);
  return {
    id,
    signer,
    address: `127.1.${Math.floor(block / BLOCKS_OF_OCTET)}.${1 + (block % BLOCKS_OF_OCTET)}`,
    token: (use, audience) =>
      makeDeviceToken(signer, {
        ...{ device: id, use, audience },
        ...{ nowMs: Date.now(), nonce: realRandom.bytes(32) },
      }),
  };
}

/**
 * Devices 0 to `connecting` can log in; further ones, up to `rows`, only fill the table. The first
 * `window` are in a group of their own.
 */
export async function importDevices(
  store: Store,
  { connecting, rows, window }: { connecting: number; rows: number; window: number },
): Promise<void> {
  const now = Date.now();
  const values = Array.from({ length: Math.max(connecting, rows) }, (_, index) => {
    const publicKey =
      index < connecting
        ? benchDevice(index).signer.publicKey
        : publicKeyOf(Buffer.from(sha256(`linnet row ${index}`), 'hex'));
    return {
      id: deviceIdOf(publicKey),
      name: `device-${String(index).padStart(6, '0')}`,
      hardware: 'sim',
      components_json: JSON.stringify([COMPONENT]),
      public_key: publicKey.keyval.public,
      status: 'enrolled' as const,
      group_name: index < window ? WINDOW_GROUP : `site-${index % 100}`,
      labels_json: '{}',
      first_seen_at: now,
      enrolled_at: now,
      last_seen_at: null,
      pending_reason: null,
      instances_json: '[]',
      cloned_at: null,
      assignment_revision: 0,
    };
  });
  await store.db.transaction().execute(async (trx) => {
    for (const some of portions(values)) await trx.insertInto('devices').values(some).execute();
  });
}
