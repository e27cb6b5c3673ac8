// A power cut at every operation of an update, for each payload kind and for encoded files. For
// each operation of the disk, and several outcomes of what survives of unsynced data, the device
// must come back with the old or the new release, whole and verified, and then finish.
import { describe, expect, it } from 'vitest';
import { runningOf, type Assignment } from '../../../agent/update/record.js';
import { sha256, utf8 } from '../../../shared/base/bytes.js';
import { xorCodec } from '../../sim/codecs.js';
import { bootDevice, settle, type SimDevice } from '../../sim/device.js';
import { PowerCut, SimDisk } from '../../sim/disk.js';
import { seeded } from '../../support/random.js';
import { FileHandler, fileRelease } from '../../sim/file-handler.js';
import { assignmentFor, simRelease, type AnySimRelease } from '../../sim/release.js';
import { accuracySet, signedSet } from '../../support/acceptance-sets.js';
import { rehearsedEvidence, trialEvidence } from '../../support/trial-evidence.js';
import { isWhole } from '../../support/whole.js';

const COINS = Number(process.env.LINNET_CRASH_SEEDS ?? (isWhole ? 6 : 2));

interface Life {
  readonly device: SimDevice;
  readonly serving: () => string | null;
}

/** One payload kind: its releases, and a boot of the device with its handler. */
interface Kind {
  readonly old: AnySimRelease;
  readonly fresh: AnySimRelease;
  /** Fails its trial: by its payload, or by the evidence that `boot` gives when `bad`. */
  readonly bad: AnySimRelease;
  readonly result: 'rolled_back' | 'refused';
  readonly code: string;
  /** How a shadow ends. */
  readonly shadowed: { readonly result: string; readonly code: string | null };
  /** An update takes more disk operations than this; one file takes fewer than two. */
  readonly operations: number;
  /** The acceptance set that the new release must pass. */
  readonly acceptance?: Assignment['acceptance'];
  boot(disk: SimDisk, bad?: boolean): Promise<Life>;
}

/** `rehearsed`: the rehearsal judges it, not the trial. */
function modelKind(options: {
  encoded?: boolean;
  rehearsed?: boolean;
  acceptance?: Uint8Array;
}): Kind {
  const { acceptance } = options;
  const named =
    acceptance === undefined ? null : { sha256: sha256(acceptance), length: acceptance.length };
  const old = simRelease('1.0.0');
  const body = utf8(`${'model 1.1.0 '.repeat(20)}\n`);
  const encoded = { codec: 'xor', bytes: xorCodec().encode(body) };
  const fresh = simRelease('1.1.0', { body, ...(options.encoded ? { encoded } : {}) });
  return {
    old,
    fresh,
    bad: fresh,
    ...(options.rehearsed
      ? { result: 'refused', code: 'rehearsal_differs' }
      : { result: 'rolled_back', code: 'trial_disagreement' }),
    shadowed: { result: 'shadowed', code: null },
    operations: 20,
    acceptance: named,
    boot: async (disk, bad = false) => {
      const wrong = trialEvidence({ pairs: 500, differing: 250, seconds: 60 });
      const evidence = bad && !options.rehearsed ? wrong : {};
      const rehearsed = { evidence: rehearsedEvidence(180, bad ? 94 : 0) };
      const codecs = options.encoded ? [xorCodec()] : [];
      const device = await bootDevice(disk, [old, fresh], {
        evidence,
        codecs,
        ...(options.rehearsed ? { rehearsed } : {}),
      });
      if (acceptance !== undefined && named !== null)
        device.fetcher.others.set(named.sha256, acceptance);
      return { device, serving: () => device.runtime.serving };
    },
  };
}

function fileKind(): Kind {
  const [old, fresh, bad] = [
    fileRelease('1.0.0'),
    fileRelease('1.1.0'),
    fileRelease('1.1.0', 'trial'),
  ];
  return {
    old,
    fresh,
    bad,
    result: 'rolled_back',
    code: 'trial_errors',
    shadowed: { result: 'refused', code: 'shadow_needs_serving' },
    operations: 15,
    boot: async (disk) => {
      const handler = new FileHandler(disk);
      const device = await bootDevice(disk, [old, fresh, bad], { handlers: [handler] });
      return { device, serving: () => handler.serving };
    },
  };
}

const kinds: Record<string, Kind> = {
  model: modelKind({}),
  rehearsed_model: modelKind({ rehearsed: true }),
  encoded_model: modelKind({ encoded: true }),
  model_with_acceptance_set: modelKind({
    acceptance: signedSet(accuracySet([[0, 1, 'yes']], { component: 'digits' })),
  }),
  file: fileKind(),
};

