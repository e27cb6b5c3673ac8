// The server's end of MQTT: an embedded broker (aedes) on its own port, or any external broker by
// its URL, and the server's own client of it. The broker lets a device in by a fresh signature of
// its key and confines it to its own topics, wills included; nothing is retained. Messages are
// hints and reports: losing one costs time, never truth. aedes confirms a publish (PUBACK) before
// anyone has the message, so a device deletes nothing on it: it waits for the TelemetryAck that the
// ingest sends after its commit. What the server sends goes at QoS 0 for the same reason (a lost
// ack is repeated, a lost hint is made good by the device's next look), so an absent device never
// fills memory here.
import { readFile } from 'node:fs/promises';
import { createServer, Socket, type AddressInfo, type Server } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { Aedes, type AuthenticateError, type Client, type PublishPacket } from 'aedes';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { limits } from '../../shared/base/limits.js';
import {
  Fault,
  isFault,
  reason,
  systemCode,
  type FaultCode,
} from '../../shared/base/fault-codes.js';
import type { Clock, Log, Random } from '../../shared/base/interfaces.js';
import { topics, type Hint, type TelemetryAck } from '../../shared/protocol/telemetry.js';
import { openDeviceToken } from '../../shared/trust/device-token.js';
import type { PublicKey } from '../../shared/trust/signer.js';
import type { SecuritySource, TlsFiles } from '../interfaces.js';
import { PacketLimit } from './packet-limit.js';

export interface EmbeddedBroker {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsFiles | null;
}

export interface ExternalBroker {
  readonly url: string;
  readonly username?: string;
  readonly passwordFile?: string;
}

export interface BrokerHooks {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The key of an enrolled, non-revoked device. */
  keyOf(device: string): Promise<PublicKey | undefined>;
  /** A message on an up topic. Must not throw. */
  onMessage(topic: string, payload: Uint8Array): void;
  /**
   * The server itself lost its broker (false) or has it again (true): devices cannot be heard in
   * between. Must not throw.
   */
  onReception(hears: boolean): void;
  /** Something that a well-behaved device never does. Must not throw. */
  onMisuse(source: SecuritySource, code: FaultCode, detail: string): void;
}

const SERVER_ID = 'linnet-server';
const SERVER_PASSWORD_BYTES = 32;
/** A topic and the protocol's own fields on top of the payload. */
const FRAME_MAX_BYTES = limits.mqttPayloadMaxBytes + 4096;
const BAD_CREDENTIALS = 4;
const CONNECT_WAIT_MS = 10_000;

export interface Link {
  /** Where devices connect. */
  readonly port: number;
  ack(device: string, ack: TelemetryAck): void;
  hint(device: string): void;
  /** Drops a device's connection (after it was revoked). */
  kick(device: string): void;
  close(): Promise<void>;
}

/** Starts the embedded broker and the server's client of it. Faults: port_in_use. */
export async function openEmbeddedLink(options: EmbeddedBroker, hooks: BrokerHooks): Promise<Link> {
  const password = Buffer.from(hooks.random.bytes(SERVER_PASSWORD_BYTES)).toString('base64url');
  const guard = new BrokerGuard(password, hooks);
  const broker = await Aedes.createBroker({
    connectTimeout: CONNECT_WAIT_MS,
    maxClientsIdLength: 64,
    maxTopicLevels: 8,
    authenticate: (client, username, secret, done) =>
      guard.authenticate(client, username, secret, done),
    authorizePublish: (client, packet, done) => guard.authorizePublish(client, packet, done),
    authorizeSubscribe: (client, subscription, done) =>
      done(null, guard.maySubscribe(client, subscription.topic) ? subscription : null),
  });
  broker.on('client', (client) => guard.connected(client));
  broker.on('clientDisconnect', (client) => guard.gone(client));
  broker.on('clientError', (client, error) =>
    hooks.log.debug({ client: client.id, error: reason(error) }, 'mqtt client failed'),
  );
  broker.on('connectionError', (_client, error) =>
    hooks.log.debug({ error: reason(error) }, 'mqtt connection failed'),
  );
  const accept = (socket: Socket): void => {
    broker.handle(socket);
    // After aedes has begun to read: its `readable` listener decides when bytes flow, this one only
    // counts them.
    const bound = new PacketLimit(FRAME_MAX_BYTES);
    socket.on('data', (chunk: Buffer) => {
      if (bound.take(chunk)) return;
      hooks.onMisuse(
        addressOf(socket),
        'request_too_large',
        `an MQTT packet is longer than ${FRAME_MAX_BYTES} bytes`,
      );
      socket.destroy();
    });
  };
  // Small packets that wait for each other: Nagle's algorithm and delayed acknowledgements would
  // cost 40 ms a round.
  const server =
    options.tls === null
      ? createServer({ noDelay: true }, accept)
      : createTlsServer({ cert: options.tls.cert, key: options.tls.key, noDelay: true }, accept);
  server.maxConnections = limits.mqttClientsMaxCount;
  const stopBroker = (): Promise<void> =>
    new Promise((resolve) => broker.close(() => server.close(() => resolve())));
  try {
    const port = await listen(server, options.host, options.port);
    const host = isAnyAddress(options.host) ? '127.0.0.1' : options.host;
    // Loopback, our own certificate, and a password that exists only in this process: there is no
    // name to check.
    const client = await connectAsync(
      `${options.tls === null ? 'mqtt' : 'mqtts'}://${host.includes(':') ? `[${host}]` : host}:${port}`,
      {
        ...clientOptions(),
        clientId: SERVER_ID,
        username: SERVER_ID,
        password,
        rejectUnauthorized: false,
      },
    );
    await subscribe(client, hooks);
    return new MqttLink(port, client, (device) => guard.kick(device), stopBroker);
  } catch (error) {
    await stopBroker();
    throw error;
  }
}

