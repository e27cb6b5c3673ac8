// A device without its agent: real MQTT and HTTP with its own signed tokens, the agent's own pace
// of reconnecting, one batch in flight until the server's acknowledgement. It verifies no metadata:
// that costs the device, not the server. A load process holds thousands of these.
import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { generate, parser, type Packet } from 'mqtt-packet';
import { Reconnect } from '../../../agent/platform/reconnect.js';
import type { Random } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { refusalFault } from '../../../shared/platform/http-refusal.js';
import { DEVICE_SCHEME } from '../../../shared/protocol/device-api.js';
import {
  topics,
  type TelemetryAck,
  type TelemetryBatch,
} from '../../../shared/protocol/telemetry.js';
import type { BenchDevice } from './identities.js';

export interface Target {
  readonly httpPort: number;
  readonly mqttPort: number;
  /** What its devices' tokens name. */
  readonly audience: string;
}

export interface LightDeviceEvents {
  /** Subscribed: the server reaches it. */
  readonly onConnected: () => void;
  readonly onLost: () => void;
  readonly onHint: () => void;
}

interface Pending {
  readonly batch: string;
  readonly payload: Buffer;
  readonly done: () => void;
  sends: number;
  timer: NodeJS.Timeout | null;
}

const PING = generate({ cmd: 'pingreq' });
const ACCEPTED = 0;
const BUSY = 3;

export class LightDevice {
  readonly #target: Target;
  readonly #events: LightDeviceEvents;
  readonly #reconnect: Reconnect;
  #socket: Socket | null = null;
  #isSubscribed = false;
  #connectedAt: number | null = null;
  #isRefused = false;
  #isBusy = false;
  #isClosed = false;
  #pending: Pending | null = null;
  #sent: Promise<void> = Promise.resolve();
  #messageId = 0;
  #tag: string | null = null;
  attempts = 0;
  /** Batches that were sent again. */
  resent = 0;

  constructor(
    readonly device: BenchDevice,
    target: Target,
    random: Random,
    events: LightDeviceEvents,
  ) {
    this.#target = target;
    this.#events = events;
    this.#reconnect = new Reconnect(random);
  }

  get isConnected(): boolean {
    return this.#isSubscribed;
  }

