// How often a device dials its broker: after a lost connection, after failures, after refusals.
import { describe, expect, it } from 'vitest';
import { Reconnect, type EndedConnection } from '../../../agent/platform/reconnect.js';
import type { Random } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { seeded } from '../../support/random.js';

const FAILED: EndedConnection = { heldMs: null, isRefused: false };
const REFUSED: EndedConnection = { heldMs: null, isRefused: true };
const BUSY: EndedConnection = { heldMs: null, isRefused: false, isBusy: true };
const LOST: EndedConnection = { heldMs: limits.linkSettledMs, isRefused: false };

const always = (fraction: number): Random => ({
  bytes: (count) => new Uint8Array(count),
  fraction: () => fraction,
});

const seededRandom = (seed: number): Random => ({ ...always(0), fraction: seeded(seed) });

/** Times of attempts, the first at 0, while each ends in this way at once. */
function attempts(random: Random, ended: EndedConnection, untilMs: number): number[] {
  const reconnect = new Reconnect(random);
  const found = [];
  for (let at = 0; at <= untilMs; at += reconnect.waitMs(ended)) found.push(at);
  return found;
}

describe('attempts to connect', () => {
  it.each([0, 0.5, 0.999])('that_fail_are_at_most_8_in_33_s_jitter_%d', (fraction) => {
    const found = attempts(always(fraction), FAILED, 33_000);
    expect(found.length).toBeLessThanOrEqual(8);
    expect(found.length).toBeGreaterThan(4);
  });

  it('that_fail_for_long_are_15_to_30_s_apart', () => {
    const found = attempts(seededRandom(3), FAILED, 3600_000).slice(8);
    const apart = found.slice(1).map((at, n) => at - (found[n] ?? 0));
    expect(Math.min(...apart)).toBeGreaterThanOrEqual(limits.linkBackoffMaxMs / 2);
    expect(Math.max(...apart)).toBeLessThanOrEqual(limits.linkBackoffMaxMs);
    expect(new Set(apart).size).toBeGreaterThan(50);
  });

  it('that_are_refused_come_slower_still', () => {
    expect(attempts(always(0), REFUSED, 33_000).length).toBeLessThanOrEqual(4);
    const found = attempts(always(0.999), REFUSED, 3600_000);
    expect((found.at(-1) ?? 0) - (found.at(-2) ?? 0)).toBeGreaterThan(100_000);
  });

  it('at_a_broker_without_room_come_slower_than_failures_and_do_not_slow_down_for_good', () => {
    const found = attempts(seededRandom(5), BUSY, 3600_000);
    const apart = found.slice(1).map((at, n) => at - (found[n] ?? 0));
    expect(Math.min(...apart)).toBeGreaterThanOrEqual(limits.linkBusyFirstMs / 2);
    expect(Math.max(...apart)).toBeLessThanOrEqual(limits.linkBusyMaxMs);
    const reconnect = new Reconnect(always(0.5));
    const waits = [BUSY, BUSY, BUSY].map((ended) => reconnect.waitMs(ended));
    expect(waits).toEqual([7500, 15_000, 22_500]);
    // No bad credential, and no failure: those have their own counts.
    expect(reconnect.waitMs(REFUSED)).toBe(3750);
    expect(reconnect.waitMs(FAILED)).toBe(375);
    reconnect.waitMs(LOST);
    expect(reconnect.waitMs(BUSY)).toBe(7500);
  });

  it('a_short_connection_ends_no_backoff_and_one_that_held_does', () => {
    const reconnect = new Reconnect(always(0.5));
    const short = { heldMs: limits.linkSettledMs - 1, isRefused: false };
    const waits = [FAILED, short, short, short].map((ended) => reconnect.waitMs(ended));
    expect(waits).toEqual([375, 750, 1500, 3000]);
    expect(reconnect.waitMs(LOST)).toBe(limits.linkSpreadMs / 2);
    expect(reconnect.waitMs(FAILED)).toBe(3000);
    const refused = new Reconnect(always(0.5));
    expect(refused.waitMs(REFUSED)).toBe(3750);
    expect(refused.waitMs(REFUSED)).toBe(7500);
    refused.waitMs(LOST);
    expect(refused.waitMs(REFUSED)).toBe(3750);
  });

  it.each([0, 3, 30])(
    'of_ten_thousand_devices_come_back_over_seconds_after_a_server_was_down_for_%i_s_seed_7',
    (downSeconds) => {
      const devices = 10_000;
      const perSecond = new Map<number, number>();
      const random = seededRandom(7);
      for (let n = 0; n < devices; n++) {
        const reconnect = new Reconnect(random);
        let at = reconnect.waitMs(LOST);
        while (at < downSeconds * 1000) at += reconnect.waitMs(FAILED);
        const second = Math.floor(at / 1000);
        perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
      }
      const most = Math.max(...perSecond.values());
      console.log(`down for ${downSeconds} s: at most ${most} of ${devices} in one second`);
      expect(most).toBeLessThan(devices / 4);
    },
  );
});
