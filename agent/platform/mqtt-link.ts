// The Link over MQTT 3.1.1 at QoS 1, by mqtt.js. Every connection is a new client of the library
// with a new device token as its password, a clean session and its own subscription. So nothing of
// an old connection (a stale token, an unacknowledged publish in the library's memory) reaches the
// next one: the spool is the only queue. `connected` is true from the broker's SUBACK on.
// Reconnects for ever (reconnect.ts). Whether the server stored a message is not known here.
import { isIP, type Socket } from 'node:net';
import tls from 'node:tls';
import { connect, MqttClient, type IClientOptions } from 'mqtt';
import { limits } from '../../shared/base/limits.js';
import { Fault, reason } from '../../shared/base/fault-codes.js';
import { brokerAddress } from '../../shared/base/hosts.js';
import type { Cancel, Clock, Log, Random } from '../../shared/base/interfaces.js';
import { openTunnel } from '../../shared/platform/http-connector.js';
import type { Proxies } from '../../shared/platform/proxies.js';
import { topics } from '../../shared/protocol/telemetry.js';
import type { Link } from '../interfaces.js';
import { Reconnect, type EndedConnection } from './reconnect.js';

export interface MqttLinkOptions {
  /** `mqtt://host:port` or `mqtts://host:port`. */
  readonly url: string;
  /** Client id, user name and root of the topics. */
  readonly device: string;
  /** The password; asked for at each connection attempt. */
  readonly token: () => Promise<string>;
  /**
   * Asked after the broker refused a login: true when the next token will be another one (the
   * server's time was learned), so that one more login is tried at once. Must not reject.
   */
  readonly onRefused?: () => Promise<boolean>;
  /** PEM certificates to trust instead of the system's, for mqtts. */
  readonly ca?: string | Uint8Array;
  /** Without it, the broker is connected directly. */
  readonly proxies?: Proxies;
  /**
   * The client certificate, asked for at each connection attempt. With one, no token is sent: a
   * broker that is not the fleet server itself could ask the server in the device's name with it.
   */
  readonly certificate?: () => { readonly cert: string; readonly key: string } | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** By token or by client certificate. */
type Login = Pick<IClientOptions, 'password' | 'cert' | 'key'>;

/** CONNACK return codes of MQTT 3.1.1: bad user name or password, not authorized. */
const LOGIN_REFUSED: ReadonlySet<unknown> = new Set([4, 5]);
/** Server unavailable, to any device: the login was not looked at. */
const BUSY = 3;

export class MqttLink implements Link {
  readonly #options: MqttLinkOptions;
  readonly #messageListeners: ((topic: string, payload: Uint8Array) => void)[] = [];
  readonly #connectedListeners: (() => void)[] = [];
  /** Null until the first token is there. */
  #client: MqttClient | null = null;
  #connected = false;
  #closed = false;
  readonly #reconnect: Reconnect;
  /** A login was refused and tried again at once; until the next connection it is not again. */
  #triedAgain = false;
  #cancelRetry: Cancel = () => {};
  /** Rejections of the publishes that wait for a PUBACK on the present connection. */
  readonly #waiting = new Set<(fault: Fault) => void>();

  /** Connects at once. Listeners added in the same turn of the event loop miss nothing. */
  constructor(options: MqttLinkOptions) {
    this.#options = options;
    this.#reconnect = new Reconnect(options.random);
    void this.#dial();
  }

  get connected(): boolean {
    return this.#connected;
  }

  onMessage(listener: (topic: string, payload: Uint8Array) => void): void {
    this.#messageListeners.push(listener);
  }

  onConnected(listener: () => void): void {
    this.#connectedListeners.push(listener);
  }

