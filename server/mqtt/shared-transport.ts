// The transport of one of several servers with embedded brokers: each device is connected to one of
// them. What a server says to a device it says to the others, too; the one that has the device
// passes it on. The notices are hints: a lost one costs the time until the device's next poll, and
// a revoked device is refused with its next batch in any case.
import { Type, type Static } from 'typebox';
import { decodeJson } from '../../shared/base/decode.js';
import { isFault } from '../../shared/base/fault-codes.js';
import type { Log } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { Gatherer } from '../../shared/platform/gatherer.js';
import { DeviceId } from '../../shared/protocol/telemetry.js';
import type { Transport } from '../interfaces.js';

const Devices = Type.Array(DeviceId, { maxItems: limits.noticeDevicesMaxCount });
const Notice = Type.Object(
  { hint: Type.Optional(Devices), disconnect: Type.Optional(Devices) },
  { additionalProperties: false },
);
type Notice = Static<typeof Notice>;

export interface SharedTransportOptions {
  readonly own: Transport;
  /** To the other servers. */
  readonly send: (text: string) => void;
  readonly log: Log;
}

export class SharedTransport implements Transport {
  readonly #own: Transport;
  readonly #log: Log;
  readonly #hints: Gatherer<string>;
  readonly #send: (notice: Notice) => void;

  constructor({ own, send, log }: SharedTransportOptions) {
    this.#own = own;
    this.#log = log;
    this.#send = (notice) => send(JSON.stringify(notice));
    this.#hints = new Gatherer({
      maxCount: limits.noticeDevicesMaxCount,
      work: async (devices) => this.#send({ hint: [...new Set(devices)] }),
    });
  }

  get port(): number {
    return this.#own.port;
  }

  hint(device: string): void {
    this.#own.hint(device);
    this.#hints.add(device);
  }

  disconnect(device: string): void {
    this.#own.disconnect(device);
    this.#send({ disconnect: [device] });
  }

  connections(): number | null {
    return this.#own.connections();
  }

  close(): Promise<void> {
    return this.#own.close();
  }

  /** What another server sent. */
  receive(text: string): void {
    let notice: Notice;
    try {
      notice = decodeJson(Notice, text, 'a notice of another server');
    } catch (error) {
      if (!isFault(error)) throw error;
      // Of a later version, or of somebody else who may use the database.
      this.#log.warn({ err: error }, 'a notice of another server was ignored');
      return;
    }
    for (const device of notice.hint ?? []) this.#own.hint(device);
    for (const device of notice.disconnect ?? []) this.#own.disconnect(device);
  }
}
