// Writes of many callers in one transaction, each with its own result.
import { expect, it } from 'vitest';
import { GroupedWrites } from '../../../server/store/grouped-writes.js';
import { openTestStore } from '../../support/test-store.js';

const mark = (name: string, value: number) => ({ name, value });

it('writes_that_wait_share_a_transaction_and_a_wrong_one_fails_alone', async () => {
  const store = await openTestStore();
  const transactions = new Set<unknown>();
  const writes = new GroupedWrites<{ key: string }, string>(store.db, async (queries, group) => {
    transactions.add(queries);
    const rows = group.map(({ key }) => mark(key, 1));
    await queries.insertInto('marks').values(rows).execute();
    return group.map(({ key }) => key);
  });
  const write = (key: string): Promise<string> => writes.add({ key });
  const results = await Promise.allSettled(['a', 'd', 'c', 'b'].map(write));
  expect(results.map((one) => one.status === 'fulfilled' && one.value)).toEqual([
    'a',
    'd',
    'c',
    'b',
  ]);
  expect(transactions.size).toBe(1);

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
