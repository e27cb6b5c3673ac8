// Pulling the plug at every operation of an update. For each operation of the disk, and several
// coins on what survives of unsynced data, the device must come back serving the old or the new
// release, whole and proven, and then finish.
import { describe, expect, it } from 'vitest';
import { runningOf } from '../../../agent/update/record.js';
import { PowerCut, SimDisk, seeded } from '../../sim/disk.js';
import { bootDevice, settle } from '../../sim/device.js';
import { assignmentFor, simRelease } from '../../sim/release.js';

const old = simRelease('1.0.0');
const fresh = simRelease('1.1.0');
const releases = [old, fresh];
const COINS = Number(process.env.LINNET_CRASH_SEEDS ?? 6);

async function onOld(seed: number): Promise<SimDisk> {
  const disk = new SimDisk(seeded(seed));
  await settle(await bootDevice(disk, releases), assignmentFor(old, 1));
  disk.restart();
  return disk;
}

/**
 * One life of the device: boots and works until it settles or the power goes. True when settled.
 */
async function live(
  disk: SimDisk,
  assignment: ReturnType<typeof assignmentFor>,
  seen: Set<string | null>,
): Promise<boolean> {
  try {
    const device = await bootDevice(disk, releases);
    seen.add(device.runtime.serving);
    await settle(device, assignment);
    seen.add(device.runtime.serving);
    return true;
  } catch (error) {
    if (error instanceof PowerCut) return false;
    throw error;
  }
}

async function operationsOf(
  prepare: () => Promise<SimDisk>,
  assignment: ReturnType<typeof assignmentFor>,
): Promise<number> {
  const disk = await prepare();
  await live(disk, assignment, new Set());
  return disk.operations;
}

describe('power cut at every operation', () => {
  it('of an update: the device serves old or new, and finishes the update', async () => {
    const assignment = assignmentFor(fresh, 2);
    const total = await operationsOf(() => onOld(1), assignment);
    expect(total).toBeGreaterThan(20);
    for (let cut = 1; cut <= total; cut += 1) {
      for (let coin = 1; coin <= COINS; coin += 1) {
        const seed = cut * 1000 + coin;
        const disk = await onOld(seed);
        disk.cutAt = cut;
        const seen = new Set<string | null>();
        const name = `seed ${seed}, cut at operation ${cut} (${disk.log.at(-1) ?? ''})`;
        expect(await live(disk, assignment, seen), name).toBe(false);
        disk.restart();
        expect(await live(disk, assignment, seen), name).toBe(true);
        expect(
          [...seen].every((version) => version === '1.0.0' || version === '1.1.0'),
          `${name}: served ${[...seen].join()}`,
        ).toBe(true);
        const device = await bootDevice(disk, releases);
        expect(runningOf(device.driver.record)?.version, name).toBe('1.1.0');
        expect(device.driver.record.outcome?.result, name).toBe('confirmed');
      }
    }
  });

  it('of an update that fails its trial: the device ends on the old release', async () => {
    const assignment = assignmentFor(fresh, 2);
    const bad = { pairs: 500, disagreed: 250 };
    const run = async (disk: SimDisk): Promise<boolean> => {
      try {
        const device = await bootDevice(disk, releases);
        device.runtime.evidenceNow = bad;
        await settle(device, assignment);
        return true;
      } catch (error) {
        if (error instanceof PowerCut) return false;
        throw error;
      }
    };
    const counting = await onOld(1);
    await run(counting);
    const total = counting.operations;
    for (let cut = 1; cut <= total; cut += 1) {
      const disk = await onOld(cut);
      disk.cutAt = cut;
      expect(await run(disk), `cut ${cut}`).toBe(false);
      disk.restart();
      expect(await run(disk), `cut ${cut}`).toBe(true);
      const device = await bootDevice(disk, releases);
      expect(device.runtime.serving, `cut ${cut}`).toBe('1.0.0');
      expect(device.driver.record.outcome, `cut ${cut}`).toMatchObject({
        result: 'rolled_back',
        code: 'trial_disagreement',
      });
    }
  });

  it('again and again, at random operations: many cuts never leave a device between two versions', async () => {
    const firstSeed = Number(process.env.LINNET_SEED ?? 42);
    for (let seed = firstSeed; seed < firstSeed + 40; seed += 1) {
      const coin = seeded(seed);
      const disk = await onOld(seed);
      const seen = new Set<string | null>();
      let settled = false;
      for (let lives = 0; lives < 200 && !settled; lives += 1) {
        disk.cutAt = 1 + Math.floor(coin() * 25);
        settled = await live(disk, assignmentFor(fresh, 2), seen);
        disk.restart();
      }
      expect(settled, `seed ${seed} (replay with LINNET_SEED=${seed})`).toBe(true);
      expect(
        [...seen].every((version) => version === '1.0.0' || version === '1.1.0'),
        `seed ${seed}: served ${[...seen].join()}`,
      ).toBe(true);
    }
  });
});
