// Reads of one thing each, by its key, of many callers in one statement. A statement costs more
// than the row that it finds, and on PostgreSQL a round trip; what is asked for at once, or while a
// group before is being read, goes together into the next. What is read is never older than the
// question.
import { limits } from '../../shared/base/limits.js';
import { Gatherer } from '../../shared/platform/gatherer.js';

interface Asked<T> {
  readonly key: string;
  readonly resolve: (found: T | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export class GroupedReads<T> {
  readonly #read: (keys: readonly string[]) => Promise<ReadonlyMap<string, T>>;
  readonly #gatherer = new Gatherer<Asked<T>>({
    maxCount: limits.groupedReadsMaxCount,
    work: (group) => this.#answer(group),
  });

  /** `read` gets each key once. */
  constructor(read: (keys: readonly string[]) => Promise<ReadonlyMap<string, T>>) {
    this.#read = read;
  }

  /** Undefined where `read` found nothing for the key. */
  get(key: string): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#gatherer.add({ key, resolve, reject });
    });
  }

  /** Never rejects. */
  async #answer(group: readonly Asked<T>[]): Promise<void> {
    try {
      const found = await this.#read([...new Set(group.map(({ key }) => key))]);
      for (const { key, resolve } of group) resolve(found.get(key));
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  }
}
