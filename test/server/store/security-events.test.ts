// What is kept of security events: repeats as counts, limits for each source, strangers apart.
import { beforeEach, expect, it } from 'vitest';
import type { SecurityEvent, SecuritySource } from '../../../server/interfaces.js';
import type { Store } from '../../../server/store/store.js';
import { openTestStore } from '../../support/test-store.js';
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

it('one_noisy_source_cannot_push_out_the_security_events_of_others', async () => {
  await store.security.add([event(device('dev-quiet'), { detail: 'the one that matters' })]);
  const noise = Array.from({ length: limits.securityEventsPerSourceMaxCount + 1000 }, (_, n) =>
    event(device('dev-noisy'), { code: 'x', detail: `${n}` }),
  );
  await store.security.add(noise);
  await store.security.add([event(device('dev-noisy'), { code: 'last', lastAt: NOW + 1 })]);
  const noisy = await rows('dev-noisy');
  expect([noisy.length, noisy[0]?.code]).toEqual([limits.securityEventsPerSourceMaxCount, 'last']);
  expect(await rows('dev-quiet')).toHaveLength(1);
});

it('strangers_together_have_one_limit_and_evict_only_strangers', async () => {
  await store.security.add([
    event(device('dev-quiet')),
    event({ kind: 'operator', name: 'anna' }),
    event({ kind: 'server' }),
  ]);
  const addresses = limits.securityEventsAnonymousMaxCount + 100;
  const noise = Array.from({ length: addresses }, (_, n) =>
    event({ kind: 'anonymous', address: `stranger-${n}` }, { lastAt: NOW + n }),
  );
  await store.security.add(noise);
  const left = await rows();
  expect(left.filter(({ sourceKind }) => sourceKind === 'anonymous')).toHaveLength(
    limits.securityEventsAnonymousMaxCount,
  );
  expect(await rows('stranger-99')).toEqual([]);
  expect(await rows('stranger-100')).toHaveLength(1);
  for (const source of ['dev-quiet', 'anna', 'server']) expect(await rows(source)).toHaveLength(1);
});

it('a_list_cuts_details_and_the_entry_has_all_of_it', async () => {
  const detail = 'z'.repeat(limits.detailMaxChars + 10);
  await store.security.add([event(device('dev-1'), { detail })]);
  const [row] = await rows();
  expect(row?.detail.length).toBe(limits.summaryDetailMaxChars);
  expect((await store.security.find(row?.id ?? 0))?.detail.length).toBe(limits.detailMaxChars);
  expect(await store.security.find(99)).toBeNull();
});
