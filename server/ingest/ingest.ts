// From a device's batch to rows: decode, one transaction, then the acknowledgement on which the
// device deletes the batch. It knows no topic and no transport: its caller has authenticated the
// device and sends the acknowledgement. The same batch again is acknowledged again and stored once.
// A batch that does not decode is refused, so that the device drops it instead of sending it
// forever. Batches are stored one after the other, in the order of arrival. When the database
// cannot store one, it is not acknowledged and the device sends it again.
import { Type } from 'typebox';
import { complaints, decodeJson } from '../../shared/base/decode.js';
import { isFault } from '../../shared/base/fault-codes.js';
import type { Clock, Log } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { TelemetryAck, TelemetryBatch } from '../../shared/protocol/telemetry.js';
import type {
  AssignmentStore,
  DeviceStore,
  SecurityEventSink,
  TelemetryStore,
} from '../interfaces.js';

export interface IngestOptions {
  readonly devices: DeviceStore;
  readonly telemetry: TelemetryStore;
  readonly assignments: Pick<AssignmentStore, 'raiseDirectorVersions'>;
  readonly security: SecurityEventSink;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether an error means that the database could not store, and not that a batch is strange. */
  readonly isStorageFault: (error: unknown) => boolean;
  /** A batch was lost through no fault of its device. Must not throw. */
  readonly onBatchLost: () => void;
  /** A batch with so many records was stored for the first time. Must not throw. */
  readonly onStored?: (records: number) => void;
}

/** Enough of a batch to refuse it by its id. */
const Identified = Type.Object({ batch: TelemetryAck.properties.batch });

export class Ingest {
  readonly #options: IngestOptions;
  #tail: Promise<unknown> = Promise.resolve();
  #waitingCount = 0;
  #waitingBytes = 0;
  /** How many batches of each device wait for their turn. */
  readonly #waitingOf = new Map<string, number>();

  constructor(options: IngestOptions) {
    this.#options = options;
  }

  /**
   * Takes an encoded batch of an authenticated device; it is stored after those that were taken
   * before. Resolves with the acknowledgement to send, or with null when the device must send the
   * batch again (or when there is nothing to acknowledge). Never rejects.
   */
  ingest(device: string, batch: Uint8Array): Promise<TelemetryAck | null> {
    if (!this.#hasRoom(device, batch)) return Promise.resolve(null);
    this.#waitingOf.set(device, (this.#waitingOf.get(device) ?? 0) + 1);
    this.#waitingCount += 1;
    this.#waitingBytes += batch.length;
    const receivedAt = this.#options.clock.monotonic();
    const stored = this.#tail
      .then(() => {
        this.#beginTurn(device);
        return this.#store(device, batch, receivedAt);
      })
      .catch((error: unknown) => this.#failed(device, error))
      .finally(() => {
        this.#waitingCount -= 1;
        this.#waitingBytes -= batch.length;
      });
    this.#tail = stored;
    return stored;
  }

  /** Resolves when everything that was taken so far is stored or has failed. */
  async settled(): Promise<void> {
    await this.#tail;
  }

  #hasRoom(device: string, batch: Uint8Array): boolean {
    const { log, onBatchLost } = this.#options;
    if ((this.#waitingOf.get(device) ?? 0) >= limits.ingestWaitingPerDeviceMaxCount) {
      // The device does not wait for its acknowledgements: no other device is affected.
      log.warn(
        { device },
        'the device sends faster than the database stores; dropped a batch that it will send again',
      );
      return false;
    }
    const isFull =
      this.#waitingCount >= limits.ingestQueueMaxCount ||
      this.#waitingBytes + batch.length > limits.ingestQueueMaxBytes;
    if (!isFull) return true;
    log.warn(
      { device },
      'too many batches wait for the database; dropped one that its device will send again',
    );
    onBatchLost();
    return false;
  }

  #beginTurn(device: string): void {
    const left = (this.#waitingOf.get(device) ?? 0) - 1;
    if (left > 0) this.#waitingOf.set(device, left);
    else this.#waitingOf.delete(device);
  }

  #failed(device: string, error: unknown): null {
    const { log, isStorageFault, onBatchLost } = this.#options;
    log.error({ device, err: error }, 'cannot store a telemetry batch; it is not acknowledged');
    // Only for failures of the database: a strange batch of one device must not excuse the silence
    // of others.
    if (isStorageFault(error)) onBatchLost();
    return null;
  }

  async #store(
    device: string,
    bytes: Uint8Array,
    receivedAt: number,
  ): Promise<TelemetryAck | null> {
    const { devices, telemetry, security, clock, log } = this.#options;
    const known = await devices.get(device);
    if (known?.status !== 'enrolled') {
      const status = known === null ? 'unknown' : known.status;
      security.report({
        source: { kind: 'server' },
        code: 'auth_denied',
        detail: `ignored telemetry of ${device}, which is ${status}`,
      });
      return null;
    }
    let batch: TelemetryBatch;
    try {
      batch = decodeJson(TelemetryBatch, bytes, 'telemetry batch');
    } catch (error) {
      if (!isFault(error, 'message_undecodable')) throw error;
      return this.#refuse(device, bytes, error.detail.slice(0, limits.detailMaxChars));
    }
    if (await telemetry.insertBatch(device, batch, clock.now()))
      this.#options.onStored?.(batch.records.length);
    await this.#raiseVersions(device, batch);
    const seq = batch.records.at(-1)?.seq;
    const afterMs = clock.monotonic() - receivedAt;
    log.debug({ device, batch: batch.batch, seq, afterMs }, 'stored a telemetry batch');
    return { batch: batch.batch, result: 'stored' };
  }

  /**
   * A device that refuses the director's metadata as older than what it trusted: this server was
   * restored from a backup. It goes on above what the device has seen.
   */
  async #raiseVersions(device: string, { records }: TelemetryBatch): Promise<void> {
    const { assignments, log } = this.#options;
    const seen = records.flatMap(({ kind, body }) =>
      kind === 'update' && body.trouble?.code === 'metadata_rollback' ? [body.directorVersion] : [],
    );
    if (seen.length === 0) return;
    const version = Math.max(...seen);
    if (await assignments.raiseDirectorVersions(device, version))
      log.warn({ device, version }, 'director metadata is signed anew, above what the device saw');
  }

  async #refuse(device: string, bytes: Uint8Array, detail: string): Promise<TelemetryAck | null> {
    const { security, log } = this.#options;
    log.warn({ device, detail }, 'refused a telemetry batch');
    // Stored before the acknowledgement: the device drops the batch on it, and nobody could look
    // the loss up otherwise.
    await security.record({
      source: { kind: 'device', id: device },
      code: 'message_undecodable',
      detail,
    });
    const batch = batchIdOf(bytes);
    return batch === null ? null : { batch, result: 'refused', detail };
  }
}

function batchIdOf(bytes: Uint8Array): string | null {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8')) as unknown;
  } catch {
    return null; // Not JSON: there is no id to read.
  }
  return complaints(Identified, value).length === 0 ? (value as { batch: string }).batch : null;
}
