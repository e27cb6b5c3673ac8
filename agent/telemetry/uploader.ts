// Brings every spooled record to the fleet server: lease a batch, publish it, wait for the server's
// own acknowledgement of this batch, delete. One batch is in flight; a batch that is not
// acknowledged is sent again under the same id, with backoff, for as long as it takes, so that the
// server, which takes a batch id once, has every record exactly once. The broker's PUBACK deletes
// nothing. Hints are handed on and carry no authority.
import { limits } from '../../shared/base/limits.js';
import { decodeJson } from '../../shared/base/decode.js';
import { isFault, reason } from '../../shared/base/fault-codes.js';
import { backoff, type Clock, type Log, type Random } from '../../shared/base/interfaces.js';
import {
  Hint,
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
  readonly spool: Spool;
  readonly link: Link;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const DETAIL_MAX_CHARS = 1500;

export class TelemetryUploader implements Reporter {
  readonly #options: TelemetryUploaderOptions;
  readonly #hintListeners: ((hint: Hint) => void)[] = [];
  #running: Promise<void> | null = null;
  #stopped = true;
  /** Resolves what the loop waits for at present, with why. */
  #wake: (why: 'record' | 'connected' | 'answered' | 'stopped' | 'timeout') => void = () => {};
  /** The batch that is out, until the server has answered it. */
  #out: string | null = null;
  /** The last batch that the server said it has stored. */
  #acked: string | null = null;
  /** Pauses in a row, until the server stores a batch. */
  #failures = 0;
  #refusedInARow = 0;

  constructor(options: TelemetryUploaderOptions) {
    this.#options = options;
    options.link.onMessage((topic, payload) => this.#heard(topic, payload));
    options.link.onConnected(() => this.#wake('connected'));
  }

  report<K extends Kind>(kind: K, body: BodyOf<K>): void {
    this.#options.spool.append(kind, body);
    this.#wake('record');
  }

  onHint(listener: (hint: Hint) => void): void {
    this.#hintListeners.push(listener);
  }

  start(): void {
    if (this.#running !== null) return;
    this.#stopped = false;
    this.#running = this.#run();
  }

  /** Stops sending; what is not acknowledged stays in the spool, which is the caller's to close. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake('stopped');
    await this.#running;
    this.#running = null;
  }

  /** Whatever goes wrong in one round, the device goes on: telemetry must never stop it. */
  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#round();
      } catch (error) {
        this.#options.log.error({ error: reason(error) }, 'telemetry failed; tried again later');
        await this.#pause();
      }
    }
  }

  /** Sends the next batch, or waits for one. */
  async #round(): Promise<void> {
    const lease = this.#options.link.connected ? this.#options.spool.lease() : null;
    if (lease === null) return this.#wait(null, ['record', 'connected']);
    if (lease.batch === this.#acked) {
      // The same batch again although it was stored: the disk did not let the spool delete it. Not
      // at full speed, then.
      this.#acked = null;
      return this.#pause();
    }
    if (await this.#deliver(lease)) this.#acked = lease.batch;
    else await this.#pause();
  }

  /** True when the server has stored it; else the next try comes later. */
  async #deliver(lease: Lease): Promise<boolean> {
    const { device, link, log } = this.#options;
    const message: TelemetryBatch = {
      format: 'linnet.telemetry/1',
      batch: lease.batch,
      records: lease.records,
    };
    this.#out = lease.batch;
    try {
      await link.publish(topics.telemetry(device), utf8(JSON.stringify(message)));
    } catch (error) {
      if (!isFault(error, 'server_unreachable')) throw error;
      log.debug({ batch: lease.batch, error: reason(error) }, 'batch not published');
      return false;
    }
    // The acknowledgement may have come before the broker's PUBACK did.
    if (this.#out !== null) await this.#wait(limits.ackWaitMs, ['answered', 'connected']);
    if (this.#out !== null) {
      log.debug({ batch: lease.batch }, 'batch not acknowledged yet');
      return false;
    }
    return this.#refusedInARow === 0;
  }

  /** Backs off; a new connection or a late answer ends it. */
  async #pause(): Promise<void> {
    this.#failures += 1;
    const { ackBackoffFirstMs, ackBackoffMaxMs } = limits;
    await this.#wait(
      backoff(this.#failures, ackBackoffFirstMs, ackBackoffMaxMs, this.#options.random),
      ['connected', 'answered'],
    );
  }

  /** Until one of `reasons`, `timeoutMs`, or stop. */
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

  #heard(topic: string, payload: Uint8Array): void {
    const { device, log } = this.#options;
    try {
      if (topic === topics.ack(device))
        this.#answered(decodeJson(TelemetryAck, payload, 'telemetry acknowledgement'));
      else if (topic === topics.hint(device)) {
        const hint = decodeJson(Hint, payload, 'hint');
        for (const listener of this.#hintListeners) listener(hint);
      } else log.debug({ topic }, 'message on an unknown topic');
    } catch (error) {
      if (!isFault(error, 'message_undecodable')) throw error;
      log.warn({ topic, error: reason(error) }, 'message from the server does not decode');
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
      if (dropped === 0) return; // Said twice, or about nothing of ours.
      log.error({ batch, dropped, detail }, 'the server refused a batch of telemetry: dropped');
      this.#refusedInARow += 1;
      // Once for a row of refusals: the event itself must not keep a server that refuses everything
      // busy for ever.
      if (this.#refusedInARow === 1) {
        spool.append('security', {
          code: 'message_undecodable',
          detail: `the server refused telemetry batch ${batch}: ${detail ?? ''}`.slice(
            0,
            DETAIL_MAX_CHARS,
          ),
        });
      }
    }
    if (batch !== this.#out) return;
    this.#out = null;
    this.#wake('answered');
  }
}
