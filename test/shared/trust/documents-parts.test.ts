// What is read from decoded documents and what is written into them: root keys, acceptance sets,
// signatures, listed hashes. One condition at a time, with every other one met.
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { sha256, utf8 } from '../../../shared/base/bytes.js';
import { canonicalBytes } from '../../../shared/base/canonical-json.js';
import {
  acceptanceOf,
  acceptanceRing,
  decodeDocument,
  heading,
  metaOf,
  releaseRing,
  requireMeta,
  requireThreshold,
  roleRing,
  signDocument,
  timeText,
  type MetaFile,
  type Root,
} from '../../../shared/trust/documents.js';
import { signerFromSeed, type PublicKey, type Signer } from '../../../shared/trust/signer.js';
import { refusalText } from '../../support/refusals.js';
import { signedOf } from '../../support/smallest-documents.js';
import { START_MS } from '../../sim/tuf-repositories.js';

const HASH = 'ab'.repeat(32);
const signer = (byte: number): Signer => signerFromSeed(new Uint8Array(32).fill(byte));

describe('the keys of a root', () => {
  const [a, b] = [signer(1), signer(2)];
  const rootWith = (change: Partial<Root>): Root => ({
    ...signedOf('root'),
    keys: { [a.keyId]: a.publicKey, [b.keyId]: b.publicKey },
    ...change,
  });
  const KINDS = [
    ['release', releaseRing],
    ['acceptance', acceptanceRing],
  ] as const;

  it('ring_of_a_role_has_its_key_ids_and_threshold', () => {
    const root = rootWith({});
    root.roles.snapshot = { keyids: [b.keyId], threshold: 2 };
    expect(roleRing(root, 'snapshot')).toEqual({
      keys: root.keys,
      keyids: [b.keyId],
      threshold: 2,
    });
  });

  it('keys_of_other_schemes_and_under_wrong_ids_are_left_out', () => {
    const rsa = { ...a.publicKey, scheme: 'rsa' };
    const rsaId = sha256(canonicalBytes(rsa));
    const keys = {
      [a.keyId]: a.publicKey,
      [rsaId]: rsa,
      [sha256('another')]: b.publicKey,
      [sha256('none')]: null,
    };
    expect(roleRing(rootWith({ keys }), 'root').keys).toEqual({ [a.keyId]: a.publicKey });
  });

  it.each(KINDS)('%s_keys_that_meet_their_threshold_are_a_ring', (kind, ring) => {
    const role = { keyids: [a.keyId, b.keyId], threshold: 2 };
    const root = rootWith({ [`x-linnet-${kind}`]: role });
    expect(ring(root)).toEqual({ keys: root.keys, ...role });
  });

  it.each(KINDS)('root_without_%s_keys_is_refused', (kind, ring) => {
    expect(refusalText(() => ring(rootWith({ version: 3 })))).toBe(
      `metadata_undecodable: root version 3 lists no ${kind} keys (x-linnet-${kind})`,
    );
  });

  it.each(KINDS)('root_with_fewer_usable_%s_keys_than_their_threshold_is_refused', (kind, ring) => {
    const keys: Record<string, PublicKey> = { [a.keyId]: a.publicKey };
    const role = { keyids: [a.keyId, b.keyId], threshold: 2 };
    expect(refusalText(() => ring(rootWith({ keys, [`x-linnet-${kind}`]: role })))).toBe(
      `metadata_undecodable: root version 1 requires 2 ${kind} signatures and lists 1 usable ` +
        `${kind} keys`,
    );
  });
});

describe('an acceptance set', () => {
  it('is_the_one_that_is_named_for_the_component', () => {
    const digits = { sha256: HASH, length: 3, more: 1 };
    const named = { ...signedOf('targets'), 'x-linnet-acceptance': { digits } };
    expect(acceptanceOf(named, 'digits')).toEqual({ sha256: HASH, length: 3 });
    expect(acceptanceOf(named, 'faces')).toBeNull();
    expect(acceptanceOf(named, 'constructor')).toBeNull();
    expect(acceptanceOf(signedOf('targets'), 'digits')).toBeNull();
  });
});

