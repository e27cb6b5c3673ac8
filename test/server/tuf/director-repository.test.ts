// The director over a simulated store, and the whole chain: publish -> image repository ->
// director -> a device's metadata client on a real disk. Versions rise, documents are saved before
// they are served, and what does not fit what is published is never signed. Over 400 lines because
// the director's rules are tried on one published repository.
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { NodeDisk } from '../../../agent/platform/disk.js';
import type { Fetcher } from '../../../agent/interfaces.js';
import { MetadataClient } from '../../../agent/update/metadata.js';
import type {
  Assignment,
  AssignmentStore,
  DirectorDocuments,
  DirectorHead,
} from '../../../server/interfaces.js';
import { Store } from '../../../server/store/store.js';
import { newDevice } from '../../support/fleet-server.js';
import { readSigningKey } from '../../../firmware-tools/release/keys/key-files.js';
import { Director } from '../../../server/tuf/director-repository.js';
import { fastSigningKey } from '../../../server/tuf/online-keys.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { openRelease, type Release } from '../../../shared/release/manifest.js';
import { routes } from '../../../shared/protocol/device-api.js';
import { defaultTrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import { audienceOf } from '../../../shared/trust/device-token.js';
import { decodeDocument, signDocument } from '../../../shared/trust/documents.js';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { refused } from '../../support/metadata-device.js';
import { tempFolder } from '../../support/temp-folders.js';
import { PublishedRepository } from '../../support/published-repository.js';

const HOUR_MS = 3600_000;
const DEVICE = { id: 'dev-0123456789abcdef0123', hardware: 'sim-x86' };
const OTHER = { id: 'dev-ffffffffffffffffffff', hardware: 'arm64' };

/** Keeps what the SQL store keeps, and can fail to. */
class MemoryStore implements AssignmentStore {
  readonly current = new Map<string, { revision: number; assignments: Assignment[] }>();
  readonly documents = new Map<string, DirectorDocuments>();
  saves = 0;
  failing = false;

  assign(device: string, release: Release, more: Partial<Assignment> = {}): void {
    const before = this.current.get(device) ?? { revision: 0, assignments: [] };
    const { component, version, digest } = release;
    const assignmentId =
      1 + Math.max(0, ...before.assignments.map((assignment) => assignment.assignmentId));
    this.current.set(device, {
      revision: before.revision + 1,
      assignments: [
        {
          device,
          component,
          release: { component, version, digest },
          rollback: false,
          activation: 'swap',
          rollout: 'r1',
          trial: defaultTrialPolicy,
          assignmentId,
          trace: null,
          ...more,
        },
      ],
    });
  }

  assignments(device: string): Promise<{ revision: number; assignments: Assignment[] }> {
    return Promise.resolve(this.current.get(device) ?? { revision: 0, assignments: [] });
  }

  directorHead(device: string): Promise<DirectorHead> {
    const revision = this.current.get(device)?.revision ?? 0;
    return Promise.resolve({ revision, signed: this.documents.get(device) ?? null });
  }

  directorDocuments(device: string): Promise<DirectorDocuments | null> {
    return Promise.resolve(this.documents.get(device) ?? null);
  }

  raiseDirectorVersions(): Promise<boolean> {
    throw new Error('asked by the ingest only');
  }

  saveDirectorDocuments(
    device: string,
    documents: DirectorDocuments,
    before: number | null,
  ): Promise<boolean> {
    if (this.failing) return Promise.reject(new Fault('disk_full', 'no space'));
    if ((this.documents.get(device)?.timestampVersion ?? null) !== before)
      return Promise.resolve(false);
    this.saves += 1;
    this.documents.set(device, documents);
    return Promise.resolve(true);
  }
}

let repository: PublishedRepository;
let store: MemoryStore;
let director: Director;
let release: Release;
beforeEach(async () => {
  repository = await PublishedRepository.begin();
  store = new MemoryStore();
  director = await open();
  ({ release } = await repository.publish(await repository.bundle('1.0.0')));
  return () => repository.end();
});

const open = (assignments: AssignmentStore = store): Promise<Director> =>
  Director.open({
    store: assignments,
    keys: repository.keys.director,
    folder: repository.made.server,
    imageTargets: () => repository.images.targets(),
    clock: repository.clock,
  });
const timestampVersion = async (device = DEVICE): Promise<number> =>
  decodeDocument(
    'timestamp',
    (await director.metadata(device, 'timestamp.json')) ?? new Uint8Array(),
  ).signed.version;

function fetcherOf(device: typeof DEVICE): Fetcher {
  return {
    get: async (path) => {
      const name = path.slice(path.lastIndexOf('/') + 1);
      if (path === routes.director(name)) return director.metadata(device, name);
      if (path === routes.imageMetadata(name)) return repository.images.metadata(name);
      const [component, version] = path.split('/').slice(4);
      return repository.images.targetFile(component ?? '', version ?? '', name);
    },
    open: () => Promise.reject(new Fault('not_found', 'no files here')),
    post: () => Promise.reject(new Fault('not_found', 'no messages here')),
  };
}

async function client(device = DEVICE): Promise<MetadataClient> {
  const made = new MetadataClient({
    disk: new NodeDisk(),
    fetcher: fetcherOf(device),
    clock: repository.clock,
    folder: tempFolder(),
    device,
    imageRoot: repository.root,
    directorRoot: readFileSync(join(repository.made.trust, 'director-root.json')),
  });
  await made.load();
  return made;
}

describe('the whole chain', () => {
  test('an_assigned_release_reaches_the_device_with_envelope_and_release_keys', async () => {
    const device = await client();
    expect(await device.refresh()).toEqual([]);
    store.assign(DEVICE.id, release);
    const [assignment] = await device.refresh();
    expect(assignment).toMatchObject({
      component: 'small',
      version: '1.0.0',
      sha256: release.digest,
      assignmentId: 1,
      rollout: 'r1',
      trial: defaultTrialPolicy,
    });
    if (assignment === undefined) return;
    expect(
      openRelease(await device.fetchEnvelope(assignment), device.releaseRing()).manifest,
    ).toEqual(release.manifest);
  });

  test('a_rollback_assignment_a_withdrawn_assignment_and_renewal_over_days', async () => {
    const device = await client();
    store.assign(DEVICE.id, release);
    await device.refresh();
    const next = (await repository.publish(await repository.bundle('1.1.0'))).release;
    store.assign(DEVICE.id, next);
    expect(await device.refresh()).toMatchObject([{ version: '1.1.0', rollback: false }]);
    store.assign(DEVICE.id, release, { rollback: true });
    expect(await device.refresh()).toMatchObject([
      { version: '1.0.0', rollback: true, assignmentId: 3 },
    ]);
    store.current.set(DEVICE.id, { revision: 9, assignments: [] });
    expect(await device.refresh()).toEqual([]);
    for (let day = 0; day < 3; day++) {
      repository.clock.pass(24 * HOUR_MS);
      await repository.images.renew();
      expect(await device.refresh()).toEqual([]);
    }
  });

  test('another_devices_documents_are_refused_by_this_one', async () => {
    const device = new MetadataClient({
      disk: new NodeDisk(),
      fetcher: fetcherOf(OTHER),
      clock: repository.clock,
      folder: tempFolder(),
      device: DEVICE,
      imageRoot: repository.root,
      directorRoot: readFileSync(join(repository.made.trust, 'director-root.json')),
    });
    await device.load();
    await refused(device.refresh(), 'director_other_device');
  });
});

describe('signing on demand', () => {
  test('nothing_is_signed_again_until_a_new_assignment_raises_every_version_by_one', async () => {
    const first = await timestampVersion();
    await timestampVersion();
    expect(store.saves).toBe(1);
    store.assign(DEVICE.id, release);
    const second = await timestampVersion();
    expect(second).toBe(first + 1);
    expect(store.documents.get(DEVICE.id)).toMatchObject({
      targetsVersion: second,
      snapshotVersion: second,
      timestampVersion: second,
    });
    repository.clock.pass(11 * HOUR_MS);
    expect(await timestampVersion()).toBe(second);
    repository.clock.pass(2 * HOUR_MS);
    expect(await timestampVersion()).toBeGreaterThan(second);
  });

  test('a_poll_where_nothing_changed_is_one_small_read', async () => {
    const { tag, bytes } = await director.timestamp(DEVICE, null);
    expect(bytes).not.toBeNull();
    const reads: string[] = [];
    const only = new MemoryStore();
    Object.assign(only, { current: store.current, documents: store.documents });
    director = await open(
      new Proxy(only, {
        get: (target, name) => {
          reads.push(String(name));
          const member: unknown = Reflect.get(target, name);
          return typeof member === 'function' ? (member.bind(target) as unknown) : member;
        },
      }),
    );
    expect(await director.timestamp(DEVICE, tag)).toEqual({ tag, bytes: null });
    expect(reads).toEqual(['directorHead']);
  });

  test('a_poll_after_a_change_is_answered_with_a_new_timestamp_and_tag', async () => {
    const { tag } = await director.timestamp(DEVICE, null);
    store.assign(DEVICE.id, release);
    const assigned = await director.timestamp(DEVICE, tag);
    expect(assigned.bytes).not.toBeNull();
    expect(assigned.tag).not.toBe(tag);
    repository.clock.pass(13 * HOUR_MS);
    const renewed = await director.timestamp(DEVICE, assigned.tag);
    expect(renewed.bytes).not.toBeNull();
    expect((await director.timestamp(OTHER, null)).bytes).not.toBeNull();
  });

  test('the_documents_of_one_look_are_read_once', async () => {
    store.assign(DEVICE.id, release);
    await director.metadata(DEVICE, 'timestamp.json');
    const reads = vi.spyOn(store, 'directorDocuments');
    const signed = store.documents.get(DEVICE.id);
    const ofVersion = (role: string, device = DEVICE): Promise<Uint8Array | null> =>
      director.metadata(device, `${signed?.targetsVersion}.${role}.json`);
    expect(await ofVersion('snapshot')).toEqual(signed?.snapshot);
    expect(await ofVersion('targets')).toEqual(signed?.targets);
    expect(reads).not.toHaveBeenCalled();
    // Asked again, they come from the store, as at a server that did not sign them.
    expect(await ofVersion('targets')).toEqual(signed?.targets);
    expect(await ofVersion('targets', OTHER)).toBeNull();
    expect(reads).toHaveBeenCalledTimes(2);
  });

  test('two_requests_at_once_sign_once', async () => {
    store.assign(DEVICE.id, release);
    await Promise.all([
      director.metadata(DEVICE, 'timestamp.json'),
      director.metadata(DEVICE, 'timestamp.json'),
      director.metadata(OTHER, 'timestamp.json'),
    ]);
    expect(store.saves).toBe(2);
  });

  test('versions_go_on_after_a_restart_and_what_could_not_be_saved_is_not_served', async () => {
    const first = await timestampVersion();
    director = await open();
    store.assign(DEVICE.id, release);
    store.failing = true;
    await refused(director.metadata(DEVICE, 'timestamp.json'), 'disk_full');
    store.failing = false;
    expect(await timestampVersion()).toBe(first + 1);
  });

  test('snapshot_and_targets_of_a_timestamp_stay_while_a_new_assignment_arrives', async () => {
    store.assign(DEVICE.id, release);
    const first = await timestampVersion();
    store.assign(DEVICE.id, release);
    expect(await director.metadata(DEVICE, `${first}.snapshot.json`)).not.toBeNull();
    expect(await director.metadata(DEVICE, `${first}.targets.json`)).not.toBeNull();
    const second = await timestampVersion();
    expect(second).toBe(first + 1);
    expect(await director.metadata(DEVICE, `${first}.targets.json`)).toBeNull();
    expect(await director.metadata(DEVICE, `${second}.targets.json`)).not.toBeNull();
  });

  test('a_device_that_was_given_any_root_of_the_chain_is_one_of_its_own', async () => {
    const folder = join(repository.made.server, 'metadata', 'director');
    const first = decodeDocument('root', readFileSync(join(folder, '1.root.json')));
    const key = await readSigningKey(join(repository.made.offline, 'director-root.key.json'), {});
    const second = await signDocument({ ...first.signed, version: 2 }, [key]);
    const audiences = [audienceOf(first), audienceOf(decodeDocument('root', second))] as const;
    const known = (): Promise<boolean[]> =>
      Promise.all(audiences.map((audience) => director.isAudience(audience)));
    expect(await known()).toEqual([true, false]);
    // Published after the start; asked by many devices at once.
    writeFileSync(join(folder, '2.root.json'), second);
    expect(await Promise.all([known(), known()])).toEqual([
      [true, true],
      [true, true],
    ]);
    const foreign = audienceOf(decodeDocument('root', repository.root));
    expect(await director.isAudience(foreign)).toBe(false);
    director = await open();
    expect(await known()).toEqual([true, true]);
  });

  test('names_that_are_no_metadata', async () => {
    for (const name of [
      '../image/1.root.json',
      '0.root.json',
      '2.root.json',
      'snapshot.json',
      'targets.json',
      '',
    ])
      expect(await director.metadata(DEVICE, name)).toBeNull();
    expect(await director.metadata(DEVICE, '1.root.json')).toEqual(
      new Uint8Array(readFileSync(join(repository.made.trust, 'director-root.json'))),
    );
  });
});

describe('a server that was restored from a backup', () => {
  test('server_restored_from_yesterday_goes_on_above_what_the_device_saw', async () => {
    const device = await client();
    store.assign(DEVICE.id, release);
    await device.refresh();
    const backup = new Map(store.documents);
    for (let day = 0; day < 2; day += 1) {
      repository.clock.pass(13 * HOUR_MS);
      await repository.images.renew();
      await device.refresh();
    }
    const seen = device.directorVersion();
    store.documents.clear();
    for (const [id, documents] of backup) store.documents.set(id, documents);
    repository.clock.pass(60_000);
    director = await open(); // A restored database means a started server.
    expect(await device.refresh()).toMatchObject([{ version: '1.0.0' }]);
    expect(device.directorVersion()).toBeGreaterThan(seen);
  });

  test('database_file_that_is_copied_back_needs_nothing_typed', async () => {
    const folder = tempFolder();
    const file = join(folder, 'fleet.sqlite');
    const started = async (): Promise<Store> => {
      const sql = await Store.open(file);
      director = await open(sql.assignments);
      return sql;
    };
    let sql = await started();
    const { id, key, name } = newDevice('gate-1');
    const request = { publicKey: key.publicKey, name, hardware: 'sim', components: ['digits'] };
    await sql.devices.enrol(id, { ...request, signature: 'not checked here' }, null, 1);
    const device = await client({ id, hardware: 'sim' });
    await device.refresh();
    await sql.close();
    copyFileSync(file, join(folder, 'backup'));
    sql = await started();
    for (let times = 0; times < 3; times += 1) {
      repository.clock.pass(13 * HOUR_MS);
      await repository.images.renew();
      await device.refresh();
    }
    await sql.close();
    copyFileSync(join(folder, 'backup'), file);
    repository.clock.pass(60_000);
    sql = await started();
    expect(await device.refresh()).toEqual([]);
    await sql.close();
  });

  test('backup_of_an_hour_ago_whose_documents_are_still_fresh_is_signed_anew_as_well', async () => {
    const device = await client();
    store.assign(DEVICE.id, release);
    await device.refresh();
    const backup = new Map(store.documents);
    repository.clock.pass(HOUR_MS);
    store.assign(DEVICE.id, release);
    await device.refresh();
    for (const [id, documents] of backup) store.documents.set(id, documents);
    repository.clock.pass(HOUR_MS);
    director = await open();
    expect(await device.refresh()).toHaveLength(1);
  });
});

describe('never signed', () => {
  test('a_release_that_is_not_published', async () => {
    store.assign(DEVICE.id, { ...release, version: '9.9.9' });
    await refused(director.metadata(DEVICE, 'timestamp.json'), 'target_unknown');
  });

  test('a_release_with_another_digest_than_the_published_one', async () => {
    store.assign(DEVICE.id, { ...release, digest: 'ab'.repeat(32) });
    await refused(director.metadata(DEVICE, 'timestamp.json'), 'target_mismatch');
  });

  test('a_release_for_other_hardware', async () => {
    store.assign(DEVICE.id, release);
    await refused(
      director.metadata({ ...DEVICE, hardware: 'jetson-nano' }, 'timestamp.json'),
      'hardware_unsupported',
    );
    expect(store.saves).toBe(0);
  });

  test('anything_by_keys_that_the_root_does_not_name', async () => {
    const keys = { ...repository.keys.director, targets: fastSigningKey(Buffer.alloc(32, 9)) };
    await refused(
      Director.open({
        store,
        keys,
        folder: repository.made.server,
        imageTargets: () => repository.images.targets(),
        clock: repository.clock,
      }),
      'key_invalid',
    );
  });
});
