// The image repository and `linnet publish`, which publishes into it, on a real folder and over
// real HTTP: what is published, what is refused and changes nothing, and what a crash leaves. The
// oracle is tuf-js, a client that nobody here wrote. Over 400 lines because each refusal is one
// small case on the same repository.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Updater } from 'tuf-js';
import { readBundle } from '../../../firmware-tools/release/bundle/read.js';
import { ImageRepository } from '../../../server/tuf/image-repository.js';
import { fastSigningKey } from '../../../server/tuf/online-keys.js';
import { limits } from '../../../shared/base/limits.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { sha256 } from '../../../shared/base/bytes.js';
import type { Signer } from '../../../shared/trust/signer.js';
import { decodeDocument, signDocument, type Targets } from '../../../shared/trust/documents.js';
import { refused } from '../../support/metadata-device.js';
import { tempFolder } from '../../support/temp-folders.js';
import { PublishedRepository } from '../../support/published-repository.js';
import { otherKey, smallModel } from '../../support/release-builder.js';

const HOUR_MS = 3600_000;
const DAY_MS = 24 * HOUR_MS;
let repository: PublishedRepository;
beforeEach(async () => {
  repository = await PublishedRepository.begin();
  return () => repository.end();
});

const versions = async (): Promise<{ targets: number; snapshot: number; timestamp: number }> => {
  const timestamp = decodeDocument(
    'timestamp',
    (await repository.images.metadata('timestamp.json')) ?? new Uint8Array(),
  );
  return {
    targets: repository.images.targets().version,
    snapshot: timestamp.signed.meta['snapshot.json'].version,
    timestamp: timestamp.signed.version,
  };
};

/** Publishes by hand: an envelope and any targets document, past the checks of `linnet publish`. */
async function post(
  bundle: string,
  change: (targets: Targets) => void,
  signers: readonly Signer[] = [repository.targetsKey],
): Promise<unknown> {
  const { envelope, release, files } = await readBundle(bundle, null);
  const whole = readFileSync(bundle);
  for (const { entry, offset } of files)
    await upload(entry.sha256, whole.subarray(offset, offset + entry.length));
  const current = structuredClone(repository.images.targets());
  const targets: Targets = { ...current, version: current.version + 1 };
  targets.targets[`small/${release.version}/release.dsse.json`] = {
    length: envelope.length,
    hashes: { sha256: release.digest },
    custom: { component: 'small', version: release.version, hardware: release.manifest.hardware },
  };
  change(targets);
  return repository.images.publish(envelope, await signDocument(targets, signers));
}

const upload = (digest: string, bytes: Uint8Array): Promise<{ stored: boolean }> =>
  repository.artifacts.put(digest, chunks(bytes), { maxBytes: limits.releaseFileMaxBytes });
const filePath = (digest: string): string => join(repository.made.server, 'files', digest);

async function* chunks(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000)
    yield await Promise.resolve(bytes.subarray(at, at + 1000));
}

describe('publishing', () => {
  test('a_release_is_there_with_its_files_and_the_next_one_follows', async () => {
    const first = await repository.publish(await repository.bundle('1.0.0'));
    expect(first).toMatchObject({
      targetsVersion: 2,
      already: false,
      uploaded: ['probes.json', 'small.onnx'],
    });
    const second = await repository.publish(await repository.bundle('1.1.0'));
    expect(second).toMatchObject({ targetsVersion: 3, already: false, uploaded: [] });
    expect(Object.keys(repository.images.targets().targets)).toEqual([
      'small/1.0.0/release.dsse.json',
      'small/1.1.0/release.dsse.json',
    ]);
    for (const file of second.release.manifest.files) {
      expect(sha256(readFileSync(filePath(file.sha256)))).toBe(file.sha256);
    }
    const before = await versions();
    expect(before.targets).toBe(3);
    await repository.reopen();
    expect(await versions()).toEqual({
      targets: 3,
      snapshot: before.snapshot + 1,
      timestamp: before.timestamp + 1,
    });
  });

  test('the_same_release_twice_does_nothing', async () => {
    const bundle = await repository.bundle('1.0.0');
    await repository.publish(bundle);
    const before = await versions();
    repository.requests.length = 0;
    expect(await repository.publish(bundle)).toMatchObject({
      already: true,
      uploaded: [],
      targetsVersion: 2,
    });
    expect(await versions()).toEqual(before);
    expect(repository.requests.filter((line) => line.startsWith('PUT'))).toEqual([]);
  });

  test('publishing_again_brings_back_an_envelope_that_the_disk_lost', async () => {
    const bundle = await repository.bundle('1.0.0');
    const { release } = await repository.publish(bundle);
    const path = join(
      repository.metadataPath(''),
      '..',
      '..',
      'targets',
      'small',
      '1.0.0',
      `${release.digest}.release.dsse.json`,
    );
    rmSync(path);
    expect(await repository.publish(bundle)).toMatchObject({ already: true });
    expect(sha256(readFileSync(path))).toBe(release.digest);
  });

  test('many_at_once_leave_one_consistent_repository', async () => {
    const bundles = await Promise.all(
      ['1.0.0', '1.0.1', '1.0.2'].map((version) => repository.bundle(version)),
    );
    const outcomes = await Promise.allSettled(
      bundles.map((bundle) => repository.publish(bundle, { memory: null })),
    );
    const won = outcomes.filter((outcome) => outcome.status === 'fulfilled').length;
    expect(won).toBeGreaterThan(0);
    expect(repository.images.targets().version).toBe(1 + won);
    expect(Object.keys(repository.images.targets().targets).length).toBe(won);
  });
});

