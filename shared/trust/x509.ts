// X.509 by @peculiar/x509 over Node's WebCrypto: client certificates for MQTT brokers. This is the
// one file that loads the library, because it needs `reflect-metadata` loaded before it. All keys
// are P-256: every broker knows them, and a device without cryptographic hardware is fast with
// them.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto);

export { x509 };

export const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

export interface KeyPair {
  readonly keys: webcrypto.CryptoKeyPair;
  /** PKCS #8, PEM. */
  readonly pem: string;
}

export async function newKeyPair(): Promise<KeyPair> {
  const keys = await webcrypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { keys, pem: `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n` };
}

/** A PKCS #10 request for a client certificate with the common name `name`; PEM. */
export async function certificateRequest(name: string, { keys }: KeyPair): Promise<string> {
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [name] }],
    keys,
    signingAlgorithm: P256,
  });
  return request.toString('pem');
}
