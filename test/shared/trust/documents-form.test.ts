// The form of the signed documents: every field from both sides of its limits, in each role, and
// what the refusals say.
import { describe, expect, it } from 'vitest';
import { sha256, utf8 } from '../../../shared/base/bytes.js';
import { canonicalBytes } from '../../../shared/base/canonical-json.js';
import { limits } from '../../../shared/base/limits.js';
import { decodeDocument, MAX_BYTES, type Role } from '../../../shared/trust/documents.js';
import { refusalText } from '../../support/refusals.js';
import { noKeys, signedOf } from '../../support/smallest-documents.js';

const ROLES: readonly Role[] = ['root', 'timestamp', 'snapshot', 'targets'];
const HASH = 'ab'.repeat(32);

/** `signed` with `value` at `path`, such as `/roles/root/threshold`; undefined: without it. */
function withField(signed: object, path: string, value: unknown): object {
  const changed = structuredClone(signed);
  const names = path.split('/').slice(1);
  const last = names.pop() ?? '';
  let place = changed as Record<string, unknown>;
  for (const name of names) place = (place[name] ??= {}) as Record<string, unknown>;
  place[last] = value;
  return changed;
}

const wrapped = (signed: unknown, signatures: unknown = []): Uint8Array =>
  utf8(JSON.stringify({ signatures, signed }));

const decoding = (role: Role, path: string, value: unknown): string =>
  refusalText(() => decodeDocument(role, wrapped(withField(signedOf(role), path, value))));

describe('fields of every document', () => {
  describe.each(ROLES)('%s', (role) => {
    it('smallest_document_decodes_to_what_was_signed_and_received', () => {
      const signatures = [{ keyid: 'k', sig: 'ff' }];
      const bytes = wrapped(signedOf(role), signatures);
      const document = decodeDocument(role, bytes);
      expect(document).toEqual({
        role,
        bytes,
        signed: signedOf(role),
        signatures,
        message: canonicalBytes(signedOf(role)),
      });
      expect(document.bytes).toBe(bytes);
    });

    it.each<[string, unknown]>([
      ['/spec_version', '1.0'],
      ['/version', 2 ** 52],
      ['/expires', '1970-01-01T00:00:00Z'],
      ['/x-unknown', { any: ['thing'] }],
    ])('%s_may_be_%j', (path, value) => {
      expect(decoding(role, path, value)).toBe('accepted');
    });

    it.each<[string, unknown]>([
      ['/_type', undefined],
      ['/_type', 'other'],
      ['/spec_version', undefined],
      ['/spec_version', '2.0.31'],
      ['/version', undefined],
      ['/version', 0],
      ['/version', 2 ** 52 + 1],
      ['/expires', undefined],
      ['/expires', '2027-01-01'],
    ])('%s_may_not_be_%j', (path, value) => {
      expect(decoding(role, path, value)).toMatch(
        new RegExp(`^metadata_undecodable: ${role}\\.json: `),
      );
    });

    it('impossible_date_is_refused', () => {
      expect(decoding(role, '/expires', '2027-13-01T00:00:00Z')).toBe(
        `metadata_undecodable: ${role}.json: 2027-13-01T00:00:00Z is not a date`,
      );
    });

    it('document_of_the_size_limit_decodes_and_one_byte_more_does_not', () => {
      const max = {
        root: limits.rootMaxBytes,
        timestamp: limits.timestampMaxBytes,
        snapshot: limits.snapshotMaxBytes,
        targets: limits.targetsMaxBytes,
      }[role];
      expect(MAX_BYTES[role]).toBe(max);
      const padded = new Uint8Array(max + 1).fill(0x20);
      padded.set(wrapped(signedOf(role)));
      expect(decodeDocument(role, padded.subarray(0, max)).signed.version).toBe(1);
      expect(refusalText(() => decodeDocument(role, padded))).toBe(
        `metadata_too_large: ${role}.json has ${max + 1} bytes; the limit is ${max}`,
      );
    });
  });
});

