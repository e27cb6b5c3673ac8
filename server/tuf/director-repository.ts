// The director repository: for each device, signed on demand, which genuine releases it is
// assigned. It can only select: every target is copied from the image repository's current targets,
// and a device verifies that. Invariants: a document is saved before it is served; version numbers
// only rise, also over restarts and over a restored backup (version-floor.ts); every document names
// its device.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Fault, systemCode } from '../../shared/base/fault-codes.js';
import { targetPath } from '../../shared/release/release-ref.js';
import { complaints } from '../../shared/base/decode.js';
import { RecentMap } from '../../shared/base/recent-map.js';
import type { Clock } from '../../shared/base/interfaces.js';
import { ImageCustom, type DirectorCustom } from '../../shared/protocol/device-api.js';
import { expiryMs, heading, metaOf, signDocument, timeText } from '../../shared/trust/documents.js';
import type { TargetFile, Targets } from '../../shared/trust/documents.js';
import { audienceOf } from '../../shared/trust/device-token.js';
import { startTrust, withRoot, type TrustedSet } from '../../shared/trust/trusted-set.js';
import { limits } from '../../shared/base/limits.js';
import { KeyedMutex } from '../../shared/platform/mutex.js';
import { nextVersion } from '../../shared/trust/version-floor.js';
import { renewalDue, validityMs } from '../../shared/trust/validity.js';
import type {
  Assignment,
  AssignmentStore,
  DirectorDocuments,
  TimestampAnswer,
} from '../interfaces.js';
import type { DirectorKeys } from './online-keys.js';

export interface DirectorOptions {
  readonly store: AssignmentStore;
  readonly keys: DirectorKeys;
  /** The repository folder; the director's roots are metadata/director/N.root.json. */
  readonly folder: string;
  /** The current image targets (ImageRepository.targets). */
  readonly imageTargets: () => Targets;
  readonly clock: Clock;
}

export interface DirectorDevice {
  readonly id: string;
  readonly hardware: string;
}

interface Current {
  readonly documents: DirectorDocuments;
  readonly assignments: readonly Assignment[];
}

const NAME = /^(?:([1-9]\d{0,9})\.(root|snapshot|targets)|timestamp)\.json$/;
/** At the start the roots are read for their keys; none of them names a device. */
const NO_DEVICE = '-';

/** Versions only rise, so that one version of a device's timestamp is one document. */
const tagOf = ({ timestampVersion }: Pick<DirectorDocuments, 'timestampVersion'>): string =>
  `"${timestampVersion}"`;

export class Director {
  readonly #options: DirectorOptions;
  /**
   * The documents of devices that got a timestamp and have not asked for its targets yet: three
   * requests, one reading. What a version says never changes, so another server's newer ones do no
   * harm.
   */
  readonly #answered = new RecentMap<string, DirectorDocuments>(limits.directorAnswersMaxCount);
  /** One signing at a time for each device. */
  readonly #turns = new KeyedMutex();
  readonly #openedAt: number;
  /** Up to the newest root that was read. */
  #trust: TrustedSet;
  readonly #audiences: Set<string>;

  private constructor(options: DirectorOptions, first: TrustedSet) {
    this.#options = options;
    this.#openedAt = options.clock.now();
    this.#trust = first;
    this.#audiences = new Set([audienceOf(first.root)]);
  }

  /**
   * Reads the roots in the folder and checks that they name the keys. Faults: not_found,
   * metadata_*, key_invalid.
   */
  static async open(options: DirectorOptions): Promise<Director> {
    const first = await readRoot(options.folder, 1);
    if (first === null)
      throw new Fault(
        'not_found',
        `${options.folder} has no metadata/director/1.root.json: ` +
          'create a repository with `linnet repo init`',
      );
    const director = new Director(options, startTrust('director', first, NO_DEVICE));
    await director.#readNewRoots();
    const { signed } = director.#trust.root;
    for (const role of ['targets', 'snapshot', 'timestamp'] as const) {
      if (!signed.roles[role].keyids.includes(options.keys[role].keyId)) {
        throw new Fault(
          'key_invalid',
          `director root ${signed.version} does not name the online ${role} key`,
        );
      }
    }
    return director;
  }

