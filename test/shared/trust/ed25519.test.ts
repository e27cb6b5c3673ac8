// Strict verification of Ed25519: RFC 8032 vectors verify, everything malleable is refused. The
// edge cases are the published vectors of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko,
// 2020; github.com/novifinancial/ed25519-speccheck), which carry an equation-satisfying signature
// each.
import { createPublicKey, verify as verifyBytes } from 'node:crypto';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { fromHex, hex, utf8 } from '../../../shared/base/bytes.js';
import { isUsableKey, verify } from '../../../shared/trust/ed25519.js';
import { publicKeyOf, signerFromSeed } from '../../../shared/trust/signer.js';

const keyOf = (publicHex: string): ReturnType<typeof publicKeyOf> => ({
  keytype: 'ed25519',
  scheme: 'ed25519',
  keyval: { public: publicHex },
});

const GROUP_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const FIELD_PRIME = 2n ** 255n - 19n;
const littleEndian = (value: bigint): string =>
  Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse().toString('hex');
const fromLittleEndian = (text: string): bigint =>
  BigInt(`0x${Buffer.from(text, 'hex').reverse().toString('hex')}`);

const SMALL_ORDER_POINTS = [
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000000000080',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
];

/** The same points written differently: y + p where it fits, or a sign bit on x = 0. */
const NON_CANONICAL_POINTS = [
  '0100000000000000000000000000000000000000000000000000000000000080',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
];

/** [name, message, public key, signature] */
const SPECCHECK = [
  [
    'small_order_key_and_commitment_with_s_zero',
    '8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a' + '00'.repeat(32),
  ],
  [
    'small_order_key_with_mixed_commitment',
    '9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa',
    'f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43' +
      'a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04',
  ],
  [
    'small_order_commitment_with_mixed_key',
    'aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab',
    'f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa' +
      '8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e',
  ],
  [
    'valid_only_when_multiplied_by_the_cofactor',
    'e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c',
    'cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d',
    '160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed512' +
      '5ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09',
  ],
  [
    's_above_the_group_order',
    '85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40',
    '442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623',
    'e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e' +
      '547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514',
  ],
  [
    's_far_above_the_group_order',
    '85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40',
    '442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623',
    '8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa1942' +
      '7e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22',
  ],
] as const;

describe('verify', () => {
  it.each([
    [
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
      '',
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155' +
        '5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
    ],
    [
      '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
      '72',
      '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da' +
        '085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
    ],
    [
      'fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025',
      'af82',
      '6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac' +
        '18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a',
    ],
  ])('rfc_8032_vector_of_key_%s', (key, message, signature) => {
    expect(verify(keyOf(key), fromHex(message), fromHex(signature))).toBe(true);
    expect(verify(keyOf(key), fromHex(`${message}00`), fromHex(signature))).toBe(false);
  });

  it('agrees_with_tweetnacl_on_every_flipped_bit', async () => {
    const message = utf8('a message');
    const signer = signerFromSeed(new Uint8Array(32).fill(5));
    const signature = await signer.sign(message);
    const raw = fromHex(signer.publicKey.keyval.public);
    expect(verify(signer.publicKey, message, signature)).toBe(true);
    for (let bit = 0; bit < signature.length * 8; bit += 7) {
      const changed = Uint8Array.from(signature);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(verify(signer.publicKey, message, changed)).toBe(false);
      expect(nacl.sign.detached.verify(message, changed, raw)).toBe(false);
    }
  });

  it.each(SPECCHECK)('refuses_%s', (_name, message, key, signature) => {
    expect(verify(keyOf(key), fromHex(message), fromHex(signature))).toBe(false);
  });

  it('one_small_order_key_would_sign_everything_for_openssl_3_0_alone', () => {
    // Why the check is here: OpenSSL of Node 20 accepts a neutral public key, R of the neutral
    // element and S = 0 for any message.
    const neutral = SMALL_ORDER_POINTS[0] ?? '';
    const signature = fromHex(neutral + '00'.repeat(32));
    const der = Buffer.concat([
      Buffer.from('302a300506032b6570032100', 'hex'),
      Buffer.from(neutral, 'hex'),
    ]);
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    for (const message of ['install this', 'and that']) {
      const isAccepted = verifyBytes(null, utf8(message), key, signature);
      if (process.versions.openssl.startsWith('3.0.')) expect(isAccepted).toBe(true);
      expect(verify(keyOf(neutral), utf8(message), signature)).toBe(false);
    }
  });

  it.each([...SMALL_ORDER_POINTS, ...NON_CANONICAL_POINTS])(
    'point_%s_is_refused_as_key_and_as_commitment',
    async (point) => {
      const message = utf8('x');
      const signer = signerFromSeed(new Uint8Array(32).fill(9));
      const good = await signer.sign(message);
      const s = hex(good.subarray(32));
      expect(isUsableKey(keyOf(point))).toBe(false);
      for (const scalar of ['00'.repeat(32), s]) {
        expect(verify(keyOf(point), message, fromHex(point + scalar))).toBe(false);
        expect(verify(signer.publicKey, message, fromHex(point + scalar))).toBe(false);
      }
      expect(verify(keyOf(point), message, good)).toBe(false);
    },
  );

  it('usable_keys_end_where_the_field_ends', () => {
    expect(isUsableKey(signerFromSeed(new Uint8Array(32)).publicKey)).toBe(true);
    expect(isUsableKey(keyOf(littleEndian(FIELD_PRIME - 2n)))).toBe(true);
    expect(isUsableKey(keyOf(littleEndian(FIELD_PRIME)))).toBe(false);
    expect(isUsableKey(keyOf(littleEndian(FIELD_PRIME + 2n)))).toBe(false);
    expect(isUsableKey(keyOf('ab'))).toBe(false);
    expect(isUsableKey(keyOf('zz'.repeat(32)))).toBe(false);
  });

  it('s_plus_the_group_order_is_another_form_of_a_valid_signature_and_is_refused', async () => {
    const message = utf8('x');
    const signer = signerFromSeed(new Uint8Array(32).fill(1));
    const good = hex(await signer.sign(message));
    const s = fromLittleEndian(good.slice(64));
    const twin = good.slice(0, 64) + littleEndian(s + GROUP_ORDER);
    expect(verify(signer.publicKey, message, fromHex(good))).toBe(true);
    expect(verify(signer.publicKey, message, fromHex(twin))).toBe(false);
  });

  it('wrong_lengths_are_not_valid_and_do_not_throw', async () => {
    const message = utf8('x');
    const signer = signerFromSeed(new Uint8Array(32).fill(1));
    const good = await signer.sign(message);
    for (const signature of [
      new Uint8Array(0),
      good.subarray(0, 63),
      good.subarray(0, 32),
      Buffer.concat([good, Buffer.alloc(1)]),
      Buffer.concat([good, good]),
    ])
      expect(verify(signer.publicKey, message, signature)).toBe(false);
    const raw = signer.publicKey.keyval.public;
    for (const key of ['', raw.slice(0, 62), `${raw}00`, `${raw}${raw}`, 'xy'.repeat(32)])
      expect(verify(keyOf(key), message, good)).toBe(false);
  });
});

describe('fromHex', () => {
  it('text_that_is_not_hex_is_no_bytes_at_all', () => {
    expect(fromHex('00ff')).toEqual(new Uint8Array([0, 255]));
    for (const text of ['0', '0g', '00 ', 'zz', '00zz']) expect(fromHex(text).length).toBe(0);
  });
});