describe('fields of a role', () => {
  const ids = (count: number): string[] => Array.from({ length: count }, (_, i) => sha256(`${i}`));
  const most = limits.ringKeysMaxCount;
  const file = { sha256: HASH, length: 1 };
  const target = { length: 1, hashes: { sha256: HASH } };

  it.each<[Role, string, unknown]>([
    ['root', '/keys', { any: null }],
    ['root', '/roles/root/keyids', ids(most)],
    ['root', '/roles/root/threshold', most],
    ['root', '/x-linnet-release', noKeys()],
    ['root', '/x-linnet-acceptance', noKeys()],
    ['timestamp', '/x-linnet-device', 'd'.repeat(limits.deviceIdMaxChars)],
    ['timestamp', '/x-linnet-time', '2026-01-01T00:00:00Z'],
    ['timestamp', '/meta/snapshot.json', { version: 2 ** 52, length: 0, hashes: {} }],
    ['timestamp', '/meta/snapshot.json/length', Number.MAX_SAFE_INTEGER],
    ['timestamp', '/meta/snapshot.json/hashes', { other: '0'.repeat(32), sha512: 'f'.repeat(128) }],
    ['snapshot', '/x-linnet-device', 'd'],
    ['snapshot', '/meta', { 'a.json': { version: 1 }, 'b.json': { version: 1, hashes: {} } }],
    ['targets', '/x-linnet-device', 'd'],
    ['targets', '/targets', { a: { ...target, custom: [] }, b: target }],
    ['targets', '/x-linnet-floors', { digits: '1.0.0' }],
    ['targets', '/x-linnet-acceptance', { digits: file }],
    ['targets', '/x-linnet-acceptance/digits', { ...file, length: limits.acceptanceSetMaxBytes }],
    ['targets', '/delegations', { any: null }],
  ])('%s_%s_may_be_%j', (role, path, value) => {
    expect(decoding(role, path, value)).toBe('accepted');
  });

  const LINE_BREAK = { 'a\nb': null };
  it.each<[Role, string, unknown]>([
    ['root', '/consistent_snapshot', false],
    ['root', '/consistent_snapshot', undefined],
    ['root', '/keys', undefined],
    ['root', '/keys', LINE_BREAK],
    ['root', '/roles', undefined],
    ...ROLES.map((role): [Role, string, unknown] => ['root', `/roles/${role}`, undefined]),
    ['root', '/roles/root', {}],
    ['root', '/roles/root/keyids', ['00']],
    ['root', '/roles/root/keyids', [HASH, HASH]],
    ['root', '/roles/root/keyids', ids(most + 1)],
    ['root', '/roles/root/threshold', 0],
    ['root', '/roles/root/threshold', 1.5],
    ['root', '/roles/root/threshold', most + 1],
    ['root', '/x-linnet-release', {}],
    ['root', '/x-linnet-acceptance', {}],
    ['timestamp', '/x-linnet-device', 'd'.repeat(limits.deviceIdMaxChars + 1)],
    ['timestamp', '/x-linnet-device', 7],
    ['timestamp', '/x-linnet-time', '2026-01-01'],
    ['timestamp', '/meta', undefined],
    ['timestamp', '/meta/snapshot.json', undefined],
    ['timestamp', '/meta/snapshot.json', {}],
    ['timestamp', '/meta/snapshot.json/length', -1],
    ['timestamp', '/meta/snapshot.json/length', 2 ** 53],
    ['timestamp', '/meta/snapshot.json/length', '1'],
    ['timestamp', '/meta/snapshot.json/hashes', { sha256: '0'.repeat(31) }],
    ['timestamp', '/meta/snapshot.json/hashes', { sha256: '0'.repeat(129) }],
    ['timestamp', '/meta/snapshot.json/hashes', { sha256: 'A'.repeat(64) }],
    ['timestamp', '/meta/snapshot.json/hashes', LINE_BREAK],
    ['snapshot', '/x-linnet-device', 7],
    ['snapshot', '/meta', undefined],
    ['snapshot', '/meta', { 'a.json': {} }],
    ['snapshot', '/meta', LINE_BREAK],
    ['targets', '/x-linnet-device', 7],
    ['targets', '/targets', undefined],
    ['targets', '/targets', LINE_BREAK],
    ['targets', '/targets', { a: { length: 1 } }],
    ['targets', '/targets', { a: { hashes: {} } }],
    ['targets', '/targets', { a: { ...target, length: -1 } }],
    ['targets', '/x-linnet-floors', { digits: '1' }],
    ['targets', '/x-linnet-floors', { Digits: '1.0.0' }],
    ['targets', '/x-linnet-acceptance', { Digits: file }],
    ['targets', '/x-linnet-acceptance', { digits: { ...file, sha256: 'ab' } }],
    ['targets', '/x-linnet-acceptance', { digits: { ...file, length: 0 } }],
    [
      'targets',
      '/x-linnet-acceptance',
      { digits: { ...file, length: limits.acceptanceSetMaxBytes + 1 } },
    ],
    ['targets', '/x-linnet-acceptance', { digits: {} }],
  ])('%s_%s_may_not_be_%j', (role, path, value) => {
    expect(decoding(role, path, value)).toMatch(
      new RegExp(`^metadata_undecodable: ${role}\\.json: `),
    );
  });

  it('impossible_time_of_signing_is_refused', () => {
    expect(decoding('timestamp', '/x-linnet-time', '2026-02-30T25:00:00Z')).toBe(
      'metadata_undecodable: timestamp.json: 2026-02-30T25:00:00Z is not a date',
    );
  });

  it('text_without_a_canonical_form_is_refused', () => {
    expect(decoding('targets', '/x', 0.5)).toBe(
      'metadata_undecodable: targets.json has no canonical form',
    );
    const fraction = wrapped(withField(signedOf('targets'), '/x', 0.5));
    expect(() => decodeDocument('targets', fraction)).toThrow(
      expect.objectContaining({ cause: expect.any(TypeError) as unknown }),
    );
    expect(refusalText(() => decodeDocument('targets', utf8('{')))).toBe(
      'metadata_undecodable: targets.json is not JSON',
    );
  });
});