  /**
   * Whether a device token of this audience is for this director: a device names the root that it
   * was given, which may be any of the chain, also one that was published after the start.
   */
  async isAudience(audience: string): Promise<boolean> {
    if (!this.#audiences.has(audience)) await this.#readNewRoots();
    return this.#audiences.has(audience);
  }

  /** Calls may run side by side: each trusts what it reads after the newest root of that moment. */
  async #readNewRoots(): Promise<void> {
    for (;;) {
      const { version } = this.#trust.root.signed;
      const next = await readRoot(this.#options.folder, version + 1);
      if (next === null) return;
      if (version !== this.#trust.root.signed.version) continue;
      this.#trust = withRoot(this.#trust, next);
      this.#audiences.add(audienceOf(this.#trust.root));
    }
  }

  /**
   * A metadata file of this device's director repository, by its name; null when there is none
   * (also for a version that has been replaced: the device starts again from the timestamp).
   * Faults: target_unknown, target_mismatch, hardware_unsupported when an assignment does not match
   * what is published: the director never signs what the device must refuse.
   */
  async metadata(device: DirectorDevice, name: string): Promise<Uint8Array | null> {
    const match = NAME.exec(name);
    if (match === null) return null;
    const version = Number(match[1] ?? 0);
    if (match[2] === 'root') return readRoot(this.#options.folder, version);
    // Only a request for the timestamp signs new documents, so that a device finds the snapshot and
    // the targets that belong to its timestamp.
    if (match[2] === undefined) return (await this.timestamp(device, null)).bytes;
    return match[2] === 'snapshot'
      ? this.#document(device.id, 'snapshot', version)
      : this.#document(device.id, 'targets', version);
  }

  async #document(
    device: string,
    role: 'snapshot' | 'targets',
    version: number,
  ): Promise<Uint8Array | null> {
    const found = (documents: DirectorDocuments | null | undefined): Uint8Array | null =>
      documents?.[`${role}Version`] === version ? documents[role] : null;
    const known = found(this.#answered.get(device));
    if (role === 'targets') this.#answered.delete(device);
    return known ?? found(await this.#options.store.directorDocuments(device));
  }

  /** A poll where nothing changed costs one small read. */
  async timestamp(device: DirectorDevice, known: string | null): Promise<TimestampAnswer> {
    if (known !== null) {
      const head = await this.#options.store.directorHead(device.id);
      if (head.signed !== null && this.#isCurrent(head.signed, head.revision)) {
        const tag = tagOf(head.signed);
        if (tag === known) return { tag, bytes: null };
      }
    }
    const { documents, assignments } = await this.#turns.run(device.id, () =>
      this.#current(device),
    );
    this.#answered.set(device.id, documents);
    return { tag: tagOf(documents), bytes: documents.timestamp, assignments };
  }

  #isCurrent(
    signed: Pick<DirectorDocuments, 'revision' | 'expiresAt'>,
    assignmentRevision: number,
  ): boolean {
    return (
      signed.revision === assignmentRevision &&
      !this.#isFromBefore(signed) &&
      !renewalDue(this.#options.clock.now(), signed.expiresAt, validityMs.director)
    );
  }

  async #current(device: DirectorDevice): Promise<Current> {
    const { store } = this.#options;
    for (let tries = 1; tries <= limits.signTriesMaxCount; tries += 1) {
      const { revision, assignments } = await store.assignments(device.id);
      const known = await store.directorDocuments(device.id);
      if (known !== null && this.#isCurrent(known, revision))
        return { documents: known, assignments };
      const documents = await this.#sign(device, revision, assignments, known);
      // False: another server signed meanwhile. No version is ever signed and served twice.
      if (await store.saveDirectorDocuments(device.id, documents, known?.timestampVersion ?? null))
        return { documents, assignments };
    }
    throw new Fault('conflict', `other servers sign for ${device.id} at the same time; ask again`);
  }

  /**
   * Signed before this process began. The database may have been restored since, and devices may
   * have seen later documents than it knows.
   */
  #isFromBefore({ expiresAt }: Pick<DirectorDocuments, 'expiresAt'>): boolean {
    const signedAt = expiresAt - validityMs.director;
    return signedAt < Math.floor(this.#openedAt / 1000) * 1000;
  }

  /**
   * Signs all three: their versions rise together, and a device that sees new targets also reads
   * the image repository again.
   */
  async #sign(
    device: DirectorDevice,
    revision: number,
    assignments: readonly Assignment[],
    known: DirectorDocuments | null,
  ): Promise<DirectorDocuments> {
    const { keys, clock } = this.#options;
    const now = clock.now();
    const expires = now + validityMs.director;
    const ofDevice = { 'x-linnet-device': device.id };
    const targetsVersion = nextVersion(known?.targetsVersion ?? 0, now);
    const snapshotVersion = nextVersion(known?.snapshotVersion ?? 0, now);
    const timestampVersion = nextVersion(known?.timestampVersion ?? 0, now);
    const chosen = Object.fromEntries(
      assignments.map((assignment) => this.#target(device, assignment)),
    );
    const targets = await signDocument(
      { ...heading('targets', targetsVersion, expires), ...ofDevice, targets: chosen },
      [keys.targets],
    );
    const snapshot = await signDocument(
      {
        ...heading('snapshot', snapshotVersion, expires),
        ...ofDevice,
        meta: { 'targets.json': metaOf(targets, targetsVersion) },
      },
      [keys.snapshot],
    );
    const timestamp = await signDocument(
      {
        ...heading('timestamp', timestampVersion, expires),
        ...ofDevice,
        'x-linnet-time': timeText(now),
        meta: { 'snapshot.json': metaOf(snapshot, snapshotVersion) },
      },
      [keys.timestamp],
    );
    return {
      revision,
      targetsVersion,
      snapshotVersion,
      timestampVersion,
      expiresAt: expiryMs(timeText(expires), 'timestamp.json'),
      targets,
      snapshot,
      timestamp,
    };
  }

  #target(device: DirectorDevice, assignment: Assignment): [string, TargetFile] {
    const { release } = assignment;
    if (release === null)
      throw new Fault('internal', `a withdrawn assignment of ${device.id} came out of the store`);
    const path = targetPath(release.component, release.version);
    const images = this.#options.imageTargets();
    const image = Object.hasOwn(images.targets, path) ? images.targets[path] : undefined;
    if (image === undefined)
      throw new Fault('target_unknown', `${device.id} is assigned ${path}, which is not published`);
    if (image.hashes['sha256'] !== release.digest)
      throw new Fault(
        'target_mismatch',
        `${device.id} is assigned ${path} with another digest than the published one`,
      );
    if (
      complaints(ImageCustom, image.custom).length > 0 ||
      !(image.custom as ImageCustom).hardware.includes(device.hardware)
    ) {
      throw new Fault(
        'hardware_unsupported',
        `${device.id} is ${device.hardware}, which ${path} does not list`,
      );
    }
    const custom: DirectorCustom = {
      component: release.component,
      version: release.version,
      hardware: device.hardware,
      rollout: assignment.rollout,
      assignmentId: assignment.assignmentId,
      rollback: assignment.rollback,
      activation: assignment.activation,
      trial: assignment.trial,
    };
    return [path, { length: image.length, hashes: image.hashes, custom }];
  }
}

async function readRoot(folder: string, version: number): Promise<Uint8Array | null> {
  try {
    return new Uint8Array(
      await readFile(join(folder, 'metadata', 'director', `${version}.root.json`)),
    );
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw error;
  }
}
