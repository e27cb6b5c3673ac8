// Which assignments this device may trust: drives the trust workflow (shared/trust) over a Fetcher
// and keeps its results on a Disk. Invariants: nothing is stored before it is verified; each
// document is replaced whole; a root is stored before anything that it signs; a torn or missing
// file costs a download, nothing more.
//
// Layout of `folder`: `director/` and `image/`, each with root.json, timestamp.json, snapshot.json
// and targets.json.
//
// Time. A device may have no clock that survives a power cut. So the present is never taken as
// earlier than the signing time (x-linnet-time) of the latest trusted timestamp of either
// repository, plus the time that has elapsed since it was trusted. That floor is persisted as part
// of the timestamp documents. The local clock is never persisted: one jump far ahead would make all
// metadata look expired for ever. For the same reason a signed time far after the present is
// refused, and the floor goes with the document when a new root removes the key that signed it.
import { join } from 'node:path';
import { limits } from '../../shared/base/limits.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import type { Clock } from '../../shared/base/interfaces.js';
import { routes } from '../../shared/protocol/device-api.js';
import { sha256 } from '../../shared/base/bytes.js';
import type { KeyRing } from '../../shared/trust/key-ring.js';
import { matchAssignments, type TrustedAssignment } from '../../shared/trust/assignments.js';
import {
  acceptanceRing,
  expiryMs,
  MAX_BYTES,
  releaseRing,
  type Document,
  type MetaFile,
  type Role,
} from '../../shared/trust/documents.js';
import { validityMs } from '../../shared/trust/validity.js';
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

/** A trusted root's expiry plus one more life of a root: no device was off for longer. */
const beyondRoots = (expires: readonly string[]): number =>
  Math.max(...expires.map((text) => expiryMs(text, 'root.json'))) + validityMs.root;

const BELOW_ROOT = ['timestamp', 'snapshot', 'targets'] as const;

export class MetadataClient {
  readonly #options: MetadataClientOptions;
  #director: Repository;
  #image: Repository;
  /** The director targets that the last match succeeded for. */
  #matched: Uint8Array | null = null;
  #underWay: Promise<TrustedAssignment[]> | null = null;

  /** Faults: metadata_* when a provisioned root is not a valid root. */
  constructor(options: MetadataClientOptions) {
    this.#options = options;
    this.#director = new Repository('director', options);
    this.#image = new Repository('image', options);
  }

  /** From disk, offline. Afterwards releaseRing() is the latest that this device has trusted. */
  async load(): Promise<void> {
    await this.#director.load();
    await this.#image.load();
  }

