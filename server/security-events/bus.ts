// The bus of security events: producers report, subscribers (the store; later exporters) receive. A
// report costs its producer a map look-up and never waits, throws, or writes. Repeats that come
// before the next batch are folded into one event with a count. Events wait in two queues of
// limited size, one for sources that have authenticated and one for anonymous ones, so that
// strangers can neither evict the events of devices and operators nor fill the memory. When a queue
// is full, a new event is dropped, counted and logged; its repeats still count.
//
// A batch goes to all subscribers. When the store rejects it, its events go back into the queue and
// are tried again with the next batch. Events that a device reports itself do not come this way:
// they are committed together with the telemetry batch that carries them (server/store/telemetry).
import { limits } from '../../shared/base/limits.js';
import type { Cancel, Clock, Log } from '../../shared/base/interfaces.js';
import type {
  SecurityEvent,
  SecurityEventSink,
  SecurityEventSubscriber,
  SecurityReport,
  SecuritySource,
} from '../interfaces.js';

export interface SecurityEventBusOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Must store a batch whole or reject it. */
  readonly store: SecurityEventSubscriber;
}

type Queue = Map<string, SecurityEvent>;

export class SecurityEventBus implements SecurityEventSink {
  readonly #options: SecurityEventBusOptions;
  readonly #subscribers: SecurityEventSubscriber[] = [];
  readonly #known: Queue = new Map();
  readonly #anonymous: Queue = new Map();
  #dropped = 0;
  #cancel: Cancel | null = null;
  #tail: Promise<void> = Promise.resolve();

  constructor(options: SecurityEventBusOptions) {
    this.#options = options;
  }

  /** Gets every event that the store has taken; a batch that it rejects is lost for it. */
  subscribe(subscriber: SecurityEventSubscriber): void {
    this.#subscribers.push(subscriber);
  }

  report(report: SecurityReport): void {
    const at = this.#options.clock.now();
    this.#add({
      ...report,
      detail: report.detail.slice(0, limits.detailMaxChars),
      count: 1,
      firstAt: at,
      lastAt: at,
    });
    this.#schedule();
  }

  record(report: SecurityReport): Promise<void> {
    this.report(report);
    return this.flush();
  }

  /** One batch at a time: the batch of this call holds everything that was reported before it. */
  flush(): Promise<void> {
    const flushed = this.#tail.then(() => this.#write());
    this.#tail = flushed.catch(() => {});
    return flushed;
  }

  /** Writes what is waiting; what the store does not take now is lost, and logged. */
  async close(): Promise<void> {
    await this.flush().catch(() => {});
    this.#cancel?.();
    this.#cancel = null;
    const lost = this.#known.size + this.#anonymous.size;
    if (lost > 0) this.#options.log.error({ lost }, 'security events were lost at the stop');
  }

  /** False when the event was dropped. */
  #add(event: SecurityEvent): void {
    const queue = event.source.kind === 'anonymous' ? this.#anonymous : this.#known;
    const key = queueKey(event);
    const waiting = queue.get(key);
    if (waiting !== undefined)
      queue.set(key, {
        ...event,
        count: waiting.count + event.count,
        firstAt: Math.min(waiting.firstAt, event.firstAt),
        lastAt: Math.max(waiting.lastAt, event.lastAt),
      });
    else if (queue.size < limits.securityEventsQueueMaxCount) queue.set(key, event);
    else this.#dropped += 1;
  }

  #schedule(): void {
    this.#cancel ??= this.#options.clock.after(limits.securityEventsFlushMs, () => {
      this.#cancel = null;
      // #write has logged the failure and scheduled the next try.
      this.flush().catch(() => {});
    });
  }

  async #write(): Promise<void> {
    const { log, store } = this.#options;
    const batch = [...this.#known.values(), ...this.#anonymous.values()];
    this.#known.clear();
    this.#anonymous.clear();
    if (this.#dropped > 0)
      log.warn({ dropped: this.#dropped }, 'security events were dropped: their queue was full');
    this.#dropped = 0;
    if (batch.length === 0) return;
    try {
      await store(batch);
    } catch (error) {
      log.error({ err: error, events: batch.length }, 'cannot store security events; will retry');
      for (const event of batch) this.#add(event);
      this.#schedule();
      throw error;
    }
    for (const subscriber of this.#subscribers)
      await subscriber(batch).catch((error: unknown) =>
        log.error({ err: error }, 'a subscriber did not take a batch of security events'),
      );
  }
}

/**
 * Equal for reports that are folded. An anonymous sender chooses the detail, so it is not part of
 * the key.
 */
function queueKey({ source, code, detail }: SecurityReport): string {
  return JSON.stringify(
    source.kind === 'anonymous' ? [source.address, code] : [nameOf(source), code, detail],
  );
}

function nameOf(source: Exclude<SecuritySource, { kind: 'anonymous' }>): string {
  switch (source.kind) {
    case 'device':
      return `device ${source.id}`;
    case 'operator':
      return `operator ${source.name}`;
    case 'server':
      return 'server';
  }
}
