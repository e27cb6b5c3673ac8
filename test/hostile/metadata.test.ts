// One attack a test, on the whole metadata client with a real disk: repositories that really sign,
// and then misbehave. Each attack begins from a device that works, so that what refuses it is the
// check under test; most end by showing that the device goes on working when the attack ends.
// Names: TUF 1.0 "attacks", Uptane 2.1.0 threats, notes/ota.md section 1.
import { createHash } from 'node:crypto';
import { readFileSync, rmSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { limits } from '../../shared/base/limits.js';
import { sha256, utf8 } from '../../shared/base/bytes.js';
import { keyIdOf, publicKeyOf } from '../../shared/trust/signer.js';
import {
  decodeDocument,
  metaOf,
  type Root,
  type Snapshot,
  type Timestamp,
} from '../../shared/trust/documents.js';
import { refused, SimDevice } from '../support/metadata-device.js';
import { newKey, OTHER_DEVICE, RepositorySimulator, SimWorld } from '../sim/tuf-repositories.js';
import { signDocumentNow } from '../sim/sync-signer.js';

const HOUR_MS = 3600_000;

async function working(): Promise<{ world: SimWorld; device: SimDevice }> {
  const world = new SimWorld();
  world.ship('digits', '1.0.0');
  const device = await SimDevice.provision(world);
  expect(await device.versions()).toEqual(['digits 1.0.0']);
  return { world, device };
}

/** Root documents of the simulator as plain objects, to change and sign again. */
const rootOf = (repository: RepositorySimulator): Root =>
  decodeDocument('root', repository.get(`${repository.versions.root}.root.json`)).signed;

describe('TUF 5.3: the root', () => {
  test('root_signed_by_new_keys_only', async () => {
    const { world, device } = await working();
    const stolen = newKey();
    const forged = { ...rootOf(world.image), version: 2 };
    forged.keys = { ...forged.keys, [stolen.keyId]: stolen.publicKey };
    forged.roles = { ...forged.roles, root: { keyids: [stolen.keyId], threshold: 1 } };
    world.image.served.set('2.root.json', signDocumentNow(forged, [stolen]));
    world.ship('digits', '1.1.0');
    await refused(device.versions(), 'metadata_signature');
    world.image.served.delete('2.root.json');
    expect(await device.versions()).toEqual(['digits 1.1.0']);
  });

  test('root_signed_by_old_keys_only', async () => {
    const { world, device } = await working();
    const old = world.director.keys.root;
    world.director.keys.root = [newKey()];
    world.director.signRoot({ signers: old });
    await refused(device.versions(), 'metadata_signature');
  });

  test('root_below_its_threshold', async () => {
    const world = new SimWorld();
    const before = world.image.keys.root;
    world.image.keys.root = [newKey(), newKey(), newKey()];
    world.image.thresholds.root = 2;
    const [first] = world.image.keys.root;
    world.image.signRoot({ signers: [...before, ...(first === undefined ? [] : [first])] });
    world.ship('digits', '1.0.0');
    const device = await SimDevice.provision(world);
    await refused(device.versions(), 'metadata_signature');
  });

  test('image_root_without_release_keys', async () => {
    const { world, device } = await working();
    world.image.signRoot({
      change: (root) => {
        delete root['x-linnet-release'];
      },
    });
    world.ship('digits', '1.1.0');
    await refused(device.versions(), 'metadata_undecodable');
    world.image.served.delete('2.root.json');
    expect(await device.versions()).toEqual(['digits 1.1.0']);
  });

  test('root_version_skipped', async () => {
    const { world, device } = await working();
    world.director.signRoot({
      change: (root) => {
        root.version = 3;
      },
    });
    world.director.served.set('2.root.json', world.director.get('3.root.json'));
    await refused(device.versions(), 'root_version');
  });

  test('rollback_of_root: the old root served again as the next one', async () => {
    const { world, device } = await working();
    world.director.served.set('2.root.json', world.director.get('1.root.json'));
    await refused(device.versions(), 'root_version');
  });

  test('freeze_expired_root', async () => {
    const { world, device } = await working();
    world.director.signRoot({
      change: (root) => {
        root.expires = '2026-11-22T00:00:00Z';
      },
    });
    await refused(device.versions(), 'metadata_expired');
  });

  test('an intermediate root may have expired', async () => {
    const { world, device } = await working();
    world.director.signRoot({
      change: (root) => {
        root.expires = '2026-11-22T00:00:00Z';
      },
    });
    world.director.signRoot();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('endless_data_root', async () => {
    const { world, device } = await working();
    world.image.served.set('2.root.json', new Uint8Array(limits.rootMaxBytes + 1).fill(0x20));
    world.director.publish();
    await refused(device.versions(), 'metadata_too_large');
  });

  test('endless_root_chain', async () => {
    const world = new SimWorld();
    world.ship('digits', '1.0.0');
    for (let i = 0; i < limits.rootRotationsMaxCount + 1; i++) world.director.signRoot();
    const device = await SimDevice.provision(world);
    await refused(device.versions(), 'metadata_too_large');
    expect(world.requests.length).toBeLessThan(limits.rootRotationsMaxCount + 5);
    // A long but genuine absence is overcome: what was walked is kept, the next call goes on from
    // there.
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('fast_forward_recovery: a stolen timestamp key pushed the version up; rotating it heals devices', async () => {
    const { world, device } = await working();
    const honest = world.director.versions.timestamp;
    world.director.versions.timestamp = 1_000_000;
    world.director.publish();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
    world.director.versions.timestamp = honest;
    world.assign('digits', '1.0.0');
    await refused(device.versions(), 'metadata_rollback');
    world.director.rotate('timestamp', 'snapshot');
    expect(await device.versions()).toEqual(['digits 1.0.0']);
    await device.reboot();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('fast_forward_recovery of the snapshot alone', async () => {
    const { world, device } = await working();
    const honest = world.image.versions.snapshot;
    world.image.versions.snapshot = 1_000_000;
    world.ship('digits', '1.1.0');
    expect(await device.versions()).toEqual(['digits 1.1.0']);
    world.image.versions.snapshot = honest;
    world.ship('digits', '1.2.0');
    await refused(device.versions(), 'metadata_rollback');
    world.image.rotate('snapshot');
    expect(await device.versions()).toEqual(['digits 1.2.0']);
  });
});

describe('TUF 5.4: the timestamp', () => {
  test('timestamp_signed_by_a_stranger', async () => {
    const { world, device } = await working();
    world.director.signTimestamp(undefined, [newKey()]);
    await refused(device.versions(), 'metadata_signature');
  });

  test('timestamp_signed_by_the_snapshot_role', async () => {
    const { world, device } = await working();
    world.director.signTimestamp(undefined, world.director.keys.snapshot);
    await refused(device.versions(), 'metadata_signature');
  });

  test('rollback_of_timestamp', async () => {
    const { world, device } = await working();
    const old = world.director.get('timestamp.json');
    world.director.publish();
    await device.versions();
    world.director.served.set('timestamp.json', old);
    await refused(device.versions(), 'metadata_rollback');
    await device.reboot();
    await refused(device.versions(), 'metadata_rollback');
  });

  test('rollback_of_snapshot_named_by_timestamp', async () => {
    const { world, device } = await working();
    world.director.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = { version: world.director.versions.snapshot - 1 };
    });
    await refused(device.versions(), 'metadata_rollback');
  });

  test('equivocation: the same timestamp version with other content changes nothing', async () => {
    const { world, device } = await working();
    world.director.versions.timestamp -= 1;
    world.director.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = { version: 99 };
    });
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('freeze_expired_timestamp', async () => {
    const { world, device } = await working();
    world.clock.pass(25 * HOUR_MS);
    await refused(device.versions(), 'metadata_expired');
    world.director.publish();
    world.image.publish();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('freeze_of_the_image_repository: the director says nothing new, the image timestamp has expired', async () => {
    const { world, device } = await working();
    world.clock.pass(25 * HOUR_MS);
    world.director.signTimestamp();
    await refused(device.versions(), 'metadata_expired');
  });

  test('freeze_by_turning_the_clock_back: a device without a clock remembers when its timestamp was signed', async () => {
    const { world, device } = await working();
    world.clock.pass(20 * HOUR_MS);
    world.director.publish();
    world.image.publish();
    await device.versions();
    // The attacker keeps serving yesterday's image timestamp (newer versions withheld) after a
    // power cut set the clock to 1970.
    world.clock.pass(20 * HOUR_MS);
    world.director.publish();
    await device.versions();
    const frozen = world.clock.ms;
    world.clock.ms = 0;
    await device.reboot();
    world.clock.ms = frozen + 5 * HOUR_MS;
    world.director.publish();
    world.clock.ms = 0;
    // The director's signed time now lies beyond the frozen image timestamp's expiry, whatever the
    // local clock says.
    await refused(
      device.versions().then(() => device.versions()),
      'metadata_expired',
    );
  });

  test('endless_data_timestamp', async () => {
    const { world, device } = await working();
    world.director.served.set(
      'timestamp.json',
      new Uint8Array(limits.timestampMaxBytes + 1).fill(0x20),
    );
    await refused(device.versions(), 'metadata_too_large');
  });

  test('month_thirteen: an expiry that is no date does not mean for ever', async () => {
    const { world, device } = await working();
    world.director.signTimestamp((timestamp) => {
      timestamp.expires = '2026-13-01T00:00:00Z';
    });
    await refused(device.versions(), 'metadata_undecodable');
  });

  test('not_json and another_document_type', async () => {
    const { world, device } = await working();
    world.director.served.set('timestamp.json', Buffer.from('{"signed":'));
    await refused(device.versions(), 'metadata_undecodable');
    world.director.served.set(
      'timestamp.json',
      world.director.get(world.director.latest('snapshot')),
    );
    await refused(device.versions(), 'metadata_undecodable');
  });
});

describe('TUF 5.5: the snapshot', () => {
  test('mix_and_match_snapshot: a genuine snapshot that the timestamp does not name', async () => {
    const { world, device } = await working();
    const old = world.image.get(world.image.latest('snapshot'));
    world.ship('digits', '1.1.0');
    world.image.served.set(world.image.latest('snapshot'), old);
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('mix_and_match_snapshot_version: the timestamp names no hash, the version alone tells', async () => {
    const { world, device } = await working();
    world.image.signTargets();
    world.image.signSnapshot((snapshot) => {
      snapshot.version -= 1;
    });
    world.image.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = { version: world.image.versions.snapshot };
    });
    world.director.publish();
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('snapshot_signed_by_a_stranger', async () => {
    const { world, device } = await working();
    world.image.signTargets();
    world.image.signSnapshot(undefined, [newKey()]);
    world.image.signTimestamp();
    world.director.publish();
    await refused(device.versions(), 'metadata_signature');
  });

  test('rollback_of_targets: a snapshot that lists an older targets.json (stolen online keys)', async () => {
    const { world, device } = await working();
    world.ship('digits', '1.1.0');
    await device.versions();
    world.image.signSnapshot((snapshot) => {
      snapshot.meta['targets.json'] = { version: world.image.versions.targets - 1 };
    });
    world.image.signTimestamp();
    world.director.publish();
    await refused(device.versions(), 'metadata_rollback');
    await device.reboot();
    await refused(device.versions(), 'metadata_rollback');
  });

  test('rollback_of_the_snapshot_itself: an older snapshot after the timestamp was lost', async () => {
    const { world, device } = await working();
    const snapshot = world.image.get(world.image.latest('snapshot'));
    const older = world.image.versions.snapshot;
    world.image.signSnapshot();
    world.image.signTimestamp();
    world.director.publish();
    await device.versions();
    rmSync(device.path('image', 'timestamp'));
    await device.reboot();
    world.image.served.set(`${older}.snapshot.json`, snapshot);
    world.image.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = metaOf(snapshot, older);
    });
    world.director.publish();
    expect((await refused(device.versions(), 'metadata_rollback')).detail).toContain(
      'snapshot.json is version',
    );
    world.image.publish();
    world.director.publish();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test.each(['sha256', 'sha384', 'sha512'])(
    'hash_of_another_snapshot: the timestamp names its %s and nothing else',
    async (algorithm) => {
      const { world, device } = await working();
      const name = (bytes: Uint8Array) => (timestamp: Timestamp) => {
        timestamp.meta['snapshot.json'] = {
          version: world.image.versions.snapshot,
          hashes: { [algorithm]: createHash(algorithm).update(bytes).digest('hex') },
        };
      };
      world.image.signSnapshot();
      world.image.signTimestamp(name(utf8('another snapshot')));
      world.director.publish();
      expect((await refused(device.versions(), 'metadata_mismatch')).detail).toContain(algorithm);
      world.image.signTimestamp(name(world.image.get(world.image.latest('snapshot'))));
      world.director.publish();
      expect(await device.versions()).toEqual(['digits 1.0.0']);
    },
  );

  test('second_hash_is_not_held: sha256 is right, sha512 is not', async () => {
    const { world, device } = await working();
    world.image.signSnapshot();
    world.image.signTimestamp((timestamp) => {
      const named = timestamp.meta['snapshot.json'];
      timestamp.meta['snapshot.json'] = {
        ...named,
        hashes: { ...named.hashes, sha512: 'ab'.repeat(64) },
      };
    });
    world.director.publish();
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('hash_algorithm_that_is_not_known_is_not_skipped', async () => {
    const { world, device } = await working();
    world.image.signSnapshot();
    world.image.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = {
        version: world.image.versions.snapshot,
        hashes: { 'blake2b-256': 'ab'.repeat(32) },
      };
    });
    world.director.publish();
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('vanished_targets: a snapshot that no longer lists what it listed', async () => {
    const { world, device } = await working();
    const listed = (snapshot: Snapshot): void => {
      snapshot.meta['cameras.json'] = { version: 1 };
    };
    world.image.publish({ snapshot: listed });
    world.director.publish();
    await device.versions();
    world.image.publish();
    world.director.publish();
    await refused(device.versions(), 'metadata_rollback');
  });

  test('freeze_expired_snapshot', async () => {
    const { world, device } = await working();
    world.image.publish({
      snapshot: (snapshot) => {
        snapshot.expires = '2026-11-22T00:00:00Z';
      },
    });
    world.director.publish();
    await refused(device.versions(), 'metadata_expired');
  });

  test('endless_data_snapshot: longer than the timestamp names', async () => {
    const { world, device } = await working();
    world.ship('digits', '1.1.0');
    const name = world.image.latest('snapshot');
    world.image.served.set(name, Buffer.concat([world.image.get(name), Buffer.alloc(1000, 0x20)]));
    await refused(device.versions(), 'metadata_too_large');
  });
});

describe('TUF 5.6: the targets', () => {
  test('arbitrary_installation: targets that no targets key signed', async () => {
    const { world, device } = await working();
    world.image.signTargets(undefined, [newKey()]);
    world.image.signSnapshot();
    world.image.signTimestamp();
    world.director.publish();
    await refused(device.versions(), 'metadata_signature');
  });

  test('key_counted_twice_for_threshold: one key, two signatures', async () => {
    const world = new SimWorld();
    world.image.keys.targets = [newKey(), newKey()];
    world.image.thresholds.targets = 2;
    world.image.signRoot();
    world.ship('digits', '1.0.0');
    const device = await SimDevice.provision(world);
    expect(await device.versions()).toEqual(['digits 1.0.0']);
    const [one] = world.image.keys.targets;
    if (one === undefined) throw new Error('a key');
    world.image.signTargets(undefined, [one, one]);
    world.image.signSnapshot();
    world.image.signTimestamp();
    world.director.publish();
    await refused(device.versions(), 'metadata_signature');
  });

  test('key_id_twice_in_signatures: also where one signature would do', async () => {
    const { world, device } = await working();
    const [one] = world.image.keys.targets;
    if (one === undefined) throw new Error('a key');
    world.image.signTargets(undefined, [one, one]);
    world.image.signSnapshot();
    world.image.signTimestamp();
    world.director.publish();
    expect((await refused(device.versions(), 'metadata_signature')).detail).toContain(
      'carries two signatures of key',
    );
    world.image.publish();
    world.director.publish();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('key_counted_twice_for_threshold: one key under two key ids', async () => {
    const world = new SimWorld();
    const key = world.image.keys.targets[0];
    if (key === undefined) throw new Error('a key');
    // Another spelling of the same key object has another hash; it must not count as another key.
    const twin = { ...key, keyId: sha256(JSON.stringify({ ...key.publicKey, twin: true })) };
    world.image.signRoot({
      change: (root) => {
        root.keys[twin.keyId] = { ...key.publicKey, twin: true };
        root.roles.targets = { keyids: [key.keyId, twin.keyId], threshold: 2 };
      },
    });
    world.image.signTargets(undefined, [key, twin]);
    world.image.signSnapshot();
    world.image.signTimestamp();
    world.director.publish();
    const device = await SimDevice.provision(world);
    await refused(device.versions(), 'metadata_signature');
  });

  test('key_id_of_another_key: a root that lists a key under an id that is not its hash', async () => {
    const world = new SimWorld();
    const attacker = newKey();
    const honest = world.director.keys.timestamp[0];
    if (honest === undefined) throw new Error('a key');
    world.director.signRoot({
      change: (root) => {
        root.keys[honest.keyId] = attacker.publicKey;
      },
    });
    world.director.signTimestamp(undefined, [{ ...attacker, keyId: honest.keyId }]);
    const device = await SimDevice.provision(world);
    await refused(device.versions(), 'metadata_signature');
    expect(keyIdOf(publicKeyOf(Buffer.from(attacker.publicKey.keyval.public, 'hex')))).toBe(
      attacker.keyId,
    );
  });

  test('mix_and_match_targets', async () => {
    const { world, device } = await working();
    const old = world.image.get(world.image.latest('targets'));
    world.ship('digits', '1.1.0');
    world.image.served.set(world.image.latest('targets'), old);
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('mix_and_match_targets_version: the snapshot names no hash', async () => {
    const { world, device } = await working();
    world.image.signTargets((targets) => {
      targets.version -= 1;
    });
    world.image.signSnapshot((snapshot) => {
      snapshot.meta['targets.json'] = { version: world.image.versions.targets };
    });
    world.image.signTimestamp();
    world.director.publish();
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('rollback_of_targets_after_recovery: forgetting the snapshot does not forget the targets', async () => {
    const { world, device } = await working();
    world.ship('digits', '1.1.0');
    await device.versions();
    world.image.keys.snapshot = [newKey()];
    world.image.signRoot();
    world.image.signSnapshot((snapshot) => {
      snapshot.meta['targets.json'] = { version: world.image.versions.targets - 1 };
    });
    world.image.signTimestamp();
    world.director.publish();
    await refused(device.versions(), 'metadata_rollback');
  });

  test('freeze_expired_targets', async () => {
    const { world, device } = await working();
    world.image.publish({
      targets: (targets) => {
        targets.expires = '2026-11-22T00:00:00Z';
      },
    });
    world.director.publish();
    await refused(device.versions(), 'metadata_expired');
  });

  test('endless_data_targets', async () => {
    const { world, device } = await working();
    world.image.signTargets();
    world.image.signSnapshot((snapshot) => {
      snapshot.meta['targets.json'] = { version: world.image.versions.targets };
    });
    world.image.signTimestamp();
    world.director.publish();
    world.image.served.set(
      world.image.latest('targets'),
      new Uint8Array(limits.targetsMaxBytes + 1).fill(0x20),
    );
    await refused(device.versions(), 'metadata_too_large');
  });
});

describe('a stolen timestamp key that lies about time', () => {
  for (const name of ['image', 'director'] as const)
    test(`${name}: freezes updates until it is rotated, and not a moment longer`, async () => {
      const { world, device } = await working();
      const lie = (timestamp: Timestamp): void => {
        timestamp.expires = '9999-12-31T23:59:59Z';
        timestamp['x-linnet-time'] = '9999-12-31T23:59:59Z';
      };
      if (name === 'image') {
        world.image.signTimestamp(lie);
        world.director.signTargets();
        world.director.signSnapshot();
      }
      // News, so that both repositories are read.
      world.director.signTimestamp(name === 'director' ? lie : undefined);
      expect(await device.versions()).toEqual(['digits 1.0.0']);
      await refused(device.versions(), 'metadata_expired');
      await device.reboot();
      await refused(device.versions(), 'metadata_expired');
      world[name].rotate('timestamp', 'snapshot');
      world.ship('digits', '1.1.0');
      expect(await device.versions()).toEqual(['digits 1.1.0']);
    });

  test('a time that is none is refused and not kept', async () => {
    const { world, device } = await working();
    const lie = world.director.get('timestamp.json');
    world.director.signTimestamp((timestamp) => {
      timestamp['x-linnet-time'] = '2026-13-01T00:00:00Z';
    });
    await refused(device.versions(), 'metadata_undecodable');
    world.director.served.set('timestamp.json', lie);
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });
});

describe('Uptane: the director', () => {
  test('director_hides_an_entry_behind_a_line_break', async () => {
    const { world, device } = await working();
    world.director.targets = { 'a\nb': null } as never;
    world.director.publish();
    await refused(device.versions(), 'metadata_undecodable');
  });

  test('director_names_release_unknown_to_image_repo', async () => {
    const { world, device } = await working();
    world.assign('digits', '6.6.6');
    await refused(device.versions(), 'target_unknown');
  });

  test('director_changes_hash', async () => {
    const { world, device } = await working();
    world.assign('digits', '1.0.0', (target) => {
      target.hashes = { sha256: sha256('evil') };
    });
    await refused(device.versions(), 'target_mismatch');
  });

  test('director_leaves_a_hash_out', async () => {
    const { world, device } = await working();
    const path = Object.keys(world.image.targets)[0] ?? '';
    const target = world.image.targets[path];
    if (target === undefined) throw new Error('a target');
    world.image.targets[path] = {
      ...target,
      hashes: { ...target.hashes, sha512: 'ab'.repeat(64) },
    };
    world.image.publish();
    world.assign('digits', '1.0.0', (ordered) => {
      ordered.hashes = { sha256: target.hashes['sha256'] ?? '' };
    });
    await refused(device.versions(), 'target_mismatch');
  });

  test('director_changes_length', async () => {
    const { world, device } = await working();
    world.assign('digits', '1.0.0', (target) => {
      target.length += 1;
    });
    await refused(device.versions(), 'target_mismatch');
  });

  test('director_renames_release: version and component must be those of the image repository', async () => {
    const { world, device } = await working();
    world.assign('digits', '1.0.0', (_target, custom) => {
      custom.version = '9.9.9';
    });
    await refused(device.versions(), 'target_mismatch');
    world.assign('digits', '1.0.0', (_target, custom) => {
      custom.component = 'faces';
    });
    await refused(device.versions(), 'target_mismatch');
  });

  test('image_target_in_a_strange_place', async () => {
    const { world, device } = await working();
    const [path, target] = Object.entries(world.image.targets)[0] ?? [];
    if (path === undefined || target === undefined) throw new Error('a target');
    world.image.targets['faces/1.0.0/release.dsse.json'] = target;
    world.image.publish();
    world.director.targets = {
      'faces/1.0.0/release.dsse.json': world.director.targets[path] ?? target,
    };
    world.director.publish();
    await refused(device.versions(), 'target_mismatch');
  });

  test('director_orders_two_releases_of_one_component', async () => {
    const { world, device } = await working();
    const before = { ...world.director.targets };
    world.ship('digits', '1.1.0');
    world.director.targets = { ...world.director.targets, ...before };
    world.director.publish();
    await refused(device.versions(), 'target_mismatch');
  });

  test("director_metadata_of_another_device, which must not move this device's versions either", async () => {
    const { world, device } = await working();
    const other = new RepositorySimulator('director', world.clock, OTHER_DEVICE);
    Object.assign(other.keys, world.director.keys);
    Object.assign(other.versions, { timestamp: 500, snapshot: 500, targets: 500 });
    other.publish();
    const own = new Map(world.director.served);
    for (const [name, bytes] of other.served)
      if (!name.endsWith('root.json')) world.director.served.set(name, bytes);
    await refused(device.versions(), 'director_other_device');
    // The replay is over: the device's own, lower versions are still good.
    for (const [name, bytes] of own) world.director.served.set(name, bytes);
    world.director.publish();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test("director_targets_of_another_device under this device's timestamp and snapshot", async () => {
    const { world, device } = await working();
    world.director.publish({
      targets: (targets) => {
        targets['x-linnet-device'] = OTHER_DEVICE;
      },
    });
    await refused(device.versions(), 'director_other_device');
  });

  test('director_names_no_device', async () => {
    const { world, device } = await working();
    world.director.publish({
      targets: (targets) => {
        delete targets['x-linnet-device'];
      },
    });
    await refused(device.versions(), 'director_other_device');
  });

  test('director_delegates', async () => {
    const { world, device } = await working();
    world.director.publish({
      targets: (targets) => {
        targets.delegations = { keys: {}, roles: [] };
      },
    });
    await refused(device.versions(), 'director_delegates');
  });

  test('hardware_not_listed: a genuine release for other hardware', async () => {
    const { world, device } = await working();
    world.ship('digits', '1.1.0', ['jetson-nano']);
    await refused(device.versions(), 'hardware_unsupported');
  });

  test('hardware_of_another_kind: the director orders for hardware that this device is not', async () => {
    const { world, device } = await working();
    world.assign('digits', '1.0.0', (_target, custom) => {
      custom.hardware = 'jetson-nano';
    });
    await refused(device.versions(), 'hardware_unsupported');
  });

  test('custom_part_missing', async () => {
    const { world, device } = await working();
    world.assign('digits', '1.0.0', (target) => {
      delete target.custom;
    });
    await refused(device.versions(), 'metadata_undecodable');
  });

  test('image_keys_do_not_sign_for_the_director', async () => {
    const { world, device } = await working();
    world.director.signTargets(undefined, world.image.keys.targets);
    world.director.signSnapshot();
    world.director.signTimestamp();
    await refused(device.versions(), 'metadata_signature');
  });
});

describe('the release envelope', () => {
  test('swapped_envelope and endless_envelope', async () => {
    const { world, device } = await working();
    const [assignment] = await device.client.refresh();
    if (assignment === undefined) throw new Error('an assignment');
    expect(sha256(await device.client.fetchEnvelope(assignment))).toBe(assignment.sha256);
    const path = [...world.envelopes.keys()][0] ?? '';
    const genuine = world.envelopes.get(path) ?? new Uint8Array();
    world.envelopes.set(path, Buffer.from(genuine).fill(0x41));
    await refused(device.client.fetchEnvelope(assignment), 'file_digest');
    world.envelopes.set(path, Buffer.concat([genuine, Buffer.alloc(1)]));
    await refused(device.client.fetchEnvelope(assignment), 'file_length');
    world.envelopes.delete(path);
    await refused(device.client.fetchEnvelope(assignment), 'fetch_interrupted');
  });
});

test('a refused document is never stored', async () => {
  const { world, device } = await working();
  const before = readFileSync(device.path('director', 'timestamp'));
  world.director.signTimestamp(undefined, [newKey()]);
  await refused(device.versions(), 'metadata_signature');
  expect(readFileSync(device.path('director', 'timestamp')).equals(before)).toBe(true);
});
