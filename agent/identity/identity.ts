// Who this device is: an Ed25519 key, made at the first start and kept in data_dir. The device id
// is derived from the key, so a new key is a new device for the fleet. A key file that holds no key
// (an empty or torn file after a full disk) is set aside and replaced: what is installed must be
// served whether or not the fleet still knows this device.
import { join } from 'node:path';
import { Type } from 'typebox';
import { fromHex, hex, utf8 } from '../../shared/base/bytes.js';
import { Hex32 } from '../../shared/base/hex-schemas.js';
import { decodeJson } from '../../shared/base/decode.js';
import { isFault, reason, systemCode } from '../../shared/base/fault-codes.js';
import { limits } from '../../shared/base/limits.js';
import type { Log, Random } from '../../shared/base/interfaces.js';
import { deviceIdOf } from '../../shared/trust/device-token.js';
import { signerFromSeed, type Signer } from '../../shared/trust/signer.js';
import type { Disk } from '../interfaces.js';

const Identity = Type.Object(
  { format: Type.Literal('linnet.identity/1'), seed: Hex32 },
  { additionalProperties: false },
);

export interface DeviceIdentity {
  readonly id: string;
  readonly key: Signer;
}

export interface IdentityOptions {
  readonly disk: Disk;
  readonly dataDir: string;
  readonly random: Random;
  readonly log: Log;
}

/**
 * The key in data_dir, made at the first call. The agent runs with umask 077, so only its user can
 * read it. Faults: disk_full, disk_failed.
 */
export async function deviceIdentity(options: IdentityOptions): Promise<DeviceIdentity> {
  const { disk, dataDir, random, log } = options;
  const path = join(dataDir, 'identity.json');
  const found = await readSeed(disk, path);
  if (found instanceof Uint8Array) return identityOf(found);
  if (found !== null) await disk.setAside(path);
  const seed = random.bytes(32);
  await disk.makeFolder(dataDir);
  await disk.replace(
    path,
    utf8(JSON.stringify({ format: 'linnet.identity/1', seed: hex(seed) }) + '\n'),
  );
  const identity = identityOf(seed);
  if (found !== null)
    log.error(
      { device: identity.id, path, err: found.unreadable },
      'the device key was unreadable: it was set aside as identity.json.damaged, and a new key ' +
        'was made. The fleet does not know this device any more: enrol it again ' +
        '(`linnet device claim` or `linnet device approve`) and revoke its old entry',
    );
  return identity;
}

/** The seed; null when there is no file; why, when the file holds no seed. */
async function readSeed(
  disk: Disk,
  path: string,
): Promise<Uint8Array | { unreadable: string } | null> {
  try {
    const bytes = await disk.read(path, limits.identityMaxBytes);
    if (bytes === null) return null;
    return fromHex(decodeJson(Identity, bytes, 'the device key', 'key_invalid').seed);
  } catch (error) {
    // A wrong owner or mode is for the operator to correct: the key itself may be good.
    const denied = ['EACCES', 'EPERM'].includes(systemCode((error as Error).cause) ?? '');
    if (!isFault(error, 'key_invalid', 'disk_failed') || denied) throw error;
    return { unreadable: reason(error) };
  }
}

function identityOf(seed: Uint8Array): DeviceIdentity {
  const key = signerFromSeed(seed);
  return { id: deviceIdOf(key.publicKey), key };
}
