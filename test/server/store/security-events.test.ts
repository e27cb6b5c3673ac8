// What is kept of security events: repeats as counts, limits for each source, strangers apart.
import { beforeEach, expect, it } from 'vitest';
import type { SecurityEvent, SecuritySource } from '../../../server/interfaces.js';
import type { Store } from '../../../server/store/store.js';
import { isShortOnPostgres, openTestStore } from '../../support/test-store.js';
import { limits } from '../../../shared/base/limits.js';

const NOW = Date.parse('2027-01-15T08:00:00Z');
const DAY_MS = 86_400_000;
const device = (id: string): SecuritySource => ({ kind: 'device', id });
const event = (source: SecuritySource, change: Partial<SecurityEvent> = {}): SecurityEvent => ({
  source,
  code: 'file_digest',
  detail: 'model.onnx',
  count: 1,
  firstAt: NOW,
  lastAt: NOW,
  ...change,
});

let store: Store;
beforeEach(async () => {
  store = await openTestStore();
  return () => store.close();
});

const rows = (source?: string) => store.security.page({ source }, { limit: 20_000, after: null });

it('repeats_within_a_day_are_one_row_and_another_day_is_another', async () => {
  await store.security.add([event(device('dev-1'), { count: 2 })]);
  await store.security.add([event(device('dev-1'), { firstAt: NOW + 5, lastAt: NOW + 5 })]);
  await store.security.add([event(device('dev-1'), { lastAt: NOW + DAY_MS })]);
  expect((await rows()).map(({ count, firstAt, lastAt }) => [count, firstAt, lastAt])).toEqual([
    [1, NOW, NOW + DAY_MS],
    [3, NOW, NOW + 5],
  ]);
});

it('details_of_a_known_source_are_kept_apart_and_those_of_a_stranger_are_not', async () => {
  const stranger: SecuritySource = { kind: 'anonymous', address: '10.0.0.1' };
  for (const detail of ['a', 'b'])
    await store.security.add([
      event(device('dev-1'), { detail }),
      event(stranger, { detail, code: 'auth_missing' }),
    ]);
  expect((await rows('dev-1')).map(({ count }) => count)).toEqual([1, 1]);
  expect((await rows('10.0.0.1')).map(({ count, detail }) => [count, detail])).toEqual([[2, 'b']]);
});

it.skipIf(isShortOnPostgres)(
  'noise_of_a_known_source_is_folded_and_evicts_no_news_of_it_or_of_others',
  async () => {
    await store.security.add([event(device('dev-quiet'), { detail: 'the one that matters' })]);
    await store.security.add([event(device('dev-noisy'), { code: 'x', detail: 'the first' })]);
    await store.security.add([event(device('dev-noisy'), { code: 'y', detail: 'news' })]);
    const noise = Array.from({ length: 6000 }, (_, n) =>
      event(device('dev-noisy'), { code: 'x', detail: `${n}`, lastAt: NOW + 1 }),
    );
    await store.security.add(noise);
    const noisy = await rows('dev-noisy');
    // Own rows, one more for the rest, and the news.
    expect(noisy.length).toBe(limits.securityEventsPerCodeMaxCount + 2);
    expect(noisy.reduce((sum, { count }) => sum + count, 0)).toBe(6002);
    expect(noisy.map(({ detail }) => detail)).toContain('the first');
    expect(noisy.map(({ detail }) => detail)).toContain('news');
    expect(await rows('dev-quiet')).toHaveLength(1);
  },
);

it('one_noisy_code_of_a_source_has_a_limit_over_many_days', async () => {
  await store.security.add([event(device('dev-noisy'), { code: 'y', detail: 'news' })]);
  for (let day = 0; day < 6; day++)
    await store.security.add(
      Array.from({ length: limits.securityEventsPerCodeMaxCount }, (_, n) =>
        event(device('dev-noisy'), { code: 'x', detail: `${n}`, lastAt: NOW + day * DAY_MS }),
      ),
    );
  const noisy = await rows('dev-noisy');
  expect(noisy.length).toBe(limits.securityEventsPerSourceAndCodeMaxCount + 1);
  expect(noisy.at(-1)?.detail).toBe('news');
});

it.skipIf(isShortOnPostgres)(
  'strangers_evict_no_news_of_known_sources_nor_of_other_strangers',
  async () => {
    await store.security.add([
      event(device('dev-quiet')),
      event({ kind: 'operator', name: 'anna' }),
      event({ kind: 'server' }),
      event({ kind: 'anonymous', address: 'marker-1' }, { code: 'claim_invalid' }),
      event({ kind: 'anonymous', address: 'marker-2' }),
    ]);
    const noise = Array.from({ length: 5100 }, (_, n) =>
      event({ kind: 'anonymous', address: `stranger-${n}` }, { lastAt: NOW + n }),
    );
    for (let at = 0; at < noise.length; at += 1000)
      await store.security.add(noise.slice(at, at + 1000));
    const left = await rows();
    expect(left.filter(({ sourceKind }) => sourceKind === 'anonymous')).toHaveLength(
      limits.securityEventsPerCodeMaxCount + 2,
    );
    for (const source of ['dev-quiet', 'anna', 'server', 'marker-1', 'marker-2'])
      expect(await rows(source)).toHaveLength(1);
    expect(await rows('other addresses')).toMatchObject([
      { count: 5101 - limits.securityEventsPerCodeMaxCount },
    ]);
  },
);

it('strangers_of_many_days_have_a_limit_and_evict_only_their_own_code', async () => {
  await store.security.add([
    event({ kind: 'anonymous', address: 'marker' }, { code: 'claim_invalid' }),
  ]);
  for (let day = 0; day < 6; day++)
    await store.security.add(
      Array.from({ length: limits.securityEventsPerCodeMaxCount }, (_, n) =>
        event(
          { kind: 'anonymous', address: `stranger-${n}` },
          { lastAt: NOW + day * DAY_MS, firstAt: NOW },
        ),
      ),
    );
  expect(await rows()).toHaveLength(limits.securityEventsAnonymousMaxCount + 1);
  expect(await rows('marker')).toHaveLength(1);
});

it('a_list_cuts_details_and_the_entry_has_all_of_it', async () => {
  const detail = 'z'.repeat(limits.detailMaxChars + 10);
  await store.security.add([event(device('dev-1'), { detail })]);
  const [row] = await rows();
  expect(row?.detail.length).toBe(limits.summaryDetailMaxChars);
  expect((await store.security.find(row?.id ?? 0))?.detail.length).toBe(limits.detailMaxChars);
  expect(await store.security.find(99)).toBeNull();
});
