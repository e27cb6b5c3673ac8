// The image repository's tree: what people signed offline (roots, targets, releases), and the
// snapshot and timestamp that the server signs over it with its online keys. Promises: nothing
// becomes current that a trusting client would refuse (the same checks run here first); published
// releases never change; a crash at any point leaves the previous timestamp, and so the previous
// snapshot and targets, valid; publishing the same release again changes nothing. The files of
// releases are in the artifact store.
//
// Layout of `folder`, as `linnet repo init` creates it:
// metadata/image/{N.root,N.targets,N.snapshot,timestamp}.json,
// targets/<component>/<version>/<sha256>.release.dsse.json.
// Over 400 lines because what becomes current is decided in one place.
import { join } from 'node:path';
import { Fault } from '../../shared/base/fault-codes.js';
import { openAcceptanceSet, type AcceptanceSet } from '../../shared/release/acceptance-set.js';
import { openRelease, type Release } from '../../shared/release/manifest.js';
import { Component, Version, type FileEntry } from '../../shared/release/manifest-head.js';
import { complaints } from '../../shared/base/decode.js';
import type { Clock, Log, Random } from '../../shared/base/interfaces.js';
import type { RepositoryView } from '../../shared/protocol/operator-api.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import type { ArtifactStore, ImageRepositoryService, ReleaseProvenance } from '../interfaces.js';
import {
  acceptanceOf,
  acceptanceRing,
  decodeDocument,
  expiryMs,
  heading,
  metaOf,
  releaseRing,
  requireThreshold,
  roleRing,
  signDocument,
  timeText,
} from '../../shared/trust/documents.js';
import type { Document, Targets } from '../../shared/trust/documents.js';
import { signaturesOf } from '../../shared/trust/envelope.js';
import { startTrust, withRoot } from '../../shared/trust/trusted-set.js';
import { nextVersion } from '../../shared/trust/version-floor.js';
import { renewalDue, targetsWarningMs, validityMs } from '../../shared/trust/validity.js';
import { streamDigest } from '../../shared/platform/hashing.js';
import { Mutex } from '../../shared/platform/mutex.js';
import { WholeFiles } from '../../shared/platform/whole-files.js';
import type { ImageKeys } from './online-keys.js';
import { admitPublication } from './publication.js';

export interface ImageRepositoryOptions {
  readonly folder: string;
  /** The files of all releases. */
  readonly artifacts: ArtifactStore;
  readonly keys: ImageKeys;
  /** Other servers publish into the folder as well. */
  readonly isShared?: boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: Random;
}

/** The documents that the timestamp makes current. */
interface Current {
  readonly targets: Document<'targets'>;
  readonly snapshot: Document<'snapshot'>;
  readonly timestamp: Document<'timestamp'>;
}

const METADATA_NAME = /^([1-9]\d{0,9}\.(root|targets|snapshot)|timestamp)\.json$/;
const ENVELOPE_NAME = /^([0-9a-f]{64})\.release\.dsse\.json$/;

export class ImageRepository implements ImageRepositoryService {
  readonly #options: ImageRepositoryOptions;
  readonly #files: WholeFiles;
  readonly #metadata: string;
  #root: Document<'root'>;
  #current: Current | null = null;
  readonly #acceptances = new Map<string, NonNullable<ReleaseProvenance['acceptance']>>();
  /** One change at a time. */
  readonly #turns = new Mutex();

  private constructor(options: ImageRepositoryOptions, root: Document<'root'>) {
    this.#options = options;
    this.#files = new WholeFiles(options.random);
    this.#metadata = join(options.folder, 'metadata', 'image');
    this.#root = root;
  }

  /**
   * Faults: metadata_* (the tree is damaged), key_invalid (the online keys are not those that
   * root.json names), not_found.
   */
  static async open(options: ImageRepositoryOptions): Promise<ImageRepository> {
    const files = new WholeFiles(options.random);
    const root = await readRoots(files, join(options.folder, 'metadata', 'image'));
    for (const role of ['snapshot', 'timestamp'] as const) {
      if (!root.signed.roles[role].keyids.includes(options.keys[role].keyId)) {
        throw new Fault(
          'key_invalid',
          `image root ${root.signed.version} does not name the online ${role} key ` +
            options.keys[role].keyId.slice(0, 16),
        );
      }
    }
    const repository = new ImageRepository(options, root);
    await repository.#begin();
    return repository;
  }

