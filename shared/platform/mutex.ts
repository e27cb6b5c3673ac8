// One thing at a time: a mutex, and a mutex per key. Work starts in the order in which it was asked
// for; a failure is its caller's and does not disturb the next. By p-limit.
import pLimit, { type LimitFunction } from 'p-limit';

export class Mutex {
  readonly #limit: LimitFunction = pLimit(1);

  /** Runs `work` after all work that was asked for before. */
  run<T>(work: () => Promise<T>): Promise<T> {
    return this.#limit(work);
  }
}

/** Work with the same key runs one after another; keys do not wait for each other. */
export class KeyedMutex {
  readonly #limits = new Map<string, LimitFunction>();

  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const limit = this.#limits.get(key) ?? pLimit(1);
    this.#limits.set(key, limit);
    try {
      return await limit(work);
    } finally {
      if (limit.activeCount === 0 && limit.pendingCount === 0) this.#limits.delete(key);
    }
  }

  /** Keys with work that runs or waits. */
  get size(): number {
    return this.#limits.size;
  }
}