async function onOld(kind: Kind, seed: number): Promise<SimDisk> {
  const disk = new SimDisk(seeded(seed));
  await settle((await kind.boot(disk)).device, assignmentFor(kind.old, 1));
  disk.restart();
  return disk;
}

interface Update {
  readonly kind: Kind;
  /** The trial of the new release fails. */
  readonly bad: boolean;
  /** The director lets the device hold until it says swap (`hasGo`). */
  readonly hold?: { hasGo: boolean };
}

/** What `work` returns; null when the power is cut in it. */
async function untilCut<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof PowerCut) return null;
    throw error;
  }
}

/** The device boots and works until it settles or the power is cut. True when it has settled. */
async function live(
  { kind, bad, hold }: Update,
  disk: SimDisk,
  seen = new Set<string | null>(),
): Promise<boolean> {
  const release = bad ? kind.bad : kind.fresh;
  const acceptance = kind.acceptance ?? null;
  const life = await untilCut(async () => {
    const { device, serving } = await kind.boot(disk, bad);
    seen.add(serving());
    if (hold?.hasGo === false) {
      await settle(device, assignmentFor(release, 2, { acceptance, activation: 'hold' }), 20);
      expect([device.driver.record.state, serving()]).toEqual(['rehearsed', '1.0.0']);
      hold.hasGo = true;
    }
    await settle(device, assignmentFor(release, 2, { acceptance }));
    seen.add(serving());
    return device;
  });
  return life !== null;
}

/** How many disk operations the update takes when nothing interrupts it. */
async function operationsOf(update: Update): Promise<number> {
  const disk = await onOld(update.kind, 1);
  expect(await live(update, disk)).toBe(true);
  return disk.operations;
}

const isOldOrNew = (version: string | null): boolean => version === '1.0.0' || version === '1.1.0';

