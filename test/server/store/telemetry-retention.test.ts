// How much telemetry the database keeps: what an idle device adds in a day, and what the regular
// task deletes, in slices.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TelemetryPruner } from '../../../server/ingest/telemetry-pruner.js';
import { Store } from '../../../server/store/store.js';
import { limits } from '../../../shared/base/limits.js';
import { DAY_MS, HOUR_MS, MIB } from '../../../shared/base/units.js';
import type { HealthBody, TelemetryRecord } from '../../../shared/protocol/telemetry.js';
import { realClock } from '../../../shared/platform/clock.js';
import { enrolledIn } from '../../support/enrolled-devices.js';
import { batchOf, idleUpdate } from '../../support/fleet-server.js';
import { seeded } from '../../support/random.js';
import { isShortOnPostgres } from '../../support/test-store.js';

const START = Math.floor(1_800_000_000_000 / HOUR_MS) * HOUR_MS;
const RELEASE = { component: 'digits', version: '1.0.0', digest: 'ab'.repeat(32) };
let folder: string;
let store: Store;
let device: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'linnet-retention-'));
  store = await Store.open(join(folder, 'fleet.sqlite'));
  [device] = (await enrolledIn(store, 1)) as [string];
  // Nothing here depends on durability, and thousands of transactions are written.
  await sql`pragma synchronous = off`.execute(store.db);
});
afterEach(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});

const usedBytes = async (): Promise<number> => {
  const { rows } = await sql<{ bytes: number }>`
    select (p.page_count - f.freelist_count) * s.page_size as bytes
    from pragma_page_count p, pragma_freelist_count f, pragma_page_size s`.execute(store.db);
  return rows[0]?.bytes ?? Number.NaN;
};

describe('an idle device', () => {
  const fraction = seeded(7);
  const near = (value: number, share: number): number => value * (1 + share * (fraction() - 0.5));
  const health = (seconds: number): HealthBody => ({
    cpuUse: Math.min(1, near(0.1, 1.5)),
    memoryTotalBytes: 4 * 1024 * MIB,
    memoryAvailableBytes: Math.round(near(3 * 1024 * MIB, 0.1)),
    temperatureC: near(48, 0.2),
    diskTotalBytes: 32 * 1024 * MIB,
    diskFreeBytes: Math.round(near(20 * 1024 * MIB, 0.01)),
    agentRssBytes: Math.round(near(90 * MIB, 0.1)),
    uptimeSeconds: seconds,
    spool: { records: 1, bytes: 400, lost: 0 },
    clockErrorMs: Math.round(near(100, 1)),
  });

  it.skipIf(isShortOnPostgres)('adds_at_most_one_mebibyte_to_the_database_in_a_day', async () => {
    const before = await usedBytes();
    let seq = 0;
    const record = (kind: 'health' | 'update', at: number): TelemetryRecord => {
      seq += 1;
      return kind === 'health'
        ? { seq, at, kind, body: health(at / 1000) }
        : { seq, at, kind, body: idleUpdate({ running: RELEASE, directorVersion: 5 }) };
    };
    // What an agent sends while nothing happens: both, each in a batch of its own, every 10 s.
    for (let at = START; at < START + DAY_MS; at += limits.healthEveryMs)
      for (const kind of ['health', 'update'] as const)
        await store.telemetry.insertBatches([{ device, batch: batchOf([record(kind, at)]) }], at);
    const added = (await usedBytes()) - before;
    expect(added).toBeLessThanOrEqual(1 * MIB);
    const hours = await store.telemetry.hours(device, 100, null);
    expect(hours).toHaveLength(24);
    expect(hours.map(({ records }) => [records.health, records.update])).toEqual(
      Array(24).fill([360, 360]),
    );
    expect(hours[0]?.health.temperatureC?.count).toBe(360);
  });
});

describe('the regular task', () => {
  let seq = 0;
  const add = async (count: number, at: number, of = device): Promise<void> => {
    const records = Array.from({ length: count }, (): TelemetryRecord => {
      seq += 1;
      // Of a component that it did not enrol with: always a row, and nothing else.
      return { seq, at: 1, kind: 'update', body: idleUpdate({ component: 'other' }) };
    });
    for (let n = 0; n < count; n += limits.batchMaxCount)
      await store.telemetry.insertBatches(
        [{ device: of, batch: batchOf(records.slice(n, n + limits.batchMaxCount)) }],
        at,
      );
  };
  const count = async (table: 'telemetry' | 'telemetry_hours'): Promise<number> =>
    (
      await store.db
        .selectFrom(table)
        .select((eb) => eb.fn.countAll<number>().as('rows'))
        .executeTakeFirstOrThrow()
    ).rows;
  /** What each transaction deleted. */
  async function pass(now: number): Promise<number[]> {
    const slices: number[] = [];
    const prune = async (): Promise<number> => {
      const deleted = await store.telemetry.prune(now);
      if (deleted > 0) slices.push(deleted);
      return deleted;
    };
    await new TelemetryPruner({ telemetry: { prune }, clock: realClock }).pass();
    return slices;
  }

  it('deletes_raw_records_by_age_in_slices', async () => {
    await add(2_500, START);
    await add(3, START + 10);
    expect(await pass(START + limits.rawTelemetryKeptMs)).toEqual([]);
    expect(await pass(START + limits.rawTelemetryKeptMs + 1)).toEqual([1_000, 1_000, 500]);
    expect(await count('telemetry')).toBe(3);
  });

  it('deletes_the_oldest_records_of_a_device_that_has_too_many_and_no_others', async () => {
    const [other] = (await enrolledIn(store, 1)) as [string];
    await add(5, START, other);
    await add(limits.telemetryRowsPerDeviceMaxCount + 1_200, START);
    expect(await pass(START)).toEqual([1_000, 200]);
    expect(await count('telemetry')).toBe(5 + limits.telemetryRowsPerDeviceMaxCount);
    const [newest] = await store.telemetry.records(device, 1, null);
    expect(newest?.seq).toBe(seq);
    expect(await store.telemetry.records(other, 10, null)).toHaveLength(5);
  });

  it('deletes_hours_by_age', async () => {
    await add(1, START);
    await add(1, START + HOUR_MS);
    expect(await pass(START + limits.telemetryHoursKeptMs + 1)).toEqual([2, 1]);
    expect((await store.telemetry.hours(device, 10, null)).map(({ hour }) => hour)).toEqual([
      START + HOUR_MS,
    ]);
  });

  it('stops_between_two_slices', async () => {
    let calls = 0;
    const pruner = new TelemetryPruner({
      telemetry: {
        prune: () => {
          calls += 1;
          pruner.stop();
          return Promise.resolve(1);
        },
      },
      clock: realClock,
    });
    await pruner.pass();
    expect(calls).toBe(1);
  });
});
