// Small durable writes of many callers in one transaction. Each transaction on SQLite waits for the
// disk; what is asked for at once, or while one is under way, goes together into the next. A caller
// gets its result after the commit. When a group fails, each of its writes is tried alone: a wrong
// one does not fail the others.
import { limits } from '../../shared/base/limits.js';
import { Gatherer } from '../../shared/platform/gatherer.js';
import type { Db, Queries } from './database.js';

interface Write<T> {
  /** Groups write in the same sequence everywhere, so that two servers do not block each other. */
  readonly key: string;
  readonly run: (queries: Queries) => Promise<T>;
  readonly resolve: (result: T) => void;
  readonly reject: (error: unknown) => void;
}

export class GroupedWrites<T> {
  readonly #db: Db;
  readonly #gatherer = new Gatherer<Write<T>>({
    maxCount: limits.groupedWritesMaxCount,
    work: (group) => this.#write(group),
  });

  constructor(db: Db) {
    this.#db = db;
  }

  /** `run` writes one row, of `key`, and nothing else; it may run twice. */
  add(key: string, run: Write<T>['run']): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#gatherer.add({ key, run, resolve, reject });
    });
  }

  /** Never rejects. */
  async #write(group: readonly Write<T>[]): Promise<void> {
    const sorted = [...group].sort((a, b) => (a.key < b.key ? -1 : 1));
    try {
      const results = await this.#db.transaction().execute(async (trx) => {
        const found: T[] = [];
        for (const { run } of sorted) found.push(await run(trx));
        return found;
      });
      for (const [index, { resolve }] of sorted.entries()) resolve(results[index] as T);
    } catch (error) {
      if (sorted.length === 1) sorted[0]?.reject(error);
      else for (const one of sorted) await this.#write([one]);
    }
  }
}
