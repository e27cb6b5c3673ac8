// The director over a simulated store, and the whole chain: release desk -> image repository ->
// director -> a device's metadata client on a real disk. Versions rise, documents are saved before
// they are served, and what does not fit what is published is never signed.
import { beforeEach, describe, expect, test } from 'vitest';
import { NodeDisk } from '../../../agent/platform/disk.js';
import type { Fetcher } from '../../../agent/interfaces.js';
import { MetadataClient } from '../../../agent/update/metadata.js';
import type { Assignment, AssignmentStore, DirectorDocuments } from '../../../server/interfaces.js';
import { Director } from '../../../server/tuf/director-repository.js';
import { fastSigningKey } from '../../../server/tuf/online-keys.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { openRelease, type Release } from '../../../shared/release/manifest.js';
import { routes } from '../../../shared/protocol/device-api.js';
import { defaultTrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import { decodeDocument } from '../../../shared/trust/documents.js';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { refused, tempFolder } from '../../support/metadata-device.js';
import { PublishingWorld } from '../../support/published-repository.js';

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
          rollout: 'r1',
          trial: defaultTrialPolicy,
          assignmentId,
          ...more,
        },
      ],
    });
  }

  assignments(device: string): Promise<{ revision: number; assignments: Assignment[] }> {
    return Promise.resolve(this.current.get(device) ?? { revision: 0, assignments: [] });
  }

  directorDocuments(device: string): Promise<DirectorDocuments | null> {
    return Promise.resolve(this.documents.get(device) ?? null);
  }

  saveDirectorDocuments(device: string, documents: DirectorDocuments): Promise<void> {
    if (this.failing) return Promise.reject(new Fault('disk_full', 'no space'));
    this.saves += 1;
    this.documents.set(device, documents);
    return Promise.resolve();
  }
}

let world: PublishingWorld;
let store: MemoryStore;
let director: Director;
let release: Release;
beforeEach(async () => {
  world = await PublishingWorld.begin();
  store = new MemoryStore();
  director = await open();
  ({ release } = await world.publish(await world.bundle('1.0.0')));
  return () => world.end();
});

const open = (): Promise<Director> =>
  Director.open({
    store,
    keys: world.keys.director,
    folder: world.made.server,
    imageTargets: () => world.images.targets(),
    clock: world.clock,
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
      if (path === routes.imageMetadata(name)) return world.images.metadata(name);
      const [component, version] = path.split('/').slice(4);
      return world.images.targetFile(component ?? '', version ?? '', name);
    },
    open: () => Promise.reject(new Fault('not_found', 'no files here')),
    post: () => Promise.reject(new Fault('not_found', 'no messages here')),
  };
}

async function client(device = DEVICE): Promise<MetadataClient> {
  const made = new MetadataClient({
    disk: new NodeDisk(),
    fetcher: fetcherOf(device),
    clock: world.clock,
    folder: tempFolder(),
    device,
    imageRoot: world.root,
    directorRoot: readFileSync(join(world.made.trust, 'director-root.json')),
  });
  await made.load();
  return made;
}

