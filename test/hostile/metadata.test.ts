// One attack a test, on the whole metadata client with a real disk: repositories that really sign,
// and then misbehave. Each attack begins from a device that works, so that what refuses it is the
// check under test; most end by showing that the device goes on working when the attack ends.
// Names: TUF 1.0 "attacks", Uptane 2.1.0 threats, notes/ota.md section 1. Over 400 lines because
// each attack on metadata has its own test over one simulator.
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
import { newKey, OTHER_DEVICE, RepositorySimulator, Simulation } from '../sim/tuf-repositories.js';
import { signDocumentNow } from '../sim/sync-signer.js';

const HOUR_MS = 3600_000;

async function working(): Promise<{ fixture: Simulation; device: SimDevice }> {
  const fixture = new Simulation();
  fixture.ship('digits', '1.0.0');
  const device = await SimDevice.provision(fixture);
  expect(await device.versions()).toEqual(['digits 1.0.0']);
  return { fixture, device };
}

/** Root documents of the simulator as plain objects, to change and sign again. */
const rootOf = (repository: RepositorySimulator): Root =>
  decodeDocument('root', repository.get(`${repository.versions.root}.root.json`)).signed;

describe('TUF 5.3: the root', () => {
  test('root_signed_by_new_keys_only', async () => {
    const { fixture, device } = await working();
    const stolen = newKey();
    const forged = { ...rootOf(fixture.image), version: 2 };
    forged.keys = { ...forged.keys, [stolen.keyId]: stolen.publicKey };
    forged.roles = { ...forged.roles, root: { keyids: [stolen.keyId], threshold: 1 } };
    fixture.image.served.set('2.root.json', signDocumentNow(forged, [stolen]));
    fixture.ship('digits', '1.1.0');
    await refused(device.versions(), 'metadata_signature');
    fixture.image.served.delete('2.root.json');
    expect(await device.versions()).toEqual(['digits 1.1.0']);
  });

  test('root_signed_by_old_keys_only', async () => {
    const { fixture, device } = await working();
    const old = fixture.director.keys.root;
    fixture.director.keys.root = [newKey()];
    fixture.director.signRoot({ signers: old });
    await refused(device.versions(), 'metadata_signature');
  });

  test('root_below_its_threshold', async () => {
    const fixture = new Simulation();
    const before = fixture.image.keys.root;
    fixture.image.keys.root = [newKey(), newKey(), newKey()];
    fixture.image.thresholds.root = 2;
    const [first] = fixture.image.keys.root;
    fixture.image.signRoot({ signers: [...before, ...(first === undefined ? [] : [first])] });
    fixture.ship('digits', '1.0.0');
    const device = await SimDevice.provision(fixture);
    await refused(device.versions(), 'metadata_signature');
  });

  test('image_root_without_release_keys', async () => {
    const { fixture, device } = await working();
    fixture.image.signRoot({
      change: (root) => {
        delete root['x-linnet-release'];
      },
    });
    fixture.ship('digits', '1.1.0');
    await refused(device.versions(), 'metadata_undecodable');
    fixture.image.served.delete('2.root.json');
    expect(await device.versions()).toEqual(['digits 1.1.0']);
  });

  test('root_version_skipped', async () => {
    const { fixture, device } = await working();
    fixture.director.signRoot({
      change: (root) => {
        root.version = 3;
      },
    });
    fixture.director.served.set('2.root.json', fixture.director.get('3.root.json'));
    await refused(device.versions(), 'root_version');
  });

  test('rollback_of_root_the_old_root_served_again_as_the_next_one', async () => {
    const { fixture, device } = await working();
    fixture.director.served.set('2.root.json', fixture.director.get('1.root.json'));
    await refused(device.versions(), 'root_version');
  });

  test('freeze_expired_root', async () => {
    const { fixture, device } = await working();
    fixture.director.signRoot({
      change: (root) => {
        root.expires = '2026-11-22T00:00:00Z';
      },
    });
    await refused(device.versions(), 'metadata_expired');
  });

  test('an_intermediate_root_may_have_expired', async () => {
    const { fixture, device } = await working();
    fixture.director.signRoot({
      change: (root) => {
        root.expires = '2026-11-22T00:00:00Z';
      },
    });
    fixture.director.signRoot();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('endless_data_root', async () => {
    const { fixture, device } = await working();
    fixture.image.served.set('2.root.json', new Uint8Array(limits.rootMaxBytes + 1).fill(0x20));
    fixture.director.publish();
    await refused(device.versions(), 'metadata_too_large');
  });

  test('endless_root_chain', async () => {
    const fixture = new Simulation();
    fixture.ship('digits', '1.0.0');
    for (let i = 0; i < limits.rootRotationsMaxCount + 1; i++) fixture.director.signRoot();
    const device = await SimDevice.provision(fixture);
    await refused(device.versions(), 'metadata_too_large');
    expect(fixture.requests.length).toBeLessThan(limits.rootRotationsMaxCount + 5);
    // A long but genuine absence is overcome: what was walked is kept, the next call goes on from
    // there.
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('fast_forward_recovery_a_stolen_timestamp_key_pushed_the_version_up_rotating_it_restores_devices', async () => {
    const { fixture, device } = await working();
    const honest = fixture.director.versions.timestamp;
    fixture.director.versions.timestamp = 1_000_000;
    fixture.director.publish();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
    fixture.director.versions.timestamp = honest;
    fixture.assign('digits', '1.0.0');
    await refused(device.versions(), 'metadata_rollback');
    fixture.director.rotate('timestamp', 'snapshot');
    expect(await device.versions()).toEqual(['digits 1.0.0']);
    await device.reboot();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('fast_forward_recovery_of_the_snapshot_alone', async () => {
    const { fixture, device } = await working();
    const honest = fixture.image.versions.snapshot;
    fixture.image.versions.snapshot = 1_000_000;
    fixture.ship('digits', '1.1.0');
    expect(await device.versions()).toEqual(['digits 1.1.0']);
    fixture.image.versions.snapshot = honest;
    fixture.ship('digits', '1.2.0');
    await refused(device.versions(), 'metadata_rollback');
    fixture.image.rotate('snapshot');
    expect(await device.versions()).toEqual(['digits 1.2.0']);
  });
});

describe('TUF 5.4: the timestamp', () => {
  test('timestamp_signed_by_a_stranger', async () => {
    const { fixture, device } = await working();
    fixture.director.signTimestamp(undefined, [newKey()]);
    await refused(device.versions(), 'metadata_signature');
  });

  test('timestamp_signed_by_the_snapshot_role', async () => {
    const { fixture, device } = await working();
    fixture.director.signTimestamp(undefined, fixture.director.keys.snapshot);
    await refused(device.versions(), 'metadata_signature');
  });

  test('rollback_of_timestamp', async () => {
    const { fixture, device } = await working();
    const old = fixture.director.get('timestamp.json');
    fixture.director.publish();
    await device.versions();
    fixture.director.served.set('timestamp.json', old);
    await refused(device.versions(), 'metadata_rollback');
    await device.reboot();
    await refused(device.versions(), 'metadata_rollback');
  });

  test('rollback_of_snapshot_named_by_timestamp', async () => {
    const { fixture, device } = await working();
    fixture.director.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = { version: fixture.director.versions.snapshot - 1 };
    });
    await refused(device.versions(), 'metadata_rollback');
  });

  test('equivocation_the_same_timestamp_version_with_other_content_changes_nothing', async () => {
    const { fixture, device } = await working();
    fixture.director.versions.timestamp -= 1;
    fixture.director.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = { version: 99 };
    });
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('freeze_expired_timestamp', async () => {
    const { fixture, device } = await working();
    fixture.clock.pass(25 * HOUR_MS);
    await refused(device.versions(), 'metadata_expired');
    fixture.director.publish();
    fixture.image.publish();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('freeze_of_the_image_repository_the_director_says_nothing_new_the_image_timestamp_has_expired', async () => {
    const { fixture, device } = await working();
    fixture.clock.pass(25 * HOUR_MS);
    fixture.director.signTimestamp();
    await refused(device.versions(), 'metadata_expired');
  });

  test('freeze_by_turning_the_clock_back_a_device_without_a_clock_remembers_when_its_timestamp_was_signed', async () => {
    const { fixture, device } = await working();
    fixture.clock.pass(20 * HOUR_MS);
    fixture.director.publish();
    fixture.image.publish();
    await device.versions();
    // The attacker keeps serving yesterday's image timestamp (newer versions withheld) after a
    // power cut set the clock to 1970.
    fixture.clock.pass(20 * HOUR_MS);
    fixture.director.publish();
    await device.versions();
    const frozen = fixture.clock.ms;
    fixture.clock.ms = 0;
    await device.reboot();
    fixture.clock.ms = frozen + 5 * HOUR_MS;
    fixture.director.publish();
    fixture.clock.ms = 0;
    // The director's signed time now lies beyond the frozen image timestamp's expiry, whatever the
    // local clock says.
    await refused(
      device.versions().then(() => device.versions()),
      'metadata_expired',
    );
  });

  test('endless_data_timestamp', async () => {
    const { fixture, device } = await working();
    fixture.director.served.set(
      'timestamp.json',
      new Uint8Array(limits.timestampMaxBytes + 1).fill(0x20),
    );
    await refused(device.versions(), 'metadata_too_large');
  });

  test('month_thirteen_an_expiry_that_is_no_date_does_not_mean_for_ever', async () => {
    const { fixture, device } = await working();
    fixture.director.signTimestamp((timestamp) => {
      timestamp.expires = '2026-13-01T00:00:00Z';
    });
    await refused(device.versions(), 'metadata_undecodable');
  });

  test('not_json_and_another_document_type', async () => {
    const { fixture, device } = await working();
    fixture.director.served.set('timestamp.json', Buffer.from('{"signed":'));
    await refused(device.versions(), 'metadata_undecodable');
    fixture.director.served.set(
      'timestamp.json',
      fixture.director.get(fixture.director.latest('snapshot')),
    );
    await refused(device.versions(), 'metadata_undecodable');
  });
});

describe('TUF 5.5: the snapshot', () => {
  test('mix_and_match_snapshot_a_genuine_snapshot_that_the_timestamp_does_not_name', async () => {
    const { fixture, device } = await working();
    const old = fixture.image.get(fixture.image.latest('snapshot'));
    fixture.ship('digits', '1.1.0');
    fixture.image.served.set(fixture.image.latest('snapshot'), old);
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('mix_and_match_snapshot_version_the_timestamp_names_no_hash_the_version_alone_tells', async () => {
    const { fixture, device } = await working();
    fixture.image.signTargets();
    fixture.image.signSnapshot((snapshot) => {
      snapshot.version -= 1;
    });
    fixture.image.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = { version: fixture.image.versions.snapshot };
    });
    fixture.director.publish();
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('snapshot_signed_by_a_stranger', async () => {
    const { fixture, device } = await working();
    fixture.image.signTargets();
    fixture.image.signSnapshot(undefined, [newKey()]);
    fixture.image.signTimestamp();
    fixture.director.publish();
    await refused(device.versions(), 'metadata_signature');
  });

  test('rollback_of_targets_a_snapshot_that_lists_an_older_targets_json_stolen_online_keys', async () => {
    const { fixture, device } = await working();
    fixture.ship('digits', '1.1.0');
    await device.versions();
    fixture.image.signSnapshot((snapshot) => {
      snapshot.meta['targets.json'] = { version: fixture.image.versions.targets - 1 };
    });
    fixture.image.signTimestamp();
    fixture.director.publish();
    await refused(device.versions(), 'metadata_rollback');
    await device.reboot();
    await refused(device.versions(), 'metadata_rollback');
  });

  test('rollback_of_the_snapshot_itself_an_older_snapshot_after_the_timestamp_was_lost', async () => {
    const { fixture, device } = await working();
    const snapshot = fixture.image.get(fixture.image.latest('snapshot'));
    const older = fixture.image.versions.snapshot;
    fixture.image.signSnapshot();
    fixture.image.signTimestamp();
    fixture.director.publish();
    await device.versions();
    rmSync(device.path('image', 'timestamp'));
    await device.reboot();
    fixture.image.served.set(`${older}.snapshot.json`, snapshot);
    fixture.image.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = metaOf(snapshot, older);
    });
    fixture.director.publish();
    expect((await refused(device.versions(), 'metadata_rollback')).detail).toContain(
      'snapshot.json is version',
    );
    fixture.image.publish();
    fixture.director.publish();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test.each(['sha256', 'sha384', 'sha512'])(
    'hash_of_another_snapshot_the_timestamp_names_its_%s_and_nothing_else',
    async (algorithm) => {
      const { fixture, device } = await working();
      const name = (bytes: Uint8Array) => (timestamp: Timestamp) => {
        timestamp.meta['snapshot.json'] = {
          version: fixture.image.versions.snapshot,
          hashes: { [algorithm]: createHash(algorithm).update(bytes).digest('hex') },
        };
      };
      fixture.image.signSnapshot();
      fixture.image.signTimestamp(name(utf8('another snapshot')));
      fixture.director.publish();
      expect((await refused(device.versions(), 'metadata_mismatch')).detail).toContain(algorithm);
      fixture.image.signTimestamp(name(fixture.image.get(fixture.image.latest('snapshot'))));
      fixture.director.publish();
      expect(await device.versions()).toEqual(['digits 1.0.0']);
    },
  );

  test('second_hash_is_not_held_sha256_is_right_sha512_is_not', async () => {
    const { fixture, device } = await working();
    fixture.image.signSnapshot();
    fixture.image.signTimestamp((timestamp) => {
      const named = timestamp.meta['snapshot.json'];
      timestamp.meta['snapshot.json'] = {
        ...named,
        hashes: { ...named.hashes, sha512: 'ab'.repeat(64) },
      };
    });
    fixture.director.publish();
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('hash_algorithm_that_is_not_known_is_not_skipped', async () => {
    const { fixture, device } = await working();
    fixture.image.signSnapshot();
    fixture.image.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = {
        version: fixture.image.versions.snapshot,
        hashes: { 'blake2b-256': 'ab'.repeat(32) },
      };
    });
    fixture.director.publish();
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('vanished_targets_a_snapshot_that_no_longer_lists_what_it_listed', async () => {
    const { fixture, device } = await working();
    const listed = (snapshot: Snapshot): void => {
      snapshot.meta['cameras.json'] = { version: 1 };
    };
    fixture.image.publish({ snapshot: listed });
    fixture.director.publish();
    await device.versions();
    fixture.image.publish();
    fixture.director.publish();
    await refused(device.versions(), 'metadata_rollback');
  });

  test('freeze_expired_snapshot', async () => {
    const { fixture, device } = await working();
    fixture.image.publish({
      snapshot: (snapshot) => {
        snapshot.expires = '2026-11-22T00:00:00Z';
      },
    });
    fixture.director.publish();
    await refused(device.versions(), 'metadata_expired');
  });

  test('endless_data_snapshot_longer_than_the_timestamp_names', async () => {
    const { fixture, device } = await working();
    fixture.ship('digits', '1.1.0');
    const name = fixture.image.latest('snapshot');
    fixture.image.served.set(
      name,
      Buffer.concat([fixture.image.get(name), Buffer.alloc(1000, 0x20)]),
    );
    await refused(device.versions(), 'metadata_too_large');
  });
});

describe('TUF 5.6: the targets', () => {
  test('arbitrary_installation_targets_that_no_targets_key_signed', async () => {
    const { fixture, device } = await working();
    fixture.image.signTargets(undefined, [newKey()]);
    fixture.image.signSnapshot();
    fixture.image.signTimestamp();
    fixture.director.publish();
    await refused(device.versions(), 'metadata_signature');
  });

  test('key_counted_twice_for_threshold_one_key_two_signatures', async () => {
    const fixture = new Simulation();
    fixture.image.keys.targets = [newKey(), newKey()];
    fixture.image.thresholds.targets = 2;
    fixture.image.signRoot();
    fixture.ship('digits', '1.0.0');
    const device = await SimDevice.provision(fixture);
    expect(await device.versions()).toEqual(['digits 1.0.0']);
    const [one] = fixture.image.keys.targets;
    if (one === undefined) throw new Error('a key');
    fixture.image.signTargets(undefined, [one, one]);
    fixture.image.signSnapshot();
    fixture.image.signTimestamp();
    fixture.director.publish();
    await refused(device.versions(), 'metadata_signature');
  });

  test('key_id_twice_in_signatures_also_where_one_signature_would_do', async () => {
    const { fixture, device } = await working();
    const [one] = fixture.image.keys.targets;
    if (one === undefined) throw new Error('a key');
    fixture.image.signTargets(undefined, [one, one]);
    fixture.image.signSnapshot();
    fixture.image.signTimestamp();
    fixture.director.publish();
    expect((await refused(device.versions(), 'metadata_signature')).detail).toContain(
      'carries two signatures of key',
    );
    fixture.image.publish();
    fixture.director.publish();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('key_counted_twice_for_threshold_one_key_under_two_key_ids', async () => {
    const fixture = new Simulation();
    const key = fixture.image.keys.targets[0];
    if (key === undefined) throw new Error('a key');
    // Another spelling of the same key object has another hash; it must not count as another key.
    const twin = { ...key, keyId: sha256(JSON.stringify({ ...key.publicKey, twin: true })) };
    fixture.image.signRoot({
      change: (root) => {
        root.keys[twin.keyId] = { ...key.publicKey, twin: true };
        root.roles.targets = { keyids: [key.keyId, twin.keyId], threshold: 2 };
      },
    });
    fixture.image.signTargets(undefined, [key, twin]);
    fixture.image.signSnapshot();
    fixture.image.signTimestamp();
    fixture.director.publish();
    const device = await SimDevice.provision(fixture);
    await refused(device.versions(), 'metadata_signature');
  });

  test('key_id_of_another_key_a_root_that_lists_a_key_under_an_id_that_is_not_its_hash', async () => {
    const fixture = new Simulation();
    const attacker = newKey();
    const honest = fixture.director.keys.timestamp[0];
    if (honest === undefined) throw new Error('a key');
    fixture.director.signRoot({
      change: (root) => {
        root.keys[honest.keyId] = attacker.publicKey;
      },
    });
    fixture.director.signTimestamp(undefined, [{ ...attacker, keyId: honest.keyId }]);
    const device = await SimDevice.provision(fixture);
    await refused(device.versions(), 'metadata_signature');
    expect(keyIdOf(publicKeyOf(Buffer.from(attacker.publicKey.keyval.public, 'hex')))).toBe(
      attacker.keyId,
    );
  });

  test('mix_and_match_targets', async () => {
    const { fixture, device } = await working();
    const old = fixture.image.get(fixture.image.latest('targets'));
    fixture.ship('digits', '1.1.0');
    fixture.image.served.set(fixture.image.latest('targets'), old);
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('mix_and_match_targets_version_the_snapshot_names_no_hash', async () => {
    const { fixture, device } = await working();
    fixture.image.signTargets((targets) => {
      targets.version -= 1;
    });
    fixture.image.signSnapshot((snapshot) => {
      snapshot.meta['targets.json'] = { version: fixture.image.versions.targets };
    });
    fixture.image.signTimestamp();
    fixture.director.publish();
    await refused(device.versions(), 'metadata_mismatch');
  });

  test('rollback_of_targets_after_recovery_forgetting_the_snapshot_does_not_forget_the_targets', async () => {
    const { fixture, device } = await working();
    fixture.ship('digits', '1.1.0');
    await device.versions();
    fixture.image.keys.snapshot = [newKey()];
    fixture.image.signRoot();
    fixture.image.signSnapshot((snapshot) => {
      snapshot.meta['targets.json'] = { version: fixture.image.versions.targets - 1 };
    });
    fixture.image.signTimestamp();
    fixture.director.publish();
    await refused(device.versions(), 'metadata_rollback');
  });

  test('freeze_expired_targets', async () => {
    const { fixture, device } = await working();
    fixture.image.publish({
      targets: (targets) => {
        targets.expires = '2026-11-22T00:00:00Z';
      },
    });
    fixture.director.publish();
    await refused(device.versions(), 'metadata_expired');
  });

  test('endless_data_targets', async () => {
    const { fixture, device } = await working();
    fixture.image.signTargets();
    fixture.image.signSnapshot((snapshot) => {
      snapshot.meta['targets.json'] = { version: fixture.image.versions.targets };
    });
    fixture.image.signTimestamp();
    fixture.director.publish();
    fixture.image.served.set(
      fixture.image.latest('targets'),
      new Uint8Array(limits.targetsMaxBytes + 1).fill(0x20),
    );
    await refused(device.versions(), 'metadata_too_large');
  });
});

describe('a stolen timestamp key that lies about time', () => {
  const YEAR_MS = 365 * 24 * 3600_000;
  const lieOf = (fixture: Simulation, years: number) => (timestamp: Timestamp) => {
    const at = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;
    timestamp['x-linnet-time'] = at(fixture.clock.now() + years * YEAR_MS);
    timestamp.expires = at(fixture.clock.now() + (years + 1) * YEAR_MS);
  };
  const lies = (fixture: Simulation, name: 'image' | 'director', years: number): void => {
    const lie = lieOf(fixture, years);
    if (name === 'image') {
      fixture.image.signTimestamp(lie);
      fixture.director.signTargets();
      fixture.director.signSnapshot();
    }
    // News, so that both repositories are read.
    fixture.director.signTimestamp(name === 'director' ? lie : undefined);
  };

  for (const name of ['image', 'director'] as const) {
    test(`${name}_timestamp_key_names_a_time_40_years_ahead_and_freezes_nothing`, async () => {
      const { fixture, device } = await working();
      for (const years of [40, 0.5]) {
        lies(fixture, name, years);
        await refused(device.versions(), 'metadata_time');
        await device.reboot();
        await refused(device.versions(), 'metadata_time');
      }
      // The key's owner signs again, above the thief's versions: no root was rotated.
      fixture.ship('digits', '1.1.0');
      expect(await device.versions()).toEqual(['digits 1.1.0']);
    });

    test(`${name}_lie_at_the_first_contact_ends_with_a_root_that_removes_the_key`, async () => {
      const fixture = new Simulation();
      fixture.ship('digits', '1.0.0');
      const device = await SimDevice.provision(fixture);
      lies(fixture, name, 0.5); // Within the life of the root.
      await device.versions().catch(() => {});
      fixture.ship('digits', '1.1.0');
      await refused(device.versions(), 'metadata_expired');
      await device.reboot();
      await refused(device.versions(), 'metadata_expired');
      fixture[name].rotate('timestamp', 'snapshot');
      fixture.ship('digits', '1.2.0');
      expect(await device.versions()).toEqual(['digits 1.2.0']);
    });
  }

  test('time_after_the_expiry_of_its_own_document_is_refused_at_any_contact', async () => {
    const fixture = new Simulation();
    fixture.ship('digits', '1.0.0');
    const device = await SimDevice.provision(fixture);
    fixture.director.signTimestamp((timestamp) => {
      timestamp['x-linnet-time'] = timestamp.expires;
    });
    await refused(device.versions(), 'metadata_time');
  });

  test('device_that_was_off_for_months_with_a_working_clock_follows', async () => {
    const { fixture, device } = await working();
    fixture.clock.pass(100 * 24 * 3600_000);
    await device.reboot();
    fixture.ship('digits', '1.1.0');
    expect(await device.versions()).toEqual(['digits 1.1.0']);
  });

  test('present_moves_on_while_the_clock_of_the_device_stands_still', async () => {
    const { fixture, device } = await working();
    // The wall clock is stuck; the monotonic one counts. A frozen repository is noticed.
    const stuck = fixture.clock.now();
    fixture.clock.now = () => stuck;
    await device.versions();
    fixture.clock.pass(2 * 24 * 3600_000);
    await refused(device.versions(), 'metadata_expired');
  });

  test('a_time_that_is_none_is_refused_and_not_kept', async () => {
    const { fixture, device } = await working();
    const lie = fixture.director.get('timestamp.json');
    fixture.director.signTimestamp((timestamp) => {
      timestamp['x-linnet-time'] = '2026-13-01T00:00:00Z';
    });
    await refused(device.versions(), 'metadata_undecodable');
    fixture.director.served.set('timestamp.json', lie);
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });
});

describe('Uptane: the director', () => {
  test('director_hides_an_entry_behind_a_line_break', async () => {
    const { fixture, device } = await working();
    fixture.director.targets = { 'a\nb': null } as never;
    fixture.director.publish();
    await refused(device.versions(), 'metadata_undecodable');
  });

  test('director_names_release_unknown_to_image_repo', async () => {
    const { fixture, device } = await working();
    fixture.assign('digits', '6.6.6');
    await refused(device.versions(), 'target_unknown');
  });

  test('director_changes_hash', async () => {
    const { fixture, device } = await working();
    fixture.assign('digits', '1.0.0', (target) => {
      target.hashes = { sha256: sha256('evil') };
    });
    await refused(device.versions(), 'target_mismatch');
  });

  test('director_leaves_a_hash_out', async () => {
    const { fixture, device } = await working();
    const path = Object.keys(fixture.image.targets)[0] ?? '';
    const target = fixture.image.targets[path];
    if (target === undefined) throw new Error('a target');
    fixture.image.targets[path] = {
      ...target,
      hashes: { ...target.hashes, sha512: 'ab'.repeat(64) },
    };
    fixture.image.publish();
    fixture.assign('digits', '1.0.0', (ordered) => {
      ordered.hashes = { sha256: target.hashes['sha256'] ?? '' };
    });
    await refused(device.versions(), 'target_mismatch');
  });

  test('director_changes_length', async () => {
    const { fixture, device } = await working();
    fixture.assign('digits', '1.0.0', (target) => {
      target.length += 1;
    });
    await refused(device.versions(), 'target_mismatch');
  });

  test('director_assigns_a_way_back_that_would_not_serve', async () => {
    const { fixture, device } = await working();
    for (const activation of ['hold', 'shadow'] as const) {
      fixture.assign('digits', '1.0.0', (_, custom) => {
        Object.assign(custom, { rollback: true, activation });
      });
      await refused(device.versions(), 'target_mismatch');
    }
  });

  test('director_renames_release_version_and_component_must_be_those_of_the_image_repository', async () => {
    const { fixture, device } = await working();
    fixture.assign('digits', '1.0.0', (_target, custom) => {
      custom.version = '9.9.9';
    });
    await refused(device.versions(), 'target_mismatch');
    fixture.assign('digits', '1.0.0', (_target, custom) => {
      custom.component = 'faces';
    });
    await refused(device.versions(), 'target_mismatch');
  });

  test('image_target_in_a_strange_place', async () => {
    const { fixture, device } = await working();
    const [path, target] = Object.entries(fixture.image.targets)[0] ?? [];
    if (path === undefined || target === undefined) throw new Error('a target');
    fixture.image.targets['faces/1.0.0/release.dsse.json'] = target;
    fixture.image.publish();
    fixture.director.targets = {
      'faces/1.0.0/release.dsse.json': fixture.director.targets[path] ?? target,
    };
    fixture.director.publish();
    await refused(device.versions(), 'target_mismatch');
  });

  test('director_assigns_two_releases_of_one_component', async () => {
    const { fixture, device } = await working();
    const before = { ...fixture.director.targets };
    fixture.ship('digits', '1.1.0');
    fixture.director.targets = { ...fixture.director.targets, ...before };
    fixture.director.publish();
    await refused(device.versions(), 'target_mismatch');
  });

  test('director_metadata_of_another_device_which_must_not_move_this_devices_versions_either', async () => {
    const { fixture, device } = await working();
    const other = new RepositorySimulator('director', fixture.clock, OTHER_DEVICE);
    Object.assign(other.keys, fixture.director.keys);
    Object.assign(other.versions, { timestamp: 500, snapshot: 500, targets: 500 });
    other.publish();
    const own = new Map(fixture.director.served);
    for (const [name, bytes] of other.served)
      if (!name.endsWith('root.json')) fixture.director.served.set(name, bytes);
    await refused(device.versions(), 'director_other_device');
    // The replay is over: the device's own, lower versions are still good.
    for (const [name, bytes] of own) fixture.director.served.set(name, bytes);
    fixture.director.publish();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('director_targets_of_another_device_under_this_devices_timestamp_and_snapshot', async () => {
    const { fixture, device } = await working();
    fixture.director.publish({
      targets: (targets) => {
        targets['x-linnet-device'] = OTHER_DEVICE;
      },
    });
    await refused(device.versions(), 'director_other_device');
  });

  test('director_names_no_device', async () => {
    const { fixture, device } = await working();
    fixture.director.publish({
      targets: (targets) => {
        delete targets['x-linnet-device'];
      },
    });
    await refused(device.versions(), 'director_other_device');
  });

  test('director_delegates', async () => {
    const { fixture, device } = await working();
    fixture.director.publish({
      targets: (targets) => {
        targets.delegations = { keys: {}, roles: [] };
      },
    });
    await refused(device.versions(), 'director_delegates');
  });

  test('hardware_not_listed_a_genuine_release_for_other_hardware', async () => {
    const { fixture, device } = await working();
    fixture.ship('digits', '1.1.0', ['jetson-nano']);
    await refused(device.versions(), 'hardware_unsupported');
  });

  test('director_assigns_a_release_for_other_hardware', async () => {
    const { fixture, device } = await working();
    fixture.assign('digits', '1.0.0', (_target, custom) => {
      custom.hardware = 'jetson-nano';
    });
    await refused(device.versions(), 'hardware_unsupported');
  });

  test('custom_part_missing', async () => {
    const { fixture, device } = await working();
    fixture.assign('digits', '1.0.0', (target) => {
      delete target.custom;
    });
    await refused(device.versions(), 'metadata_undecodable');
  });

  test('image_keys_do_not_sign_for_the_director', async () => {
    const { fixture, device } = await working();
    fixture.director.signTargets(undefined, fixture.image.keys.targets);
    fixture.director.signSnapshot();
    fixture.director.signTimestamp();
    await refused(device.versions(), 'metadata_signature');
  });
});

describe('the release envelope', () => {
  test('swapped_envelope_and_endless_envelope', async () => {
    const { fixture, device } = await working();
    const [assignment] = await device.client.refresh();
    if (assignment === undefined) throw new Error('an assignment');
    expect(sha256(await device.client.fetchEnvelope(assignment))).toBe(assignment.sha256);
    const path = [...fixture.envelopes.keys()][0] ?? '';
    const genuine = fixture.envelopes.get(path) ?? new Uint8Array();
    fixture.envelopes.set(path, Buffer.from(genuine).fill(0x41));
    await refused(device.client.fetchEnvelope(assignment), 'file_digest');
    fixture.envelopes.set(path, Buffer.concat([genuine, Buffer.alloc(1)]));
    await refused(device.client.fetchEnvelope(assignment), 'file_length');
    fixture.envelopes.delete(path);
    await refused(device.client.fetchEnvelope(assignment), 'fetch_interrupted');
  });
});

test('a_refused_document_is_never_stored', async () => {
  const { fixture, device } = await working();
  const before = readFileSync(device.path('director', 'timestamp'));
  fixture.director.signTimestamp(undefined, [newKey()]);
  await refused(device.versions(), 'metadata_signature');
  expect(readFileSync(device.path('director', 'timestamp')).equals(before)).toBe(true);
});
