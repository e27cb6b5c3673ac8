// The watch over the release that serves: what it reports, for how long, and when it calls a crash
// loop.
import { beforeEach, describe, expect, it } from 'vitest';
import { ConditionWatch } from '../../../../agent/inference/engine/condition-watch.js';
import { residentBytes } from '../../../../agent/inference/model-process/process-memory.js';
import { Fault } from '../../../../shared/base/fault-codes.js';
import { limits } from '../../../../shared/base/limits.js';
import { ManualClock } from '../../../sim/manual-clock.js';

const MIB = 1024 * 1024;
const crash = new Fault('host_died', 'the model process ended (SIGSEGV)');
const hang = new Fault('host_hung', 'the model process did not answer');

let clock: ManualClock;
let resident: number | null;
let watch: ConditionWatch;
beforeEach(() => {
  clock = new ManualClock();
  resident = null;
  watch = new ConditionWatch({
    clock,
    peakMemoryMiB: 200,
    residentBytes: () => Promise.resolve(resident),
  });
});
const told = (): [string, number][] => watch.conditions().map(({ code, count }) => [code, count]);

describe('conditions', () => {
  it('healthy_release_has_none', () => {
    for (let n = 0; n < 1000; n += 1) watch.countServed();
    expect(told()).toEqual([]);
    expect(watch.crashLoop()).toBeNull();
  });

  it('crash_and_hang_after_the_trial_are_told_with_count_and_since', () => {
    const first = clock.now();
    watch.countFault(crash);
    watch.conditions();
    clock.pass(3_600_000);
    watch.countFault(crash);
    watch.countFault(hang);
    const [crashes, hangs] = watch.conditions();
    expect(crashes).toMatchObject({ code: 'crashes', count: 2, since: first });
    expect(crashes?.detail).toMatch(/2 times in the last 24 h/);
    expect(hangs).toMatchObject({ code: 'hangs', count: 1, since: clock.now() });
  });

  it('what_was_a_day_ago_is_forgotten_and_begins_anew', () => {
    watch.countFault(crash);
    watch.conditions();
    clock.pass(limits.conditionWindowMs + 3_600_000);
    expect(told()).toEqual([]);
    watch.countFault(crash);
    expect(watch.conditions()[0]).toMatchObject({ count: 1, since: clock.now() });
  });

  it('withheld_answers_are_a_condition_from_the_first_on', () => {
    watch.countWithheld();
    expect(told()).toEqual([['withheld', 1]]);
  });

  it('failed_requests_are_one_only_as_a_share_of_many', () => {
    for (let n = 0; n < 6; n += 1) watch.countFailed();
    expect(told()).toEqual([]); // 6 of 6.
    for (let n = 0; n < 94; n += 1) watch.countServed();
    expect(watch.conditions()[0]).toMatchObject({ code: 'errors', count: 6 });
    for (let n = 0; n < 20; n += 1) watch.countServed();
    expect(told()).toEqual([]); // 6 of 120: 5 %.
  });

  it('memory_above_the_signed_contract_is_told_with_both_numbers', async () => {
    resident = 200 * MIB;
    watch.conditions();
    await Promise.resolve();
    expect(told()).toEqual([]);
    resident = 2700 * MIB;
    watch.conditions(); // Too early for another reading.
    await Promise.resolve();
    expect(told()).toEqual([]);
    clock.pass(limits.memoryCheckEveryMs);
    watch.conditions();
    await Promise.resolve();
    await Promise.resolve();
    expect(watch.conditions()[0]).toMatchObject({
      code: 'memory',
      detail: expect.stringMatching(/2700 MiB, above the 200 MiB/) as string,
    });
  });
});

describe('a crash loop', () => {
  it('many_crashes_within_minutes_are_one_spread_over_hours_are_none', () => {
    for (let n = 0; n < limits.crashLoopMaxCount; n += 1) {
      expect(watch.crashLoop()).toBeNull();
      watch.countFault(n % 2 === 0 ? crash : hang);
      clock.pass(60_000);
    }
    expect(watch.crashLoop()).toMatch(/5 times within 240 s; the last time: .*SIGSEGV/);
  });

  it('crashes_spread_over_hours_are_none', () => {
    for (let n = 0; n < 20; n += 1) {
      watch.countFault(crash);
      clock.pass(limits.crashLoopMs / 2);
    }
    expect(watch.crashLoop()).toBeNull();
  });
});

it('resident_memory_is_read_from_the_system', async () => {
  const bytes = await residentBytes(process.pid);
  if (process.platform === 'linux') expect(bytes).toBeGreaterThan(10 * MIB);
  expect(await residentBytes(2 ** 30)).toBeNull();
});