describe('the whole chain', () => {
  test('a published, assigned release reaches the device, envelope and release keys included', async () => {
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

  test('an order back, a withdrawn order, and renewal over days', async () => {
    const device = await client();
    store.assign(DEVICE.id, release);
    await device.refresh();
    const next = (await world.publish(await world.bundle('1.1.0'))).release;
    store.assign(DEVICE.id, next);
    expect(await device.refresh()).toMatchObject([{ version: '1.1.0', rollback: false }]);
    store.assign(DEVICE.id, release, { rollback: true });
    expect(await device.refresh()).toMatchObject([
      { version: '1.0.0', rollback: true, assignmentId: 3 },
    ]);
    store.current.set(DEVICE.id, { revision: 9, assignments: [] });
    expect(await device.refresh()).toEqual([]);
    for (let day = 0; day < 3; day++) {
      world.clock.pass(24 * HOUR_MS);
      await world.images.renew();
      expect(await device.refresh()).toEqual([]);
    }
  });

  test("another device's documents are refused by this one", async () => {
    const device = new MetadataClient({
      disk: new NodeDisk(),
      fetcher: fetcherOf(OTHER),
      clock: world.clock,
      folder: tempFolder(),
      device: DEVICE,
      imageRoot: world.root,
      directorRoot: readFileSync(join(world.made.trust, 'director-root.json')),
    });
    await device.load();
    await refused(device.refresh(), 'director_other_device');
  });
});

describe('signing on demand', () => {
  test('nothing is signed again while nothing changed; a new order raises every version by one', async () => {
    expect(await timestampVersion()).toBe(1);
    await timestampVersion();
    expect(store.saves).toBe(1);
    store.assign(DEVICE.id, release);
    expect(await timestampVersion()).toBe(2);
    expect(store.documents.get(DEVICE.id)).toMatchObject({
      targetsVersion: 2,
      snapshotVersion: 2,
      timestampVersion: 2,
    });
    world.clock.pass(11 * HOUR_MS);
    expect(await timestampVersion()).toBe(2);
    world.clock.pass(2 * HOUR_MS);
    expect(await timestampVersion()).toBe(3);
  });

  test('two requests at once sign once', async () => {
    store.assign(DEVICE.id, release);
    await Promise.all([
      director.metadata(DEVICE, 'timestamp.json'),
      director.metadata(DEVICE, 'timestamp.json'),
      director.metadata(OTHER, 'timestamp.json'),
    ]);
    expect(store.saves).toBe(2);
  });

  test('versions go on after a restart, and what could not be saved is not served', async () => {
    await timestampVersion();
    director = await open();
    store.assign(DEVICE.id, release);
    store.failing = true;
    await refused(director.metadata(DEVICE, 'timestamp.json'), 'disk_full');
    store.failing = false;
    expect(await timestampVersion()).toBe(2);
  });

  test('the snapshot and targets that a timestamp named stay while a new order comes in', async () => {
    store.assign(DEVICE.id, release);
    await timestampVersion();
    store.assign(DEVICE.id, release);
    expect(await director.metadata(DEVICE, '1.snapshot.json')).not.toBeNull();
    expect(await director.metadata(DEVICE, '1.targets.json')).not.toBeNull();
    expect(await timestampVersion()).toBe(2);
    expect(await director.metadata(DEVICE, '1.targets.json')).toBeNull();
    expect(await director.metadata(DEVICE, '2.targets.json')).not.toBeNull();
  });

  test('names that are no metadata', async () => {
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
      new Uint8Array(readFileSync(join(world.made.trust, 'director-root.json'))),
    );
  });
});

describe('never signed', () => {
  test('a release that is not published', async () => {
    store.assign(DEVICE.id, { ...release, version: '9.9.9' });
    await refused(director.metadata(DEVICE, 'timestamp.json'), 'target_unknown');
  });

  test('a release with another digest than the published one', async () => {
    store.assign(DEVICE.id, { ...release, digest: 'ab'.repeat(32) });
    await refused(director.metadata(DEVICE, 'timestamp.json'), 'target_mismatch');
  });

  test('a release for other hardware', async () => {
    store.assign(DEVICE.id, release);
    await refused(
      director.metadata({ ...DEVICE, hardware: 'jetson-nano' }, 'timestamp.json'),
      'hardware_unsupported',
    );
    expect(store.saves).toBe(0);
  });

  test('anything, by keys that the root does not name', async () => {
    const keys = { ...world.keys.director, targets: fastSigningKey(Buffer.alloc(32, 9)) };
    await refused(
      Director.open({
        store,
        keys,
        folder: world.made.server,
        imageTargets: () => world.images.targets(),
        clock: world.clock,
      }),
      'key_invalid',
    );
  });
});
