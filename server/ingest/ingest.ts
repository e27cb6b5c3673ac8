// From devices' batches to rows: decode, one transaction, then the acknowledgements on which the
// devices delete their batches. It knows no topic and no transport: its caller has authenticated
// the device and sends the acknowledgement. The same batch again is acknowledged again and stored
// once. A batch that does not decode is refused, so that the device drops it instead of sending it
// forever.
//
// Group commit: batches that arrive within limits.ingestGroupWaitMs, at once, or while a group
// before them is being stored, are one transaction, in the order of arrival. A group is limited in
// batches, bytes and records, and a timer runs between two groups, so that the event loop serves
// others. When a group fails for another reason than the database's, each of its batches is tried
// alone: a strange one does not lose the others. What could not be stored is not acknowledged, and
// the device sends it again.
import { Type } from 'typebox';
import { complaints, decodeJson } from '../../shared/base/decode.js';
import { isFault } from '../../shared/base/fault-codes.js';
import { sleep, type Clock, type Log } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { RecentMap } from '../../shared/base/recent-map.js';
import { gathered } from '../../shared/platform/gatherer.js';
import { TelemetryAck, TelemetryBatch } from '../../shared/protocol/telemetry.js';
import type { DeviceStatus } from '../../shared/protocol/operator-api.js';
import type {
  AssignmentStore,
  BatchResult,
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

interface Waiting {
  readonly device: string;
  readonly bytes: Uint8Array;
  readonly receivedAt: number;
  /** Decoded when its turn comes near; an error when it cannot be. */
  decoded: TelemetryBatch | Error | null;
  readonly answer: (ack: TelemetryAck | null) => void;
}

interface Decoded extends Waiting {
  readonly batch: TelemetryBatch;
}

export class Ingest {
  readonly #options: IngestOptions;
  readonly #queue: Waiting[] = [];
  #waitingCount = 0;
  #waitingBytes = 0;
  /** How many batches of each device wait for their turn. */
  readonly #waitingOf = new Map<string, number>();
  #working: Promise<void> | null = null;
  /** Monotonic, by device and message. */
  readonly #warnedAt = new RecentMap<string, number>(limits.ingestWarningsKeptMaxCount);

  constructor(options: IngestOptions) {
    this.#options = options;
  }

  /**
   * Takes an encoded batch of an authenticated device; it is stored after those that were taken
   * before. Resolves with the acknowledgement to send, or with null when the device must send the
   * batch again (or when there is nothing to acknowledge). Never rejects.
   */
  ingest(device: string, bytes: Uint8Array): Promise<TelemetryAck | null> {
    if (!this.#hasRoom(device, bytes)) return Promise.resolve(null);
    this.#waitingOf.set(device, (this.#waitingOf.get(device) ?? 0) + 1);
    this.#waitingCount += 1;
    this.#waitingBytes += bytes.length;
    const receivedAt = this.#options.clock.monotonic();
    const answered = new Promise<TelemetryAck | null>((answer) => {
      this.#queue.push({ device, bytes, receivedAt, decoded: null, answer });
    });
    this.#working ??= this.#work();
    return answered;
  }

  /** Resolves when everything that was taken so far is stored or has failed. */
  async settled(): Promise<void> {
    await this.#working;
  }

  async #work(): Promise<void> {
    while (this.#queue.length > 0) {
      const isFull = this.#queue.length >= limits.ingestGroupMaxCount;
      await sleep(this.#options.clock, isFull ? 0 : limits.ingestGroupWaitMs);
      await gathered(() => this.#queue.length);
      const group = this.#take();
      await this.#storeGroup(group);
      for (const { bytes } of group) this.#waitingBytes -= bytes.length;
      this.#waitingCount -= group.length;
    }
    this.#working = null;
  }

  /** The next group, of at least one batch. */
  #take(): Waiting[] {
    let bytes = 0;
    let records = 0;
    let count = 0;
    for (const waiting of this.#queue) {
      waiting.decoded ??= decoded(waiting.bytes);
      bytes += waiting.bytes.length;
      records += waiting.decoded instanceof Error ? 0 : waiting.decoded.records.length;
      const isFull =
        count >= limits.ingestGroupMaxCount ||
        bytes > limits.ingestGroupMaxBytes ||
        records > limits.ingestGroupRecordsMaxCount;
      if (isFull && count > 0) break;
      count += 1;
    }
    const group = this.#queue.splice(0, count);
    for (const { device } of group) this.#beginTurn(device);
    return group;
  }

  #hasRoom(device: string, batch: Uint8Array): boolean {
    const { onBatchLost } = this.#options;
    if ((this.#waitingOf.get(device) ?? 0) >= limits.ingestWaitingPerDeviceMaxCount) {
      // The device does not wait for its acknowledgements: no other device is affected.
      this.#warn(
        device,
        'the device sends faster than the database stores; dropped a batch that it will send again',
      );
      return false;
    }
    const isFull =
      this.#waitingCount >= limits.ingestQueueMaxCount ||
      this.#waitingBytes + batch.length > limits.ingestQueueMaxBytes;
    if (!isFull) return true;
    this.#warn(
      device,
      'too many batches wait for the database; dropped one that its device will send again',
    );
    onBatchLost();
    return false;
  }

  /** What a device sends must not decide how long the log is. */
  #warn(device: string, message: string, more: { readonly detail?: string } = {}): void {
    const { clock, log } = this.#options;
    const key = `${device} ${message}`;
    const now = clock.monotonic();
    const warnedAt = this.#warnedAt.get(key);
    if (warnedAt !== undefined && now - warnedAt < limits.ingestWarningMs) return;
    this.#warnedAt.set(key, now);
    log.warn({ device, ...more }, message);
  }

  #beginTurn(device: string): void {
    const left = (this.#waitingOf.get(device) ?? 0) - 1;
    if (left > 0) this.#waitingOf.set(device, left);
    else this.#waitingOf.delete(device);
  }

  async #storeGroup(group: readonly Waiting[]): Promise<void> {
    const batches: Decoded[] = [];
    const strange: { waiting: Waiting; error: Error }[] = [];
    for (const waiting of group) {
      const { decoded } = waiting;
      if (decoded instanceof Error) strange.push({ waiting, error: decoded });
      else if (decoded !== null) batches.push({ ...waiting, batch: decoded });
    }
    if (strange.length > 0) await this.#refuseAll(strange);
    if (batches.length > 0) await this.#storeBatches(batches);
  }

  async #storeBatches(batches: readonly Decoded[]): Promise<void> {
    const { telemetry, clock, log, isStorageFault } = this.#options;
    let results: BatchResult[];
    try {
      results = await telemetry.insertBatches(
        batches.map(({ device, batch }) => ({ device, batch })),
        clock.now(),
      );
    } catch (error) {
      if (batches.length === 1 || isStorageFault(error)) {
        for (const { device, answer } of batches) answer(this.#failed(device, error));
        return;
      }
      log.warn({ err: error, batches: batches.length }, 'a group of batches failed; each alone');
      for (const one of batches) await this.#storeBatches([one]);
      return;
    }
    for (const [index, one] of batches.entries())
      await this.#answer(one, () => this.#afterCommit(one, results[index] as BatchResult));
  }

  /** Sends what `make` resolves with; when it fails, nothing is acknowledged. */
  async #answer(
    { device, answer }: Waiting,
    make: () => Promise<TelemetryAck | null>,
  ): Promise<void> {
    answer(await make().catch((error: unknown) => this.#failed(device, error)));
  }

  #failed(device: string, error: unknown): null {
    const { log, isStorageFault, onBatchLost } = this.#options;
    log.error({ device, err: error }, 'cannot store a telemetry batch; it is not acknowledged');
    // Only for failures of the database: a strange batch of one device must not excuse the silence
    // of others.
    if (isStorageFault(error)) onBatchLost();
    return null;
  }

  async #afterCommit(
    { device, batch, receivedAt }: Decoded,
    result: BatchResult,
  ): Promise<TelemetryAck | null> {
    const { devices, clock, log } = this.#options;
    if (result === 'not_enrolled') {
      this.#ignore(device, (await devices.get(device))?.status);
      return null;
    }
    if (result === 'stored') this.#options.onStored?.(batch.records.length);
    await this.#raiseVersions(device, batch);
    const seq = batch.records.at(-1)?.seq;
    const afterMs = clock.monotonic() - receivedAt;
    log.debug({ device, batch: batch.batch, seq, afterMs }, 'stored a telemetry batch');
    return { batch: batch.batch, result: 'stored' };
  }

  #ignore(device: string, status: DeviceStatus | undefined): void {
    this.#options.security.report({
      source: { kind: 'server' },
      code: 'auth_denied',
      detail: `ignored telemetry of ${device}, which is ${status ?? 'unknown'}`,
    });
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

  /** Their events are one write: garbage must not cost the group a transaction for each batch. */
  async #refuseAll(strange: readonly { waiting: Waiting; error: Error }[]): Promise<void> {
    const acks: (TelemetryAck | null)[] = [];
    for (const { waiting, error } of strange)
      acks.push(
        await this.#refusal(waiting, error).catch((failure: unknown) =>
          this.#failed(waiting.device, failure),
        ),
      );
    // Stored before the acknowledgements: devices drop the batches on them, and nobody could look
    // the loss up otherwise.
    const stored = this.#options.security.flush();
    for (const [index, { waiting }] of strange.entries())
      await this.#answer(waiting, () => stored.then(() => acks[index] ?? null));
  }

  async #refusal({ device, bytes }: Waiting, error: Error): Promise<TelemetryAck | null> {
    const { devices, security } = this.#options;
    const known = await devices.get(device);
    if (known?.status !== 'enrolled') {
      this.#ignore(device, known?.status);
      return null;
    }
    if (!isFault(error, 'message_undecodable')) throw error;
    const detail = error.detail.slice(0, limits.detailMaxChars);
    this.#warn(device, 'refused a telemetry batch', { detail });
    security.report({
      source: { kind: 'device', id: device },
      code: 'message_undecodable',
      detail,
    });
    const batch = batchIdOf(bytes);
    return batch === null ? null : { batch, result: 'refused', detail };
  }
}

/** The batch, or why it does not decode. */
function decoded(bytes: Uint8Array): TelemetryBatch | Error {
  try {
    return decodeJson(TelemetryBatch, bytes, 'telemetry batch');
  } catch (error) {
    return error as Error;
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
