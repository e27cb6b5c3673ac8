// Device tokens: how a device authenticates over HTTP and MQTT with its own key and no shared
// secret. A token names the device, its use (HTTP or MQTT), the time it was made and a nonce, and
// is signed by the device key. It serves for its use only, so that one that was read from an MQTT
// login opens no HTTP route. For HTTP it is a bearer token within its life; for MQTT it serves for
// one login, where the server remembers it. Also the device id, which is derived from the key.
import { Type, type Static } from 'typebox';
import { fromHex, hex, sha256, utf8 } from '../base/bytes.js';
import { Hex32, Hex64 } from '../base/hex-schemas.js';
import { complaints, decode } from '../base/decode.js';
import { Fault, isFault } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';
import { verify } from './ed25519.js';
import type { PublicKey, Signer } from './signer.js';

const USES = ['http', 'mqtt'] as const;
export type TokenUse = (typeof USES)[number];

/** Tokens that were verified before, each with the key that signed it. */
export interface SeenTokens {
  has(key: string): boolean;
  add(key: string): void;
}

const DeviceToken = Type.Object(
  {
    use: Type.Enum([...USES]),
    device: Type.String({ maxLength: limits.deviceIdMaxChars }),
    at: Type.Integer({ minimum: 0 }),
    nonce: Hex32,
    sig: Hex64,
  },
  { additionalProperties: false },
);

const tokenText = (use: TokenUse, device: string, at: number, nonce: string): string =>
  `linnet-device-token/2\n${use}\n${device}\n${at}\n${nonce}`;

/** A token of `device`, valid for limits.deviceTokenLifeMs from `nowMs`. `nonce` is 32 bytes. */
export async function makeDeviceToken(
  device: string,
  use: TokenUse,
  signer: Signer,
  nowMs: number,
  nonce: Uint8Array,
): Promise<string> {
  const at = Math.floor(nowMs);
  const sig = hex(await signer.sign(utf8(tokenText(use, device, at, hex(nonce)))));
  const fields = { use, device, at, nonce: hex(nonce), sig };
  return Buffer.from(JSON.stringify(fields)).toString('base64url');
}

/**
 * The device id of a token that is authentic, fresh and for this use. `keyOf` looks the key of an
 * enrolled device up. A token that is in `seen` is not verified again. Faults: clock_wrong (made at
 * another time: the device must learn the server's), auth_missing.
 */
export async function openDeviceToken(
  token: string,
  use: TokenUse,
  nowMs: number,
  keyOf: (device: string) => Promise<PublicKey | undefined>,
  seen?: SeenTokens,
): Promise<string> {
  const fields = decode(DeviceToken, parseToken(token), 'device token', 'auth_missing');
  if (Math.abs(nowMs - fields.at) > limits.deviceTokenLifeMs + limits.clockSkewMaxMs) {
    throw new Fault(
      'clock_wrong',
      `device token of ${fields.device} is too old or from the future`,
    );
  }
  if (fields.use !== use)
    throw new Fault('auth_missing', `device token of ${fields.device} is for ${fields.use}`);
  const key = await keyOf(fields.device);
  const text = tokenText(use, fields.device, fields.at, fields.nonce);
  const seenKey = `${text}\n${fields.sig}\n${key?.keyval.public ?? ''}`;
  if (key !== undefined && seen?.has(seenKey) === true) {
    if (use === 'http') return fields.device;
    throw new Fault('auth_missing', `device token of ${fields.device} was used before`);
  }
  if (key === undefined || !verify(key, utf8(text), fromHex(fields.sig))) {
    throw new Fault(
      'auth_missing',
      `device token of ${fields.device} is not signed by the key of an enrolled device`,
    );
  }
  seen?.add(seenKey);
  return fields.device;
}

/** The device that a token names; nothing is verified. Null when it is none. */
export function claimedDevice(token: string): string | null {
  try {
    const fields = parseToken(token);
    return complaints(DeviceToken, fields).length === 0
      ? (fields as Static<typeof DeviceToken>).device
      : null;
  } catch (error) {
    if (isFault(error)) return null;
    throw error;
  }
}

function parseToken(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as unknown;
  } catch (error) {
    throw new Fault('auth_missing', 'device token is not base64url of JSON', { cause: error });
  }
}

/** The SHA-256 of a device's key: what people compare before they approve it. */
export function fingerprintOf(key: PublicKey): string {
  return sha256(fromHex(key.keyval.public));
}

/** A device's id is derived from its key, so no other device can claim it. */
export function deviceIdOf(key: PublicKey): string {
  return `dev-${fingerprintOf(key).slice(0, 20)}`;
}
