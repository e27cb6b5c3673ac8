// The form of key files without a disk: exact bytes, each field from both sides of its limits, and
// what every refusal says. Sealed files use a low scrypt cost where the cost is not under test.
import { scryptSync } from 'node:crypto';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { hex, utf8 } from '../../../shared/base/bytes.js';
import {
  decodeKeyFile,
  encodeKeyFile,
  openSeed,
  type KeyFile,
} from '../../../shared/trust/keyfile.js';
import { signerFromSeed } from '../../../shared/trust/signer.js';
import { refusalText } from '../../support/refusals.js';

const seed = new Uint8Array(32).fill(9);
const otherSeed = new Uint8Array(32).fill(8);
const salt = new Uint8Array(16).fill(1);
const nonce = new Uint8Array(24).fill(2);
const PASSPHRASE = 'correct horse';

type Sealed = Extract<KeyFile['secret'], { kind: 'scrypt-secretbox' }>;

function sealedSecret(change: Partial<Sealed> = {}, secret = seed): Sealed {
  const cost = { N: 16, r: 1, p: 1 };
  const { N, r, p } = { ...cost, ...change };
  const isCheap = 128 * N * r <= 64 * 1024 && (N & (N - 1)) === 0;
  const key = isCheap ? scryptSync(PASSPHRASE, salt, 32, { N, r, p }) : new Uint8Array(32);
  const box = hex(nacl.secretbox(secret, nonce, new Uint8Array(key)));
  return { kind: 'scrypt-secretbox', salt: hex(salt), ...cost, nonce: hex(nonce), box, ...change };
}

function fileOf(change: object = {}): KeyFile {
  const { keyId, publicKey } = signerFromSeed(seed);
  const file: KeyFile = {
    format: 'linnet.key/1',
    keyId,
    public: publicKey.keyval.public,
    secret: { kind: 'plain', seed: hex(seed) },
  };
  return { ...file, ...change };
}

const decoded = (file: object): KeyFile => decodeKeyFile(utf8(JSON.stringify(file)), 'a.key');

describe('writing', () => {
  it('plain_file_is_indented_json_with_these_fields', () => {
    const { keyId, publicKey } = signerFromSeed(seed);
    expect(Buffer.from(encodeKeyFile(seed, undefined, null)).toString()).toBe(
      [
        '{',
        '  "format": "linnet.key/1",',
        `  "keyId": "${keyId}",`,
        `  "public": "${publicKey.keyval.public}",`,
        '  "secret": {',
        '    "kind": "plain",',
        `    "seed": "${'09'.repeat(32)}"`,
        '  }',
        '}\n',
      ].join('\n'),
    );
  });

  it('role_is_kept_also_an_empty_one', () => {
    for (const role of ['release', ''])
      expect(decodeKeyFile(encodeKeyFile(seed, role, null), 'a.key').role).toBe(role);
    expect(decodeKeyFile(encodeKeyFile(seed, undefined, null), 'a.key')).not.toHaveProperty('role');
  });

  it('sealed_file_says_how_it_was_sealed_and_opens', () => {
    const sealing = { passphrase: PASSPHRASE, salt, nonce };
    const file = decodeKeyFile(encodeKeyFile(seed, 'root', sealing), 'a.key');
    const cost = { N: 131_072, r: 8, p: 1 };
    const key = scryptSync(PASSPHRASE, salt, 32, { ...cost, maxmem: 256 * 1024 * 1024 });
    expect(file.secret).toEqual({
      kind: 'scrypt-secretbox',
      salt: '01'.repeat(16),
      ...cost,
      nonce: '02'.repeat(24),
      box: hex(nacl.secretbox(seed, nonce, new Uint8Array(key))),
    });
    expect(hex(openSeed(file, PASSPHRASE, 'a.key'))).toBe(hex(seed));
  });
});

