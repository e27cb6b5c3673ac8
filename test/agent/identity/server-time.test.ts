// What the device goes by when its own clock is wrong, and what it believes.
import { beforeEach, describe, expect, it } from 'vitest';
import { ServerTime } from '../../../agent/identity/server-time.js';
import { tokenSource } from '../../../agent/identity/token-source.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { deviceIdOf, openDeviceToken } from '../../../shared/trust/device-token.js';
import { signerFromSeed } from '../../../shared/trust/signer.js';
import { ManualClock } from '../../sim/manual-clock.js';

const NOW = Date.UTC(2026, 10, 2, 12);
const key = signerFromSeed(new Uint8Array(32).fill(7));
const id = deviceIdOf(key.publicKey);

let clock: ManualClock;
let trustedMs: number;
let time: ServerTime;
beforeEach(() => {
  clock = new ManualClock(0);
  trustedMs = 0;
  time = new ServerTime({
    clock,
    earliest: () => trustedMs,
    latest: () => NOW + 10 * 365 * 24 * 3600_000,
    log: silentLog,
  });
});

describe('the present', () => {
  it('clock_of_1970_is_corrected_by_the_first_answer_and_runs_on', () => {
    expect(time.clockErrorMs()).toBeNull();
    expect(time.observe(NOW)).toBe(true);
    clock.pass(5_000);
    expect(time.now()).toBe(NOW + 5_000);
    expect(time.clockErrorMs()).toBe(-NOW);
  });

  it('clock_that_jumps_after_the_first_answer_moves_nothing', () => {
    time.observe(NOW);
    clock.wallMs = Date.UTC(2082, 0, 1);
    expect(time.now()).toBe(NOW);
    expect(time.clockErrorMs()).toBe(Date.UTC(2082, 0, 1) - NOW);
  });

  it('before_any_answer_trusted_metadata_is_the_floor', () => {
    trustedMs = NOW;
    expect(time.now()).toBe(NOW);
    clock.wallMs = NOW + 1;
    expect(time.now()).toBe(NOW + 1);
  });

  it('answers_that_agree_move_nothing', () => {
    time.observe(NOW);
    expect(time.observe(NOW + limits.clockStepMinMs)).toBe(false);
    expect(time.now()).toBe(NOW);
    expect(time.observe(NOW + limits.clockStepMinMs + 1)).toBe(true);
  });

  it('server_that_names_a_time_after_every_root_is_not_believed', () => {
    expect(time.observe(NOW + 40 * 365 * 24 * 3600_000)).toBe(false);
    expect(time.observe(Number.NaN)).toBe(false);
    expect(time.now()).toBe(0);
  });
});

it('token_is_made_anew_at_once_when_the_present_moves', async () => {
  const token = tokenSource({ id, key }, 'aa'.repeat(32), time.clock, realRandom);
  const opened = async (): Promise<string> =>
    openDeviceToken(await token('http'), {
      ...{ use: 'http', nowMs: NOW },
      isAudience: (audience) => Promise.resolve(audience === 'aa'.repeat(32)),
      keyOf: () => Promise.resolve(key.publicKey),
    }).catch((error: unknown) => (error as { code: string }).code);
  expect(await opened()).toBe('clock_wrong');
  time.observe(NOW);
  expect(await opened()).toBe(id);
});
