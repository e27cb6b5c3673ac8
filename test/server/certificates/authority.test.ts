// The device CA: what it issues, as OpenSSL (node:crypto) reads it, and requests that it refuses.
import { X509Certificate, createPrivateKey, webcrypto } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CertificateAuthority, newAuthority } from '../../../server/certificates/authority.js';
import { makeAuthority, openAuthority } from '../../../server/certificates/authority-files.js';
import { limits } from '../../../shared/base/limits.js';
import { realClock, realRandom as random } from '../../../shared/platform/clock.js';
import { certificateRequest, newKeyPair, P256, x509 } from '../../../shared/trust/x509.js';
import { deviceGet, enrolled, newDevice, post, startFleet } from '../../support/fleet-server.js';
import { DEVICE_SCHEME } from '../../../shared/protocol/device-api.js';

const DEVICE = `dev-${'ab'.repeat(10)}`;
const NOW = Date.parse('2026-06-01T00:00:00Z');
const open = async (): Promise<CertificateAuthority> => {
  const files = await newAuthority(random, NOW, null);
  return CertificateAuthority.open(files, { random, nowMs: NOW, passphrase: null, what: 'key' });
};

describe('a certificate', () => {
  test('names_the_device_is_for_clients_only_and_is_bounded_in_time', async () => {
    const authority = await open();
    const request = await certificateRequest(DEVICE, await newKeyPair());
    const issued = await authority.issue(request, DEVICE, NOW);
    const certificate = new X509Certificate(issued.pem);
    const issuer = new X509Certificate(authority.certificate);
    expect(certificate.subject).toBe(`CN=${DEVICE}`);
    expect(certificate.ca).toBe(false);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.2']);
    expect(certificate.verify(issuer.publicKey)).toBe(true);
    expect(certificate.checkIssued(issuer)).toBe(true);
    expect(certificate.serialNumber.toLowerCase()).toBe(issued.serial);
    expect(Date.parse(certificate.validFrom)).toBe(NOW - limits.certificateSkewMs);
    expect(Date.parse(certificate.validTo)).toBe(NOW + limits.deviceCertificateLifeMs);
  });

  test('is_a_name_while_it_is_valid_and_by_its_own_authority_only', async () => {
    const authority = await open();
    const request = await certificateRequest(DEVICE, await newKeyPair());
    const issued = await authority.issue(request, DEVICE, NOW);
    const certificate = new X509Certificate(issued.pem);
    expect(authority.nameOf(certificate, NOW)).toBe(DEVICE);
    expect(authority.nameOf(certificate, NOW - limits.certificateSkewMs - 1000)).toBeNull();
    expect(authority.nameOf(certificate, issued.expiresAt)).toBeNull();
    // The other one has the same name.
    expect((await open()).nameOf(certificate, NOW)).toBeNull();
    expect(authority.nameOf(new X509Certificate(authority.certificate), NOW)).toBeNull();
  });

  test('without_a_usage_is_no_login', async () => {
    const files = await newAuthority(random, NOW, null);
    const options = { random, nowMs: NOW, passphrase: null, what: 'key' };
    const authority = await CertificateAuthority.open(files, options);
    const { keys } = await newKeyPair();
    const key = createPrivateKey(files.key).export({ type: 'pkcs8', format: 'der' });
    const made = await x509.X509CertificateGenerator.create({
      serialNumber: '03',
      subject: [{ CN: [DEVICE] }],
      issuer: new x509.X509Certificate(files.certificate).subjectName,
      notBefore: new Date(NOW - 1000),
      notAfter: new Date(NOW + 1000),
      signingAlgorithm: P256,
      publicKey: keys.publicKey,
      signingKey: await webcrypto.subtle.importKey('pkcs8', key, P256, false, ['sign']),
    });
    expect(authority.nameOf(new X509Certificate(made.toString('pem')), NOW)).toBeNull();
  });

  test('does_not_outlive_its_authority', async () => {
    const authority = await open();
    const late = NOW + limits.authorityLifeMs - 60_000;
    const request = await certificateRequest(DEVICE, await newKeyPair());
    const { expiresAt } = await authority.issue(request, DEVICE, late);
    expect(expiresAt).toBe(NOW + limits.authorityLifeMs);
  });
});

