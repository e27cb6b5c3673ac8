// From a device's MQTT message to rows: decode, one transaction, then the acknowledgement on which
// the device deletes. The same batch again is acknowledged again and stored once. A batch that does
// not decode is refused, so that the device drops it instead of sending it for ever. Messages are
// taken one after the other, in the order of arrival; when the database cannot store, nothing is
// acknowledged and the device sends again.
import { limits } from '../../shared/base/limits.js';
import { complaints, decodeJson } from '../../shared/base/decode.js';
import { isFault, reason } from '../../shared/base/fault-codes.js';
import type { Clock, Log } from '../../shared/base/interfaces.js';
import { deviceOfTopic, TelemetryAck, TelemetryBatch } from '../../shared/protocol/telemetry.js';
import { Type } from 'typebox';
import type { SecurityEventSink } from '../interfaces.js';
import { databaseFault } from '../store/database.js';
import type { Store } from '../store/store.js';

export interface IngestOptions {
  readonly store: Store;
  readonly security: SecurityEventSink;
  readonly clock: Clock;
  readonly log: Log;
  ack(device: string, ack: TelemetryAck): void;
  /** What a device said could not be kept, by no fault of its own. Must not throw. */
  onUnheard(): void;
}

/** Enough of a batch to refuse it by name. */
const Named = Type.Object({ batch: TelemetryAck.properties.batch });
const DETAIL_MAX = 1000;

export class Ingest {
  #tail: Promise<void> = Promise.resolve();
  #count = 0;
  #bytes = 0;
  /** How many messages of each topic wait for their turn. */
  readonly #waiting = new Map<string, number>();

  constructor(private readonly options: IngestOptions) {}

  /** Takes a message; the work happens behind those taken before. Never throws. */
  take(topic: string, payload: Uint8Array): void {
    const waiting = this.#waiting.get(topic) ?? 0;
    if (waiting >= limits.ingestWaitingPerDeviceMaxCount) {
      // It is the device's own haste: nobody else's silence is excused by it.
      this.options.log.warn(
        { topic },
        'a device sends faster than the database stores: a message is dropped, it will send it again',
      );
      return;
    }
    if (
      this.#count >= limits.ingestQueueMaxCount ||
      this.#bytes + payload.length > limits.ingestQueueMaxBytes
    ) {
      this.options.log.warn(
        { topic },
        'too many messages wait for the database: one is dropped, its device will send it again',
      );
      this.options.onUnheard();
      return;
    }
    this.#waiting.set(topic, waiting + 1);
    this.#count += 1;
    this.#bytes += payload.length;
    this.#tail = this.#tail
      .then(() => {
        this.#begins(topic);
        return this.#store(topic, payload);
      })
      .catch((error: unknown) => {
        this.options.log.error(
          { topic, error: reason(error) },
          'a telemetry message could not be stored and is not acknowledged',
        );
        // Only what the disk is to blame for: one device's strange message must not excuse the
        // silence of others.
        if (isFault(databaseFault(error, 'storing telemetry'))) this.options.onUnheard();
      })
      .finally(() => {
        this.#count -= 1;
        this.#bytes -= payload.length;
      });
  }

  #begins(topic: string): void {
    const left = (this.#waiting.get(topic) ?? 0) - 1;
    if (left > 0) this.#waiting.set(topic, left);
    else this.#waiting.delete(topic);
  }

  /** Everything that was taken so far is stored, or has failed. */
  settled(): Promise<void> {
    return this.#tail;
  }

  async #store(topic: string, payload: Uint8Array): Promise<void> {
    const device = deviceOfTopic(topic);
    if (device === null)
      return this.options.security.report({
        source: { kind: 'server' },
        code: 'message_undecodable',
        detail: `a message on ${topic.slice(0, 200)}, which is no device's topic`,
      });
    const known = await this.options.store.devices.get(device);
    if (known?.status !== 'enrolled')
      // The topic alone says who sent it: with an external broker anybody may have.
      return this.options.security.report({
        source: { kind: 'anonymous', address: device },
        code: 'auth_denied',
        detail: `telemetry of ${device}, which is ${known === null ? 'unknown' : known.status}, is ignored`,
      });
    let batch: TelemetryBatch;
    try {
      batch = decodeBatch(payload);
    } catch (error) {
      if (!isFault(error, 'message_undecodable')) throw error;
      return this.#refuse(device, payload, error.detail.slice(0, DETAIL_MAX));
    }
    await this.options.store.telemetry.insertBatch(device, batch, this.options.clock.now());
    this.options.ack(device, { batch: batch.batch, result: 'stored' });
  }

  async #refuse(device: string, payload: Uint8Array, detail: string): Promise<void> {
    this.options.log.warn({ device, detail }, 'telemetry refused');
    // Recorded first: a refusal that the device knows of but nobody can look up would be a silent
    // loss.
    await this.options.security.record({
      source: { kind: 'device', id: device },
      code: 'message_undecodable',
      detail,
    });
    const batch = batchIdOf(payload);
    if (batch !== null) this.options.ack(device, { batch, result: 'refused', detail });
  }
}

function decodeBatch(payload: Uint8Array): TelemetryBatch {
  return decodeJson(TelemetryBatch, payload, 'telemetry batch') as TelemetryBatch;
}

function batchIdOf(payload: Uint8Array): string | null {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload).toString('utf8')) as unknown;
  } catch {
    return null; // Not JSON: there is no id to read.
  }
  return complaints(Named, value).length === 0 ? (value as { batch: string }).batch : null;
}
