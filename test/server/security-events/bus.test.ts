// The bus of security events: folding, limits, order of eviction, and a store that fails.
import { beforeEach, expect, it } from 'vitest';
import type { SecurityEvent, SecurityReport, SecuritySource } from '../../../server/interfaces.js';
import { SecurityEventBus } from '../../../server/security-events/bus.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';

const DEVICE: SecuritySource = { kind: 'device', id: 'dev-1' };
const stranger = (address: string): SecuritySource => ({ kind: 'anonymous', address });
const report = (source: SecuritySource, code = 'file_digest', detail = 'x'): SecurityReport => ({
  source,
  code,
  detail,
});

let now: number;
let timers: (() => void)[];
let stored: SecurityEvent[][];
let failure: Error | null;
let warnings: object[];
let bus: SecurityEventBus;

beforeEach(() => {
  now = 1000;
  timers = [];
  stored = [];
  failure = null;
  warnings = [];
  bus = new SecurityEventBus({
    clock: {
      now: () => now,
      monotonic: () => now,
      after: (_ms, fn) => {
        timers.push(fn);
        return () => (timers = timers.filter((timer) => timer !== fn));
      },
    },
    log: { ...silentLog, warn: (fields) => void warnings.push(fields) },
    store: (events) => {
      if (failure !== null) return Promise.reject(failure);
      stored.push([...events]);
      return Promise.resolve();
    },
  });
});

it('repeats_before_a_batch_are_one_event_with_a_count_and_both_times', async () => {
  for (const at of [1000, 1500, 2000]) {
    now = at;
    bus.report(report(DEVICE));
  }
  bus.report(report(DEVICE, 'file_digest', 'another detail'));
  bus.report(report(DEVICE, 'file_length'));
  await bus.flush();
  expect(stored).toEqual([
    [
      { ...report(DEVICE), count: 3, firstAt: 1000, lastAt: 2000 },
      {
        ...report(DEVICE, 'file_digest', 'another detail'),
        count: 1,
        firstAt: 2000,
        lastAt: 2000,
      },
      { ...report(DEVICE, 'file_length'), count: 1, firstAt: 2000, lastAt: 2000 },
    ],
  ]);
});

it('an_anonymous_sender_cannot_make_new_events_by_new_details', async () => {
  for (let n = 0; n < 5000; n++) bus.report(report(stranger('10.0.0.1'), 'auth_missing', `${n}`));
  bus.report(report(stranger('10.0.0.2'), 'auth_missing'));
  await bus.flush();
  expect(stored[0]?.map(({ source, count }) => [source, count])).toEqual([
    [stranger('10.0.0.1'), 5000],
    [stranger('10.0.0.2'), 1],
  ]);
});

it('a_device_and_an_operator_of_one_name_are_two_sources', async () => {
  bus.report(report({ kind: 'device', id: 'same' }));
  bus.report(report({ kind: 'operator', name: 'same' }));
  await bus.flush();
  expect(stored[0]?.map(({ count }) => count)).toEqual([1, 1]);
});

it('strangers_fill_only_their_own_queue_and_further_addresses_are_one_event', async () => {
  const strangers = limits.securityEventsQueueMaxCount + 7;
  for (let n = 0; n < strangers; n++) bus.report(report(stranger(`10.0.${n >> 8}.${n & 255}`)));
  bus.report(report(DEVICE));
  // What is new is not lost behind them.
  bus.report(report(stranger('192.0.2.1'), 'claim_invalid', 'news'));
  // A full queue still counts repeats.
  bus.report(report(stranger('10.0.0.0')));
  await bus.flush();
  const batch = stored[0] ?? [];
  expect(batch.filter(({ source }) => source.kind === 'device')).toHaveLength(1);
  const anonymous = batch.filter(({ source }) => source.kind === 'anonymous');
  expect(anonymous).toHaveLength(limits.securityEventsQueueMaxCount + 2);
  expect(anonymous[0]?.count).toBe(2);
  expect(anonymous.slice(-2).map(({ source, code, count }) => [source, code, count])).toEqual([
    [stranger('other addresses'), 'file_digest', 7],
    [stranger('other addresses'), 'claim_invalid', 1],
  ]);
  expect(warnings).toEqual([]);
});