  /**
   * Resolves at the broker's PUBACK; Fault `server_unreachable` when not connected, or when the
   * connection ends first.
   */
  publish(topic: string, payload: Uint8Array): Promise<void> {
    const client = this.#client;
    if (!this.#connected || client === null)
      return Promise.reject(new Fault('server_unreachable', 'the MQTT broker is not connected'));
    const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      client.publish(topic, bytes, { qos: 1 }, (error) => {
        this.#waiting.delete(reject);
        // Null as well as undefined, whatever its type says.
        if (!error) resolve();
        else
          reject(
            new Fault('server_unreachable', `cannot publish to ${topic}: ${error.message}`, {
              cause: error,
            }),
          );
      });
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry();
    this.#lost('the link was closed');
    await this.#client?.endAsync(true);
  }

  /** One attempt to connect, with a fresh token. A token that cannot be signed counts as a loss. */
  async #dial(): Promise<void> {
    try {
      const certificate = this.#options.certificate?.() ?? null;
      const login = certificate ?? { password: await this.#options.token() };
      const tunnel = await this.#tunnel();
      if (this.#closed) tunnel?.destroy();
      else this.#client = this.#connect(login, tunnel);
    } catch (error) {
      this.#retry(null, reason(error), { heldMs: null, isRefused: false });
    }
  }

  /** Through the proxy, where there is one. */
  async #tunnel(): Promise<Socket | null> {
    const { url, proxies } = this.#options;
    const proxy = proxies?.of(new URL(url)) ?? null;
    return proxy === null ? null : openTunnel(proxy, brokerAddress(url));
  }

  #connect(login: Login, tunnel: Socket | null): MqttClient {
    const { url, device, clock, log } = this.#options;
    const client =
      tunnel === null
        ? connect({ ...brokerAddress(url), ...this.#clientOptions(login) })
        : new MqttClient(() => this.#streamIn(tunnel, login), this.#clientOptions(login));
    let connectedAt: number | null = null;
    let lastError = 'the connection ended';
    let refused = false;
    let isBusy = false;
    client.on('connect', () => {
      client.subscribe(topics.down(device), { qos: 1 }, (error, granted) => {
        if (this.#closed || client !== this.#client) return;
        if (error !== null || (granted ?? []).some((each) => each.qos > 2)) {
          const why = error === null ? 'not allowed' : reason(error);
          lastError = `the broker refused the subscription: ${why}`;
          client.end(true);
          return;
        }
        connectedAt = clock.monotonic();
        this.#connected = true;
        this.#triedAgain = false;
        log.info({ url }, 'link up');
        for (const listener of this.#connectedListeners) listener();
      });
    });
    client.on('message', (topic, payload) => {
      for (const listener of this.#messageListeners) listener(topic, payload);
    });
    client.on('error', (error) => {
      lastError = error.message;
      const { code } = error as { code?: unknown };
      refused ||= LOGIN_REFUSED.has(code);
      isBusy ||= code === BUSY;
    });
    client.once('close', () => {
      if (this.#closed) return;
      const heldMs = connectedAt === null ? null : clock.monotonic() - connectedAt;
      this.#lost(lastError);
      if (refused) void this.#loginRefused(client, lastError);
      else this.#retry(client, lastError, { heldMs, isRefused: false, isBusy });
    });
    return client;
  }

  /** The token may have been made at a wrong time: one more login once that is known. */
  async #loginRefused(client: MqttClient, why: string): Promise<void> {
    client.end(true);
    const again = !this.#triedAgain && (await this.#options.onRefused?.()) === true;
    if (this.#closed) return;
    if (!again) {
      this.#retry(client, why, { heldMs: null, isRefused: true });
      return;
    }
    this.#triedAgain = true;
    await this.#dial();
  }

  /** TLS goes to the broker itself: the proxy sees neither the login nor the messages. */
  #streamIn(tunnel: Socket, { cert, key }: Login): Socket {
    const { protocol, host } = brokerAddress(this.#options.url);
    if (protocol !== 'mqtts') return tunnel;
    const { ca } = this.#clientOptions({});
    const servername = isIP(host) === 0 ? { servername: host } : {};
    return tls.connect({ socket: tunnel, host, ca, cert, key, ...servername } as never);
  }

  #clientOptions(login: Login): IClientOptions {
    const { device, ca } = this.#options;
    return {
      protocolVersion: 4,
      clientId: device,
      username: device,
      ...login,
      clean: true,
      keepalive: limits.linkKeepaliveSeconds,
      connectTimeout: limits.linkConnectMs,
      reconnectPeriod: 0,
      queueQoSZero: false,
      resubscribe: false,
      // mqtt-packet would keep the two bytes of each number below 65,536, to save an allocation a
      // packet: a quarter of the memory of an agent at rest.
      writeCache: false,
      ...(ca === undefined ? {} : { ca: typeof ca === 'string' ? ca : Buffer.from(ca) }),
    };
  }

  #retry(client: MqttClient | null, why: string, ended: EndedConnection): void {
    if (this.#closed) return;
    const { clock, log } = this.#options;
    client?.end(true);
    const waitMs = this.#reconnect.waitMs(ended);
    log.info({ err: why, waitMs }, 'link down');
    this.#cancelRetry = clock.after(waitMs, () => void this.#dial());
  }

  #lost(why: string): void {
    this.#connected = false;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const reject of waiting)
      reject(new Fault('server_unreachable', `the MQTT connection was lost: ${why}`));
  }
}
