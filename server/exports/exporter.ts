// Sends security events to one target outside, in the order of their changes. The queue is the
// database: an exporter reads from there after its cursor, which is stored once a page has been
// delivered. So a target that is slow or down costs no memory and delays nobody, a restart loses
// nothing, and an event may be delivered twice, never silently left out: an exporter that is too
// far behind goes on with the newest events and counts how many changes it left out. Its first
// start begins with events from then on.
import type { Cancel, Clock, Log, Random } from '../../shared/base/interfaces.js';
import { backoff } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import type { MarkStore, SecurityEventChangeRow, SecurityEventHistory } from '../interfaces.js';

export interface ExportTarget {
  /** Fixed for each kind of target: it names the cursor and is a label of metrics. */
  readonly name: string;
  /** Resolves when the target has them; must give up by itself (limits.exportSendMs). */
  send(events: readonly SecurityEventChangeRow[]): Promise<void>;
}

/** What the metrics hear. */
export interface ExportCounts {
  sent(target: string, events: number): void;
  dropped(target: string, changes: number): void;
  failed(target: string): void;
  behind(target: string, changes: number): void;
}

export interface SecurityExporterOptions {
  readonly target: ExportTarget;
  readonly events: SecurityEventHistory;
  readonly marks: MarkStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counts: ExportCounts;
}

export class SecurityExporter {
  readonly #options: SecurityExporterOptions;
  #cursor: number | null = null;
  #tries = 0;
  #stopped = false;
  #cancel: Cancel = () => {};
  #turn: Promise<void> = Promise.resolve();

  constructor(options: SecurityExporterOptions) {
    this.#options = options;
  }

  start(): void {
    this.#turn = this.#work();
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#turn;
  }

  async #work(): Promise<void> {
    const { target, clock, random, log, counts } = this.#options;
    let pauseMs: number = limits.exportEveryMs;
    try {
      const isMore = await this.#sendPage();
      if (this.#tries > 0)
        log.info({ exporter: target.name }, 'security events are exported again');
      this.#tries = 0;
      if (isMore) pauseMs = 0;
    } catch (error) {
      this.#tries += 1;
      counts.failed(target.name);
      pauseMs = backoff(
        this.#tries,
        limits.exportBackoffFirstMs,
        limits.exportBackoffMaxMs,
        random,
      );
      if (this.#tries === 1)
        log.warn(
          { exporter: target.name, err: error },
          'cannot export security events; will retry',
        );
    }
    if (!this.#stopped) this.#cancel = clock.after(pauseMs, () => this.start());
  }

  /** Whether there may be more at once. */
  async #sendPage(): Promise<boolean> {
    const { target, events, marks, log, counts } = this.#options;
    const mark = `export ${target.name}`;
    const head = await events.head();
    let cursor = this.#cursor ?? (await marks.get(mark));
    if (cursor === null) {
      cursor = head;
      await marks.set(mark, cursor);
    }
    const dropped = head - limits.exportBehindMaxCount - cursor;
    if (dropped > 0) {
      counts.dropped(target.name, dropped);
      log.warn({ exporter: target.name, dropped }, 'changes of security events were not exported');
      cursor += dropped;
    }
    this.#cursor = cursor;
    counts.behind(target.name, head - cursor);
    const page = await events.changes(cursor, limits.exportPageMaxCount);
    const last = page.at(-1);
    if (last === undefined) return false;
    await target.send(page);
    this.#cursor = last.revision;
    await marks.set(mark, last.revision);
    counts.sent(target.name, page.length);
    counts.behind(target.name, Math.max(0, head - last.revision));
    return page.length === limits.exportPageMaxCount;
  }
}
