// A device swaps only while it hears the director: a release may have been stopped meanwhile.
import { beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import { bootDevice, settle, type SimDevice } from '../../sim/device.js';
import { SimDisk } from '../../sim/disk.js';
import { assignmentFor, simRelease } from '../../sim/release.js';
import { seeded } from '../../support/random.js';

const v1 = simRelease('1.0.0');
const v2 = simRelease('1.1.0');
const UPDATE = assignmentFor(v2, 2);

let disk: SimDisk;
let device: SimDevice;

beforeEach(async () => {
  disk = new SimDisk(seeded(1));
  device = await bootDevice(disk, [v1, v2]);
  await settle(device, assignmentFor(v1, 1));
});

const state = () => device.driver.record.state;

async function ticksUntil(wanted: string): Promise<void> {
  for (let n = 0; n < 50 && state() !== wanted; n++) await device.driver.tick();
  expect(state()).toBe(wanted);
}

describe('a device that lost its network after it prepared a release', () => {
  it('does_not_swap_and_does_as_soon_as_it_hears_the_director_again', async () => {
    device.driver.assign(UPDATE);
    await ticksUntil('rehearsed');
    device.clock.at += limits.swapPermitMs + 1;
    const written = disk.operations;
    for (let n = 0; n < 20; n++) expect(await device.driver.tick()).toBe(limits.idlePauseMs);
    expect([state(), device.runtime.serving]).toEqual(['rehearsed', '1.0.0']);
    expect(disk.operations).toBe(written);
    await settle(device, UPDATE);
    expect(device.runtime.serving).toBe('1.1.0');
  });

  it('never_serves_a_release_that_was_withdrawn_meanwhile', async () => {
    device.driver.assign(UPDATE);
    await ticksUntil('rehearsed');
    device.clock.at += limits.swapPermitMs + 1;
    await device.driver.tick();
    await settle(device, assignmentFor(v1, 3, { rollback: true }));
    expect(device.runtime.history).toEqual(['1.0.0']);
  });

  it('swaps_within_the_permit', async () => {
    device.driver.assign(UPDATE);
    await ticksUntil('rehearsed');
    device.clock.at += limits.swapPermitMs - limits.healthEveryMs;
    await device.driver.tick();
    expect(state()).toBe('swapped');
  });

  it('waits_after_a_restart_until_it_has_heard_the_director', async () => {
    device.driver.assign(UPDATE);
    await ticksUntil('rehearsed');
    disk.restart();
    device = await bootDevice(disk, [v1, v2]);
    await ticksUntil('rehearsed');
    for (let n = 0; n < 20; n++) await device.driver.tick();
    expect([state(), device.runtime.serving]).toEqual(['rehearsed', '1.0.0']);
    await settle(device, UPDATE);
    expect(device.runtime.serving).toBe('1.1.0');
  });
});

it('a_device_that_serves_nothing_installs_without_waiting', async () => {
  const other = await bootDevice(new SimDisk(seeded(2)), [v1]);
  other.driver.assign(assignmentFor(v1, 1));
  for (let n = 0; n < 50 && other.driver.record.state !== 'rehearsed'; n++)
    await other.driver.tick();
  other.clock.at += limits.swapPermitMs + 1;
  await other.driver.tick();
  expect(other.driver.record.state).toBe('swapped');
});