describe('reading', () => {
  it.each<[string, object]>([
    ['plain', {}],
    ['role_of_100_characters', { role: 'r'.repeat(100) }],
    ['sealed', { secret: sealedSecret() }],
    ['lowest_cost', { secret: sealedSecret({ N: 2, r: 1, p: 1 }) }],
    ['highest_n', { secret: sealedSecret({ N: 2 ** 20 }) }],
    ['highest_r_and_p', { secret: sealedSecret({ r: 32, p: 16 }) }],
  ])('file_that_is_%s_decodes', (_name, change) => {
    expect(decoded(fileOf(change))).toEqual(fileOf(change));
  });

  const plain = { kind: 'plain', seed: hex(seed) };
  it.each<[string, object]>([
    ['of_another_format', { format: 'linnet.key/2' }],
    ['without_a_key_id', { keyId: undefined }],
    ['with_a_role_of_101_characters', { role: 'r'.repeat(101) }],
    ['with_a_role_that_is_no_text', { role: 7 }],
    ['with_a_short_public_key', { public: '00'.repeat(31) }],
    ['without_a_secret', { secret: undefined }],
    ['with_an_unknown_field', { more: 1 }],
    ['with_an_unknown_field_beside_a_plain_seed', { secret: { ...plain, more: 1 } }],
    ['with_a_short_seed', { secret: { ...plain, seed: '00'.repeat(31) } }],
    ['with_a_secret_of_another_kind', { secret: { ...plain, kind: 'other' } }],
    ['with_a_seed_of_no_kind', { secret: { seed: hex(seed) } }],
    ['with_an_unknown_field_beside_a_box', { secret: { ...sealedSecret(), more: 1 } }],
    ['with_a_box_of_another_kind', { secret: { ...sealedSecret(), kind: 'other' } }],
    ['with_a_short_salt', { secret: sealedSecret({ salt: '0'.repeat(31) }) }],
    ['with_a_long_salt', { secret: sealedSecret({ salt: '0'.repeat(33) }) }],
    ['with_a_short_nonce', { secret: sealedSecret({ nonce: '0'.repeat(47) }) }],
    ['with_a_long_nonce', { secret: sealedSecret({ nonce: '0'.repeat(49) }) }],
    ['with_a_short_box', { secret: sealedSecret({ box: '0'.repeat(95) }) }],
    ['with_a_long_box', { secret: sealedSecret({ box: '0'.repeat(97) }) }],
    ['with_upper_case_hex', { secret: sealedSecret({ box: 'A'.repeat(96) }) }],
    ['with_n_1', { secret: { ...sealedSecret(), N: 1 } }],
    ['with_n_above_the_limit', { secret: { ...sealedSecret(), N: 2 ** 20 + 1 } }],
    ['with_r_0', { secret: { ...sealedSecret(), r: 0 } }],
    ['with_r_33', { secret: { ...sealedSecret(), r: 33 } }],
    ['with_p_0', { secret: { ...sealedSecret(), p: 0 } }],
    ['with_p_17', { secret: { ...sealedSecret(), p: 17 } }],
    ['without_a_cost', { secret: { ...sealedSecret(), N: undefined } }],
  ])('file_%s_is_refused', (_name, change) => {
    expect(refusalText(() => decoded(fileOf(change)))).toMatch(/^key_invalid: a\.key: /);
  });

  it('text_that_is_no_json_is_refused', () => {
    expect(refusalText(() => decodeKeyFile(utf8('{'), 'a.key'))).toBe(
      'key_invalid: a.key is not JSON',
    );
  });

  it('key_id_of_another_key_is_refused', () => {
    const { keyId } = signerFromSeed(otherSeed);
    expect(refusalText(() => decoded(fileOf({ keyId })))).toBe(
      'key_invalid: a.key: the key id does not match the public key',
    );
  });
});

describe('opening', () => {
  const open = (change: object, passphrase: string | null = PASSPHRASE): string => {
    let opened: Uint8Array = new Uint8Array();
    const refused = refusalText(() => {
      opened = openSeed(fileOf(change), passphrase, 'a.key');
    });
    return refused === 'accepted' ? hex(opened) : refused;
  };

  it('plain_file_needs_no_passphrase', () => {
    expect(open({}, null)).toBe(hex(seed));
    expect(open({})).toBe(hex(seed));
  });

  it.each([{}, { N: 2, r: 1, p: 1 }, { r: 32, p: 16 }, { p: 3 }])(
    'sealed_file_of_cost_%j_opens',
    (cost) => {
      expect(open({ secret: sealedSecret(cost) })).toBe(hex(seed));
    },
  );

  it.each<[string, object, string | null, string]>([
    [
      'sealed_file_without_a_passphrase',
      { secret: sealedSecret() },
      null,
      'a.key is sealed: set LINNET_KEY_PASSPHRASE to its passphrase',
    ],
    [
      'wrong_passphrase',
      { secret: sealedSecret() },
      'wrong',
      'a.key: the passphrase in LINNET_KEY_PASSPHRASE is wrong',
    ],
    [
      'empty_passphrase',
      { secret: sealedSecret() },
      '',
      'a.key: the passphrase in LINNET_KEY_PASSPHRASE is wrong',
    ],
    [
      'cost_that_needs_more_memory_than_the_limit',
      { secret: sealedSecret({ N: 2 ** 20, r: 5 }) },
      PASSPHRASE,
      'a.key: scrypt cost N=1048576, r=5 is above the limit or not a power of two',
    ],
    [
      'cost_that_is_no_power_of_two',
      { secret: sealedSecret({ N: 3 }) },
      PASSPHRASE,
      'a.key: scrypt cost N=3, r=1 is above the limit or not a power of two',
    ],
    [
      'plain_seed_of_another_key',
      { secret: { kind: 'plain', seed: hex(otherSeed) } },
      null,
      'a.key: the secret does not match the public key',
    ],
    [
      'sealed_seed_of_another_key',
      { secret: sealedSecret({}, otherSeed) },
      PASSPHRASE,
      'a.key: the secret does not match the public key',
    ],
  ])('%s_is_refused', (_name, change, passphrase, detail) => {
    expect(open(change, passphrase)).toBe(`key_invalid: ${detail}`);
  });
});
