// What every part needs from its environment and does not take by itself. The composition roots
// pass the real ones (`realClock` and so on live beside them); simulators and tests pass their own.

export type Cancel = () => void;

export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. May jump. */
  now(): number;
  /** Milliseconds since an arbitrary start, never going back. For durations. */
  monotonic(): number;
  /** Calls `fn` once, after `ms` milliseconds, unless cancelled. */
  after(ms: number, fn: () => void): Cancel;
}

export interface Random {
  bytes(count: number): Uint8Array;
  /** Uniform in [0, 1). */
  fraction(): number;
}

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  child(fields: object): Log;
}

export const silentLog: Log = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLog,
};

export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => clock.after(ms, resolve));
}

/**
 * Exponential backoff with jitter in [0.5, 1] of the step, so that devices do not retry in
 * lockstep. `tries` counts from 1.
 */
export function backoff(tries: number, firstMs: number, maxMs: number, random: Random): number {
  const step = Math.min(maxMs, firstMs * 2 ** Math.min(30, tries - 1));
  return Math.round(step * (0.5 + random.fraction() / 2));
}
