// Counting signers: every condition is tested with all others met, so that no one of them can be
// lost.
import { beforeAll, describe, expect, it } from 'vitest';
import { utf8 } from '../../../shared/base/bytes.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { openEnvelope, pae, signEnvelope } from '../../../shared/trust/envelope.js';
import { countSigners, type KeyedSignature } from '../../../shared/trust/key-ring.js';
import { signerFromSeed } from '../../../shared/trust/signer.js';

const [a, b, c] = [1, 2, 3].map((byte) => signerFromSeed(new Uint8Array(32).fill(byte))) as [
  ReturnType<typeof signerFromSeed>,
  ReturnType<typeof signerFromSeed>,
  ReturnType<typeof signerFromSeed>,
];
const keys = { [a.keyId]: a.publicKey, [b.keyId]: b.publicKey, [c.keyId]: c.publicKey };
const message = utf8('a message');
let byA: KeyedSignature;
let byB: KeyedSignature;

beforeAll(async () => {
  byA = { keyid: a.keyId, signature: await a.sign(message) };
  byB = { keyid: b.keyId, signature: await b.sign(message) };
});

const ring = (keyids: string[], known: typeof keys = keys) => ({
  keys: known,
  keyids,
  threshold: 1,
});

describe('countSigners', () => {
  it('each_listed_key_with_a_valid_signature_counts', () => {
    expect(countSigners(ring([a.keyId, b.keyId]), message, [byA, byB])).toBe(2);
    expect(countSigners(ring([a.keyId, b.keyId]), message, [byB])).toBe(1);
    expect(countSigners(ring([a.keyId, b.keyId]), message, [])).toBe(0);
  });

  it('key_that_is_known_but_listed_for_another_role_does_not_count', () => {
    expect(countSigners(ring([b.keyId]), message, [byA])).toBe(0);
    expect(countSigners(ring([]), message, [byA])).toBe(0);
  });

  it('key_that_is_listed_but_not_known_does_not_count', () => {
    const { [a.keyId]: _, ...without } = keys;
    expect(countSigners(ring([a.keyId], without), message, [byA])).toBe(0);
  });

  it('key_under_an_id_that_is_not_its_hash_does_not_count', () => {
    const swapped = { ...keys, [b.keyId]: a.publicKey };
    const asB = { keyid: b.keyId, signature: byA.signature };
    expect(countSigners(ring([b.keyId], swapped), message, [asB])).toBe(0);
  });

  it('signature_over_another_message_or_by_another_key_does_not_count', () => {
    expect(countSigners(ring([a.keyId]), utf8('another'), [byA])).toBe(0);
    expect(
      countSigners(ring([a.keyId]), message, [{ keyid: a.keyId, signature: byB.signature }]),
    ).toBe(0);
  });

  it('key_counts_once_however_often_it_signed', () => {
    expect(countSigners(ring([a.keyId, b.keyId]), message, [byA, byA])).toBe(1);
  });

  it('invalid_signature_before_a_valid_one_of_the_same_key_does_not_hide_it', () => {
    const bad = { keyid: a.keyId, signature: new Uint8Array(64) };
    expect(countSigners(ring([a.keyId]), message, [bad, byA])).toBe(1);
  });

  it('key_id_that_names_a_property_of_objects_is_no_key', () => {
    const odd = { keyid: 'constructor', signature: byA.signature };
    expect(countSigners(ring(['constructor']), message, [odd])).toBe(0);
  });
});

describe('release keys', () => {
  const codeOf = (work: () => unknown): string => {
    try {
      work();
      return 'accepted';
    } catch (error) {
      return isFault(error) ? error.code : String(error);
    }
  };

  it('key_that_the_root_lists_for_another_role_is_no_release_key', async () => {
    // The root knows the keys a, b and c; only a is a release key.
    const release = ring([a.keyId]);
    const sealed = async (...signers: (typeof a)[]): Promise<Uint8Array> =>
      utf8(JSON.stringify(await signEnvelope('text/plain', utf8('x'), signers)));
    expect(codeOf(() => openEnvelope(new Uint8Array(), 'text/plain', release))).not.toBe(
      'accepted',
    );
    const byRelease = await sealed(a);
    const byOther = await sealed(b);
    const byBoth = await sealed(b, a);
    expect(codeOf(() => openEnvelope(byRelease, 'text/plain', release))).toBe('accepted');
    expect(codeOf(() => openEnvelope(byOther, 'text/plain', release))).toBe('signature_invalid');
    expect(codeOf(() => openEnvelope(byBoth, 'text/plain', release))).toBe('accepted');
    const two = { ...release, threshold: 2 };
    expect(codeOf(() => openEnvelope(byBoth, 'text/plain', two))).toBe('signature_invalid');
    expect(codeOf(() => openEnvelope(byRelease, 'text/html', release))).toBe('signature_invalid');
  });

  it('signature_covers_the_payload_type_and_its_length', () => {
    expect(Buffer.from(pae('text/plain', utf8('hello'))).toString()).toBe(
      'DSSEv1 10 text/plain 5 hello',
    );
  });
});
