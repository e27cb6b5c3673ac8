// In `npm run test:whole`: `npm run journey:fleet` with few devices: the same code and checks, but
// for the time of the halt.
// Devices keep the good release without a comparison, which takes up to a minute after a start.
import { expect, it } from 'vitest';
import { isWhole } from '../support/whole.js';
import { FleetJourney } from './fleet/journey.js';

const DEVICES = 8;

it.skipIf(!isWhole)(
  'fleet_with_devices_off_takes_a_good_release_and_is_spared_a_bad_one',
  async () => {
    const result = await FleetJourney.run({
      devices: DEVICES,
      off: 2,
      processes: 1,
      modelProcesses: 1,
      runs: 1,
      busyPerSecond: 40,
      startWindow: DEVICES,
      goodMinPairs: 0,
      silentAfterSeconds: 8,
      seed: 1,
      say: () => {},
    });
    expect(result.checks.filter(({ passed }) => !passed)).toEqual([]);
    expect(result.good.reached).toBe(6);
    expect(result.late.devices).toBe(2);
    const [bad] = result.bad;
    expect(bad?.took).toBeLessThanOrEqual(6);
    expect(bad?.ms).toBeGreaterThanOrEqual(0);
  },
);
