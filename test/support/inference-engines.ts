// What tests of the inference room share: an engine with real model processes and real time, whose
// deadlines ring when the test says so.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Engine, type EngineOptions } from '../../agent/inference/engine/engine.js';
import { Fault, type FaultCode } from '../../shared/base/fault-codes.js';
import { silentLog, type Cancel, type Clock } from '../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { childPath } from './inference-releases.js';

/** `home`: of the model processes, is made below `root`. */
export function testEngine(root: string, options: Partial<EngineOptions> = {}): Engine {
  return new Engine({
    component: 'digits',
    childPath,
    home: join(root, 'home'),
    clock: realClock,
    random: realRandom,
    log: silentLog,
    ...options,
  });
}

/** Real time that a test can move forward. */
export class MovableClock implements Clock {
  #movedMs = 0;
  readonly #timers = new Set<{ readonly at: number; readonly fire: () => void }>();

  now(): number {
    return realClock.now() + this.#movedMs;
  }

  monotonic(): number {
    return realClock.monotonic() + this.#movedMs;
  }

  after(ms: number, fn: () => void): Cancel {
    const fire = () => {
      cancel();
      fn();
    };
    const timer = { at: this.monotonic() + ms, fire };
    const cancelReal = realClock.after(ms, fire);
    const cancel = () => {
      this.#timers.delete(timer);
      cancelReal();
    };
    this.#timers.add(timer);
    return cancel;
  }

  /** Moves the time and fires what is due by then, in order. */
  move(ms: number): void {
    this.#movedMs += ms;
    const due = [...this.#timers].filter(({ at }) => at <= this.monotonic());
    for (const { fire } of due.sort((a, b) => a.at - b.at)) fire();
  }

  /** Milliseconds until each timer fires, the next one first. */
  get pendingMs(): number[] {
    const now = this.monotonic();
    return [...this.#timers].map(({ at }) => at - now).sort((a, b) => a - b);
  }
}

/** Waits until `fact` holds. The limit of 30 s is far from any healthy run. */
export async function until(fact: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 3000; i += 1) {
    if (fact()) return;
    await pause(10);
  }
  throw new Error(`never: ${what}`);
}

/** The Fault that `work` throws; anything else fails the test. */
export function refusalOf(work: () => unknown): Fault {
  try {
    work();
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error('no fault');
}

/** The Fault that `work` rejects with; anything else fails the test. */
export async function faultOf(work: Promise<unknown>): Promise<Fault> {
  try {
    await work;
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error('no fault');
}

export const faultCodeOf = async (work: Promise<unknown>): Promise<FaultCode> =>
  (await faultOf(work)).code;

export const isAlive = (pid: number): boolean =>
  existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));

export const isComputing = (pid: number): boolean =>
  /^State:\s+R/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));

/** Of the running process in that role; 0 without one. */
export const pidOf = (engine: Engine, role = 'serving'): number =>
  engine.processes.find((entry) => entry.role === role)?.pid ?? 0;