  /**
   * The keys that may sign releases, by the trusted image root. Its expiry does not matter here: an
   * installed release can always be verified offline.
   */
  releaseRing(): KeyRing {
    return releaseRing(this.#image.set.root.signed);
  }

  /** The keys that may sign acceptance sets, by the trusted image root. */
  acceptanceRing(): KeyRing {
    return acceptanceRing(this.#image.set.root.signed);
  }

  /** The present is not before this time; 0 before any metadata is trusted. */
  trustedTimeMs(): number {
    return Math.max(this.#director.timeMs(), this.#image.timeMs());
  }

  /** The highest version of a director document that is trusted; 0: none yet. */
  directorVersion(): number {
    const { timestamp, snapshot, targets } = this.#director.set;
    const versions = [timestamp, snapshot, targets].map((document) => document?.signed.version);
    return Math.min(
      limits.metadataVersionMaxCount,
      Math.max(0, ...versions.map((version) => version ?? 0)),
    );
  }

  /** No server that names this time or a later one tells the present. */
  latestTimeMs(): number {
    const roots = [this.#director.set.root, this.#image.set.root];
    return beyondRoots(roots.map(({ signed }) => signed.expires));
  }

  /**
   * The present assignments of this device, verified in Uptane's order. Calls while one is under
   * way share its result. Faults: metadata_*, root_version, director_*, target_*,
   * hardware_unsupported (refused); those of Fetcher and Disk.
   */
  refresh(): Promise<TrustedAssignment[]> {
    this.#underWay ??= this.#refresh().finally(() => {
      this.#underWay = null;
    });
    return this.#underWay;
  }

  /**
   * The envelope that an assignment names, with the length and SHA-256 that both repositories
   * signed. Faults: file_length, file_digest, those of Fetcher.
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
    // TUF 5.3 comes before the time is fixed: rotating a key that signed a wrong time also removes
    // that time. The image repository is asked this early only when its time alone puts the present
    // this late.
    await this.#director.walkRoots();
    const without = Math.max(this.#options.clock.now(), this.#director.timeMs());
    const early = this.#image.timeMs() > without;
    if (early) await this.#image.walkRoots();
    // TUF 5.1: one time for the whole cycle, so that nothing expires between two checks.
    const now = Math.max(without, this.#image.timeMs());
    // At the first contact nothing is known of the present.
    const latest =
      this.trustedTimeMs() === 0 ? Number.POSITIVE_INFINITY : now + limits.trustedTimeStepMaxMs;
    await this.#director.refresh(now, latest); // Uptane full verification, steps 2 to 5.
    const director = requireCurrent(this.#director.set, now);
    // Step 6: done when the director has nothing new and the image metadata has not expired.
    if (this.#matched !== director.bytes || !this.#image.isCurrent(now)) {
      if (!early) await this.#image.walkRoots();
      await this.#image.refresh(now, latest); // Steps 6 to 9.
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
   * True while the root on disk is unreadable: the documents beside it may be signed by a root that
   * has to be fetched again first.
   */
  #rootTorn = false;
  /** The present as this timestamp tells it, at a moment of the monotonic clock. */
  #told: { document: Document<'timestamp'>; ms: number; at: number } | null = null;
  set: TrustedSet;

  readonly #options: MetadataClientOptions;

  constructor(name: RepositoryName, options: MetadataClientOptions) {
    this.#options = options;
    this.#folder = join(options.folder, name);
    this.#path = name === 'director' ? routes.director : routes.imageMetadata;
    this.set = startTrust(
      name,
      name === 'director' ? options.directorRoot : options.imageRoot,
      name === 'director' ? options.device.id : null,
    );
  }

  async load(): Promise<void> {
    await this.#options.disk.makeFolder(this.#folder);
    const stored = await this.#stored('root');
    if (stored !== null) {
      try {
        const set = startTrust(this.set.repository, stored, this.set.device);
        // A device that was provisioned again may have a later root than its disk.
        if (set.root.signed.version > this.set.root.signed.version) this.set = set;
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        // The provisioned root is used; refresh() walks the chain again from there.
        this.#rootTorn = true;
      }
    }
    await this.#restore();
  }

  /** The present is not before this: the signed time, plus what has elapsed since; 0: unknown. */
  timeMs(): number {
    const { timestamp } = this.set;
    if (timestamp === null) {
      this.#told = null;
      return 0;
    }
    const at = this.#options.clock.monotonic();
    const elapsed = this.#told === null ? 0 : this.#told.ms + (at - this.#told.at);
    if (this.#told?.document === timestamp) return elapsed;
    const known = knownTimeMs(this.set);
    this.#told = { document: timestamp, ms: known === 0 ? 0 : Math.max(known, elapsed), at };
    return this.#told.ms;
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
   * an interrupted refresh keeps what it has verified.
   */
  async refresh(now: number, latest: number): Promise<void> {
    requireFreshRoot(this.set, now);
    await this.#adopt(
      'timestamp',
      withTimestamp(
        this.set,
        await this.#fetch('timestamp.json', MAX_BYTES.timestamp),
        now,
        latest,
      ),
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
      const bytes = await this.#options.fetcher.get(
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
      // Removed before the new root is stored: after a power cut in between, the device fetches
      // again. The other way round, a version signed by a stolen key could block it for ever.
      if (!this.#rootTorn)
        for (const role of BELOW_ROOT)
          if (this.set[role] !== null && next[role] === null) await this.#forget(role);
      await this.#adopt('root', next);
      this.timeMs(); // A time whose document is forgotten is forgotten, too.
    }
    if (this.#rootTorn) {
      this.#rootTorn = false;
      await this.#restore();
    }
  }

  /** Loads from disk what is missing in memory and is still signed by the trusted root. */
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
      await this.#options.disk.replace(join(this.#folder, `${role}.json`), document.bytes);
    this.set = next;
  }

  async #forget(role: Role): Promise<void> {
    await this.#options.disk.remove(join(this.#folder, `${role}.json`));
    await this.#options.disk.syncFolder(this.#folder);
  }

  /** A file that cannot be read counts as missing: everything here can be fetched again. */
  async #stored(role: Role): Promise<Uint8Array | null> {
    try {
      return await this.#options.disk.read(join(this.#folder, `${role}.json`), MAX_BYTES[role]);
    } catch (error) {
      if (isFault(error, 'disk_failed')) return null;
      throw error;
    }
  }

  async #fetch(name: string, max: number): Promise<Uint8Array> {
    const bytes = await this.#options.fetcher.get(this.#path(name), max);
    // Also the case while the source is publishing: worth another try.
    if (bytes === null)
      throw new Fault('fetch_interrupted', `the ${this.set.repository} repository has no ${name}`);
    if (bytes.length > max)
      throw new Fault(
        'metadata_too_large',
        `${name} is ${bytes.length} bytes, the limit is ${max}`,
      );
    return bytes;
  }
}

/** TUF 5.5.1 and 5.6.1: the length that the parent names, if any, and never more than the limit. */
function maxBytes(role: Role, meta: MetaFile): number {
  return Math.min(meta.length ?? MAX_BYTES[role], MAX_BYTES[role]);
}