/**
 * Connects to an external broker; that broker's own rules must confine devices to their topics.
 * Faults: server_unreachable, config_invalid.
 */
export async function openExternalLink(options: ExternalBroker, hooks: BrokerHooks): Promise<Link> {
  const url = new URL(options.url);
  const credentials: Partial<IClientOptions> = {};
  if (options.username !== undefined) credentials.username = options.username;
  if (options.passwordFile !== undefined) {
    try {
      credentials.password = (await readFile(options.passwordFile, 'utf8')).trim();
    } catch (error) {
      throw new Fault(
        'config_invalid',
        `broker.password_file ${options.passwordFile} cannot be read`,
        { cause: error },
      );
    }
  }
  let client: MqttClient;
  try {
    client = await connectAsync(
      options.url,
      {
        ...clientOptions(),
        clientId: `${SERVER_ID}-${Buffer.from(hooks.random.bytes(6)).toString('hex')}`,
        ...credentials,
      },
      false,
    );
    await subscribe(client, hooks);
  } catch (error) {
    throw new Fault('server_unreachable', `the MQTT broker ${url.host}: ${reason(error)}`, {
      cause: error,
    });
  }
  const port = url.port === '' ? (url.protocol === 'mqtts:' ? 8883 : 1883) : Number(url.port);
  return new MqttLink(
    port,
    client,
    () => {},
    () => Promise.resolve(),
  );
}

const clientOptions = (): IClientOptions => ({
  clean: true,
  keepalive: 30,
  connectTimeout: CONNECT_WAIT_MS,
  reconnectPeriod: 1000,
  resubscribe: true,
  queueQoSZero: false,
});

async function subscribe(client: MqttClient, hooks: BrokerHooks): Promise<void> {
  client.on('message', (topic, payload) => hooks.onMessage(topic, payload));
  client.on('error', (error) =>
    hooks.log.warn({ error: reason(error) }, "the server's MQTT client failed"),
  );
  client.on('close', () => hooks.onReception(false));
  client.on('connect', () => hooks.onReception(true));
  client.on('offline', () =>
    hooks.log.warn(
      {},
      'the MQTT broker is out of reach; devices keep their telemetry until it is back',
    ),
  );
  const granted = await client.subscribeAsync(topics.everyUp, { qos: 1 });
  if (granted.some((grant) => grant.qos === 128))
    throw new Fault(
      'config_invalid',
      `the MQTT broker does not let the server read ${topics.everyUp}`,
    );
}

class MqttLink implements Link {
  constructor(
    readonly port: number,
    private readonly client: MqttClient,
    readonly kick: (device: string) => void,
    private readonly stop: () => Promise<void>,
  ) {}

  ack(device: string, ack: TelemetryAck): void {
    this.client.publish(topics.ack(device), JSON.stringify(ack), { qos: 0 });
  }

  hint(device: string): void {
    const hint: Hint = { look: 'assignment' };
    this.client.publish(topics.hint(device), JSON.stringify(hint), { qos: 0 });
  }

