// Who may log in at the embedded broker, and on which topics a device may publish and subscribe.
// Pure decisions: the broker asks before each action and reports what was refused. A device logs in
// with a fresh token that its key signed, or over TLS with a client certificate of the device CA,
// under its own id as client id and user name. It is confined to its own topics, with the one
// subscription that it needs. Nobody may retain messages, keep a session, leave a will or use QoS
// 2: each of them costs the broker memory for absent peers.
import { limits } from '../../shared/base/limits.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { topics } from '../../shared/protocol/telemetry.js';
import { openDeviceToken, type TokenCheck } from '../../shared/trust/device-token.js';
import type { PublicKey } from '../../shared/trust/signer.js';

export interface Login {
  readonly clientId: string;
  readonly username: string | undefined;
  /** The device token. */
  readonly password: string;
}

/** Resolves when the login is valid. Faults: TOKEN_FAULTS. */
export async function verifyLogin(
  { clientId, username, password }: Login,
  check: Omit<TokenCheck, 'use'>,
): Promise<void> {
  const device = await openDeviceToken(password, { ...check, use: 'mqtt' });
  if (device !== username || device !== clientId)
    throw new Fault(
      'auth_missing',
      `the token is for ${device}, but client id and user name are ${clientId} and ${username}`,
    );
}

/**
 * The same for a login by a client certificate of the device CA, whose common name is `name`. Fault
 * auth_missing.
 */
export async function verifyCertificate(
  { clientId, username }: Omit<Login, 'password'>,
  name: string,
  keyOf: (device: string) => Promise<PublicKey | undefined>,
): Promise<void> {
  if (name !== username || name !== clientId)
    throw new Fault(
      'auth_missing',
      `the certificate is for ${name}, but client id and user name are ${clientId} and ${username}`,
    );
  if ((await keyOf(name)) === undefined)
    throw new Fault('auth_missing', `the certificate is for ${name}, which is not enrolled`);
}

/** Why a connection may not be opened in this way; null when it may. */
export function connectRefusal({
  clean,
  will,
}: {
  readonly clean?: boolean | undefined;
  readonly will?: unknown;
}): string | null {
  if (clean !== true) return 'sessions are not kept: connect with a clean session';
  return will === undefined || will === null ? null : 'devices may not leave a will';
}

export interface Publication {
  readonly topic: string;
  readonly retain: boolean;
  readonly qos: number;
  readonly payloadBytes: number;
}

/** Why a device may not publish this; null when it may. */
export function publishRefusal(
  device: string,
  { topic, retain, qos, payloadBytes }: Publication,
): string | null {
  if (!topic.startsWith(withoutWildcard(topics.up(device))))
    return `${topic.slice(0, limits.quotedMaxChars)} is not a topic of ${device}`;
  if (retain) return 'devices may not retain messages';
  if (qos > 1) return 'QoS 2 is not offered';
  if (payloadBytes > limits.mqttPayloadMaxBytes)
    return `the payload has ${payloadBytes} bytes, the limit is ${limits.mqttPayloadMaxBytes}`;
  return null;
}

/** Why a device may not subscribe to this topic filter; null when it may: its own, whole. */
export function subscribeRefusal(device: string, filter: string): string | null {
  return filter === topics.down(device)
    ? null
    : `${filter.slice(0, limits.quotedMaxChars)} is not the filter of ${device}`;
}

const withoutWildcard = (filter: string): string => filter.slice(0, -'#'.length);
