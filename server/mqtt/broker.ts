// The embedded MQTT broker (aedes): a transport that runs inside the server. It authenticates
// devices, confines each to its own topics, hands telemetry to the ingest as a function call, and
// publishes acknowledgements and hints in process; the server has no MQTT connection to itself.
//
// Messages are hints and reports: a lost one costs time, never truth. aedes confirms a publish
// (PUBACK) before anyone has stored the message, so a device deletes nothing on it: it waits for
// the TelemetryAck. What the server sends has QoS 0 for the same reason (a lost acknowledgement is
// repeated, a lost hint is replaced by the device's next poll), so an absent device uses no memory
// here. Access decisions are in access-control.ts. Over 400 lines because everything that ends a
// connection is decided in one place.
import { createServer, Socket, type AddressInfo, type Server } from 'node:net';
import { createServer as createTlsServer, TLSSocket } from 'node:tls';
import {
  Aedes,
  type AuthenticateError,
  type Client,
  type ConnectPacket,
  type PublishPacket,
} from 'aedes';
import { writeToStream } from 'mqtt-packet';
import { listening } from '../../shared/platform/listen.js';
import { limits } from '../../shared/base/limits.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import type { Clock, Log } from '../../shared/base/interfaces.js';
import { topics, type Hint } from '../../shared/protocol/telemetry.js';
import { TOKEN_FAULTS } from '../../shared/trust/device-token.js';
import type { AddressLimits } from '../access/address-limits.js';
import type { Admission } from '../access/admission.js';
import { ConnectionLimits } from '../access/connection-limits.js';
import type { ListenerLimits } from '../access/open-files.js';
import { VerifiedTokens } from '../access/verified-tokens.js';
import type { DeviceAuthority, TlsFiles, Transport, TransportEvents } from '../interfaces.js';
import {
  connectRefusal,
  publishRefusal,
  subscribeRefusal,
  verifyCertificate,
  verifyLogin,
} from './access-control.js';
import { PacketLimit, PacketType } from './packet-limit.js';
import {
  anonymous,
  attemptOf,
  destroy,
  hasGone,
  isFull,
  peerOf,
  turnAway,
  UNAVAILABLE,
} from './peers.js';
import { receive, type PublishJson } from './uplink.js';

export interface EmbeddedBrokerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly tls: TlsFiles | null;
  /** Over TLS, a device may log in by a client certificate of this CA, without a token. */
  readonly deviceAuthority: DeviceAuthority | null;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: TransportEvents;
  readonly addressLimits: AddressLimits;
  readonly admission: Admission;
  /** Of all connections, and of those of one address that have not logged in yet. */
  readonly connections: ListenerLimits;
  readonly isTrusted: (address: string) => boolean;
}

/** CONNACK return code of MQTT 3.1.1: bad user name or password. */
const BAD_CREDENTIALS = 4;

/** Starts the embedded broker. Faults: port_in_use. */
export async function openEmbeddedBroker(options: EmbeddedBrokerOptions): Promise<Transport> {
  const broker = new EmbeddedBroker(options);
  await broker.listen();
  return broker;
}

class EmbeddedBroker implements Transport {
  readonly #options: EmbeddedBrokerOptions;
  readonly #aedes: Aedes;
  readonly #server: Server;
  readonly #clients = new Map<string, Client>();
  /** Each serves for one login. */
  readonly #tokens = new VerifiedTokens();
  readonly #offenders = new WeakSet<Client>();
  /** Connections that have not logged in. */
  readonly #logins: ConnectionLimits;
  /** What ends the count of each of them, by its peer: below TLS there is another socket. */
  readonly #releases = new Map<string, () => void>();
  #port = 0;

