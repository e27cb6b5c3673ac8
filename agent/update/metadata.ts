// What this device is told to run, and why it may believe it: drives the trust workflow
// (shared/trust) over a Fetcher and keeps its results on a Disk. Invariants: nothing is stored
// before it was verified; each document is replaced whole; a root is stored before anything that it
// signs; a torn or missing file costs a download, never the device.
//
// Layout of `folder`: `director/` and `image/`, each with root.json, timestamp.json, snapshot.json
// and targets.json.
//
// Time. A device may have no clock that survives a power cut, so the present is never taken as
// earlier than the time at which the latest trusted timestamp of either repository says it was
// signed (x-linnet-time). That floor is persisted as part of the timestamp documents themselves.
// The local clock is never persisted: one wild jump ahead would make all metadata look expired for
// ever. What is left: a device whose clock stands still sees no expiry beyond that floor.
import { join } from 'node:path';
import { limits } from '../../shared/base/limits.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import type { Clock } from '../../shared/base/interfaces.js';
import { routes } from '../../shared/protocol/device-api.js';
import { sha256 } from '../../shared/base/bytes.js';
import type { KeyRing } from '../../shared/trust/key-ring.js';
import { matchAssignments, type TrustedAssignment } from '../../shared/trust/assignments.js';
import { MAX_BYTES, releaseRing, type MetaFile, type Role } from '../../shared/trust/documents.js';
import {
  knownTimeMs,
  needsSnapshot,
  needsTargets,
  requireCurrent,
  requireFreshRoot,
  snapshotMeta,
  startTrust,
  targetsMeta,
  withRoot,
  withSnapshot,
  withStored,
  withTargets,
  withTimestamp,
  type RepositoryName,
  type TrustedSet,
} from '../../shared/trust/trusted-set.js';
import type { Disk, Fetcher } from '../interfaces.js';
import { onceMore, retryable } from './download.js';

export type { TrustedAssignment } from '../../shared/trust/assignments.js';

export interface MetadataClientOptions {
  readonly disk: Disk;
  readonly fetcher: Fetcher;
  readonly clock: Clock;
  /** Absolute; made when missing. */
  readonly folder: string;
  /** The roots that the device was provisioned with. */
  readonly imageRoot: Uint8Array;
  readonly directorRoot: Uint8Array;
  readonly device: { readonly id: string; readonly hardware: string };
}

const BELOW_ROOT = ['timestamp', 'snapshot', 'targets'] as const;

export class MetadataClient {
  readonly #options: MetadataClientOptions;
  #director: Repository;
  #image: Repository;
  /** The director targets that the last match succeeded for. */
  #matched: Uint8Array | null = null;
  #underWay: Promise<TrustedAssignment[]> | null = null;

  /** Faults: metadata_* when a provisioned root is none. */
  constructor(options: MetadataClientOptions) {
    this.#options = options;
    this.#director = new Repository('director', options);
    this.#image = new Repository('image', options);
  }

  /** From disk, offline. Afterwards releaseRing() is the latest that this device ever trusted. */
  async load(): Promise<void> {
    await this.#director.load();
    await this.#image.load();
  }