  /**
   * A metadata file by its name in the tree; null when there is none, or when it has never been
   * current.
   */
  async metadata(name: string): Promise<Uint8Array | null> {
    const match = METADATA_NAME.exec(name);
    if (match === null) return null;
    if (name === 'timestamp.json') {
      await this.reread();
      return this.#now().timestamp.bytes;
    }
    // A crash may have left documents with higher versions; they are not part of the repository.
    const version = Number.parseInt(name, 10);
    const { targets, snapshot } = this.#now();
    if (match[2] === 'targets' && version > targets.signed.version) return null;
    if (match[2] === 'snapshot' && version > snapshot.signed.version) return null;
    return this.#files.read(join(this.#metadata, name));
  }

  /** A release's envelope; `fileName` is `<sha256>.release.dsse.json`. Null when there is none. */
  async targetFile(
    component: string,
    version: string,
    fileName: string,
  ): Promise<Uint8Array | null> {
    if (
      complaints(Component, component).length > 0 ||
      complaints(Version, version).length > 0 ||
      !ENVELOPE_NAME.test(fileName)
    )
      return null;
    return this.#files.read(join(this.#options.folder, 'targets', component, version, fileName));
  }

  /**
   * Publishes a release: `envelope` and `targets` are the exact bytes that were signed offline.
   * Faults: signature_invalid, manifest_undecodable, metadata_*, target_mismatch, conflict
   * (versions, immutable releases, files not uploaded), file_length, file_digest.
   */
  publish(envelope: Uint8Array, targets: Uint8Array): Promise<Release> {
    return this.#turns.run(async () => {
      await this.reread();
      const release = openRelease(envelope, releaseRing(this.#root.signed));
      const document = decodeDocument('targets', targets);
      requireThreshold(
        document,
        roleRing(this.#root.signed, 'targets'),
        `image root ${this.#root.signed.version}`,
      );
      const now = this.#options.clock.now();
      const current = this.#now();
      const verdict = admitPublication({
        release,
        envelope,
        next: document,
        current: current.targets,
        nowMs: now,
      });
      await this.#requireFiles(release);
      await this.#requireAcceptance(release.component, document.signed);
      // Also for a release that is published already: publishing it again restores an envelope that
      // the disk has lost.
      const folder = join(this.#options.folder, 'targets', release.component, release.version);
      await this.#files.replace(join(folder, `${release.digest}.release.dsse.json`), envelope);
      if (verdict === 'already') return release;
      await this.#files.replace(
        join(this.#metadata, `${document.signed.version}.targets.json`),
        targets,
      );
      await this.#signAfter(current, document);
      this.#options.log.info(
        {
          component: release.component,
          version: release.version,
          digest: release.digest,
          targets: document.signed.version,
        },
        'release published',
      );
      return release;
    });
  }

  /**
   * Signs snapshot and timestamp again after half of their lifetime; cheap when nothing is due.
   * Call it about every hour.
   */
  renew(): Promise<void> {
    return this.#turns.run(async () => {
      await this.reread();
      const now = this.#options.clock.now();
      const { targets, snapshot, timestamp } = this.#now();
      const left = expiryMs(targets.signed.expires, 'targets.json') - now;
      if (left < targetsWarningMs) {
        this.#options.log.warn(
          { version: targets.signed.version, expires: targets.signed.expires },
          'the offline targets role expires soon: publish a release to renew it',
        );
      }
      const snapshotDue = renewalDue(
        now,
        expiryMs(snapshot.signed.expires, 'snapshot.json'),
        validityMs.imageSnapshot,
      );
      if (snapshotDue) await this.#signAfter(this.#now(), targets);
      else if (
        renewalDue(
          now,
          expiryMs(timestamp.signed.expires, 'timestamp.json'),
          validityMs.imageTimestamp,
        )
      ) {
        await this.#stamp(targets, snapshot, nextVersion(timestamp.signed.version, now));
      }
    });
  }

  async view(): Promise<RepositoryView> {
    const { targets, snapshot } = this.#now();
    const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
    let files = 0;
    for await (const _artifact of this.#options.artifacts.list()) files += 1;
    return {
      root: base64(this.#root.bytes),
      targets: base64(targets.bytes),
      snapshotVersion: snapshot.signed.version,
      files,
    };
  }

  async provenance({ component, version, digest }: ReleaseRef): Promise<ReleaseProvenance> {
    const ring = releaseRing(this.#root.signed);
    const envelope = await this.targetFile(component, version, `${digest}.release.dsse.json`);
    return {
      signatures: envelope === null ? [] : signaturesOf(envelope, ring),
      signersNeeded: ring.threshold,
      acceptance: await this.#acceptance(component),
    };
  }

  /** The current image targets, for the director. */
  targets(): Targets {
    return this.#now().targets.signed;
  }

  /** When devices refuse what they would get now. */
  expiries(): { role: 'root' | 'targets' | 'snapshot' | 'timestamp'; at: number }[] {
    const { targets, snapshot, timestamp } = this.#now();
    return [this.#root, targets, snapshot, timestamp].map(({ signed }) => ({
      role: signed._type,
      at: expiryMs(signed.expires, `${signed._type}.json`),
    }));
  }

  #now(): Current {
    if (this.#current === null) throw new Fault('internal', 'the image repository is not open');
    return this.#current;
  }

  async #begin(): Promise<void> {
    await this.#files.removeLeftovers(this.#metadata);
    const stamped = await this.#files.read(join(this.#metadata, 'timestamp.json'));
    if (stamped === null) {
      await this.#sign(await this.#document('targets', 1), 1, 1);
      return;
    }
    this.#current = await this.#load(stamped);
    // Signed anew at every start: the folder may have been restored from a backup, and devices may
    // have seen later versions than it holds.
    await this.#signAfter(this.#current, this.#current.targets);
    await this.renew();
  }

  /**
   * Takes over what another server has published or signed: a device that read it there must not
   * find something older here.
   */
  async reread(): Promise<void> {
    if (this.#options.isShared !== true) return;
    const stamped = await this.#files.read(join(this.#metadata, 'timestamp.json'));
    if (stamped === null || this.#isCurrent(stamped)) return;
    const next = await this.#load(stamped);
    // Not when this server signed meanwhile.
    if (!this.#isCurrent(stamped)) this.#current = next;
  }

  /** Whether this timestamp, or a later one, is current here. */
  #isCurrent(stamped: Uint8Array): boolean {
    const { version } = decodeDocument('timestamp', stamped).signed;
    return version <= this.#now().timestamp.signed.version;
  }

  /** The documents that a timestamp makes current. */
  async #load(stamped: Uint8Array): Promise<Current> {
    const timestamp = decodeDocument('timestamp', stamped);
    const snapshot = await this.#document(
      'snapshot',
      timestamp.signed.meta['snapshot.json'].version,
    );
    const targetsVersion = snapshot.signed.meta['targets.json']?.version;
    if (targetsVersion === undefined)
      throw new Fault(
        'metadata_undecodable',
        `image snapshot ${snapshot.signed.version} does not list targets.json`,
      );
    const targets = await this.#document('targets', targetsVersion);
    return { targets, snapshot, timestamp };
  }

  #signAfter({ snapshot, timestamp }: Current, targets: Document<'targets'>): Promise<void> {
    const now = this.#options.clock.now();
    return this.#sign(
      targets,
      nextVersion(snapshot.signed.version, now),
      nextVersion(timestamp.signed.version, now),
    );
  }

  async #document<R extends 'targets' | 'snapshot'>(
    role: R,
    version: number,
  ): Promise<Document<R>> {
    const path = join(this.#metadata, `${version}.${role}.json`);
    const bytes = await this.#files.read(path);
    if (bytes === null)
      throw new Fault(
        'not_found',
        `${path} is missing: create a repository with \`linnet repo init\`, or restore it`,
      );
    const document = decodeDocument(role, bytes);
    requireThreshold(
      document,
      roleRing(this.#root.signed, role),
      `image root ${this.#root.signed.version}`,
    );
    return document;
  }

  /** A new snapshot over `targets`, then the timestamp over it. */
  async #sign(
    targets: Document<'targets'>,
    snapshotVersion: number,
    timestampVersion: number,
  ): Promise<void> {
    const bytes = await signDocument(
      {
        ...heading(
          'snapshot',
          snapshotVersion,
          this.#options.clock.now() + validityMs.imageSnapshot,
        ),
        meta: { 'targets.json': metaOf(targets.bytes, targets.signed.version) },
      },
      [this.#options.keys.snapshot],
    );
    await this.#files.replace(join(this.#metadata, `${snapshotVersion}.snapshot.json`), bytes);
    await this.#stamp(targets, decodeDocument('snapshot', bytes), timestampVersion);
  }

  /** This one replacement makes everything that was written before it current. */
  async #stamp(
    targets: Document<'targets'>,
    snapshot: Document<'snapshot'>,
    version: number,
  ): Promise<void> {
    const now = this.#options.clock.now();
    const bytes = await signDocument(
      {
        ...heading('timestamp', version, now + validityMs.imageTimestamp),
        'x-linnet-time': timeText(now),
        meta: { 'snapshot.json': metaOf(snapshot.bytes, snapshot.signed.version) },
      },
      [this.#options.keys.timestamp],
    );
    await this.#files.replace(join(this.#metadata, 'timestamp.json'), bytes);
    this.#current = { targets, snapshot, timestamp: decodeDocument('timestamp', bytes) };
  }

  async #requireFiles(release: Release): Promise<void> {
    for (const file of release.manifest.files) await this.#requireFile(file);
  }

  /** A set that devices could not open would keep every release from them. */
  async #requireAcceptance(component: string, targets: Targets): Promise<void> {
    const named = acceptanceOf(targets, component);
    if (named === null) return;
    await this.#requireFile({ name: `the acceptance set of ${component}`, ...named });
    const set = await this.#acceptanceSet(named.sha256);
    if (set.component !== component)
      throw new Fault('target_mismatch', `${component} has the acceptance set of ${set.component}`);
  }

  async #acceptanceSet(digest: string): Promise<AcceptanceSet> {
    const artifact = await this.#options.artifacts.get(digest);
    const chunks: Uint8Array[] = [];
    for await (const chunk of artifact?.stream ?? []) chunks.push(chunk as Uint8Array);
    return openAcceptanceSet(Buffer.concat(chunks), acceptanceRing(this.#root.signed));
  }

  /** Kept for each component, because a set may have many megabytes; a new set replaces it. */
  async #acceptance(component: string): Promise<ReleaseProvenance['acceptance']> {
    const named = acceptanceOf(this.targets(), component);
    if (named === null) return null;
    const { sha256 } = named;
    const kept = this.#acceptances.get(component);
    if (kept?.sha256 === sha256) return kept;
    const { metric, least, samples } = await this.#acceptanceSet(sha256);
    const found = { sha256, metric, least, inputs: samples.length };
    this.#acceptances.set(component, found);
    return found;
  }

  async #requireFile({
    name,
    sha256,
    length,
  }: Pick<FileEntry, 'name' | 'sha256' | 'length'>): Promise<void> {
    const { artifacts } = this.#options;
    const artifact = await artifacts.get(sha256);
    if (artifact === null)
      throw new Fault(
        'conflict',
        `${name} (${sha256}) was not uploaded: PUT /files/{sha256} first`,
      );
    const found = await streamDigest(artifact.stream as AsyncIterable<Uint8Array>);
    const isDamaged = found.sha256 !== sha256;
    // Otherwise the damaged bytes would stay, and an upload would not replace them.
    if (isDamaged) await artifacts.delete(sha256);
    const todo = isDamaged ? '; it was damaged on the server and removed: upload it again' : '';
    if (artifact.lengthBytes !== length)
      throw new Fault(
        'file_length',
        `${name} has ${artifact.lengthBytes} bytes on the server, ` +
          `its manifest says ${length}${todo}`,
      );
    if (isDamaged)
      throw new Fault('file_digest', `${name} (${sha256}) has another digest on the server${todo}`);
  }
}

/** The last root of the chain from 1.root.json, each verified with the one before. */
async function readRoots(files: WholeFiles, folder: string): Promise<Document<'root'>> {
  const first = await files.read(join(folder, '1.root.json'));
  if (first === null)
    throw new Fault(
      'not_found',
      `${join(folder, '1.root.json')} is missing: create a repository with \`linnet repo init\``,
    );
  let set = startTrust('image', first);
  for (;;) {
    const next = await files.read(join(folder, `${set.root.signed.version + 1}.root.json`));
    if (next === null) return set.root;
    set = withRoot(set, next);
  }
}