describe('a request is refused', () => {
  const refused = async (request: string, device = DEVICE): Promise<void> => {
    const authority = await open();
    await expect(authority.issue(request, device, NOW)).rejects.toMatchObject({
      code: 'certificate_request_invalid',
    });
  };

  test('that_names_another_device', async () => {
    await refused(await certificateRequest(`dev-${'cd'.repeat(10)}`, await newKeyPair()));
  });

  test('that_names_a_second_common_name', async () => {
    const { keys } = await newKeyPair();
    for (const name of [
      [{ CN: [DEVICE] }, { CN: ['linnet-server'] }],
      [{ CN: [DEVICE, 'linnet-server'] }],
      [{ CN: [DEVICE], O: ['linnet'] }],
    ]) {
      const made = await x509.Pkcs10CertificateRequestGenerator.create({
        name,
        keys,
        signingAlgorithm: P256,
      });
      await refused(made.toString('pem'));
    }
  });

  test('whose_sender_does_not_hold_the_key', async () => {
    const { keys: own } = await newKeyPair();
    const { keys: foreign } = await newKeyPair();
    const made = await x509.Pkcs10CertificateRequestGenerator.create({
      name: [{ CN: [DEVICE] }],
      keys: { publicKey: foreign.publicKey, privateKey: own.privateKey },
      signingAlgorithm: P256,
    });
    await refused(made.toString('pem'));
  });

  test('with_a_key_that_is_not_p256', async () => {
    for (const algorithm of [
      { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-256' },
      {
        name: 'RSASSA-PKCS1-v1_5',
        hash: 'SHA-256',
        modulusLength: 1024,
        publicExponent: new Uint8Array([1, 0, 1]),
      },
    ]) {
      const made = await x509.Pkcs10CertificateRequestGenerator.create({
        name: [{ CN: [DEVICE] }],
        keys: await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']),
        signingAlgorithm: algorithm,
      });
      await refused(made.toString('pem'));
    }
  });

  test('that_is_oversized_or_no_request', async () => {
    await refused('A'.repeat(limits.certificateRequestMaxChars + 1));
    await refused('');
    await refused('-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----');
    await refused((await open()).certificate);
  });
});

describe('files', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'linnet-ca-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test('the_key_is_private_and_sealed_by_the_passphrase', async () => {
    const settings = { data_dir: folder };
    await makeAuthority(settings, { clock: realClock, random, passphrase: 'correct horse' });
    const file = join(folder, 'device-ca.key');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).toContain('ENCRYPTED PRIVATE KEY');
    const needs = { clock: realClock, random };
    await expect(openAuthority(settings, { ...needs, passphrase: null })).rejects.toMatchObject({
      code: 'key_invalid',
    });
    expect(await openAuthority(settings, { ...needs, passphrase: 'correct horse' })).toBeInstanceOf(
      CertificateAuthority,
    );
  });

  test('a_second_init_keeps_the_authority', async () => {
    const needs = { clock: realClock, random, passphrase: null };
    await makeAuthority({ data_dir: folder }, needs);
    const before = await openAuthority({ data_dir: folder }, needs);
    await makeAuthority({ data_dir: folder }, needs);
    expect((await openAuthority({ data_dir: folder }, needs))?.id).toBe(before?.id);
  });

  test('a_certificate_that_is_no_ca_or_has_another_key_is_refused', async () => {
    const authority = await open();
    const pair = await newKeyPair();
    const { pem } = await authority.issue(await certificateRequest(DEVICE, pair), DEVICE, NOW);
    const [cert_file, key_file] = [join(folder, 'own.crt'), join(folder, 'own.key')];
    await writeFile(key_file, pair.pem, { mode: 0o600 });
    for (const certificate of [pem, authority.certificate]) {
      await writeFile(cert_file, certificate);
      await expect(
        openAuthority(
          { data_dir: folder, device_ca: { cert_file, key_file } },
          { clock: { ...realClock, now: () => NOW }, random, passphrase: null },
        ),
      ).rejects.toMatchObject({ code: 'key_invalid' });
    }
  });
});

describe('the device API', () => {
  test('an_enrolled_device_gets_a_certificate_and_its_revocation_is_listed', async () => {
    const fleet = await startFleet();
    try {
      const device = await enrolled(fleet, 'cam-1');
      const headers = { authorization: `${DEVICE_SCHEME} ${await device.token('http', fleet)}` };
      const request = await certificateRequest(device.id, await newKeyPair());
      const { status, body } = await post(fleet, '/device/v1/certificate', { request }, headers);
      expect(status).toBe(200);
      const certificate = new X509Certificate(String(body['certificate']));
      expect(certificate.subject).toBe(`CN=${device.id}`);
      expect(await fleet.store.certificates.revoked(Date.now())).toEqual([]);
      await fleet.store.devices.revoke(
        device.id,
        { actor: 'test', action: 'device.revoke', subject: device.id, detail: '', trace: null },
        Date.now(),
      );
      const restarted = await fleet.restart();
      const list = new x509.X509Crl(
        await readFile(join(fleet.folder, 'data', 'device-ca.crl'), 'utf8'),
      );
      await restarted.close();
      expect(list.entries.map(({ serialNumber }) => serialNumber)).toEqual([
        certificate.serialNumber.toLowerCase(),
      ]);
    } finally {
      await rm(fleet.folder, { recursive: true, force: true });
    }
  });

  test('nobody_gets_one_without_a_token_or_for_another_device', async () => {
    const fleet = await startFleet();
    try {
      const device = await enrolled(fleet, 'cam-1');
      const other = newDevice('cam-2');
      const request = await certificateRequest(other.id, await newKeyPair());
      expect((await post(fleet, '/device/v1/certificate', { request })).status).toBe(401);
      const headers = { authorization: `${DEVICE_SCHEME} ${await device.token('http', fleet)}` };
      const answer = await post(fleet, '/device/v1/certificate', { request }, headers);
      expect(answer).toMatchObject({
        status: 422,
        body: { code: 'certificate_request_invalid' },
      });
      expect((await deviceGet(fleet, device, '/device/v1/certificate')).status).not.toBe(200);
    } finally {
      await fleet.close();
    }
  });
});
