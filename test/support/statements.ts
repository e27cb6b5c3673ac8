// Counts the statements that a store runs: what one action may cost, whatever the fleet's size.
import { Store } from '../../server/store/store.js';

export interface CountedStore {
  readonly store: Store;
  /** The statements of `action`, in their order. */
  of(action: () => Promise<unknown>): Promise<string[]>;
}

export async function countedStore(file = ':memory:'): Promise<CountedStore> {
  let seen: string[] = [];
  const store = await Store.open(file, { onStatement: (sql) => void seen.push(sql) });
  return {
    store,
    of: async (action) => {
      seen = [];
      await action();
      return seen;
    },
  };
}
