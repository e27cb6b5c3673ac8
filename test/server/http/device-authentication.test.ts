// The device that calls over HTTP: a token of another time or fleet is refused by name, and is told
// apart from a failed login.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import { TIME_HEADER } from '../../../shared/protocol/device-api.js';
import type { ApiError } from '../../../shared/protocol/operator-api.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { makeDeviceToken } from '../../../shared/trust/device-token.js';
import {
  deviceGet,
  enrolled,
  securityEvents,
  startFleet,
  type TestFleet,
} from '../../support/fleet-server.js';

let fleet: TestFleet;
beforeAll(async () => {
  fleet = await startFleet();
});
afterAll(() => fleet.close());

it('token_of_1970_is_refused_with_the_time_of_the_server', async () => {
  const device = await enrolled(fleet, 'no-clock');
  const old: typeof device = {
    ...device,
    token: () =>
      makeDeviceToken(device.key, {
        ...{ device: device.id, use: 'http', audience: fleet.audience },
        ...{ nowMs: 0, nonce: realRandom.bytes(32) },
      }),
  };
  const refused = await deviceGet(fleet, old, '/device/v1/director/timestamp.json');
  expect([refused.status, ((await refused.json()) as ApiError).code]).toEqual([401, 'clock_wrong']);
  expect(Math.abs(Number(refused.headers.get(TIME_HEADER)) - Date.now())).toBeLessThan(60_000);
  const taken = await deviceGet(fleet, device, '/device/v1/director/timestamp.json');
  expect([taken.status, taken.headers.has(TIME_HEADER)]).toEqual([200, true]);
});

it('token_for_another_fleet_is_refused_and_costs_its_address_nothing', async () => {
  const device = await enrolled(fleet, 'two-fleets');
  const other = await startFleet();
  try {
    const foreign = { ...fleet, audience: other.audience };
    const { knownFailedLoginsMaxCount: tries } = limits;
    for (let n = 0; n <= tries; n++) {
      const refused = await deviceGet(foreign, device, '/device/v1/director/timestamp.json');
      expect([refused.status, ((await refused.json()) as ApiError).code]).toEqual([
        401,
        'fleet_wrong',
      ]);
    }
  } finally {
    await other.close();
  }
  const taken = await deviceGet(fleet, device, '/device/v1/director/timestamp.json');
  expect(taken.status).toBe(200);
  const [event] = (await securityEvents(fleet)).filter(({ code }) => code === 'fleet_wrong');
  expect(event?.detail).toContain(`device token of ${device.id} is for the director`);
});