describe('refused, with nothing changed', () => {
  const unchanged = async (
    attempt: () => Promise<unknown>,
    code: Parameters<typeof refused>[1],
  ): Promise<void> => {
    const before = {
      now: await versions(),
      names: readdirSync(repository.metadataPath('')).sort(),
    };
    await refused(attempt(), code);
    expect({
      now: await versions(),
      names: readdirSync(repository.metadataPath('')).sort(),
    }).toEqual(before);
  };

  test('changed_release_the_same_version_with_other_content', async () => {
    await repository.publish(await repository.bundle('1.0.0'));
    const other = await repository.bundle('1.0.0', smallModel([7, 7]));
    await unchanged(() => repository.publish(other), 'conflict');
    await unchanged(() => post(other, () => {}), 'conflict');
  });

  test('wrong_release_key', async () => {
    const bundle = await repository.bundle('1.0.0', undefined, otherKey);
    await unchanged(() => repository.publish(bundle), 'signature_invalid');
    await unchanged(() => post(bundle, () => {}), 'signature_invalid');
  });

  test('wrong_targets_key', async () => {
    const bundle = await repository.bundle('1.0.0');
    await unchanged(() => repository.publish(bundle, { targetsKeys: [otherKey] }), 'key_invalid');
    await unchanged(() => post(bundle, () => {}, [otherKey]), 'metadata_signature');
    await unchanged(
      () => post(bundle, () => {}, [repository.keys.image.snapshot]),
      'metadata_signature',
    );
  });

  test('lower_version_skipped_version_same_version_other_content', async () => {
    await repository.publish(await repository.bundle('1.0.0'));
    const bundle = await repository.bundle('1.1.0');
    await unchanged(
      () =>
        post(bundle, (targets) => {
          targets.version = 1;
        }),
      'metadata_rollback',
    );
    await unchanged(
      () =>
        post(bundle, (targets) => {
          targets.version = 2;
        }),
      'metadata_rollback',
    );
    await unchanged(
      () =>
        post(bundle, (targets) => {
          targets.version = 4;
        }),
      'conflict',
    );
  });

  test('changed_old_target_and_dropped_old_target', async () => {
    await repository.publish(await repository.bundle('1.0.0'));
    const bundle = await repository.bundle('1.1.0');
    await unchanged(
      () =>
        post(bundle, (targets) => {
          const old = targets.targets['small/1.0.0/release.dsse.json'];
          if (old !== undefined) old.hashes = { sha256: sha256('other') };
        }),
      'conflict',
    );
    await unchanged(
      () =>
        post(bundle, (targets) => {
          delete targets.targets['small/1.0.0/release.dsse.json'];
        }),
      'conflict',
    );
  });

  test('a_target_that_does_not_describe_its_release', async () => {
    const bundle = await repository.bundle('1.0.0');
    const target = (targets: Targets) =>
      targets.targets['small/1.0.0/release.dsse.json'] ?? expect.fail('a target');
    await unchanged(
      () =>
        post(bundle, (targets) => {
          target(targets).length += 1;
        }),
      'target_mismatch',
    );
    await unchanged(
      () =>
        post(bundle, (targets) => {
          target(targets).custom = { component: 'small', version: '1.0.0', hardware: ['anything'] };
        }),
      'target_mismatch',
    );
    await unchanged(
      () =>
        post(bundle, (targets) => {
          target(targets).hashes = { sha256: sha256('x') };
        }),
      'target_mismatch',
    );
  });

  test('a_stowaway_one_more_target_than_the_release', async () => {
    const bundle = await repository.bundle('1.0.0');
    await unchanged(
      () =>
        post(bundle, (targets) => {
          targets.targets['small/9.9.9/release.dsse.json'] = {
            length: 1,
            hashes: { sha256: sha256('x') },
          };
        }),
      'conflict',
    );
  });

  test('missing_file_and_damaged_file', async () => {
    const bundle = await repository.bundle('1.0.0');
    const { envelope, release } = await readBundle(bundle, null);
    const targets = { ...repository.images.targets(), version: 2 };
    const signed = (): Promise<Uint8Array> =>
      signDocument(
        {
          ...targets,
          targets: {
            'small/1.0.0/release.dsse.json': {
              length: envelope.length,
              hashes: { sha256: release.digest },
              custom: { component: 'small', version: '1.0.0', hardware: release.manifest.hardware },
            },
          },
        },
        [repository.targetsKey],
      );
    await unchanged(async () => repository.images.publish(envelope, await signed()), 'conflict');
    const whole = readFileSync(bundle);
    for (const { entry, offset } of (await readBundle(bundle, null)).files)
      await upload(entry.sha256, whole.subarray(offset, offset + entry.length));
    const model =
      release.manifest.files.find((file) => file.role === 'model') ?? expect.fail('a model');
    const path = filePath(model.sha256);
    const bytes = readFileSync(path);
    writeFileSync(path, Buffer.from(bytes).fill(0, 0, 1));
    await unchanged(async () => repository.images.publish(envelope, await signed()), 'file_digest');
    // The damaged file is gone, so that the same upload can replace it.
    expect(await upload(model.sha256, bytes)).toEqual({ stored: true });
    truncateSync(path, 5);
    await unchanged(async () => repository.images.publish(envelope, await signed()), 'file_length');
    expect(await upload(model.sha256, bytes)).toEqual({ stored: true });
    await repository.images.publish(envelope, await signed());
  });

  test('a_server_that_shows_publish_forged_or_older_targets_is_not_believed', async () => {
    const bundle = await repository.bundle('1.0.0');
    const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
    repository.view = async (honest) => ({
      ...honest,
      targets: base64(
        await signDocument({ ...repository.images.targets(), version: 9 }, [otherKey]),
      ),
    });
    await unchanged(() => repository.publish(bundle), 'metadata_signature');
    const root = decodeDocument('root', repository.root).signed;
    repository.view = async (honest) => ({
      ...honest,
      root: base64(await signDocument({ ...root, version: 2 }, [otherKey])),
    });
    await unchanged(() => repository.publish(bundle), 'metadata_signature');
    repository.view = null;
    await repository.publish(bundle);
    repository.view = async (honest) => ({
      ...honest,
      targets: base64(readFileSync(repository.metadataPath('1.targets.json'))),
    });
    const next = await repository.bundle('1.1.0');
    await unchanged(() => repository.publish(next), 'metadata_rollback');
  });

  test('online_keys_that_the_root_does_not_name', async () => {
    const foreign = { ...repository.keys.image, timestamp: fastSigningKey(Buffer.alloc(32, 7)) };
    await refused(
      ImageRepository.open({
        folder: repository.made.server,
        artifacts: repository.artifacts,
        keys: foreign,
        clock: repository.clock,
        log: silentLog,
        random: realRandom,
      }),
      'key_invalid',
    );
  });

  test('names_that_are_no_metadata_targets_or_files', async () => {
    for (const name of [
      '../1.root.json',
      '0.root.json',
      'root.json',
      '1.root.json/..',
      '2.targets.json',
      'online',
      '',
    ])
      expect(await repository.images.metadata(name)).toBeNull();
    expect(
      await repository.images.targetFile('..', '1.0.0', `${'a'.repeat(64)}.release.dsse.json`),
    ).toBeNull();
    expect(await repository.images.targetFile('small', '1.0.0', '../../x')).toBeNull();
    expect(await repository.artifacts.stat('../online/timestamp.key.json')).toBeNull();
    expect(await repository.artifacts.get('../online/timestamp.key.json')).toBeNull();
  });
});