  /**
   * The keys that may sign releases, by the trusted image root, whatever its expiry: what is
   * installed stays provable offline.
   */
  releaseRing(): KeyRing {
    return releaseRing(this.#image.set.root.signed);
  }

  /**
   * The present orders for this device, all verified in Uptane's order. Calls while one is under
   * way share it. Faults: metadata_*, root_version, director_*, target_*, hardware_unsupported
   * (refused); those of Fetcher and Disk.
   */
  refresh(): Promise<TrustedAssignment[]> {
    this.#underWay ??= this.#refresh().finally(() => {
      this.#underWay = null;
    });
    return this.#underWay;
  }

  /**
   * The envelope of an order, with the length and SHA-256 that both repositories signed. Faults:
   * file_length, file_digest, those of Fetcher.
   */
  async fetchEnvelope(
    assignment: Pick<TrustedAssignment, 'component' | 'version' | 'length' | 'sha256'>,
  ): Promise<Uint8Array> {
    const { component, version, length, sha256: digest } = assignment;
    const what = `the envelope of ${component} ${version}`;
    const ask = async (): Promise<Uint8Array> => {
      const path = routes.imageTarget(component, version, digest);
      const bytes = await retryable(
        this.#options.fetcher.get(path, Math.min(length, limits.manifestMaxBytes)),
        what,
      );
      if (bytes === null) throw new Fault('fetch_interrupted', `no source has ${what} yet`);
      if (bytes.length !== length)
        throw new Fault(
          'file_length',
          `${what} is ${bytes.length} bytes, its target names ${length}`,
        );
      if (sha256(bytes) !== digest)
        throw new Fault('file_digest', `${what} does not have the SHA-256 that its target names`);
      return bytes;
    };
    return onceMore(ask);
  }

  async #refresh(): Promise<TrustedAssignment[]> {
    // TUF 5.3 before the time is fixed: a key that lied about time is rotated, and takes what it
    // said with it. The image repository is asked this early only where its word is all that puts
    // the present so late.
    await this.#director.walkRoots();
    const without = Math.max(this.#options.clock.now(), knownTimeMs(this.#director.set));
    const early = knownTimeMs(this.#image.set) > without;
    if (early) await this.#image.walkRoots();
    // TUF 5.1: one time for the whole cycle, so that nothing expires between two checks of it.
    const now = Math.max(without, knownTimeMs(this.#image.set));
    await this.#director.refresh(now); // Uptane full verification, steps 2 to 5.
    const director = requireCurrent(this.#director.set, now);
    // Step 6: nothing new from the director, and what the image repository said is still fresh:
    // done.
    if (this.#matched !== director.bytes || !this.#image.isCurrent(now)) {
      if (!early) await this.#image.walkRoots();
      await this.#image.refresh(now); // Steps 6 to 9.
    }
    const assignments = matchAssignments(
      director.signed,
      requireCurrent(this.#image.set, now).signed,
      this.#options.device,
    ); // Step 10.
    this.#matched = director.bytes;
    return assignments;
  }
}

/** One repository's trusted set, on disk and in memory. */
class Repository {
  readonly #folder: string;
  readonly #path: (name: string) => string;
  /**
   * True while the root on disk does not read: what lies beside it may be signed by a root that is
   * yet to be fetched again.
   */
  #rootTorn = false;
  set: TrustedSet;

  constructor(
    name: RepositoryName,
    private readonly options: MetadataClientOptions,
  ) {
    this.#folder = join(options.folder, name);
    this.#path = name === 'director' ? routes.director : routes.imageMetadata;
    this.set = startTrust(
      name,
      name === 'director' ? options.directorRoot : options.imageRoot,
      name === 'director' ? options.device.id : null,
    );
  }

  async load(): Promise<void> {
    await this.options.disk.makeFolder(this.#folder);
    const stored = await this.#stored('root');
    if (stored !== null) {
      try {
        const set = startTrust(this.set.repository, stored, this.set.device);
        // A device that was provisioned anew may know a later root than its disk.
        if (set.root.signed.version > this.set.root.signed.version) this.set = set;
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        // The provisioned root stands, and refresh() walks the chain again from there.
        this.#rootTorn = true;
      }
    }
    await this.#restore();
  }

  isCurrent(now: number): boolean {
    try {
      requireCurrent(this.set, now);
      return true;
    } catch (error) {
      if (isFault(error, 'metadata_expired', 'metadata_mismatch')) return false;
      throw error;
    }
  }

  /**
   * TUF 5.3.10 to 5.6, after walkRoots. Each document is stored as soon as it is trusted, so that
   * an interrupted refresh keeps what it proved.
   */
  async refresh(now: number): Promise<void> {
    requireFreshRoot(this.set, now);
    await this.#adopt(
      'timestamp',
      withTimestamp(this.set, await this.#fetch('timestamp.json', MAX_BYTES.timestamp), now),
    );
    if (needsSnapshot(this.set)) {
      const meta = snapshotMeta(this.set);
      await this.#adopt(
        'snapshot',
        withSnapshot(
          this.set,
          await this.#fetch(`${meta.version}.snapshot.json`, maxBytes('snapshot', meta)),
          now,
        ),
      );
    }
    if (needsTargets(this.set)) {
      const meta = targetsMeta(this.set);
      await this.#adopt(
        'targets',
        withTargets(
          this.set,
          await this.#fetch(`${meta.version}.targets.json`, maxBytes('targets', meta)),
          now,
        ),
      );
    }
  }

  /** TUF 5.3.1 to 5.3.9 and 5.3.11: each new root, one version at a time. */
  async walkRoots(): Promise<void> {
    for (let step = 0; ; step++) {
      const version = this.set.root.signed.version + 1;
      const bytes = await this.options.fetcher.get(
        this.#path(`${version}.root.json`),
        MAX_BYTES.root,
      );
      if (bytes === null) break;
      if (step >= limits.rootRotationsMaxCount)
        throw new Fault(
          'metadata_too_large',
          `more than ${limits.rootRotationsMaxCount} new roots in a row`,
        );
      const next = withRoot(this.set, bytes);
      // Forgotten before the root that orders it is stored: cut in between, the device fetches
      // again. The other way round it could stay behind a stolen key's version for ever.
      if (!this.#rootTorn)
        for (const role of BELOW_ROOT)
          if (this.set[role] !== null && next[role] === null) await this.#forget(role);
      await this.#adopt('root', next);
    }
    if (this.#rootTorn) {
      this.#rootTorn = false;
      await this.#restore();
    }
  }

  /** Takes back from disk what is missing in memory and still signed by the trusted root. */
  async #restore(): Promise<void> {
    for (const role of BELOW_ROOT) {
      if (this.set[role] !== null) continue;
      const bytes = await this.#stored(role);
      if (bytes !== null) this.set = withStored(this.set, role, bytes);
    }
  }

  async #adopt(role: Role, next: TrustedSet): Promise<void> {
    const document = next[role];
    if (document !== null && document !== this.set[role])
      await this.options.disk.replace(join(this.#folder, `${role}.json`), document.bytes);
    this.set = next;
  }

  async #forget(role: Role): Promise<void> {
    await this.options.disk.remove(join(this.#folder, `${role}.json`));
    await this.options.disk.syncFolder(this.#folder);
  }

  /** A file that cannot be read is as good as missing: everything here can be fetched again. */
  async #stored(role: Role): Promise<Uint8Array | null> {
    try {
      return await this.options.disk.read(join(this.#folder, `${role}.json`), MAX_BYTES[role]);
    } catch (error) {
      if (isFault(error, 'disk_failed')) return null;
      throw error;
    }
  }

  async #fetch(name: string, max: number): Promise<Uint8Array> {
    const bytes = await this.options.fetcher.get(this.#path(name), max);
    // Also what a source looks like that publishes at this very moment: worth another try.
    if (bytes === null)
      throw new Fault('fetch_interrupted', `the ${this.set.repository} repository has no ${name}`);
    if (bytes.length > max)
      throw new Fault('metadata_too_large', `${name} is ${bytes.length} bytes, bound is ${max}`);
    return bytes;
  }
}

/**
 * Spec 5.5.1 and 5.6.1: the length that the parent names where it does, and never more than the
 * bound.
 */
function maxBytes(role: Role, meta: MetaFile): number {
  return Math.min(meta.length ?? MAX_BYTES[role], MAX_BYTES[role]);
}