  async connect(): Promise<void> {
    if (this.#isClosed) return;
    this.attempts += 1;
    this.#isRefused = false;
    const { id, address } = this.device;
    const password = Buffer.from(await this.device.token('mqtt', this.#target.audience));
    const socket = connect({
      port: this.#target.mqttPort,
      host: '127.0.0.1',
      localAddress: address,
      noDelay: true,
    });
    this.#socket = socket;
    const packets = parser();
    packets.on('packet', (packet) => this.#received(packet));
    packets.on('error', () => socket.destroy());
    socket.on('data', (chunk) => packets.parse(chunk));
    socket.on('error', () => {});
    socket.setTimeout(limits.linkConnectMs, () => socket.destroy());
    socket.once('close', () => this.#lost());
    socket.write(
      generate({
        cmd: 'connect',
        clientId: id,
        username: id,
        password,
        protocolId: 'MQTT',
        protocolVersion: 4,
        clean: true,
        keepalive: limits.linkKeepaliveSeconds,
      }),
    );
  }

  ping(): void {
    if (this.#isSubscribed) this.#socket?.write(PING);
  }

  /** Resolves when the server has acknowledged that it stored the batch: after those before it. */
  send(batch: TelemetryBatch): Promise<void> {
    this.#sent = this.#sent.then(() => this.#sendOne(batch));
    return this.#sent;
  }

  #sendOne(batch: TelemetryBatch): Promise<void> {
    return new Promise((done) => {
      const payload = Buffer.from(JSON.stringify(batch));
      this.#pending = { batch: batch.batch, payload, done, sends: 0, timer: null };
      this.#sendPending();
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#socket?.destroy();
  }

  /**
   * Looks at its assignments, as after a hint: the timestamp, and what it leads to where that is
   * new. Resolves with the text of the targets, or with null where nothing changed.
   */
  async look(): Promise<string | null> {
    // Of this look alone: between two polls the server would close it.
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      const token = await this.device.token('http', this.#target.audience);
      const authorization = `${DEVICE_SCHEME} ${token}`;
      const get = (name: string, tag: string | null = null): Promise<Answer> =>
        this.#get(agent, name, {
          authorization,
          ...(tag === null ? {} : { 'if-none-match': tag }),
        });
      const timestamp = await get('timestamp.json', this.#tag);
      if (timestamp.status === 304) return null;
      const snapshot = await get(`${versionIn(timestamp.body, 'snapshot.json')}.snapshot.json`);
      const targets = await get(`${versionIn(snapshot.body, 'targets.json')}.targets.json`);
      this.#tag = timestamp.tag;
      return targets.body;
    } finally {
      agent.destroy();
    }
  }

  #get(agent: Agent, name: string, headers: Record<string, string>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const asked = request(
        {
          ...{ agent, headers, host: '127.0.0.1', localAddress: this.device.address },
          ...{ port: this.#target.httpPort, path: `/device/v1/director/${name}` },
        },
        (response) => {
          let body = '';
          response.setEncoding('utf8').on('data', (text: string) => (body += text));
          response.once('error', reject);
          response.once('end', () => {
            const status = response.statusCode ?? 0;
            if (status === 200 || status === 304)
              resolve({ status, body, tag: response.headers.etag ?? null });
            else {
              const answer = { status, body, retryAfter: response.headers['retry-after'] };
              reject(refusalFault(answer, name));
            }
          });
        },
      );
      asked.once('error', reject);
      asked.setTimeout(limits.fetchIdleMs, () => asked.destroy(new Error('no answer')));
      asked.end();
    });
  }

  #received(packet: Packet): void {
    const { id } = this.device;
    if (packet.cmd === 'connack') {
      if (packet.returnCode !== ACCEPTED) {
        this.#isBusy = packet.returnCode === BUSY;
        this.#isRefused = !this.#isBusy;
        this.#socket?.destroy();
        return;
      }
      const subscriptions = [{ topic: topics.down(id), qos: 1 as const }];
      this.#socket?.write(generate({ cmd: 'subscribe', messageId: 1, subscriptions }));
    } else if (packet.cmd === 'suback') {
      this.#socket?.setTimeout(0);
      this.#isSubscribed = true;
      this.#connectedAt = performance.now();
      this.#sendPending();
      this.#events.onConnected();
    } else if (packet.cmd === 'publish') {
      if (packet.topic === topics.hint(id)) this.#events.onHint();
      else this.#acknowledged(JSON.parse(packet.payload.toString()) as TelemetryAck);
    }
  }

  #acknowledged({ batch, result }: TelemetryAck): void {
    const pending = this.#pending;
    if (pending?.batch !== batch) return;
    if (result !== 'stored') throw new Error(`${this.device.id}: batch ${batch} was ${result}`);
    if (pending.timer !== null) clearTimeout(pending.timer);
    this.#pending = null;
    pending.done();
  }

  #sendPending(): void {
    const pending = this.#pending;
    if (pending === null || !this.#isSubscribed) return;
    if (pending.timer !== null) clearTimeout(pending.timer);
    if (pending.sends > 0) this.resent += 1;
    pending.sends += 1;
    this.#messageId = (this.#messageId % 65_535) + 1;
    this.#socket?.write(
      generate({
        ...{ cmd: 'publish', topic: topics.telemetry(this.device.id), payload: pending.payload },
        ...{ qos: 1, messageId: this.#messageId, dup: false, retain: false },
      }),
    );
    pending.timer = setTimeout(() => this.#sendPending(), limits.ackWaitMs);
  }

  #lost(): void {
    const heldMs = this.#connectedAt === null ? null : performance.now() - this.#connectedAt;
    this.#connectedAt = null;
    this.#socket = null;
    if (this.#isSubscribed) {
      this.#isSubscribed = false;
      this.#events.onLost();
    }
    if (this.#isClosed) return;
    const ended = { heldMs, isRefused: this.#isRefused, isBusy: this.#isBusy };
    const waitMs = this.#reconnect.waitMs(ended);
    setTimeout(() => void this.connect(), waitMs);
  }
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly tag: string | null;
}

function versionIn(document: string, name: string): number {
  const { signed } = JSON.parse(document) as {
    signed: { meta: Record<string, { version: number }> };
  };
  const version = signed.meta[name]?.version;
  if (version === undefined) throw new Error(`no version of ${name} in ${document}`);
  return version;
}
