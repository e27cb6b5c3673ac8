// Small durable writes of many callers in one transaction. Each transaction on SQLite waits for the
// disk, and each statement on PostgreSQL is a round trip; what is asked for at once, or while one
// is under way, goes together into the next. A caller gets its result after the commit. When a
// group fails, each of its writes is tried alone: a wrong one does not fail the others.
import { limits } from '../../shared/base/limits.js';
import { Gatherer } from '../../shared/platform/gatherer.js';
import type { Db, Queries } from './database.js';

interface Write<W, T> {
  readonly wanted: W;
  readonly resolve: (result: T) => void;
  readonly reject: (error: unknown) => void;
}

/** Writes the rows of `group` and nothing else, with a result for each; it may run twice. */
type WriteAll<W, T> = (queries: Queries, group: readonly W[]) => Promise<readonly T[]>;

/** `key` names the row that is written. */
export class GroupedWrites<W extends { readonly key: string }, T> {
  readonly #db: Db;
  readonly #writeAll: WriteAll<W, T>;
  readonly #gatherer = new Gatherer<Write<W, T>>({
    maxCount: limits.groupedWritesMaxCount,
    work: (group) => this.#write(group),
  });

  constructor(db: Db, writeAll: WriteAll<W, T>) {
    this.#db = db;
    this.#writeAll = writeAll;
  }

  add(wanted: W): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#gatherer.add({ wanted, resolve, reject });
    });
  }

  /** Never rejects. */
  async #write(group: readonly Write<W, T>[]): Promise<void> {
    // In the same sequence everywhere, so that two servers do not block each other.
    const sorted = [...group].sort((a, b) => (a.wanted.key < b.wanted.key ? -1 : 1));
    try {
      const results = await this.#db.transaction().execute((trx) =>
        this.#writeAll(
          trx,
          sorted.map(({ wanted }) => wanted),
        ),
      );
      for (const [index, { resolve }] of sorted.entries()) resolve(results[index] as T);
    } catch (error) {
      if (sorted.length === 1) sorted[0]?.reject(error);
      else for (const one of sorted) await this.#write([one]);
    }
  }
}