describe('the wrapping of a document', () => {
  const one = { keyid: 'k'.repeat(limits.nameMaxChars), sig: 'f'.repeat(limits.signatureMaxChars) };
  const many = (count: number): unknown[] => Array.from({ length: count }, () => one);
  const signed = () => signedOf('targets');

  it('signatures_of_the_limits_decode', () => {
    const bytes = wrapped(signed(), many(limits.signaturesMaxCount));
    expect(decodeDocument('targets', bytes).signatures).toHaveLength(limits.signaturesMaxCount);
  });

  it.each<[string, () => object]>([
    ['too_many_signatures', () => ({ signatures: many(limits.signaturesMaxCount + 1) })],
    ['no_list_of_signatures', () => ({ signatures: undefined })],
    ['signature_without_a_key_id', () => ({ signatures: [{ sig: 'ff' }] })],
    ['key_id_without_a_signature', () => ({ signatures: [{ keyid: 'k' }] })],
    ['long_key_id', () => ({ signatures: [{ ...one, keyid: `${one.keyid}k` }] })],
    ['long_signature', () => ({ signatures: [{ ...one, sig: `${one.sig}f` }] })],
    ['nothing_signed', () => ({ signed: undefined })],
    ['signed_text', () => ({ signed: 'text' })],
  ])('%s_is_refused', (_name, change) => {
    const text = JSON.stringify({ signatures: [], signed: signed(), ...change() });
    expect(refusalText(() => decodeDocument('targets', utf8(text)))).toMatch(
      /^metadata_undecodable: targets\.json: \/(?:signatures|signed|: missing sign)/,
    );
  });
});
