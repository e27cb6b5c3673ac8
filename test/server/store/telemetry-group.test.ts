// What a group of telemetry batches costs the database, and what is stored of it.
import { beforeEach, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import type { TelemetryRecord } from '../../../shared/protocol/telemetry.js';
import { QuantileSketch } from '../../../shared/statistics/quantile-sketch.js';
import { enrolledIn } from '../../support/enrolled-devices.js';
import { batchOf, idleUpdate } from '../../support/fleet-server.js';
import { countedStore, type CountedStore } from '../../support/statements.js';

const NOW = 1_800_000_000_000;
const RELEASE = { component: 'digits', version: '1.0.0', digest: 'ab'.repeat(32) };
/** BEGIN, COMMIT, and two or three for most tables of telemetry. */
const STATEMENTS_MAX_COUNT = 13;
let counted: CountedStore;

beforeEach(async () => {
  counted = await countedStore();
  return () => counted.store.close();
});

const enrolled = (count: number): Promise<string[]> => enrolledIn(counted.store, count);

const latency = new QuantileSketch();
latency.add(10, 5);

/** A batch with all that a device reports regularly. */
function records(seq: number): TelemetryRecord[] {
  const served = { served: 5, failed: 0, refused: 0, latencyMs: latency.toSketch() };
  return [
    { seq, at: 1, kind: 'update', body: idleUpdate({ directorVersion: seq }) },
    {
      seq: seq + 1,
      at: 1,
      kind: 'inference',
      body: { release: RELEASE, seconds: 2, answers: null, ...served },
    },
  ];
}

it('a_full_group_costs_as_many_statements_as_a_single_batch', async () => {
  const { store } = counted;
  const ids = await enrolled(100);
  const store1 = (devices: string[], seq: number): Promise<unknown> =>
    store.telemetry.insertBatches(
      devices.map((device) => ({ device, batch: batchOf(records(seq)) })),
      NOW,
    );
  await store1(ids, 1); // The first batch of an agent also notes its instance.
  const one = await counted.of(() => store1(ids.slice(0, 1), 11));
  const many = await counted.of(() => store1(ids, 21));
  expect(many.filter((sql) => sql === 'begin' || sql === 'commit')).toEqual(['begin', 'commit']);
  expect(many).toHaveLength(one.length);
  expect(many.length).toBeLessThanOrEqual(STATEMENTS_MAX_COUNT);
  for (const device of ids) {
    const [sums] = await store.telemetry.inference(device);
    expect(sums?.served).toBe(device === ids[0] ? 15 : 10);
  }
});

it('a_record_that_came_before_is_not_counted_again_in_another_batch', async () => {
  const { store } = counted;
  const [device] = (await enrolled(1)) as [string];
  const add = (...seqs: number[]): Promise<unknown> =>
    store.telemetry.insertBatches([{ device, batch: batchOf(seqs.flatMap(records)) }], NOW);
  const served = async (): Promise<number | undefined> =>
    (await store.telemetry.inference(device))[0]?.served;
  await add(1, 3);
  expect(await served()).toBe(10);
  // In the same millisecond, one record of before and one that is new.
  await add(3, 5);
  expect(await served()).toBe(15);
  await add(1, 3, 5);
  expect(await served()).toBe(15);
});

it('an_update_report_that_repeats_the_one_before_is_a_row_once_an_hour', async () => {
  const { telemetry } = counted.store;
  const [device] = await enrolled(1);
  let seq = 0;
  const report = async (at: number, directorVersion: number): Promise<void> => {
    seq += 1;
    const record = { seq, at, kind: 'update', body: idleUpdate({ directorVersion }) } as const;
    await telemetry.insertBatches([{ device: device!, batch: batchOf([record]) }], at);
  };
  const HOUR = limits.updateRepeatedMs;
  for (const at of [0, 10, HOUR - 1, HOUR, HOUR + 10]) await report(NOW + at, 1);
  await report(NOW + HOUR + 20, 2);
  await report(NOW + HOUR + 30, 1);
  const rows = await telemetry.records(device!, 100, null);
  expect(rows.map((row) => row.seq)).toEqual([7, 6, 4, 1]);
  const hours = await telemetry.hours(device!, 10, null);
  expect(hours.reduce((sum, { records }) => sum + (records.update ?? 0), 0)).toBe(7);
  const latest = (await telemetry.latest([device!])).get(device!);
  expect(latest?.updates).toMatchObject([{ directorVersion: 1 }]);
});
