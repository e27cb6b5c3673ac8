// Folders of one component: two slots (`a`, `b`), each a whole release as files, and `incoming`,
// where a release is downloaded. Nothing here is trusted: `verify` opens the envelope with the
// release keys and hashes every file, each time a release is about to be used. A slot is laid out
// only while it is the spare one.
import { join } from 'node:path';
import { limits } from '../../shared/base/limits.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { FileEntry, ManifestHead } from '../../shared/release/manifest-head.js';
import type { Disk } from '../interfaces.js';
import type { AnyInstalled, AnyRelease, OpenRelease } from './payload/handler.js';
import type { SlotName } from './record.js';

export const ENVELOPE = 'release.dsse.json';

export class Slots {
  readonly #disk: Disk;
  readonly #folder: string;

  constructor(disk: Disk, folder: string) {
    this.#disk = disk;
    this.#folder = folder;
  }

  slot(name: SlotName): string {
    return join(this.#folder, 'slots', name);
  }

  incoming(digest: string): string {
    return join(this.#folder, 'incoming', digest);
  }

  partial(digest: string, file: FileEntry): string {
    return join(this.incoming(digest), file.sha256);
  }

  /** The acceptance set that is fetched with a release. */
  acceptance(digest: string, setSha256: string): string {
    return join(this.incoming(digest), `${setSha256}.acceptance`);
  }

  /** The component's folders; made at the first start. */
  async make(): Promise<void> {
    for (const name of ['slots', 'incoming']) await this.#disk.makeFolder(join(this.#folder, name));
  }

  async prepare(digest: string): Promise<void> {
    await this.#disk.makeFolder(this.incoming(digest));
  }

  /** Removes what a slot holds; it must not be the active one. */
  async clear(name: SlotName): Promise<void> {
    await this.#disk.remove(this.slot(name));
  }

  /** Removes what was downloaded for every release but `keep`. */
  async tidy(keep: string | null): Promise<void> {
    const root = join(this.#folder, 'incoming');
    for (const name of await this.#disk.list(root))
      if (name !== keep) await this.#disk.remove(join(root, name));
  }

  async envelope(folder: string): Promise<Uint8Array | null> {
    return this.#disk.read(join(folder, ENVELOPE), limits.manifestMaxBytes);
  }

  /**
   * Verifies the release in a slot from disk: signature threshold, then schema, then length and
   * SHA-256 of every file. Faults: signature_invalid, manifest_undecodable, file_digest,
   * file_length (all: do not load), disk_failed.
   */
  async verify(name: SlotName, open: OpenRelease): Promise<AnyInstalled> {
    const folder = this.slot(name);
    const envelope = await this.envelope(folder);
    if (envelope === null) throw new Fault('manifest_undecodable', `slot ${name} holds no release`);
    const release = open(envelope);
    await this.verifyFiles(release.manifest, (file) => join(folder, file.name));
    return { release, folder };
  }

  async verifyFiles(manifest: ManifestHead, pathOf: (file: FileEntry) => string): Promise<void> {
    for (const file of manifest.files) {
      const found = await this.#disk.sha256(pathOf(file));
      if (found === null) throw new Fault('file_length', `${file.name} is missing`);
      if (found.length !== file.length)
        throw new Fault(
          'file_length',
          `${file.name} has ${found.length} bytes, its manifest says ${file.length}`,
        );
      if (found.sha256 !== file.sha256)
        throw new Fault(
          'file_digest',
          `${file.name} has SHA-256 ${found.sha256.slice(0, 16)}..., ` +
            `its manifest says ${file.sha256.slice(0, 16)}...`,
        );
    }
  }

  /** Where the encoded bytes of a file are kept until they are decoded. */
  encoded(digest: string, encodedSha256: string): string {
    return join(this.incoming(digest), `${encodedSha256}.encoded`);
  }

  /**
   * Lays a downloaded release out in the spare slot, durable on return. May be cut anywhere and run
   * again.
   */
  async layOut({ digest, manifest }: AnyRelease, name: SlotName): Promise<void> {
    const folder = this.slot(name);
    await this.#disk.remove(folder);
    await this.#disk.makeFolder(folder);
    for (const file of manifest.files)
      await this.#disk.link(this.partial(digest, file), join(folder, file.name));
    await this.#disk.link(join(this.incoming(digest), ENVELOPE), join(folder, ENVELOPE));
    await this.#disk.syncFolder(folder);
  }
}
