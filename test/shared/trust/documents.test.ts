// The signed documents as bytes: what decodes, what counts as a signature, and that the two signers
// agree.
import { describe, expect, test } from 'vitest';
import { fastSigningKey } from '../../../server/tuf/online-keys.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { sha256, utf8 } from '../../../shared/base/bytes.js';
import { verify } from '../../../shared/trust/ed25519.js';
import { signerFromSeed } from '../../../shared/trust/signer.js';
import {
  decodeDocument,
  requireThreshold,
  signDocument,
  heading,
  timeText,
} from '../../../shared/trust/documents.js';
import { validityMs } from '../../../shared/trust/validity.js';
import { START_MS } from '../../sim/tuf-repositories.js';

const seed = (name: string): Uint8Array => Buffer.from(sha256(name), 'hex');
const code = (run: () => unknown): string => {
  try {
    run();
    return 'accepted';
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
};
/** Made inside a test, so that a heading that cannot be made fails one. */
const targets = () => ({
  ...heading('targets', 1, START_MS + validityMs.imageTargets),
  targets: {},
});
const wrap = (signed: string): Uint8Array => utf8(`{"signatures":[],"signed":${signed}}`);
const head =
  '"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2027-01-01T00:00:00Z"';

describe('decoding', () => {
  test.each([
    [
      'bottomless_nesting',
      wrap(`{${head},"targets":{},"x":${'['.repeat(200_000)}${']'.repeat(200_000)}}`),
    ],
    ['a fraction, which has no canonical form', wrap(`{${head},"targets":{},"x":0.5}`)],
    [
      'another major version of the specification',
      wrap(`{${head.replace('1.0.31', '2.0.0')},"targets":{}}`),
    ],
    ['version 0', wrap(`{${head.replace('"version":1', '"version":0')},"targets":{}}`)],
    [
      'a version beyond exact integers',
      wrap(`{${head.replace('"version":1', '"version":9007199254740993')},"targets":{}}`),
    ],
    [
      'an expiry with another time zone',
      wrap(`{${head.replace('00:00Z', '00:00+02:00')},"targets":{}}`),
    ],
    [
      'an expiry that is no date',
      wrap(`{${head.replace('2027-01-01', '2027-13-01')},"targets":{}}`),
    ],
    [
      'a negative length',
      wrap(`{${head},"targets":{"a":{"length":-1,"hashes":{"sha256":"${'0'.repeat(64)}"}}}}`),
    ],
    ['no targets', wrap(`{${head}}`)],
    ['an array', utf8('[]')],
    ['nothing', new Uint8Array()],
    ['invalid UTF-8', new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d])],
  ])('%s_is_metadata_undecodable', (_name, bytes) => {
    expect(code(() => decodeDocument('targets', bytes))).toBe('metadata_undecodable');
  });

  test('a_document_of_another_role_is_refused', async () => {
    const bytes = await signDocument(targets(), [signerFromSeed(seed('a'))]);
    expect(code(() => decodeDocument('snapshot', bytes))).toBe('metadata_undecodable');
    expect(code(() => decodeDocument('targets', bytes))).toBe('accepted');
  });
});

describe('signatures', () => {
  test('node_crypto_and_tweetnacl_make_the_same_bytes_and_each_key_id_is_the_hash_of_its_key', async () => {
    for (let i = 0; i < 20; i++) {
      const slow = signerFromSeed(seed(`key ${i}`));
      const fast = fastSigningKey(seed(`key ${i}`));
      const message = utf8('x'.repeat(i * 97));
      expect(fast.keyId).toBe(slow.keyId);
      expect(
        Buffer.from(await fast.sign(message)).equals(Buffer.from(await slow.sign(message))),
      ).toBe(true);
      expect(verify(fast.publicKey, message, await fast.sign(message))).toBe(true);
    }
  });

  test('any_changed_byte_of_the_signed_part_breaks_them', async () => {
    const key = signerFromSeed(seed('a'));
    const ring = { keys: { [key.keyId]: key.publicKey }, keyids: [key.keyId], threshold: 1 };
    const text = Buffer.from(await signDocument(targets(), [key])).toString();
    expect(code(() => requireThreshold(decodeDocument('targets', utf8(text)), ring, 'test'))).toBe(
      'accepted',
    );
    for (const [from, to] of [
      ['"version":1', '"version":2'],
      ['1.0.31', '1.0.32'],
      ['"targets":{}', '"targets":{},"x":1'],
      ['Z"', 'Z","y":null'],
    ] as const) {
      expect(text).toContain(from);
      expect(
        code(() =>
          requireThreshold(decodeDocument('targets', utf8(text.replace(from, to))), ring, 'test'),
        ),
      ).toBe('metadata_signature');
    }
  });

  test('a_key_that_the_ring_lists_but_does_not_hold_and_one_that_it_holds_but_does_not_list_count_for_nothing', async () => {
    const [a, b] = [signerFromSeed(seed('a')), signerFromSeed(seed('b'))];
    const document = decodeDocument('targets', await signDocument(targets(), [a, b]));
    expect(
      code(() =>
        requireThreshold(
          document,
          { keys: { [b.keyId]: b.publicKey }, keyids: [a.keyId], threshold: 1 },
          'test',
        ),
      ),
    ).toBe('metadata_signature');
    expect(
      code(() =>
        requireThreshold(
          document,
          {
            keys: { [a.keyId]: a.publicKey, [b.keyId]: b.publicKey },
            keyids: [a.keyId],
            threshold: 2,
          },
          'test',
        ),
      ),
    ).toBe('metadata_signature');
    expect(
      code(() =>
        requireThreshold(
          document,
          {
            keys: { [a.keyId]: a.publicKey, [b.keyId]: b.publicKey },
            keyids: [a.keyId, b.keyId],
            threshold: 2,
          },
          'test',
        ),
      ),
    ).toBe('accepted');
  });

  test('the_order_of_json_keys_and_white_space_do_not_matter_to_a_signature', async () => {
    const key = signerFromSeed(seed('a'));
    const parsed = JSON.parse(Buffer.from(await signDocument(targets(), [key])).toString()) as {
      signed: object;
      signatures: unknown;
    };
    const turned = {
      signed: Object.fromEntries(Object.entries(parsed.signed).reverse()),
      signatures: parsed.signatures,
    };
    const document = decodeDocument('targets', utf8(JSON.stringify(turned, null, 7)));
    expect(
      code(() =>
        requireThreshold(
          document,
          { keys: { [key.keyId]: key.publicKey }, keyids: [key.keyId], threshold: 1 },
          'test',
        ),
      ),
    ).toBe('accepted');
  });
});

test('time_is_written_in_whole_seconds', () => {
  expect(timeText(Date.UTC(2026, 10, 23, 4, 5, 6, 999))).toBe('2026-11-23T04:05:06Z');
});
