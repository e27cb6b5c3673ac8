// Writes of many callers in one transaction, each with its own result.
import { expect, it } from 'vitest';
import { GroupedWrites } from '../../../server/store/grouped-writes.js';
import { openTestStore } from '../../support/test-store.js';

const mark = (name: string, value: number) => ({ name, value });

it('writes_that_wait_share_a_transaction_and_a_wrong_one_fails_alone', async () => {
  const store = await openTestStore();
  const writes = new GroupedWrites<string>(store.db);
  const transactions = new Set<unknown>();
  const write = (name: string): Promise<string> =>
    writes.add(name, async (queries) => {
      transactions.add(queries);
      await queries.insertInto('marks').values(mark(name, 1)).execute();
      return name;
    });
  const results = await Promise.allSettled(['a', 'd', 'c', 'b'].map(write));
  expect(results.map((one) => one.status === 'fulfilled' && one.value)).toEqual([
    'a',
    'd',
    'c',
    'b',
  ]);
  expect(transactions.size).toBe(2);

  const names = ['e', 'f', 'a', 'g'];
  const again = await Promise.allSettled(names.map(write));
  expect(again.map(({ status }) => status)).toEqual([
    'fulfilled',
    'fulfilled',
    'rejected',
    'fulfilled',
  ]);
  const rows = await store.db.selectFrom('marks').select('name').orderBy('name').execute();
  expect(rows.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd', 'e', 'f', 'g']);
  await store.close();
});
