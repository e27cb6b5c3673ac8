// Brings every spooled record to the fleet server: leases a batch, publishes it, waits for the
// server's own acknowledgement of this batch, deletes it. One batch is in flight. A batch that is
// not acknowledged is sent again under the same id, with backoff, for ever; the server stores a
// batch id once, so it has every record exactly once. The broker's PUBACK deletes nothing.
import { limits } from '../../shared/base/limits.js';
import { decodeJson } from '../../shared/base/decode.js';
import { isFault, reason } from '../../shared/base/fault-codes.js';
import { backoff, type Clock, type Log, type Random } from '../../shared/base/interfaces.js';
import {
  TelemetryAck,
  topics,
  type BodyOf,
  type Kind,
  type TelemetryBatch,
} from '../../shared/protocol/telemetry.js';
import { utf8 } from '../../shared/base/bytes.js';
import type { Link, Reporter } from '../interfaces.js';
import type { Lease, Spool } from './spool.js';

export interface TelemetryUploaderOptions {
  readonly device: string;
  /** Of this start of the agent; 32 hex digits. */
  readonly instance: string;
  readonly spool: Spool;
  readonly link: Link;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class TelemetryUploader implements Reporter {
  readonly #options: TelemetryUploaderOptions;
  #running: Promise<void> | null = null;
  #stopped = true;
  /** Ends the wait of the loop, when it waits for that. */
  #wake: (why: 'record' | 'connected' | 'answered' | 'stopped' | 'timeout') => void = () => {};
  /** The batch in flight, until the server has answered it. */
  #out: string | null = null;
  /** The last batch that the server acknowledged as stored. */
  #acked: string | null = null;
  /** Pauses in a row, until the server stores a batch. */
  #failures = 0;
  #refusedInARow = 0;

  constructor(options: TelemetryUploaderOptions) {
    this.#options = options;
    options.link.onMessage((topic, payload) => this.#received(topic, payload));
    options.link.onConnected(() => this.#wake('connected'));
  }

  report<K extends Kind>(kind: K, body: BodyOf<K>): void {
    this.#options.spool.append(kind, body);
    this.#wake('record');
  }

  start(): void {
    if (this.#running !== null) return;
    this.#stopped = false;
    this.#running = this.#run();
  }

  /** Stops sending. What is not acknowledged stays in the spool, which the caller closes. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake('stopped');
    await this.#running;
    this.#running = null;
  }

  /** Catches everything that fails in one round: telemetry must never stop a device. */
  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#round();
      } catch (error) {
        this.#options.log.error({ err: reason(error) }, 'telemetry upload failed; will retry');
        await this.#pause();
      }
    }
  }

  /** Sends the next batch, or waits for one. */
  async #round(): Promise<void> {
    const lease = this.#options.link.connected ? this.#options.spool.lease() : null;
    if (lease === null) return this.#wait(null, ['record', 'connected']);
    if (lease.batch === this.#acked) {
      // The same batch again although it is stored: the disk did not let the spool delete it.
      // Without a pause this would loop at full speed.
      this.#acked = null;
      return this.#pause();
    }
    if (await this.#deliver(lease)) this.#acked = lease.batch;
    else await this.#pause();
  }

  /** True when the server has stored the batch. */
  async #deliver(lease: Lease): Promise<boolean> {
    if (!(await this.#publish(lease))) return false;
    // The acknowledgement may have come before the broker's PUBACK did.
    if (this.#out !== null) await this.#wait(limits.ackWaitMs, ['answered', 'connected']);
    if (this.#out !== null) {
      this.#options.log.debug({ batch: lease.batch }, 'batch not acknowledged yet');
      return false;
    }
    return this.#refusedInARow === 0;
  }

  /** True when the broker has the batch. */
  async #publish(lease: Lease): Promise<boolean> {
    const { device, instance, link, log } = this.#options;
    const message: TelemetryBatch = {
      format: 'linnet.telemetry/1',
      batch: lease.batch,
      instance,
      records: lease.records,
    };
    this.#out = lease.batch;
    try {
      await link.publish(topics.telemetry(device), utf8(JSON.stringify(message)));
      return true;
    } catch (error) {
      if (!isFault(error, 'server_unreachable')) throw error;
      log.debug({ batch: lease.batch, err: reason(error) }, 'batch not published');
      return false;
    }
  }

  /** Backs off; a new connection or a late answer ends the pause. */
  async #pause(): Promise<void> {
    this.#failures += 1;
    const { ackBackoffFirstMs, ackBackoffMaxMs } = limits;
    await this.#wait(
      backoff(this.#failures, ackBackoffFirstMs, ackBackoffMaxMs, this.#options.random),
      ['connected', 'answered'],
    );
  }

  /** Resolves at one of `reasons`, after `timeoutMs`, or at stop. */
  #wait(
    timeoutMs: number | null,
    reasons: readonly ('record' | 'connected' | 'answered')[],
  ): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel =
        timeoutMs === null
          ? () => {}
          : this.#options.clock.after(timeoutMs, () => this.#wake('timeout'));
      this.#wake = (why) => {
        if (why !== 'stopped' && why !== 'timeout' && !reasons.includes(why)) return;
        cancel();
        this.#wake = () => {};
        resolve();
      };
    });
  }

  #received(topic: string, payload: Uint8Array): void {
    const { device, log } = this.#options;
    if (topic !== topics.ack(device)) return;
    try {
      this.#answered(decodeJson(TelemetryAck, payload, 'telemetry acknowledgement'));
    } catch (error) {
      if (!isFault(error, 'message_undecodable')) throw error;
      log.warn({ topic, err: reason(error) }, 'an acknowledgement does not decode');
    }
  }

  #answered({ batch, result, detail }: TelemetryAck): void {
    const { spool, log } = this.#options;
    if (result === 'stored') {
      spool.ack(batch);
      this.#refusedInARow = 0;
      this.#failures = 0;
    } else {
      const dropped = spool.refused(batch);
      if (dropped === 0) return; // Sent twice, or not a batch of this spool.
      log.error({ batch, dropped, detail }, 'the server refused a batch of telemetry: dropped');
      this.#refusedInARow += 1;
      // One event for a row of refusals: with one for each, a server that refuses everything would
      // be sent events for ever.
      if (this.#refusedInARow === 1) {
        spool.append('security', {
          code: 'message_undecodable',
          detail: `the server refused telemetry batch ${batch}: ${detail ?? ''}`.slice(
            0,
            limits.detailMaxChars,
          ),
        });
      }
    }
    if (batch !== this.#out) return;
    this.#out = null;
    this.#wake('answered');
  }
}