describe.each(Object.entries(kinds))('power_cut_at_every_operation_of_%s', (_name, kind) => {
  it('update_serves_old_or_new_and_finishes', async () => {
    const update = { kind, bad: false };
    const total = await operationsOf(update);
    expect(total).toBeGreaterThan(kind.operations);
    for (let cut = 1; cut <= total; cut += 1) {
      for (let coin = 1; coin <= COINS; coin += 1) {
        const seed = cut * 1000 + coin;
        const disk = await onOld(kind, seed);
        disk.cutAt = cut;
        const seen = new Set<string | null>();
        const name = `seed ${seed}, cut at operation ${cut} (${disk.log.at(-1) ?? ''})`;
        expect(await live(update, disk, seen), name).toBe(false);
        disk.restart();
        expect(await live(update, disk, seen), name).toBe(true);
        expect([...seen].every(isOldOrNew), `${name}: served ${[...seen].join()}`).toBe(true);
        const { device } = await kind.boot(disk);
        expect(runningOf(device.driver.record)?.version, name).toBe('1.1.0');
        expect(device.driver.record.outcome?.result, name).toBe('confirmed');
      }
    }
  });

  it('hold_serves_the_old_release_until_its_go_and_then_flips_and_finishes', async () => {
    const total = await operationsOf({ kind, bad: false, hold: { hasGo: false } });
    let cutsAfterGo = 0;
    for (let cut = 1; cut <= total; cut += 1) {
      const disk = await onOld(kind, cut);
      disk.cutAt = cut;
      const update = { kind, bad: false, hold: { hasGo: false } };
      const seen = new Set<string | null>();
      const name = `cut at operation ${cut}`;
      expect(await live(update, disk, seen), name).toBe(false);
      if (update.hold.hasGo) cutsAfterGo += 1;
      else expect([...seen], name).toEqual(seen.size === 0 ? [] : ['1.0.0']);
      disk.restart();
      expect(await live(update, disk, seen), name).toBe(true);
      expect([...seen].every(isOldOrNew), `${name}: served ${[...seen].join()}`).toBe(true);
      const { device } = await kind.boot(disk);
      expect(runningOf(device.driver.record)?.version, name).toBe('1.1.0');
      expect(device.driver.record.outcome?.result, name).toBe('confirmed');
    }
    expect(cutsAfterGo).toBeGreaterThan(1);
  });

  it('undo_serves_the_new_or_the_old_release_and_ends_on_the_old_one', async () => {
    const onNew = async (seed: number): Promise<SimDisk> => {
      const disk = await onOld(kind, seed);
      expect(await live({ kind, bad: false }, disk)).toBe(true);
      disk.restart();
      return disk;
    };
    const undo = (disk: SimDisk, seen = new Set<string | null>()): Promise<Life | null> =>
      untilCut(async () => {
        const life = await kind.boot(disk);
        seen.add(life.serving());
        await settle(life.device, assignmentFor(kind.old, 3, { rollback: true }));
        seen.add(life.serving());
        return life;
      });
    const whole = await onNew(1);
    expect(await undo(whole)).not.toBeNull();
    for (let cut = 1; cut <= whole.operations; cut += 1) {
      const disk = await onNew(cut);
      disk.cutAt = cut;
      const seen = new Set<string | null>();
      const name = `cut at operation ${cut}`;
      expect(await undo(disk, seen), name).toBeNull();
      disk.restart();
      expect(await undo(disk, seen), name).not.toBeNull();
      expect([...seen].every(isOldOrNew), `${name}: served ${[...seen].join()}`).toBe(true);
      const { device, serving } = await kind.boot(disk);
      expect([runningOf(device.driver.record)?.version, serving()], name).toEqual([
        '1.0.0',
        '1.0.0',
      ]);
      expect(device.driver.record.outcome?.result, name).toBe('reverted');
    }
  });

  it('shadow_serves_the_old_release_alone_and_ends_with_nothing_of_it_left', async () => {
    const shadow = (disk: SimDisk): Promise<Life | null> =>
      untilCut(async () => {
        const life = await kind.boot(disk);
        expect([null, '1.0.0']).toContain(life.serving());
        const acceptance = kind.acceptance ?? null;
        await settle(
          life.device,
          assignmentFor(kind.fresh, 2, { acceptance, activation: 'shadow' }),
        );
        expect(life.serving()).toBe('1.0.0');
        return life;
      });
    const whole = await onOld(kind, 1);
    expect(await shadow(whole)).not.toBeNull();
    for (let cut = 1; cut <= whole.operations; cut += 1) {
      const disk = await onOld(kind, cut);
      disk.cutAt = cut;
      const name = `cut at operation ${cut}`;
      expect(await shadow(disk), name).toBeNull();
      disk.restart();
      const life = await shadow(disk);
      expect(life?.device.driver.record, name).toMatchObject({
        state: 'idle',
        active: 'a',
        slots: { a: { version: '1.0.0' }, b: null },
        floor: '1.0.0',
        first: true,
        outcome: { ...kind.shadowed, assignmentId: 2 },
      });
      expect((await kind.boot(disk)).serving(), name).toBe('1.0.0');
    }
  });

  it('update_that_is_refused_or_fails_its_trial_ends_on_the_old_release', async () => {
    const update = { kind, bad: true };
    const total = await operationsOf(update);
    for (let cut = 1; cut <= total; cut += 1) {
      const disk = await onOld(kind, cut);
      disk.cutAt = cut;
      const seen = new Set<string | null>();
      expect(await live(update, disk, seen), `cut ${cut}`).toBe(false);
      disk.restart();
      expect(await live(update, disk, seen), `cut ${cut}`).toBe(true);
      expect([...seen].every(isOldOrNew), `cut ${cut}: served ${[...seen].join()}`).toBe(true);
      const { device, serving } = await kind.boot(disk);
      expect(serving(), `cut ${cut}`).toBe('1.0.0');
      expect(device.driver.record.outcome, `cut ${cut}`).toMatchObject({
        result: kind.result,
        code: kind.code,
      });
    }
  });

  it('many_cuts_at_random_operations_never_leave_the_device_between_two_releases', async () => {
    const update = { kind, bad: false };
    const firstSeed = Number(process.env.LINNET_SEED ?? 42);
    for (let seed = firstSeed; seed < firstSeed + 40; seed += 1) {
      const coin = seeded(seed);
      const disk = await onOld(kind, seed);
      const seen = new Set<string | null>();
      let settled = false;
      for (let lives = 0; lives < 200 && !settled; lives += 1) {
        disk.cutAt = 1 + Math.floor(coin() * 25);
        settled = await live(update, disk, seen);
        disk.restart();
      }
      expect(settled, `seed ${seed} (replay with LINNET_SEED=${seed})`).toBe(true);
      const name = `seed ${seed}: served ${[...seen].join()}`;
      expect([...seen].every(isOldOrNew), name).toBe(true);
    }
  });
});
