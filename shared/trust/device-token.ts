// Device tokens: how a device authenticates over HTTP and MQTT with its own key and no shared
// secret. A token names the device, its use (HTTP or MQTT), its audience, the time it was made and
// a nonce, and is signed by the device key. It serves for its use only, so that one that was read
// from an MQTT login opens no HTTP route. Its audience is the director that the device trusts, so
// that one fleet's server cannot present it to another fleet's. For HTTP it is a bearer token
// within its life; for MQTT it serves for one login, where the server remembers it. Also the device
// id, which is derived from the key.
import { Type, type Static } from 'typebox';
import { fromHex, hex, sha256, utf8 } from '../base/bytes.js';
import { Hex32, Hex64 } from '../base/hex-schemas.js';
import { complaints, decode } from '../base/decode.js';
import { Fault, isFault, type FaultCode } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';
import { verify } from './ed25519.js';
import type { Document } from './documents.js';
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
    audience: Hex32,
    device: Type.String({ maxLength: limits.deviceIdMaxChars }),
    at: Type.Integer({ minimum: 0 }),
    nonce: Hex32,
    sig: Hex64,
  },
  { additionalProperties: false },
);

type Claims = Omit<Static<typeof DeviceToken>, 'sig'>;

const tokenText = ({ use, audience, device, at, nonce }: Claims): string =>
  `linnet-device-token/3\n${use}\n${audience}\n${device}\n${at}\n${nonce}`;

/** What a token of a director's devices names: the SHA-256 of a root, without its signatures. */
export const audienceOf = (directorRoot: Document<'root'>): string => sha256(directorRoot.message);

export interface NewToken {
  readonly device: string;
  readonly use: TokenUse;
  /** audienceOf the director root that the device was given. */
  readonly audience: string;
  /** It is valid for limits.deviceTokenLifeMs from then. */
  readonly nowMs: number;
  /** 32 bytes. */
  readonly nonce: Uint8Array;
}

export async function makeDeviceToken(
  signer: Signer,
  { device, use, audience, nowMs, nonce }: NewToken,
): Promise<string> {
  const claims = { use, audience, device, at: Math.floor(nowMs), nonce: hex(nonce) };
  const sig = hex(await signer.sign(utf8(tokenText(claims))));
  return Buffer.from(JSON.stringify({ ...claims, sig })).toString('base64url');
}

/** What a token must be valid for. */
export interface TokenCheck {
  readonly use: TokenUse;
  readonly nowMs: number;
  /** Whether an audience is one of this server's director. */
  readonly isAudience: (audience: string) => Promise<boolean>;
  /** The key of an enrolled device. */
  readonly keyOf: (device: string) => Promise<PublicKey | undefined>;
  /** A token that is in it is not verified again. */
  readonly seen?: SeenTokens;
}

/** How openDeviceToken refuses: what a server reports as a security event. */
export const TOKEN_FAULTS: readonly FaultCode[] = ['auth_missing', 'clock_wrong', 'fleet_wrong'];

/**
 * The device id of a token that is authentic, fresh and for this use and server. Faults:
 * TOKEN_FAULTS (clock_wrong: made at another time, the device must learn the server's).
 */
export async function openDeviceToken(
  token: string,
  { use, nowMs, isAudience, keyOf, seen }: TokenCheck,
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
  if (!(await isAudience(fields.audience)))
    throw new Fault(
      'fleet_wrong',
      `device token of ${fields.device} is for the director with the root ${fields.audience}`,
    );
  const key = await keyOf(fields.device);
  const text = tokenText(fields);
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
