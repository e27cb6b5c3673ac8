// Issues client certificates to devices, and keeps the revocation list in a file for brokers that
// read one. The list is written whole after each revocation and renewed long before its nextUpdate;
// it follows from the database alone, so a failed write is made good by the next one.
import type { Clock, Log } from '../../shared/base/interfaces.js';
import { utf8 } from '../../shared/base/bytes.js';
import type { WholeFiles } from '../../shared/platform/whole-files.js';
import type { CertificateStore, DeviceCertificates, IssuedCertificate } from '../interfaces.js';
import type { CertificateAuthority } from './authority.js';

export interface CertificateServiceOptions {
  readonly authority: CertificateAuthority;
  readonly store: CertificateStore;
  readonly files: WholeFiles;
  /** Where the revocation list is. */
  readonly listFile: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class CertificateService implements DeviceCertificates {
  readonly #options: CertificateServiceOptions;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: CertificateServiceOptions) {
    this.#options = options;
  }

  get authority(): string {
    return this.#options.authority.id;
  }

  /** Recorded before it is given away: no certificate is unknown to the revocation list. */
  async issue(device: string, request: string): Promise<IssuedCertificate> {
    const { authority, store, clock, log } = this.#options;
    const issued = await authority.issue(request, device, clock.now());
    await store.add(device, issued);
    log.info({ device, serial: issued.serial }, 'a device got a client certificate');
    return issued;
  }

  /** Writes the list as of now; durable on return. Calls take turns. Faults: disk_*. */
  writeList(): Promise<void> {
    const turn = this.#writing.then(async () => {
      const { authority, store, files, listFile, clock } = this.#options;
      const now = clock.now();
      const list = await authority.revocationList(await store.revoked(now), now);
      await files.replace(listFile, utf8(list));
    });
    this.#writing = turn.catch(() => {});
    return turn;
  }

  /** After a revocation. */
  revoked(device: string): void {
    this.writeList().catch((error: unknown) =>
      this.#options.log.error(
        { err: error, device },
        'the revocation list was not written; the next regular write tries again',
      ),
    );
  }

  /** Resolves once nothing is being written. */
  settled(): Promise<void> {
    return this.#writing;
  }
}
