// What rooms and the bus of security events have to do with each other; server/interfaces.ts
// exports it with all other interfaces. Types only.

/**
 * Who caused a security event. A device or an operator has authenticated; `anonymous` is everyone
 * else, known by the remote address only.
 */
export type SecuritySource =
  | { readonly kind: 'device'; readonly id: string }
  | { readonly kind: 'operator'; readonly name: string }
  | { readonly kind: 'server' }
  | { readonly kind: 'anonymous'; readonly address: string };

export interface SecurityReport {
  readonly source: SecuritySource;
  /** A fault code (shared/base/fault-codes.ts), if the reporter has this version. */
  readonly code: string;
  readonly detail: string;
}

/** Where rooms report security events. */
export interface SecurityEventSink {
  /**
   * Never throws and never waits. The event is written soon after; repeats become one event with a
   * count, and the oldest anonymous events are dropped first when there are too many.
   */
  report(report: SecurityReport): void;
  /** Reports, and resolves when the event is written. Rejects when it could not be written. */
  record(report: SecurityReport): Promise<void>;
  /** Writes what is waiting. Rejects when it could not be written; it is kept then. */
  flush(): Promise<void>;
}

/** A report with its repeats. */
export interface SecurityEvent extends SecurityReport {
  /** At least 1. */
  readonly count: number;
  readonly firstAt: number;
  readonly lastAt: number;
}

/**
 * Receives the events of the bus in batches. It may get a batch again after it rejected it.
 */
export type SecurityEventSubscriber = (events: readonly SecurityEvent[]) => Promise<void>;
