// The other end of a connection to the embedded broker: who it is before its login, whether it is
// still there, and how it is sent away. aedes types a connection as unknown.
import { Socket } from 'node:net';
import type { Client } from 'aedes';
import { limits } from '../../shared/base/limits.js';
import type { Attempt } from '../access/address-limits.js';
import type { SecuritySource } from '../interfaces.js';

/** CONNACK return code of MQTT 3.1.1: server unavailable. */
export const UNAVAILABLE = 3;
/** Fixed by MQTT 3.1.1, section 3.2: type, length, no session, return code. */
const CONNACK_UNAVAILABLE = Buffer.from([0x20, 0x02, 0x00, UNAVAILABLE]);

/** What it sends first is answered as a CONNECT, unread: that costs less than to decode it. */
export function turnAway(socket: Socket): void {
  socket.on('error', () => {});
  socket.setTimeout(limits.mqttConnectMs, () => socket.destroy());
  socket.once('data', () => {
    socket.write(CONNACK_UNAVAILABLE);
    socket.destroySoon();
  });
}

/** Devices log in over HTTP and MQTT with the same tokens, and share the limits of both. */
export function attemptOf(connection: unknown, clientId: string): Attempt {
  return {
    kind: 'device',
    address: connection instanceof Socket ? connection.remoteAddress : undefined,
    identity: clientId.slice(0, limits.mqttClientIdMaxChars),
  };
}

export const peerOf = ({ remoteAddress, remotePort }: Socket): string =>
  `${remoteAddress ?? ''} ${remotePort ?? ''}`;

export const hasGone = ({ closed, conn }: Client): boolean =>
  closed || (conn instanceof Socket && (conn.destroyed || conn.readableEnded));

/** Whether it has left so much unread that a further message would have to wait. */
export const isFull = ({ conn }: Client): boolean =>
  conn instanceof Socket && conn.writableNeedDrain;

export function destroy(connection: unknown): void {
  if (connection instanceof Socket) connection.destroy();
}

export function anonymous(connection: unknown): SecuritySource {
  const address = connection instanceof Socket ? connection.remoteAddress : undefined;
  return { kind: 'anonymous', address: address ?? 'unknown' };
}
