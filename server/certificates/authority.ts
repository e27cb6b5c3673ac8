// The certificate authority for devices: it issues the client certificates by which an MQTT broker
// knows a device, and signs the list of revoked ones. Its key is P-256; `linnet server init` makes
// it, or the operator brings one (authority-files.ts). It trusts no request: the caller has
// authenticated the device, the request must prove that the device holds the new key, and nothing
// but that key is taken from it.
import { X509Certificate, createPrivateKey, webcrypto, type KeyObject } from 'node:crypto';
import { hex, sha256 } from '../../shared/base/bytes.js';
import { Fault, reason } from '../../shared/base/fault-codes.js';
import type { Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { newKeyPair, P256, x509 } from '../../shared/trust/x509.js';
import type { ClientIdentity, DeviceAuthority, IssuedCertificate } from '../interfaces.js';

export interface AuthorityFiles {
  /** PEM; of several certificates the first is the issuer, the others its chain. */
  readonly certificate: string;
  /** PKCS #8 or SEC 1, PEM. */
  readonly key: string;
}

/** A new self-signed authority. Without a passphrase its key is not encrypted. */
export async function newAuthority(
  random: Random,
  nowMs: number,
  passphrase: string | null,
): Promise<AuthorityFiles> {
  const { keys, pem } = await newKeyPair();
  const { BasicConstraintsExtension, KeyUsagesExtension, KeyUsageFlags } = x509;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(random),
    name: [{ CN: ['Linnet device CA'] }],
    notBefore: new Date(nowMs - limits.certificateSkewMs),
    notAfter: new Date(nowMs + limits.authorityLifeMs),
    signingAlgorithm: P256,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const plain = { type: 'pkcs8', format: 'pem' } as const;
  const sealed = passphrase === null ? {} : { cipher: 'aes-256-cbc', passphrase };
  return {
    certificate: `${certificate.toString('pem')}\n`,
    key: createPrivateKey(pem)
      .export({ ...plain, ...sealed })
      .toString(),
  };
}

export interface AuthorityOptions {
  readonly random: Random;
  readonly nowMs: number;
  readonly passphrase: string | null;
  readonly what: string;
  /** Where brokers fetch the list of revoked certificates; then each certificate names it. */
  readonly listUrl?: string | undefined;
}

/**
 * The issuing distribution point of RFC 5280, section 5.2.5, critical: the list is of certificates
 * that are no CAs (DER: `[1] TRUE`). A broker that fetches the list (EMQX) takes none without it.
 */
const listScope = (): x509.Extension =>
  new x509.Extension('2.5.29.28', true, Uint8Array.of(0x30, 0x03, 0x81, 0x01, 0xff));

/** Of extended key usage: TLS clients. */
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

export class CertificateAuthority implements DeviceAuthority {
  /** SHA-256 of the issuer's certificate. */
  readonly id: string;
  /** PEM: the issuer and its chain. */
  readonly certificate: string;
  /**
   * Name of the server's group of shared subscriptions. It is derived from the key, so that a
   * device
   * cannot join the group and take messages out of it.
   */
  readonly sharedGroup: string;
  readonly #issuer: x509.X509Certificate;
  /** The same as Node reads it. */
  readonly #own: X509Certificate;
  readonly #key: webcrypto.CryptoKey;
  readonly #random: Random;
  readonly #listUrl: string | undefined;

  private constructor(
    { certificate, key }: { certificate: string; key: KeyObject },
    signingKey: webcrypto.CryptoKey,
    { random, listUrl }: AuthorityOptions,
  ) {
    this.certificate = certificate;
    this.#issuer = new x509.X509Certificate(certificate);
    this.#own = new X509Certificate(certificate);
    this.id = sha256(new Uint8Array(this.#issuer.rawData));
    const secret = key.export({ type: 'pkcs8', format: 'der' });
    const named = sha256(Buffer.concat([Buffer.from('shared-group\n'), secret]));
    this.sharedGroup = `linnet-${named.slice(0, 32)}`;
    this.#key = signingKey;
    this.#random = random;
    this.#listUrl = listUrl;
  }

  /** Fault key_invalid, with what is wrong. `what` names the key file. */
  static async open(
    files: AuthorityFiles,
    options: AuthorityOptions,
  ): Promise<CertificateAuthority> {
    const { nowMs, passphrase, what } = options;
    const key = readKey(files.key, passphrase, what);
    const complaint = authorityComplaint(files.certificate, key, nowMs);
    if (complaint !== null) throw new Fault('key_invalid', `${what}: ${complaint}`);
    const signingKey = await webcrypto.subtle.importKey(
      'pkcs8',
      key.export({ type: 'pkcs8', format: 'der' }),
      P256,
      false,
      ['sign'],
    );
    return new CertificateAuthority({ certificate: files.certificate, key }, signingKey, options);
  }

  /** A client certificate for `device`. Faults: certificate_request_invalid. */
  async issue(request: string, device: string, nowMs: number): Promise<IssuedCertificate> {
    const publicKey = await keyOfRequest(request, device);
    const endMs = nowMs + limits.deviceCertificateLifeMs;
    return this.#certificate(device, publicKey, nowMs, endMs);
  }

  /**
   * Checked here and not by OpenSSL's chain, because the CA of an operator may be one whose own
   * issuer is unknown, which Node 20 does not let a TLS server trust. Whether the peer holds the
   * key was checked in the handshake.
   */
  nameOf(certificate: X509Certificate, nowMs: number): string | null {
    const { validFrom, validTo, ca } = certificate;
    // Undefined, whatever its type says, in a certificate that names no usage.
    const usage = certificate.keyUsage as string[] | undefined;
    const isOurs = certificate.checkIssued(this.#own) && certificate.verify(this.#own.publicKey);
    const isCurrent = Date.parse(validFrom) <= nowMs && nowMs < Date.parse(validTo);
    if (!isOurs || !isCurrent || ca || usage?.includes(CLIENT_AUTH) !== true) return null;
    const { CN: name } = certificate.toLegacyObject().subject;
    return typeof name === 'string' ? name : null;
  }

  /** A new key and certificate by which the server itself logs in at a broker. */
  async clientIdentity(name: string, nowMs: number): Promise<ClientIdentity> {
    const { keys, pem } = await newKeyPair();
    const { pem: cert } = await this.#certificate(name, keys.publicKey, nowMs, Infinity);
    return { name, key: pem, cert };
  }

  /** The list of revoked certificates, PEM, valid for limits.revocationListLifeMs. */
  async revocationList(serials: readonly string[], nowMs: number): Promise<string> {
    const list = await x509.X509CrlGenerator.create({
      issuer: this.#issuer.subjectName,
      thisUpdate: new Date(nowMs - limits.certificateSkewMs),
      nextUpdate: new Date(nowMs + limits.revocationListLifeMs),
      signingAlgorithm: P256,
      signingKey: this.#key,
      entries: serials.map((serialNumber) => ({ serialNumber, revocationDate: new Date(nowMs) })),
      extensions: [
        await x509.AuthorityKeyIdentifierExtension.create(this.#issuer.publicKey),
        ...(this.#listUrl === undefined ? [] : [listScope()]),
      ],
    });
    // OpenSSL reads this label only; the library writes another one.
    return `${x509.PemConverter.encode(list.rawData, 'X509 CRL')}\n`;
  }

  async #certificate(
    name: string,
    publicKey: x509.PublicKey | webcrypto.CryptoKey,
    nowMs: number,
    endMs: number,
  ): Promise<IssuedCertificate> {
    const serial = newSerial(this.#random);
    const expiresAt = Math.min(endMs, this.#issuer.notAfter.getTime());
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial,
      subject: [{ CN: [name] }],
      issuer: this.#issuer.subjectName,
      // In the past, so that a broker whose clock is late accepts it.
      notBefore: new Date(nowMs - limits.certificateSkewMs),
      notAfter: new Date(expiresAt),
      signingAlgorithm: P256,
      publicKey,
      signingKey: this.#key,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth], true),
        await x509.AuthorityKeyIdentifierExtension.create(this.#issuer.publicKey),
        ...(this.#listUrl === undefined
          ? []
          : [new x509.CRLDistributionPointsExtension([this.#listUrl])]),
      ],
    });
    return { pem: `${certificate.toString('pem')}\n`, serial, issuedAt: nowMs, expiresAt };
  }
}

function readKey(pem: string, passphrase: string | null, what: string): KeyObject {
  try {
    return createPrivateKey({ key: pem, ...(passphrase === null ? {} : { passphrase }) });
  } catch (error) {
    const advice = 'it must be a PEM key; when encrypted, by LINNET_KEY_PASSPHRASE';
    throw new Fault('key_invalid', `${what}: ${reason(error)}: ${advice}`, { cause: error });
  }
}

/** What is wrong with this certificate as the issuer that `key` signs for; null when nothing is. */
function authorityComplaint(pem: string, key: KeyObject, nowMs: number): string | null {
  let certificate;
  try {
    certificate = new X509Certificate(pem);
  } catch (error) {
    return `the certificate cannot be read: ${reason(error)}`;
  }
  if (key.asymmetricKeyDetails?.namedCurve !== 'prime256v1')
    return 'the key of the device CA must be P-256';
  if (!certificate.checkPrivateKey(key)) return 'the key is not that of the certificate';
  if (!certificate.ca) return 'the certificate is not that of a CA (basicConstraints)';
  if (nowMs >= Date.parse(certificate.validTo)) return `the CA expired: ${certificate.validTo}`;
  return null;
}

/** The key that a request is for, once the request has proved that its sender holds it. */
async function keyOfRequest(pem: string, device: string): Promise<x509.PublicKey> {
  const refused = (detail: string, cause?: unknown): Fault =>
    new Fault('certificate_request_invalid', detail, { cause });
  if (pem.length > limits.certificateRequestMaxChars)
    throw refused(`the request is longer than ${limits.certificateRequestMaxChars} characters`);
  let request;
  let names;
  try {
    request = new x509.Pkcs10CertificateRequest(pem);
    names = request.subjectName.toJSON();
  } catch (error) {
    throw refused(`the request cannot be decoded: ${reason(error)}`, error);
  }
  const [name, ...more] = names;
  const parts = Object.entries(name ?? {});
  const [common] = name?.['CN'] ?? [];
  if (more.length > 0 || parts.length !== 1 || parts[0]?.[1].length !== 1 || common !== device)
    throw refused(`the subject must be CN=${device} and nothing more`);
  const { algorithm } = request.publicKey as { algorithm: { name: string; namedCurve?: string } };
  if (algorithm.name !== P256.name || algorithm.namedCurve !== P256.namedCurve)
    throw refused('the key must be P-256');
  const isProven = await request.verify().catch(() => false);
  if (!isProven) throw refused('the request is not signed by the key that it names');
  return request.publicKey;
}

/** 127 random bits, positive and never zero. */
function newSerial(random: Random): string {
  const bytes = random.bytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return hex(bytes);
}
