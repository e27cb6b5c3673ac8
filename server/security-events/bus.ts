// The bus of security events: producers report, subscribers (the store; later exporters) receive. A
// report costs its producer a map look-up and never waits, throws, or writes. Repeats that come
// before the next batch are folded into one event with a count. Events wait in two queues of
// limited size, one for sources that have authenticated and one for anonymous ones, so that
// strangers can neither evict the events of devices and operators nor fill the memory. When the
// strangers' queue is full, further addresses are folded into one event of each code. Of a known
// source so many details of one code wait; further ones are folded. When the queue of known sources
// is full all the same, a new event is dropped, counted and logged; its repeats still count.
//
// What a stranger does is written at once, and its repeats every limits.securityEventsRepeatMs: an
// attack that goes on costs few durable writes.
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
import { RecentMap } from '../../shared/base/recent-map.js';
import { OTHER_ADDRESSES } from './other-addresses.js';

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
  /** Distinct details that wait, by known source and code. */
  readonly #details = new Map<string, number>();
  /** When an event of a stranger was written last, by its key. */
  readonly #written = new RecentMap<string, number>(limits.securityEventsQueueMaxCount);
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
    return this.#inTurn(() => this.#write(() => true));
  }

  #inTurn(write: () => Promise<void>): Promise<void> {
    const flushed = this.#tail.then(write);
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

  #add(event: SecurityEvent): void {
    if (event.source.kind === 'anonymous') this.#addAnonymous(event);
    else this.#addKnown(event);
  }

  #addAnonymous(event: SecurityEvent): void {
    const key = queueKey(event);
    if (this.#anonymous.has(key) || this.#anonymous.size < limits.securityEventsQueueMaxCount) {
      fold(this.#anonymous, key, event);
      return;
    }
    // The codes are those of this server, so there are few of them.
    const other = { ...event, source: { kind: 'anonymous', address: OTHER_ADDRESSES } } as const;
    fold(this.#anonymous, queueKey(other), other);
  }

  #addKnown(event: SecurityEvent): void {
    const key = queueKey(event);
    if (this.#known.has(key)) {
      fold(this.#known, key, event);
      return;
    }
    const group = queueKey({ ...event, detail: '' });
    const details = this.#details.get(group) ?? 0;
    if (details >= limits.securityEventsWaitingPerCodeMaxCount) {
      fold(this.#known, `${group} folded`, event);
    } else if (this.#known.size < limits.securityEventsQueueMaxCount) {
      this.#details.set(group, details + 1);
      this.#known.set(key, event);
    } else this.#dropped += 1;
  }

  #schedule(): void {
    this.#cancel ??= this.#options.clock.after(limits.securityEventsFlushMs, () => {
      this.#cancel = null;
      // #write has logged the failure and scheduled the next try.
      this.#inTurn(() => this.#write((key) => this.#isDue(key))).catch(() => {});
    });
  }

  /** Whether a repeat of what a stranger did is written again. */
  #isDue(key: string): boolean {
    const at = this.#written.get(key);
    return (
      at === undefined || this.#options.clock.monotonic() - at >= limits.securityEventsRepeatMs
    );
  }

  /** Of strangers only what is due. */
  async #write(isDue: (key: string) => boolean): Promise<void> {
    const { log, store } = this.#options;
    const due = [...this.#anonymous].filter(([key]) => isDue(key));
    const batch = [...this.#known.values(), ...due.map(([, event]) => event)];
    this.#known.clear();
    this.#details.clear();
    for (const [key] of due) this.#anonymous.delete(key);
    if (this.#anonymous.size > 0) this.#schedule();
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
    for (const [key] of due) this.#written.set(key, this.#options.clock.monotonic());
    for (const subscriber of this.#subscribers)
      await subscriber(batch).catch((error: unknown) =>
        log.error({ err: error }, 'a subscriber did not take a batch of security events'),
      );
  }
}

function fold(queue: Queue, key: string, event: SecurityEvent): void {
  const waiting = queue.get(key);
  queue.set(
    key,
    waiting === undefined
      ? event
      : {
          ...event,
          count: waiting.count + event.count,
          firstAt: Math.min(waiting.firstAt, event.firstAt),
          lastAt: Math.max(waiting.lastAt, event.lastAt),
        },
  );
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