it('a_noisy_device_cannot_fill_the_queue_of_the_others', async () => {
  for (let n = 0; n < 5000; n++) bus.report(report(DEVICE, 'file_digest', `${n}`));
  bus.report(report({ kind: 'device', id: 'dev-2' }, 'file_length', 'news'));
  await bus.flush();
  const waiting = limits.securityEventsWaitingPerCodeMaxCount;
  expect(stored[0]).toHaveLength(waiting + 2);
  expect(stored[0]?.at(-1)).toMatchObject({ detail: 'news', count: 1 });
  expect(stored[0]?.at(-2)).toMatchObject({ detail: '4999', count: 5000 - waiting });
});

it('known_sources_have_a_limit_as_well', async () => {
  for (let n = 0; n <= limits.securityEventsQueueMaxCount; n++)
    bus.report(report({ kind: 'device', id: `dev-${n}` }));
  await bus.flush();
  expect(stored[0]).toHaveLength(limits.securityEventsQueueMaxCount);
  expect(warnings).toEqual([{ dropped: 1 }]);
});

it('repeats_of_a_stranger_are_written_at_intervals_and_a_first_time_at_once', async () => {
  const fire = async (): Promise<void> => {
    for (const timer of timers.splice(0)) timer();
    // The timer's write, then whatever this one finds: nothing that is not due.
    await new Promise((resolve) => setImmediate(resolve));
  };
  const attack = report(stranger('10.0.0.1'), 'auth_missing');
  for (let tick = 0; tick < 100; tick++) {
    for (let n = 0; n < 10; n++) bus.report(attack);
    now += limits.securityEventsFlushMs;
    await fire();
  }
  const writes = Math.ceil((100 * limits.securityEventsFlushMs) / limits.securityEventsRepeatMs);
  expect(stored.length).toBe(writes);
  bus.report(report(stranger('10.0.0.2'), 'auth_missing'));
  await fire();
  expect(stored.at(-1)?.map(({ source }) => source)).toEqual([stranger('10.0.0.2')]);
  await bus.close();
  const total = stored
    .flat()
    .filter(({ source }) => 'address' in source && source.address === '10.0.0.1');
  expect(total.reduce((sum, { count }) => sum + count, 0)).toBe(1000);
});

it('one_timer_writes_what_was_reported_until_it_fires', async () => {
  bus.report(report(DEVICE));
  bus.report(report(DEVICE, 'file_length'));
  expect(timers).toHaveLength(1);
  timers.shift()?.();
  await bus.flush();
  expect(stored.map((batch) => batch.length)).toEqual([2]);
  bus.report(report(DEVICE));
  expect(timers).toHaveLength(1);
});

it('a_batch_that_the_store_rejects_is_kept_and_tried_again_with_its_counts', async () => {
  failure = new Error('disk');
  bus.report(report(DEVICE));
  await expect(bus.flush()).rejects.toThrow('disk');
  now = 3000;
  bus.report(report(DEVICE));
  failure = null;
  await bus.flush();
  expect(stored).toEqual([[{ ...report(DEVICE), count: 2, firstAt: 1000, lastAt: 3000 }]]);
});

it('record_resolves_only_when_the_event_is_stored', async () => {
  failure = new Error('disk');
  await expect(bus.record(report(DEVICE))).rejects.toThrow('disk');
  failure = null;
  await bus.record(report(DEVICE, 'file_length'));
  expect(stored[0]?.map(({ code }) => code)).toEqual(['file_digest', 'file_length']);
});

it('a_subscriber_gets_what_was_stored_and_its_failure_harms_nobody', async () => {
  const seen: string[] = [];
  bus.subscribe(() => Promise.reject(new Error('exporter')));
  bus.subscribe((events) => {
    seen.push(...events.map(({ code }) => code));
    return Promise.resolve();
  });
  failure = new Error('disk');
  bus.report(report(DEVICE));
  await expect(bus.flush()).rejects.toThrow('disk');
  expect(seen).toEqual([]);
  failure = null;
  await bus.flush();
  expect([seen, stored.length]).toEqual([['file_digest'], 1]);
});

it('the_stop_writes_what_is_waiting_and_leaves_no_timer', async () => {
  bus.report(report(DEVICE));
  await bus.close();
  expect([stored.length, timers.length]).toEqual([1, 0]);
});

it('a_detail_is_cut_to_its_limit', async () => {
  bus.report(report(DEVICE, 'x', 'y'.repeat(limits.detailMaxChars + 1)));
  await bus.flush();
  expect(stored[0]?.[0]?.detail.length).toBe(limits.detailMaxChars);
});
