// The acceptance set of an assignment on a device: fetched, verified from disk, run before a swap.
import { beforeEach, expect, it } from 'vitest';
import { sha256 } from '../../../shared/base/bytes.js';
import type { Assignment } from '../../../agent/update/record.js';
import { bootDevice, settle, type SimDevice } from '../../sim/device.js';
import { SimDisk } from '../../sim/disk.js';
import { seeded } from '../../support/random.js';
import { assignmentFor, releaseKey, simRelease } from '../../sim/release.js';
import { accuracySet, signedSet } from '../../support/acceptance-sets.js';

const [v1, v2] = [simRelease('1.0.0'), simRelease('1.1.0')];
const set = accuracySet([[0, 1, 'yes']], { component: 'digits' });
let disk: SimDisk;
let device: SimDevice;

beforeEach(async () => {
  disk = new SimDisk(seeded(1));
  device = await bootDevice(disk, [v1, v2]);
  await settle(device, assignmentFor(v1, 1));
  expect(device.runtime.serving).toBe('1.0.0');
});

/** The next release, with `bytes` as the set that image targets name. */
function next(bytes: Uint8Array, rollback = false): Assignment {
  const digest = sha256(bytes);
  device.fetcher.others.set(digest, bytes);
  const acceptance = { sha256: digest, length: bytes.length };
  return assignmentFor(rollback ? v1 : v2, rollback ? 3 : 2, { acceptance, rollback });
}
const outcome = () => device.driver.record.outcome;

it('a_set_is_fetched_verified_and_given_to_the_probe', async () => {
  await settle(device, next(signedSet(set)));
  expect(device.runtime.acceptance).toEqual(set);
  expect(outcome()).toMatchObject({ result: 'confirmed' });
});

it('a_release_that_fails_it_never_serves', async () => {
  const reasons = 'accuracy on the acceptance set is 12 %';
  device.runtime.probeReport = { passed: false, code: 'acceptance_failed', reasons };
  await settle(device, next(signedSet(set)));
  expect(outcome()).toMatchObject({
    result: 'refused',
    code: 'acceptance_failed',
    detail: reasons,
  });
  expect(device.runtime.history).toEqual(['1.0.0']);
});

it.each<[string, Uint8Array, string]>([
  ['that_the_release_key_signed', signedSet(set, releaseKey), 'signature_invalid'],
  ['of_another_component', signedSet({ ...set, component: 'texts' }), 'manifest_mismatch'],
])('a_set_%s_keeps_the_release_out_before_its_slot_is_written', async (_, bytes, code) => {
  await settle(device, next(bytes));
  expect(outcome()).toMatchObject({ result: 'refused', code });
  expect(device.driver.record.slots.b).toBeNull();
  expect(device.runtime.acceptance).toBeNull();
});

it('a_set_that_arrives_damaged_is_fetched_again_and_never_used', async () => {
  let times = 0;
  const good = signedSet(set);
  device.fetcher.tamper = (bytes) => {
    if (Buffer.compare(bytes, good) !== 0 || ++times > 1) return bytes;
    const damaged = Uint8Array.from(bytes);
    damaged[20] = (damaged[20] ?? 0) ^ 1;
    return damaged;
  };
  await settle(device, next(good));
  expect(times).toBe(2);
  expect(outcome()).toMatchObject({ result: 'confirmed' });
});

it('a_set_that_no_source_has_is_waited_for', async () => {
  const assignment = next(signedSet(set));
  device.fetcher.others.clear();
  await settle(device, assignment, 10);
  expect(device.driver.record.state).toBe('assigned');
  expect(device.runtime.serving).toBe('1.0.0');
});

it('a_rollback_needs_no_acceptance', async () => {
  await settle(device, next(signedSet(set)));
  device.runtime.acceptance = null;
  await settle(device, next(signedSet(set), true));
  expect(device.runtime).toMatchObject({ serving: '1.0.0', acceptance: null });
});
