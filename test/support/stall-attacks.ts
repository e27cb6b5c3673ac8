// What hostile peers do to a server, as functions over its address; and a client at another address
// that asks for /healthz meanwhile. The tests count the server's work under each attack, and
// `npm run bench:stall` prints its stalls.
import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { generate } from 'mqtt-packet';
import { DEVICE_SCHEME } from '../../shared/protocol/device-api.js';
import { topics } from '../../shared/protocol/telemetry.js';
import { enrolBody, newDevice, type FleetAccess, type TestDevice } from './fleet-server.js';

/** Linux answers on all of 127.0.0.0/8: attackers and honest peers have different addresses. */
const ATTACKER = '127.0.0.1';
const HONEST = '127.0.0.2';

export const portOf = ({ server }: FleetAccess): number => Number(new URL(server.address).port);

export interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
}

const agent = new Agent({ keepAlive: true, maxSockets: 10 });

/** One HTTP request of the attacker, over 10 connections. Status 0: the connection was closed. */
export function attack(
  fleet: FleetAccess,
  path: string,
  {
    method = 'GET',
    headers = {},
    body = '',
  }: {
    method?: string;
    headers?: Record<string, string>;
    body?: string;
  } = {},
): Promise<Answer> {
  return new Promise((resolve) => {
    const asked = request(
      { agent, host: ATTACKER, port: portOf(fleet), path, method, headers },
      (response) => {
        response.resume();
        response.once('close', () =>
          resolve({
            status: response.statusCode ?? 0,
            retryAfter: response.headers['retry-after'],
          }),
        );
      },
    );
    asked.once('error', () => resolve({ status: 0, retryAfter: undefined }));
    asked.end(body);
  });
}

/** How many answers have each status. */
export async function many(
  count: number,
  one: (n: number) => Promise<Answer>,
): Promise<Map<number, number>> {
  const statuses = new Map<number, number>();
  const width = 10;
  for (let n = 0; n < count; n += width)
    for (const { status } of await Promise.all(Array.from({ length: width }, (_, k) => one(n + k))))
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
  return statuses;
}

/** A well-formed enrolment that another key signed. */
export async function badEnrolment(fleet: FleetAccess): Promise<() => Promise<Answer>> {
  const body = JSON.stringify(
    await enrolBody(newDevice('forged'), { signer: newDevice('other').key }),
  );
  return () =>
    attack(fleet, '/device/v1/enrol', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    });
}

export const wrongOperator = (fleet: FleetAccess, n: number): Promise<Answer> =>
  attack(fleet, '/api/v1/devices', {
    headers: { authorization: `Bearer lnt_${n.toString().padStart(43, '0')}` },
  });

export async function deviceRequest(fleet: FleetAccess, device: TestDevice): Promise<Answer> {
  const authorization = `${DEVICE_SCHEME} ${await device.token('http', fleet)}`;
  return attack(fleet, '/device/v1/director/timestamp.json', { headers: { authorization } });
}

/** A connection of the attacker that reads and keeps whatever the server sends away. */
export function open(port: number, localAddress = ATTACKER): Socket {
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => {});
  socket.resume();
  return socket;
}

export const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => (socket.closed ? resolve() : socket.once('close', () => resolve())));

/**
 * So many connections that are only held. They are opened in portions: one that the kernel of the
 * server has dropped from a full queue would be open at this end for ever.
 */
export async function hold(port: number, count: number): Promise<Socket[]> {
  const held: Socket[] = [];
  const width = 50;
  while (held.length < count) {
    const portion = Array.from({ length: width }, () => open(port));
    held.push(...portion);
    await Promise.all(
      portion.map(
        (socket) =>
          new Promise<void>((resolve) => {
            socket.once('connect', () => resolve());
            socket.once('close', () => resolve());
          }),
      ),
    );
  }
  return held;
}

export async function connectPacket(fleet: FleetAccess, device: TestDevice): Promise<Buffer> {
  return generate({
    cmd: 'connect',
    clientId: device.id,
    username: device.id,
    password: Buffer.from(await device.token('mqtt', fleet)),
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    keepalive: 30,
  });
}

/** True when the device is let in; the connection is closed again. */
export async function mqttLogin(
  fleet: FleetAccess,
  device: TestDevice,
  localAddress = ATTACKER,
): Promise<boolean> {
  const socket = open(fleet.server.mqttPort, localAddress);
  const answer = new Promise<Buffer | null>((resolve) => {
    socket.once('data', resolve);
    socket.once('close', () => resolve(null));
  });
  socket.write(await connectPacket(fleet, device));
  const accepted = (await answer)?.[3] === 0;
  socket.destroy();
  return accepted;
}

/** One SUBSCRIBE with so many filters, after a login. Resolves when the server has hung up. */
export async function subscribeToMany(
  fleet: FleetAccess,
  device: TestDevice,
  count: number,
  filter: (n: number) => string,
): Promise<void> {
  const socket = open(fleet.server.mqttPort);
  const accepted = new Promise((resolve) => socket.once('data', resolve));
  socket.write(await connectPacket(fleet, device));
  await accepted;
  socket.write(
    generate({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: Array.from({ length: count }, (_, n) => ({ topic: filter(n), qos: 0 })),
    }),
  );
  await closed(socket);
}

export const ownDown = (device: TestDevice): string => topics.down(device.id);

export interface Health {
  readonly answers: number;
  readonly failed: number;
  readonly p99Ms: number;
}

/** Asks for /healthz from another address, one request after another, until `end`. */
export function watchHealth(fleet: FleetAccess): { end(): Promise<Health> } {
  let isOver = false;
  const times: number[] = [];
  let failed = 0;
  const once = (): Promise<void> =>
    new Promise((resolve) => {
      const from = performance.now();
      const done = (isGood: boolean): void => {
        times.push(performance.now() - from);
        if (!isGood) failed += 1;
        setTimeout(resolve, 10);
      };
      const asked = request(
        { host: '127.0.0.1', port: portOf(fleet), path: '/healthz', localAddress: HONEST },
        (response) => {
          response.resume();
          response.once('end', () => done(response.statusCode === 200));
        },
      );
      asked.once('error', () => done(false));
      asked.end();
    });
  const running = (async () => {
    while (!isOver) await once();
  })();
  return {
    end: async () => {
      isOver = true;
      await running;
      times.sort((a, b) => a - b);
      const p99Ms = times[Math.min(times.length - 1, Math.floor(times.length * 0.99))] ?? 0;
      return { answers: times.length - failed, failed, p99Ms };
    },
  };
}