describe('the signatures of a document', () => {
  const signedBy = async (...signers: Signer[]) =>
    decodeDocument('targets', await signDocument(signedOf('targets'), signers));
  const ringOf = (threshold: number, ...signers: Signer[]) => ({
    keys: Object.fromEntries(signers.map(({ keyId, publicKey }) => [keyId, publicKey])),
    keyids: signers.map(({ keyId }) => keyId),
    threshold,
  });

  it('missing_ones_are_counted_and_the_ring_is_named', async () => {
    const [a, b, c] = [signer(1), signer(2), signer(3)];
    const document = await signedBy(a, c);
    expect(refusalText(() => requireThreshold(document, ringOf(1, a, b), 'the ring'))).toBe(
      'accepted',
    );
    expect(refusalText(() => requireThreshold(document, ringOf(2, a, b), 'the ring'))).toBe(
      'metadata_signature: targets.json version 1 has 1 valid signatures; the ring requires 2',
    );
    expect(refusalText(() => requireThreshold(document, ringOf(2, a, c), 'the ring'))).toBe(
      'accepted',
    );
  });

  it('two_of_one_key_are_refused', async () => {
    const a = signer(1);
    const document = await signedBy(a, a);
    expect(refusalText(() => requireThreshold(document, ringOf(1, a), 'the ring'))).toBe(
      `metadata_signature: targets.json version 1 carries two signatures of key ${a.keyId}`,
    );
  });
});

describe('what a parent lists', () => {
  const bytes = utf8('the child');
  const of = (algorithm: string, content = bytes): Record<string, string> => ({
    [algorithm]: createHash(algorithm).update(content).digest('hex'),
  });
  const check = (meta: Partial<MetaFile>) =>
    refusalText(() => requireMeta(bytes, { version: 1, ...meta }, 'a.json'));

  it.each<[string, () => Partial<MetaFile>]>([
    ['nothing', () => ({})],
    ['its_length', () => ({ length: bytes.length })],
    ['its_sha256', () => ({ hashes: of('sha256') })],
    ['its_sha384', () => ({ hashes: of('sha384') })],
    ['its_sha512', () => ({ hashes: of('sha512') })],
    ['all_of_it', () => metaOf(bytes, 1)],
  ])('%s_matches', (_name, meta) => {
    expect(check(meta())).toBe('accepted');
  });

  it.each<[string, () => Partial<MetaFile>, string]>([
    ['lower_length', () => ({ length: 8 }), 'a.json has 9 bytes; its parent lists 8'],
    ['higher_length', () => ({ length: 10 }), 'a.json has 9 bytes; its parent lists 10'],
    [
      'hash_of_other_bytes',
      () => ({ hashes: of('sha256', utf8('another')) }),
      'a.json does not have the sha256 hash that its parent lists',
    ],
    [
      'second_hash_of_other_bytes',
      () => ({ hashes: { ...of('sha256'), ...of('sha512', utf8('another')) } }),
      'a.json does not have the sha512 hash that its parent lists',
    ],
    [
      'hash_that_is_not_of_tuf',
      () => ({ hashes: of('sha1') }),
      'a.json: its parent lists a sha1 hash, which this client cannot compute',
    ],
  ])('%s_is_refused', (_name, meta, detail) => {
    expect(check(meta())).toBe(`metadata_mismatch: ${detail}`);
  });
});

describe('writing', () => {
  it('document_is_one_line_of_json_signed_by_each_signer_in_order', async () => {
    const signers = [signer(2), signer(1)];
    const signed = signedOf('snapshot');
    const signatures = await Promise.all(
      signers.map(async (one) => ({
        keyid: one.keyId,
        sig: Buffer.from(await one.sign(canonicalBytes(signed))).toString('hex'),
      })),
    );
    expect(Buffer.from(await signDocument(signed, signers)).toString()).toBe(
      `${JSON.stringify({ signatures, signed })}\n`,
    );
  });

  it('what_a_parent_says_of_a_child_is_exact', () => {
    expect(metaOf(utf8('abc'), 4)).toEqual({
      version: 4,
      length: 3,
      hashes: { sha256: sha256('abc') },
    });
  });

  it('heading_has_the_version_of_the_specification_and_whole_seconds', () => {
    expect(heading('snapshot', 3, START_MS + 999)).toEqual({
      _type: 'snapshot',
      spec_version: '1.0.31',
      version: 3,
      expires: '2026-11-23T00:00:00Z',
    });
    expect(timeText(-1)).toBe('1969-12-31T23:59:59Z');
  });
});