  constructor(options: EmbeddedBrokerOptions) {
    this.#options = options;
    // It would keep the two bytes of each number below 65,536, as 6 MiB, to save an allocation a
    // packet.
    writeToStream.cacheNumbers = false;
    this.#aedes = new Aedes({
      connectTimeout: limits.mqttConnectMs,
      maxClientsIdLength: limits.mqttClientIdMaxChars,
      maxTopicLevels: limits.mqttTopicLevelsMaxCount,
      drainTimeout: limits.mqttUnreadMs,
      preConnect: (client, packet, done) => {
        const refusal = this.#connectRefusal(client, packet);
        done(refusal, refusal === null);
      },
      authenticate: (client, username, password, done) =>
        this.#authenticate(client, username, password, done),
      authorizePublish: (client, packet, done) => done(this.#authorizePublish(client, packet)),
      authorizeSubscribe: (client, subscription, done) =>
        done(null, this.#maySubscribe(client, subscription.topic) ? subscription : null),
      authorizeForward: (client, packet) => (this.#mayReceive(client) ? packet : null),
    });
    this.#logins = new ConnectionLimits({
      perAddressMaxCount: options.connections.perAddressMaxCount,
      isTrusted: options.isTrusted,
      onLimit: (address) =>
        options.events.security.report({
          source: { kind: 'anonymous', address },
          code: 'too_many_attempts',
          detail: 'too many MQTT connections without a login: further ones are closed',
        }),
    });
    // noDelay: with Nagle's algorithm and delayed acknowledgements, small packets that wait for
    // each other would take 40 ms a round trip.
    const { tls, deviceAuthority } = options;
    this.#server =
      tls === null
        ? createServer({ noDelay: true })
        : createTlsServer({
            cert: tls.cert,
            key: tls.key,
            noDelay: true,
            handshakeTimeout: limits.tlsHandshakeMs,
            // Not refused here: who has no certificate of the device CA needs a token.
            ...(deviceAuthority === null
              ? {}
              : { ca: deviceAuthority.certificate, requestCert: true, rejectUnauthorized: false }),
          });
    this.#server.on('connection', (socket: Socket) => this.#count(socket));
    this.#server.on(tls === null ? 'connection' : 'secureConnection', (socket: Socket) =>
      this.#accept(socket),
    );
    this.#server.maxConnections = options.connections.maxCount;
  }

  get port(): number {
    return this.#port;
  }

  async listen(): Promise<void> {
    const { host, port, log } = this.#options;
    await this.#aedes.listen();
    this.#aedes.on('client', (client) => this.#connected(client));
    this.#aedes.on('clientDisconnect', (client) => this.#disconnected(client));
    this.#aedes.on('clientError', (client, error) =>
      log.debug({ client: client.id, err: error }, 'MQTT client failed'),
    );
    this.#aedes.on('connectionError', (_client, error) =>
      log.debug({ err: error }, 'MQTT connection failed before its login'),
    );
    await this.#subscribe(topics.everyUp, ({ topic, payload }) =>
      receive(topic, Buffer.from(payload), this.#options.events, this.#publish),
    );
    // mqemitter works its queue off by recursion when nobody listens to a message, and a long queue
    // would overflow the stack. This listener answers each message in a later turn.
    await this.#subscribe('#', () => {});
    try {
      this.#port = await listen(this.#server, host, port);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  hint(device: string): void {
    const hint: Hint = { look: 'assignment' };
    this.#publish(topics.hint(device), hint);
  }

  connections(): number {
    return this.#clients.size;
  }

  disconnect(device: string): void {
    this.#clients.get(device)?.close();
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#aedes.close(() => this.#server.close(() => resolve()));
    });
  }

  /** Until it has logged in; with TLS also during its handshake. */
  #count(socket: Socket): void {
    const { tls, admission } = this.#options;
    const peer = peerOf(socket);
    const release = this.#logins.hold(socket);
    if (release === null) return;
    // A handshake costs more than a login.
    if (tls !== null && admission.isBehind('login')) {
      admission.refused('login');
      socket.destroy();
    }
    const end = (): void => {
      release();
      if (this.#releases.get(peer) === end) this.#releases.delete(peer);
    };
    this.#releases.set(peer, end);
    socket.once('close', end);
  }

  #accept(socket: Socket): void {
    if (socket.destroyed) return;
    if (this.#options.admission.isBehind('login')) {
      this.#options.admission.refused('login');
      turnAway(socket);
      return;
    }
    this.#aedes.handle(socket);
    // Added after aedes has added its `readable` listener: that one decides when bytes flow, this
    // one only counts them.
    const packetLimit = new PacketLimit({ maxBytesOf: maxPacketBytes });
    socket.on('data', (chunk: Buffer) => {
      if (packetLimit.accept(chunk)) return;
      this.#options.events.security.report({
        source: anonymous(socket),
        code: 'request_too_large',
        detail:
          `an MQTT packet of type ${packetLimit.type} is longer than ` +
          `${maxPacketBytes(packetLimit.type)} bytes`,
      });
      socket.destroy();
    });
  }

  #connectRefusal(client: Client, packet: ConnectPacket): Error | null {
    try {
      this.#options.addressLimits.admit(attemptOf(client.conn, packet.clientId));
    } catch (error) {
      if (!isFault(error, 'too_many_attempts')) throw error;
      // The event was reported when the address reached its limit.
      setImmediate(() => destroy(client.conn));
      return error;
    }
    const refusal = connectRefusal(packet);
    if (refusal === null) return null;
    this.#options.addressLimits.failed(attemptOf(client.conn, packet.clientId));
    setImmediate(() => client.close());
    this.#options.events.security.report({
      source: anonymous(client.conn),
      code: 'auth_denied',
      detail: `MQTT connection refused: ${refusal}`,
    });
    return new Error(refusal);
  }

  #authenticate(
    client: Client,
    username: string | undefined,
    password: Buffer | undefined,
    done: (error: AuthenticateError | null, success: boolean | null) => void,
  ): void {
    const { clock, events, log, addressLimits, admission } = this.#options;
    const attempt = attemptOf(client.conn, client.id);
    const login = { clientId: client.id, username, password: password?.toString('utf8') ?? '' };
    const keyOf = (device: string): ReturnType<TransportEvents['keyOf']> => events.keyOf(device);
    const verified = async (): Promise<void> => {
      await admission.enter('login');
      // It gave up while it waited, here or in the kernel's queue.
      if (hasGone(client)) throw new Fault('server_unreachable', 'the device has gone');
      const name = this.#certifiedName(client.conn);
      await (name === null
        ? verifyLogin(login, {
            ...{ nowMs: clock.now(), keyOf, seen: this.#tokens },
            isAudience: (audience) => events.isAudience(audience),
          })
        : verifyCertificate(login, name, keyOf));
    };
    verified().then(
      () => {
        addressLimits.succeeded(attempt);
        done(null, true);
      },
      (error: unknown) => {
        if (isFault(error, 'overloaded', 'server_unreachable')) {
          done(Object.assign(new Error(error.message), { returnCode: UNAVAILABLE }), null);
          return;
        }
        if (isFault(error, 'auth_missing')) addressLimits.failed(attempt);
        log.warn({ client: client.id, err: error }, 'MQTT login refused');
        const asked = client.id.slice(0, limits.mqttClientIdMaxChars);
        if (isFault(error, ...TOKEN_FAULTS))
          events.security.report({
            source: anonymous(client.conn),
            code: error.code,
            detail: `MQTT login of ${asked} refused: ${error.detail}`,
          });
        done(
          Object.assign(new Error('bad user name or password'), { returnCode: BAD_CREDENTIALS }),
          null,
        );
      },
    );
  }

  /** The common name of the client certificate, when the device CA issued it. */
  #certifiedName(connection: unknown): string | null {
    const { deviceAuthority, clock } = this.#options;
    if (deviceAuthority === null || !(connection instanceof TLSSocket)) return null;
    const certificate = connection.getPeerX509Certificate();
    return certificate === undefined ? null : deviceAuthority.nameOf(certificate, clock.now());
  }

  /** Also called for wills. The client is null for what the server itself publishes. */
  #authorizePublish(client: Client | null, packet: PublishPacket): Error | null {
    if (client === null) return null;
    const { topic, retain, qos, payload } = packet;
    const refusal = publishRefusal(client.id, { topic, retain, qos, payloadBytes: payload.length });
    if (refusal === null) return null;
    this.#refused(client, `MQTT publish refused: ${refusal}`);
    return new Error(refusal);
  }

  #maySubscribe(client: Client, filter: string): boolean {
    if (this.#offenders.has(client)) return false;
    const refusal = subscribeRefusal(client.id, filter);
    if (refusal === null) return true;
    this.#refused(client, `MQTT subscribe refused: ${refusal}`);
    return false;
  }

  /**
   * False for a device that does not read what it was sent. Each delivery that waits for such a
   * device holds one of the places that the deliveries to all devices share, so its connection is
   * ended, which frees them.
   */
  #mayReceive(client: Client): boolean {
    if (!isFull(client)) return true;
    if (!this.#offenders.has(client)) {
      this.#offenders.add(client);
      this.#options.log.warn(
        { client: client.id },
        'the device reads no messages; disconnected it',
      );
      setImmediate(() => client.close());
    }
    return false;
  }

  /** The first offence ends the connection; what else the same packet asks for is not looked at. */
  #refused(client: Client, detail: string): void {
    if (this.#offenders.has(client)) return;
    this.#offenders.add(client);
    // After the answer, if there is one: a device that is only misconfigured sees what was refused.
    setImmediate(() => client.close());
    this.#options.log.warn({ client: client.id }, detail);
    const source = { kind: 'device', id: client.id } as const;
    this.#options.events.security.report({ source, code: 'auth_denied', detail });
  }

  #connected(client: Client): void {
    const { events, log } = this.#options;
    this.#clients.set(client.id, client);
    if (client.conn instanceof Socket) this.#releases.get(peerOf(client.conn))?.();
    // The device may have been revoked between its login and this line, when there was no
    // connection to close yet.
    events.keyOf(client.id).then(
      (key) => {
        if (key === undefined) client.close();
      },
      (error: unknown) => {
        log.error({ client: client.id, err: error }, 'cannot look up a connected device again');
        client.close();
      },
    );
  }

  #disconnected(client: Client): void {
    if (this.#clients.get(client.id) === client) this.#clients.delete(client.id);
  }

  /** In process: no connection, no session, no access check. */
  #subscribe(filter: string, take: (packet: PublishPacket) => void): Promise<void> {
    return new Promise((resolve) => {
      const listener = (packet: PublishPacket, done: () => void): void => {
        setImmediate(done);
        take(packet);
      };
      this.#aedes.subscribe(filter, listener, resolve);
    });
  }

  readonly #publish: PublishJson = (topic, message) => {
    const { log } = this.#options;
    const payload = JSON.stringify(message);
    const packet = { cmd: 'publish', topic, payload, qos: 0, retain: false, dup: false } as const;
    this.#aedes.publish(packet, (error) => {
      if (error) log.debug({ topic, err: error }, 'an MQTT message was not sent');
    });
  };
}

function maxPacketBytes(type: number): number {
  switch (type) {
    case PacketType.connect:
      return limits.mqttConnectMaxBytes;
    case PacketType.publish:
      return limits.mqttPacketMaxBytes;
    case PacketType.subscribe:
    case PacketType.unsubscribe:
      return limits.mqttSubscribeMaxBytes;
    default:
      return limits.mqttControlMaxBytes;
  }
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  await listening(server, `MQTT: ${host}:${port}`, () =>
    server.listen(port, host, limits.listenBacklogMaxCount),
  );
  return (server.address() as AddressInfo).port;
}