describe('a crash', () => {
  test('between_two_files_leaves_the_old_list_valid_and_a_second_try_completes_it', async () => {
    const bundle = await repository.bundle('1.0.0');
    const stamp = readFileSync(repository.metadataPath('timestamp.json'));
    const { snapshot: first } = await versions();
    const snapshot = readFileSync(repository.metadataPath(`${first}.snapshot.json`));
    await repository.publish(bundle);
    const after = ['timestamp', 'snapshot', 'targets'] as const;
    for (let lost = 1; lost <= after.length; lost++) {
      // The disk as it was before the last `lost` renames.
      writeFileSync(repository.metadataPath('timestamp.json'), stamp);
      const { snapshot: made } = await versions();
      if (lost >= 2) rmSync(repository.metadataPath(`${made}.snapshot.json`));
      if (lost >= 3) rmSync(repository.metadataPath('2.targets.json'));
      writeFileSync(repository.metadataPath('.tmp-0123-timestamp.json'), 'half');
      await repository.reopen();
      const { targets, snapshot: signed } = await versions();
      expect([targets, signed > first]).toEqual([1, true]);
      expect(await repository.images.metadata('2.targets.json')).toBeNull();
      expect(await repository.images.metadata(`${signed + 1}.snapshot.json`)).toBeNull();
      expect(readFileSync(repository.metadataPath(`${first}.snapshot.json`)).equals(snapshot)).toBe(
        true,
      );
      expect(await repository.publish(bundle, { memory: null })).toMatchObject({
        targetsVersion: 2,
        already: false,
      });
      expect((await versions()).targets).toBe(2);
      expect(
        readdirSync(repository.metadataPath('')).filter((name) => name.startsWith('.tmp')),
      ).toEqual([]);
    }
  });

  test('after_the_server_took_it_before_publish_heard_publishing_again_finds_it_done', async () => {
    const bundle = await repository.bundle('1.0.0');
    await post(bundle, () => {});
    expect(await repository.publish(bundle)).toMatchObject({ already: true, targetsVersion: 2 });
  });
});

