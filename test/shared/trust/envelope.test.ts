// DSSE envelopes: each bound of their form is refused by itself, and every refusal names what is
// wrong.
import { beforeAll, describe, expect, it } from 'vitest';
import { Value } from 'typebox/value';
import { utf8 } from '../../../shared/base/bytes.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import {
  openEnvelope,
  signaturesOf,
  signEnvelope,
  type Envelope,
} from '../../../shared/trust/envelope.js';
import { PublicKey, signerFromSeed } from '../../../shared/trust/signer.js';

const TYPE = 'application/vnd.linnet.test';
const signer = signerFromSeed(new Uint8Array(32).fill(4));
const ring = { keys: { [signer.keyId]: signer.publicKey }, keyids: [signer.keyId], threshold: 1 };
let good: Envelope;

beforeAll(async () => {
  good = await signEnvelope(TYPE, utf8('what was signed'), [signer]);
});

function refusal(envelope: unknown, of = ring): string {
  try {
    return Buffer.from(openEnvelope(utf8(JSON.stringify(envelope)), TYPE, of)).toString('utf8');
  } catch (error) {
    if (error instanceof Fault) return `${error.code}: ${error.detail}`;
    throw error;
  }
}

describe('the form of an envelope', () => {
  it('a_good_one_opens', () => {
    expect(refusal(good)).toBe('what was signed');
  });

  it('text_that_is_no_json_is_refused_as_an_envelope', () => {
    expect(() => openEnvelope(utf8('{'), TYPE, ring)).toThrow(
      /^manifest_undecodable: DSSE envelope is/,
    );
    expect(refusal({})).toMatch(/^manifest_undecodable: DSSE envelope/);
  });

  const one = (): Envelope['signatures'][number] => good.signatures[0]!;
  it.each<[string, string, () => object]>([
    ['unknown_field', '', () => ({ ...good, more: 1 })],
    ['unknown_field_of_a_signature', '', () => ({ signatures: [{ ...one(), more: 1 }] })],
    ['no_signature', '/signatures', () => ({ signatures: [] })],
    [
      'too_many_signatures',
      '/signatures',
      () => ({ signatures: Array.from({ length: limits.signaturesMaxCount + 1 }, one) }),
    ],
    [
      'long_signature',
      '/signatures/0/sig',
      () => ({ signatures: [{ ...one(), sig: 'A'.repeat(limits.signatureMaxChars + 1) }] }),
    ],
    ['long_type', '/payloadType', () => ({ payloadType: 'x'.repeat(limits.nameMaxChars + 1) })],
    ['long_payload', '/payload', () => ({ payload: 'A'.repeat(limits.acceptanceSetMaxBytes + 1) })],
  ])('%s_is_refused', (_name, where, change) => {
    const found = refusal({ ...good, ...change() });
    expect(found).toMatch(/^manifest_undecodable: DSSE envelope/);
    expect(found).toContain(where);
  });
});

describe('what an envelope carries', () => {
  it('another_payload_type_is_named', async () => {
    const other = await signEnvelope('text/plain', utf8('what was signed'), [signer]);
    expect(refusal(other)).toBe(`signature_invalid: envelope carries text/plain, expected ${TYPE}`);
  });

  it('missing_signatures_are_counted', () => {
    const stranger = signerFromSeed(new Uint8Array(32).fill(5));
    const keyids = [signer.keyId, stranger.keyId];
    const keys = { ...ring.keys, [stranger.keyId]: stranger.publicKey };
    expect(refusal(good, { keys, keyids, threshold: 2 })).toBe(
      'signature_invalid: 1 of 2 required signatures are valid (1 present)',
    );
  });
});

describe('the signatures of an envelope, one by one', () => {
  const stranger = signerFromSeed(new Uint8Array(32).fill(5));
  const found = (envelope: unknown): ReturnType<typeof signaturesOf> =>
    signaturesOf(utf8(JSON.stringify(envelope)), ring);

  it('are_valid_by_themselves_or_not', async () => {
    const both = await signEnvelope(TYPE, utf8('what was signed'), [stranger, signer]);
    expect(found(both)).toEqual([
      { keyid: stranger.keyId, valid: false },
      { keyid: signer.keyId, valid: true },
    ]);
    const torn = { ...both.signatures[1]!, sig: both.signatures[0]!.sig };
    expect(found({ ...both, signatures: [torn, both.signatures[1]] })).toEqual([
      { keyid: signer.keyId, valid: false },
      { keyid: signer.keyId, valid: true },
    ]);
  });

  it('cover_payload_and_type', () => {
    const payload = Buffer.from('something else').toString('base64');
    for (const change of [{ payload }, { payloadType: 'text/plain' }])
      expect(found({ ...good, ...change })).toEqual([{ keyid: signer.keyId, valid: false }]);
  });

  it('are_not_read_from_what_is_no_envelope', () => {
    expect(() => signaturesOf(utf8('{'), ring)).toThrow(/^manifest_undecodable: DSSE envelope is/);
  });
});

describe('a public key', () => {
  const { publicKey } = signer;
  it('is_an_ed25519_key_of_32_bytes', () => {
    expect(Value.Check(PublicKey, publicKey)).toBe(true);
    for (const wrong of [
      {},
      { ...publicKey, keytype: 'rsa' },
      { ...publicKey, scheme: 'rsassa' },
      { ...publicKey, keyval: {} },
      { ...publicKey, keyval: { public: publicKey.keyval.public.slice(2) } },
    ])
      expect(Value.Check(PublicKey, wrong), JSON.stringify(wrong)).toBe(false);
  });
});
