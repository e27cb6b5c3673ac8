// Numbers that the server keeps by name: counters that only rise, cursors of exporters, and the
// time of the last test write of /readyz.
import type { MarkStore } from '../interfaces.js';
import type { Db, Queries } from './database.js';

export class SqlMarkStore implements MarkStore {
  readonly #db: Db;

  constructor(db: Db) {
    this.#db = db;
  }

  get(name: string): Promise<number | null> {
    return readMark(this.#db, name);
  }

  /** Durable on return. */
  async set(name: string, value: number): Promise<void> {
    await this.#db
      .insertInto('marks')
      .values({ name, value })
      .onConflict((oc) => oc.column('name').doUpdateSet({ value }))
      .execute();
  }
}

/** Raises a counter, and returns its new value. */
export async function raise(queries: Queries, name: string, by: number): Promise<number> {
  const { value } = await queries
    .insertInto('marks')
    .values({ name, value: by })
    .onConflict((oc) =>
      oc.column('name').doUpdateSet((eb) => ({ value: eb('marks.value', '+', by) })),
    )
    .returning('value')
    .executeTakeFirstOrThrow();
  return value;
}

export async function readMark(queries: Queries, name: string): Promise<number | null> {
  const row = await queries
    .selectFrom('marks')
    .select('value')
    .where('name', '=', name)
    .executeTakeFirst();
  return row?.value ?? null;
}