describe('renewal', () => {
  test('timestamp_after_half_a_day_snapshot_after_half_a_week_and_nothing_before', async () => {
    await repository.publish(await repository.bundle('1.0.0'));
    const begin = await versions();
    repository.clock.pass(11 * HOUR_MS);
    await repository.images.renew();
    expect(await versions()).toEqual(begin);
    repository.clock.pass(2 * HOUR_MS);
    await repository.images.renew();
    const { timestamp } = await versions();
    expect(await versions()).toEqual({ ...begin, timestamp });
    expect(timestamp).toBeGreaterThan(begin.timestamp);
    repository.clock.pass(4 * DAY_MS);
    await repository.images.renew();
    const after = await versions();
    expect(after.targets).toBe(2);
    expect(after.snapshot).toBeGreaterThan(begin.snapshot);
    expect(after.timestamp).toBeGreaterThan(timestamp);
  });
});

describe('oracle: tuf-js', () => {
  let dir: string;
  beforeAll(() => {
    dir = tempFolder();
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test('accepts_the_repository_at_each_publication_and_downloads_the_envelope', async () => {
    // tuf-js takes its time from the machine, so this repository lives in the present.
    repository.clock.ms = Date.now();
    await repository.images.renew();
    writeFileSync(join(dir, 'root.json'), repository.root);
    mkdirSync(join(dir, 'targets'));
    for (const version of ['1.0.0', '1.1.0']) {
      const { release } = await repository.publish(await repository.bundle(version));
      const driver = new Updater({
        metadataDir: dir,
        metadataBaseUrl: `${repository.url}/repo/image/metadata`,
        targetDir: join(dir, 'targets'),
        targetBaseUrl: `${repository.url}/repo/image/targets`,
      });
      await driver.refresh();
      const target = await driver.getTargetInfo(`small/${version}/release.dsse.json`);
      if (target === undefined) expect.fail('tuf-js does not find the release');
      expect(target.custom).toEqual({
        component: 'small',
        version,
        hardware: ['arm64', 'sim-x86'],
      });
      const file = await driver.downloadTarget(target, join(dir, 'targets', version));
      expect(createHash('sha256').update(readFileSync(file)).digest('hex')).toBe(release.digest);
      expect(await driver.getTargetInfo('small/9.9.9/release.dsse.json')).toBeUndefined();
    }
    const stored = decodeDocument('targets', readFileSync(join(dir, 'targets.json')));
    expect(stored.signed.version).toBe(3);
  });

  test('refuses_as_our_own_client_does_a_root_that_the_present_keys_did_not_sign', async () => {
    repository.clock.ms = Date.now();
    await repository.images.renew();
    writeFileSync(
      repository.metadataPath('2.root.json'),
      Buffer.from(repository.root).toString().replace('"version":1', '"version":2'),
    );
    const fresh = tempFolder();
    writeFileSync(join(fresh, 'root.json'), repository.root);
    const driver = new Updater({
      metadataDir: fresh,
      metadataBaseUrl: `${repository.url}/repo/image/metadata`,
    });
    await expect(driver.refresh()).rejects.toThrow();
  });
});
