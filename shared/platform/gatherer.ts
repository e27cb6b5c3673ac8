// Work for many callers together: what is asked for at once, or while a group before it is being
// worked on, goes into the next group. Between two groups the event loop turns at least once, so
// that a long queue of them does not keep others waiting.
import { limits } from '../base/limits.js';
import { turn } from './turn.js';

/**
 * Lets what comes at once come together: resolves after one turn where the count has reached
 * limits.gatherMaxCount, or else when it has not grown for limits.gatherQuietTurns turns. One turn
 * is not enough then, because Node accepts one connection a turn (libuv since 1.46): with 1,000
 * devices that came at once, each was a group of its own, and each commit waited for the disk.
 */
export async function gathered(count: () => number): Promise<void> {
  let known = count();
  let quiet = 0;
  do {
    await turn();
    const now = count();
    quiet = now > known ? 0 : quiet + 1;
    known = now;
  } while (quiet < limits.gatherQuietTurns && known < limits.gatherMaxCount);
}

export interface GathererOptions<T> {
  /** Of one group. */
  readonly maxCount: number;
  /** Must not reject: it answers each of them by itself, also when it fails. */
  readonly work: (group: T[]) => Promise<void>;
  /** Called when nothing waits any more; what is added later is a new queue. */
  readonly onIdle?: () => void;
}

export class Gatherer<T> {
  readonly #options: GathererOptions<T>;
  readonly #waiting: T[] = [];
  #isWorking = false;

  constructor(options: GathererOptions<T>) {
    this.#options = options;
  }

  add(one: T): void {
    this.#waiting.push(one);
    if (!this.#isWorking) void this.#run();
  }

  async #run(): Promise<void> {
    const { maxCount, work, onIdle } = this.#options;
    this.#isWorking = true;
    while (this.#waiting.length > 0) {
      await gathered(() => this.#waiting.length);
      await work(this.#waiting.splice(0, maxCount));
    }
    this.#isWorking = false;
    onIdle?.();
  }
}