  async close(): Promise<void> {
    await this.client.endAsync(true);
    await this.stop();
  }
}

/** Who may come in, and what they may say and hear. */
class BrokerGuard {
  readonly #clients = new Map<string, Client>();

  constructor(
    private readonly password: string,
    private readonly hooks: BrokerHooks,
  ) {}

  authenticate(
    client: Client,
    username: string | undefined,
    secret: Buffer | undefined,
    done: (error: AuthenticateError | null, success: boolean | null) => void,
  ): void {
    this.#check(client.id, username, secret?.toString('utf8') ?? '').then(
      () => done(null, true),
      (error: unknown) => {
        this.hooks.log.warn({ client: client.id, error: reason(error) }, 'MQTT login refused');
        if (isFault(error, 'auth_missing'))
          this.hooks.onMisuse(
            addressOf(client.conn),
            'auth_missing',
            `MQTT login of ${client.id.slice(0, 64)} refused: ${error.detail}`,
          );
        done(
          Object.assign(new Error('bad user name or password'), { returnCode: BAD_CREDENTIALS }),
          null,
        );
      },
    );
  }

  async #check(clientId: string, username: string | undefined, password: string): Promise<void> {
    if (clientId === SERVER_ID && username === SERVER_ID && password === this.password) return;
    const device = await openDeviceToken(password, this.hooks.clock.now(), (id) =>
      this.hooks.keyOf(id),
    );
    if (device !== username || device !== clientId)
      throw new Fault('auth_missing', `the token is ${device}'s, not ${username ?? 'nobody'}'s`);
  }

  authorizePublish(
    client: Client | null,
    packet: PublishPacket,
    done: (error?: Error | null) => void,
  ): void {
    const complaint = this.#complaint(client, packet);
    if (complaint === null) return done(null);
    this.hooks.log.warn({ client: client?.id, topic: packet.topic }, complaint);
    this.hooks.onMisuse(deviceOf(client), 'auth_denied', `MQTT publish refused: ${complaint}`);
    done(new Error(complaint));
  }

  #complaint(client: Client | null, packet: PublishPacket): string | null {
    if (client === null || client.id === SERVER_ID) return null;
    if (!packet.topic.startsWith(upPrefix(client.id)))
      return `${packet.topic.slice(0, 200)} is not a topic of ${client.id}`;
    if (packet.retain) return 'devices may not retain messages';
    if (packet.payload.length > limits.mqttPayloadMaxBytes)
      return `a payload of ${packet.payload.length} bytes, bound is ${limits.mqttPayloadMaxBytes}`;
    return null;
  }

  maySubscribe(client: Client, topic: string): boolean {
    if (client.id === SERVER_ID || topic.startsWith(downPrefix(client.id))) return true;
    this.hooks.onMisuse(
      deviceOf(client),
      'auth_denied',
      `MQTT subscribe refused: ${topic.slice(0, 200)} is not a topic of ${client.id}`,
    );
    return false;
  }

  connected(client: Client): void {
    this.#clients.set(client.id, client);
    if (client.id === SERVER_ID) return;
    // A device that was revoked between its login and this line was not there to be kicked.
    this.hooks.keyOf(client.id).then(
      (key) => {
        if (key === undefined) client.close();
      },
      (error: unknown) => {
        this.hooks.log.error(
          { client: client.id, error: reason(error) },
          'a connected device could not be looked up again',
        );
        client.close();
      },
    );
  }

  gone(client: Client): void {
    if (this.#clients.get(client.id) === client) this.#clients.delete(client.id);
  }

  kick(device: string): void {
    this.#clients.get(device)?.close();
  }
}

const upPrefix = (device: string): string => topics.up(device).slice(0, -1);
const downPrefix = (device: string): string => topics.down(device).slice(0, -1);
/** A client that has authenticated. */
const deviceOf = (client: Client | null): SecuritySource =>
  client === null ? { kind: 'server' } : { kind: 'device', id: client.id };
const addressOf = (socket: unknown): SecuritySource => ({
  kind: 'anonymous',
  address: (socket instanceof Socket ? socket.remoteAddress : undefined) ?? 'unknown',
});
const isAnyAddress = (host: string): boolean => host === '0.0.0.0' || host === '::';

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        systemCode(error) === 'EADDRINUSE'
          ? new Fault('port_in_use', `MQTT: ${host}:${port} is in use`, { cause: error })
          : error,
      ),
    );
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}
