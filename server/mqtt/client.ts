// The transport over an external MQTT broker: the server is one of the broker's clients. Devices
// log in at that broker, so its own rules must confine each device to its topics; this file trusts
// the device id in a topic. While the broker is out of reach, the server hears no device and says
// so (onReception), and devices keep their telemetry. What the server sends has QoS 0, as with the
// embedded broker (broker.ts).
import { connectAsync, type IClientOptions, type ISubscriptionGrant, type MqttClient } from 'mqtt';
import { brokerAddress } from '../../shared/base/hosts.js';
import { limits } from '../../shared/base/limits.js';
import { Fault, isFault, reason } from '../../shared/base/fault-codes.js';
import type { Log, Random } from '../../shared/base/interfaces.js';
import { topics, type Hint } from '../../shared/protocol/telemetry.js';
import { hex } from '../../shared/base/bytes.js';
import { readSettingFile } from '../../shared/platform/setting-files.js';
import type { ClientIdentity, Transport, TransportEvents } from '../interfaces.js';
import { receive, type PublishJson } from './uplink.js';

export interface ExternalBrokerOptions {
  /** mqtt:// or mqtts://. */
  readonly url: string;
  readonly username?: string | undefined;
  readonly passwordFile?: string | undefined;
  /** PEM certificates to trust instead of the system's; mqtts. */
  readonly caFile?: string | undefined;
  /** The client certificate by which the server logs in; mqtts. */
  readonly identity?: ClientIdentity | undefined;
  /** Several servers share the telemetry as this group of MQTT 5 shared subscriptions. */
  readonly sharedGroup?: string | undefined;
  readonly random: Random;
  readonly log: Log;
  readonly events: TransportEvents;
}

/** MQTT 3.1.1, section 3.9.3: the broker refused the subscription. */
const SUBSCRIPTION_REFUSED = 128;

/**
 * Connects to the broker and subscribes to all telemetry. Faults: server_unreachable (no
 * connection, or login refused), config_invalid (password file, subscription refused).
 */
export async function openExternalBroker(options: ExternalBrokerOptions): Promise<Transport> {
  const address = brokerAddress(options.url);
  let client: MqttClient;
  try {
    client = await connectAsync('', { ...address, ...clientOptions(options) }, false);
  } catch (error) {
    if (isFault(error)) throw error;
    const { host } = new URL(options.url);
    const detail = `cannot connect to the MQTT broker ${host}: ${reason(error)}`;
    throw new Fault('server_unreachable', detail, { cause: error });
  }
  const connection = new ExternalBroker(client, address.port, options);
  try {
    await connection.subscribe();
  } catch (error) {
    await connection.close();
    throw error;
  }
  return connection;
}

function clientOptions(options: ExternalBrokerOptions): IClientOptions {
  const { username, passwordFile, caFile, identity, random } = options;
  return {
    // A broker that ties client ids to certificates (broker-config.ts) admits no other one.
    clientId: identity?.name ?? `linnet-server-${hex(random.bytes(6))}`,
    clean: true,
    keepalive: limits.linkKeepaliveSeconds,
    connectTimeout: limits.mqttConnectMs,
    reconnectPeriod: limits.mqttReconnectMs,
    resubscribe: true,
    queueQoSZero: false,
    ...(username === undefined ? {} : { username }),
    ...(passwordFile === undefined ? {} : { password: readPassword(passwordFile) }),
    ...(caFile === undefined ? {} : { ca: readSettingFile('broker.ca_file', caFile) }),
    ...(identity === undefined ? {} : { cert: identity.cert, key: identity.key }),
  };
}

const readPassword = (file: string): string =>
  readSettingFile('broker.password_file', file).toString('utf8').trim();

const subscriptionRefused = (host: string): Fault =>
  new Fault(
    'config_invalid',
    `the MQTT broker ${host} does not let the server subscribe to ${topics.everyUp}`,
  );

/** mqtt.js rejects with the SUBACK when the broker refused, and without it otherwise. */
function isRefusal(error: unknown): boolean {
  const { packet } = error as { packet?: { cmd?: string } };
  return packet?.cmd === 'suback';
}

class ExternalBroker implements Transport {
  readonly #client: MqttClient;
  readonly #options: ExternalBrokerOptions;

  constructor(
    client: MqttClient,
    readonly port: number,
    options: ExternalBrokerOptions,
  ) {
    this.#client = client;
    this.#options = options;
  }

  async subscribe(): Promise<void> {
    const { log, events, url, sharedGroup } = this.#options;
    const filter =
      sharedGroup === undefined ? topics.everyUp : `$share/${sharedGroup}/${topics.everyUp}`;
    const client = this.#client;
    client.on('message', (topic, payload) => receive(topic, payload, events, this.#publish));
    client.on('error', (error) => log.warn({ err: error }, 'MQTT connection to the broker failed'));
    client.on('close', () => events.onReception(false));
    client.on('connect', () => events.onReception(true));
    client.on('offline', () =>
      log.warn(
        {},
        'the MQTT broker is out of reach; devices keep their telemetry until it is back',
      ),
    );
    const { host } = new URL(url);
    let granted: ISubscriptionGrant[];
    try {
      granted = await client.subscribeAsync(filter, { qos: 1 });
    } catch (error) {
      if (isRefusal(error)) throw subscriptionRefused(host);
      const detail = `the MQTT broker ${host} closed the connection: ${reason(error)}`;
      throw new Fault('server_unreachable', detail, { cause: error });
    }
    if (granted.some(({ qos }) => qos === SUBSCRIPTION_REFUSED)) throw subscriptionRefused(host);
  }

  hint(device: string): void {
    const hint: Hint = { look: 'assignment' };
    this.#publish(topics.hint(device), hint);
  }

  connections(): null {
    return null;
  }

  /** The connection belongs to the other broker, whose rules must refuse revoked devices. */
  disconnect(): void {}

  async close(): Promise<void> {
    await this.#client.endAsync(true);
  }

  readonly #publish: PublishJson = (topic, message) => {
    const { log } = this.#options;
    this.#client.publish(topic, JSON.stringify(message), { qos: 0 }, (error) => {
      if (error) log.debug({ topic, err: error }, 'an MQTT message was not sent');
    });
  };
}
