// The metadata client when all goes well, and on a disk that lost power: what is stored, what is
// fetched again, what is repaired.
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Fetcher } from '../../../agent/interfaces.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { decodeDocument } from '../../../shared/trust/documents.js';
import { refused, SimDevice } from '../../support/metadata-device.js';
import { DEVICE, newKey, Simulation } from '../../sim/tuf-repositories.js';

const ROLES = ['root', 'timestamp', 'snapshot', 'targets'];

async function working(): Promise<{ fixture: Simulation; device: SimDevice }> {
  const fixture = new Simulation();
  fixture.ship('digits', '1.0.0');
  const device = await SimDevice.provision(fixture);
  expect(await device.versions()).toEqual(['digits 1.0.0']);
  return { fixture, device };
}

describe('a refresh', () => {
  test('documents_are_fetched_in_uptanes_order_and_the_assignment_is_whole', async () => {
    const { fixture, device } = await working();
    fixture.ship('digits', '1.1.0');
    fixture.requests.length = 0;
    const [assignment] = await device.client.refresh();
    expect(assignment).toMatchObject({
      component: 'digits',
      version: '1.1.0',
      path: 'digits/1.1.0/release.dsse.json',
      rollout: 'r1',
      assignmentId: 2,
      rollback: false,
      activation: 'swap',
    });
    const { director, image } = fixture;
    expect(fixture.requests).toEqual([
      '/device/v1/director/2.root.json',
      '/device/v1/director/timestamp.json',
      `/device/v1/director/${director.versions.snapshot}.snapshot.json`,
      `/device/v1/director/${director.versions.targets}.targets.json`,
      '/repo/image/metadata/2.root.json',
      '/repo/image/metadata/timestamp.json',
      `/repo/image/metadata/${image.versions.snapshot}.snapshot.json`,
      `/repo/image/metadata/${image.versions.targets}.targets.json`,
    ]);
  });

  test('nothing_new_asks_the_director_for_root_and_timestamp_only', async () => {
    const { fixture, device } = await working();
    fixture.requests.length = 0;
    await device.versions();
    expect(fixture.requests).toEqual([
      '/device/v1/director/2.root.json',
      '/device/v1/director/timestamp.json',
    ]);
  });

  test('nothing_new_asks_the_image_repository_again_once_its_metadata_has_expired', async () => {
    const { fixture, device } = await working();
    fixture.director.lifeMs.timestamp = 30 * 24 * 3600_000;
    fixture.director.signTimestamp();
    await device.versions();
    fixture.clock.pass(25 * 3600_000);
    fixture.image.signTimestamp();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('device_without_an_assignment_gets_an_empty_list', async () => {
    const fixture = new Simulation();
    expect(await (await SimDevice.provision(fixture)).versions()).toEqual([]);
  });

  test('two_calls_at_once_share_one_refresh', async () => {
    const { fixture, device } = await working();
    fixture.requests.length = 0;
    const [one, two] = await Promise.all([device.client.refresh(), device.client.refresh()]);
    expect(one).toBe(two);
    expect(fixture.requests.length).toBe(2);
  });

  test('every_document_is_stored_exactly_as_signed', async () => {
    const { fixture, device } = await working();
    for (const name of ['director', 'image'] as const) {
      expect(readdirSync(join(device.folder, name)).sort()).toEqual(
        ROLES.filter((role) => role !== 'root')
          .map((role) => `${role}.json`)
          .sort(),
      );
      expect(
        readFileSync(device.path(name, 'targets')).equals(
          fixture[name].get(fixture[name].latest('targets')),
        ),
      ).toBe(true);
    }
  });

  test('chain_of_root_rotations_is_walked_and_the_last_names_the_release_keys', async () => {
    const { fixture, device } = await working();
    for (const roles of [
      ['root'],
      ['targets'],
      ['root', 'timestamp', 'snapshot', 'targets'],
    ] as const) {
      fixture.image.rotate(...roles);
      fixture.director.rotate(...roles);
    }
    const revoked = newKey();
    fixture.image.signRoot({
      change: (root) => {
        root.keys[revoked.keyId] = revoked.publicKey;
        root['x-linnet-release'] = { keyids: [revoked.keyId], threshold: 1 };
      },
    });
    fixture.ship('digits', '1.1.0');
    expect(await device.versions()).toEqual(['digits 1.1.0']);
    expect(device.client.releaseRing().keyids).toEqual([revoked.keyId]);
    await device.reboot();
    expect(device.client.releaseRing().keyids).toEqual([revoked.keyId]);
    expect(await device.versions()).toEqual(['digits 1.1.0']);
  });

  test('an_assignment_names_the_acceptance_set_that_image_targets_name_for_its_component', async () => {
    const { fixture, device } = await working();
    const named = { sha256: 'a'.repeat(64), length: 7 };
    const [first] = await device.client.refresh();
    expect(first?.acceptance).toBeNull();
    fixture.ship('digits', '1.1.0');
    fixture.image.publish({
      targets: (targets) => {
        targets['x-linnet-acceptance'] = { digits: named };
      },
    });
    const [next] = await device.client.refresh();
    expect(next).toMatchObject({ version: '1.1.0', acceptance: named });
    expect(() => device.client.acceptanceRing()).toThrow(/lists no acceptance keys/);
    const quality = newKey();
    fixture.image.signRoot({
      change: (root) => {
        root.keys[quality.keyId] = quality.publicKey;
        root['x-linnet-acceptance'] = { keyids: [quality.keyId], threshold: 1 };
      },
    });
    fixture.ship('digits', '1.2.0');
    await device.client.refresh();
    expect(device.client.acceptanceRing().keyids).toEqual([quality.keyId]);
    expect(device.client.releaseRing().keyids).toEqual([fixture.image.release.keyId]);
  });

  test('offline_device_knows_the_release_keys_also_when_everything_has_expired', async () => {
    const { fixture, device } = await working();
    fixture.clock.pass(20 * 365 * 24 * 3600_000);
    await device.reboot();
    expect(device.client.releaseRing()).toMatchObject({
      keyids: [fixture.image.release.keyId],
      threshold: 1,
    });
  });
});

describe('after a power cut', () => {
  test('torn_root_of_any_length_is_replaced_by_walking_from_the_provisioned_root', async () => {
    const { fixture, device } = await working();
    fixture.director.rotate('root', 'timestamp', 'snapshot', 'targets');
    fixture.image.rotate('root', 'timestamp', 'snapshot', 'targets');
    fixture.assign('digits', '1.0.0');
    await device.versions();
    const path = device.path('director', 'root');
    const whole = readFileSync(path);
    for (const length of [0, 1, Math.floor(whole.length / 2), whole.length - 2]) {
      writeFileSync(path, whole.subarray(0, length));
      await device.reboot();
      expect(await device.versions()).toEqual(['digits 1.0.0']);
      expect(readFileSync(path).equals(whole)).toBe(true);
    }
  });

  test('torn_root_allows_no_rollback_because_the_timestamp_beside_it_still_counts', async () => {
    const { fixture, device } = await working();
    fixture.director.rotate('timestamp', 'snapshot');
    const old = fixture.director.get('timestamp.json');
    fixture.director.signTimestamp();
    await device.versions();
    truncateSync(device.path('director', 'root'), 10);
    await device.reboot();
    fixture.director.served.set('timestamp.json', old);
    await refused(device.versions(), 'metadata_rollback');
  });

  test.each(['timestamp', 'snapshot', 'targets'])(
    'a_torn_or_missing_%s_is_fetched_again',
    async (role) => {
      const { device } = await working();
      for (const name of ['director', 'image'] as const) {
        const path = device.path(name, role);
        const whole = readFileSync(path);
        for (const length of [0, Math.floor(whole.length / 2)]) {
          truncateSync(path, 0);
          writeFileSync(path, whole.subarray(0, length));
          await device.reboot();
          expect(await device.versions()).toEqual(['digits 1.0.0']);
          expect(readFileSync(path).equals(whole)).toBe(true);
        }
        rmSync(path);
        await device.reboot();
        expect(await device.versions()).toEqual(['digits 1.0.0']);
      }
    },
  );

  test('garbage_longer_than_any_document_counts_as_missing', async () => {
    const { device } = await working();
    writeFileSync(device.path('director', 'timestamp'), Buffer.alloc(64 * 1024, 0x7b));
    await device.reboot();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('refresh_cut_after_any_request_continues_from_what_was_verified', async () => {
    for (let requests = 0; requests < 12; requests++) {
      const fixture = new Simulation();
      fixture.ship('digits', '1.0.0');
      let left = Infinity;
      const cut: Fetcher = {
        get: (path) =>
          left-- > 0 ? fixture.get(path) : Promise.reject(new Fault('server_unreachable', 'cut')),
        open: () => fixture.open(),
        post: () => fixture.post(),
      };
      const device = await SimDevice.provision(fixture, cut);
      await device.versions();
      fixture.director.rotate('timestamp', 'snapshot');
      fixture.image.rotate('root', 'targets');
      fixture.ship('digits', '1.1.0');
      left = requests;
      const done = await device.versions().then(
        () => true,
        () => false,
      );
      expect(done).toBe(requests >= 10);
      left = Infinity;
      await device.reboot();
      expect(await device.versions()).toEqual(['digits 1.1.0']);
    }
  });

  test('fast_forward_recovery_cut_after_the_new_root_restores_nothing', async () => {
    const fixture = new Simulation();
    const { director } = fixture;
    const [stolen, kept] = [newKey(), newKey()];
    director.keys.timestamp = [stolen, kept];
    director.signRoot();
    fixture.ship('digits', '1.0.0');
    const honest = director.versions.timestamp;
    let left = Infinity;
    const cut: Fetcher = {
      get: (path) =>
        left-- > 0 ? fixture.get(path) : Promise.reject(new Fault('server_unreachable', 'cut')),
      open: () => fixture.open(),
      post: () => fixture.post(),
    };
    const device = await SimDevice.provision(fixture, cut);
    director.versions.timestamp = 1_000_000;
    director.signTimestamp();
    await device.versions();
    // One of the two keys goes; the other one's signature on the pushed-up timestamp would still
    // count.
    director.keys.timestamp = [kept, newKey()];
    director.signRoot();
    director.versions.timestamp = honest;
    director.publish();
    left = 1;
    await refused(device.versions(), 'server_unreachable');
    left = Infinity;
    await device.reboot();
    expect(await device.versions()).toEqual(['digits 1.0.0']);
  });

  test('device_provisioned_again_with_a_later_root_uses_that_root', async () => {
    const { fixture, device } = await working();
    fixture.director.rotate('timestamp', 'snapshot');
    await device.versions();
    writeFileSync(device.path('director', 'root'), fixture.director.get('1.root.json'));
    Object.assign(fixture, { directorRoot: fixture.director.get('2.root.json') });
    fixture.requests.length = 0;
    await device.reboot();
    await device.versions();
    expect(fixture.requests[0]).toBe('/device/v1/director/3.root.json');
  });
});

test('document_with_unrecognised_fields_is_accepted_and_stored_with_them', async () => {
  const { fixture, device } = await working();
  fixture.director.publish({
    targets: (targets) => {
      Object.assign(targets, { 'x-future': { deep: [1, 'two', null, true] } });
    },
  });
  expect(await device.versions()).toEqual(['digits 1.0.0']);
  expect(
    decodeDocument('targets', readFileSync(device.path('director', 'targets'))).signed,
  ).toMatchObject({
    'x-future': { deep: [1, 'two', null, true] },
    'x-linnet-device': DEVICE.id,
  });
  expect(statSync(device.path('director', 'targets')).size).toBeGreaterThan(0);
});
