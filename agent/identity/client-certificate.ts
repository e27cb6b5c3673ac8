// The client certificate by which a broker knows this device. The key is made here and never leaves
// the device; the server issues the certificate to a request that this device's token
// authenticates. Key and certificate are one file, so that they always belong together. The
// certificate is renewed at two thirds of its life; until that succeeds, the old one is used.
import { join } from 'node:path';
import { Type, type Static } from 'typebox';
import { utf8 } from '../../shared/base/bytes.js';
import { Hex32 } from '../../shared/base/hex-schemas.js';
import { decode, decodeJson } from '../../shared/base/decode.js';
import { isFault, reason } from '../../shared/base/fault-codes.js';
import { backoff, type Clock, type Log, type Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { CertificateAnswer, routes } from '../../shared/protocol/device-api.js';
import type { Disk, Fetcher } from '../interfaces.js';

const Stored = Type.Object(
  {
    format: Type.Literal('linnet.client-certificate/1'),
    /** SHA-256 of the certificate of the CA that issued it. */
    authority: Hex32,
    certificate: Type.String(),
    key: Type.String(),
    renewAt: Type.Integer(),
  },
  { additionalProperties: false },
);
type Stored = Static<typeof Stored>;

export interface ClientCertificateOptions {
  readonly device: string;
  readonly disk: Disk;
  readonly dataDir: string;
  readonly fetcher: Fetcher;
  /** The time that the server goes by. */
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class ClientCertificate {
  readonly #options: ClientCertificateOptions;
  readonly #path: string;
  #stored: Stored | null = null;
  #tries = 0;

  constructor(options: ClientCertificateOptions) {
    this.#options = options;
    this.#path = join(options.dataDir, 'client-certificate.json');
  }

  /** PEM; null when there is none yet. */
  current(): { cert: string; key: string } | null {
    return this.#stored && { cert: this.#stored.certificate, key: this.#stored.key };
  }

  /** Reads what is on the disk. A file that cannot be read is replaced by the next renewal. */
  async load(authority: string): Promise<void> {
    try {
      const bytes = await this.#options.disk.read(this.#path, limits.certificateFileMaxBytes);
      if (bytes === null) return;
      const stored = decodeJson(Stored, bytes, 'the client certificate', 'key_invalid');
      if (stored.authority === authority) this.#stored = stored;
    } catch (error) {
      if (!isFault(error)) throw error;
      this.#options.log.warn({ err: reason(error) }, 'the client certificate is made anew');
    }
  }

  /**
   * Renews the certificate when it is due. Resolves with when to call again; never rejects for a
   * Fault.
   */
  async renew(authority: string): Promise<number> {
    const { clock, random, log } = this.#options;
    const dueMs = (this.#stored?.renewAt ?? 0) - clock.now();
    if (this.#stored !== null && dueMs > 0) return Math.min(dueMs, limits.certificateCheckMs);
    try {
      const stored = await this.#request(authority);
      await this.#options.disk.replace(this.#path, utf8(`${JSON.stringify(stored)}\n`));
      this.#stored = stored;
      this.#tries = 0;
      log.info({ renewAt: stored.renewAt }, 'this device has a new client certificate');
      return limits.certificateCheckMs;
    } catch (error) {
      if (!isFault(error)) throw error;
      this.#tries += 1;
      log.warn({ err: reason(error) }, 'no client certificate yet; will retry');
      return backoff(
        this.#tries,
        limits.certificateBackoffFirstMs,
        limits.certificateCheckMs,
        random,
      );
    }
  }

  async #request(authority: string): Promise<Stored> {
    const { device, fetcher, random } = this.#options;
    // Loaded at need: most starts of an agent make no certificate.
    const { certificateRequest, newKeyPair } = await import('../../shared/trust/x509.js');
    const pair = await newKeyPair();
    const body = { request: await certificateRequest(device, pair) };
    const answer = decode(
      CertificateAnswer,
      await fetcher.post(routes.certificate, body, limits.certificateAnswerMaxBytes),
      'client certificate',
    );
    // Spread by a tenth of its life, so that devices that enrolled together do not renew together.
    const lifeMs = answer.expiresAt - answer.issuedAt;
    const renewAt = Math.round(answer.issuedAt + lifeMs * (2 / 3 - random.fraction() / 10));
    return {
      format: 'linnet.client-certificate/1',
      authority,
      certificate: answer.certificate,
      key: pair.pem,
      renewAt,
    };
  }
}
