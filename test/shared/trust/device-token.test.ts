// Device tokens: each way in which a token can be wrong is refused by itself, and the limits of its
// age are tested from both sides.
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { hex } from '../../../shared/base/bytes.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { decodeDocument, signDocument } from '../../../shared/trust/documents.js';
import {
  audienceOf,
  claimedDevice,
  deviceIdOf,
  fingerprintOf,
  makeDeviceToken,
  openDeviceToken,
  TOKEN_FAULTS,
  type TokenCheck,
} from '../../../shared/trust/device-token.js';
import { signerFromSeed, type PublicKey } from '../../../shared/trust/signer.js';
import { signedOf } from '../../support/smallest-documents.js';

const NOW = Date.UTC(2026, 10, 26);
const AGE_MAX_MS = limits.deviceTokenLifeMs + limits.clockSkewMaxMs;
const signer = signerFromSeed(new Uint8Array(32).fill(1));
const stranger = signerFromSeed(new Uint8Array(32).fill(2));
const device = deviceIdOf(signer.publicKey);
const nonce = new Uint8Array(32).fill(7);
const keyOf = (name: string): Promise<PublicKey | undefined> =>
  Promise.resolve(name === device ? signer.publicKey : undefined);

interface Fields {
  audience: string;
  device: string;
  at: number;
  nonce: string;
  sig: string;
}
const AUDIENCE = 'aa'.repeat(32);
const claims = { device, use: 'http', audience: AUDIENCE, nowMs: NOW, nonce } as const;
const check = {
  ...{ use: 'http', nowMs: NOW, keyOf },
  isAudience: (audience) => Promise.resolve(audience === AUDIENCE),
} satisfies TokenCheck;
const make = (nowMs = NOW): Promise<string> => makeDeviceToken(signer, { ...claims, nowMs });
const fieldsOf = async (): Promise<Fields> =>
  JSON.parse(Buffer.from(await make(), 'base64url').toString()) as Fields;
const encode = (fields: object): string =>
  Buffer.from(JSON.stringify(fields)).toString('base64url');

async function refusal(token: string, nowMs = NOW, code = 'auth_missing'): Promise<string> {
  try {
    return `accepted ${await openDeviceToken(token, { ...check, nowMs })}`;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    expect(error.code).toBe(code);
    expect(TOKEN_FAULTS).toContain(code);
    return error.detail;
  }
}

describe('signature', () => {
  it('token_of_an_enrolled_device_names_it', async () => {
    expect(await openDeviceToken(await make(), check)).toBe(device);
  });

  it('token_signed_by_another_key_is_refused', async () => {
    const forged = await makeDeviceToken(stranger, claims);
    expect(await refusal(forged)).toMatch(/not signed by the key of an enrolled device/);
  });

  it('token_of_a_device_that_is_not_enrolled_is_refused', async () => {
    const other = deviceIdOf(stranger.publicKey);
    const token = await makeDeviceToken(stranger, { ...claims, device: other });
    expect(await refusal(token)).toMatch(/not signed by the key of an enrolled device/);
  });

  it('every_field_is_covered_by_the_signature', async () => {
    const fields = await fieldsOf();
    expect(await refusal(encode(fields))).toBe(`accepted ${device}`);
    const both = (): Promise<PublicKey> => Promise.resolve(signer.publicKey);
    for (const change of [
      { device: 'dev-00000000000000000000' },
      { audience: 'bb'.repeat(32) },
      { at: fields.at + 1 },
      { at: fields.at - 1 },
      { nonce: hex(new Uint8Array(32).fill(8)) },
      { sig: `${fields.sig.slice(0, 126)}00` },
      { sig: '00'.repeat(64) },
    ])
      await expect(
        openDeviceToken(encode({ ...fields, ...change }), {
          ...check,
          keyOf: both,
          isAudience: () => Promise.resolve(true),
        }),
      ).rejects.toThrow(/not signed/);
  });
});

describe('age', () => {
  it('token_is_good_up_to_its_age_limit_in_both_directions', async () => {
    const token = await make(NOW);
    for (const nowMs of [NOW, NOW + AGE_MAX_MS, NOW - AGE_MAX_MS])
      expect(await refusal(token, nowMs)).toBe(`accepted ${device}`);
  });

  it('older_or_further_in_the_future_than_the_limit_is_refused', async () => {
    const token = await make(NOW);
    for (const nowMs of [NOW + AGE_MAX_MS + 1, NOW - AGE_MAX_MS - 1, NOW + 3_600_000, 0])
      expect(await refusal(token, nowMs, 'clock_wrong')).toMatch(/too old or from the future/);
  });

  it('time_of_a_token_is_whole_milliseconds', async () => {
    const token = await make(NOW + 0.9);
    expect((JSON.parse(Buffer.from(token, 'base64url').toString()) as Fields).at).toBe(NOW);
    expect(await refusal(token)).toBe(`accepted ${device}`);
  });
});

describe('form', () => {
  it('what_is_not_base64url_of_json_is_refused', async () => {
    for (const text of ['', 'x', '!!!!', Buffer.from('{').toString('base64url')])
      expect(await refusal(text)).toMatch(/not base64url of JSON/);
  });

  it('missing_long_and_wrong_fields_are_refused_before_a_key_is_looked_up', async () => {
    const fields = await fieldsOf();
    const looked: string[] = [];
    const lookUp = (name: string): Promise<PublicKey> => {
      looked.push(name);
      return Promise.resolve(signer.publicKey);
    };
    for (const wrong of [
      { ...fields, device: undefined },
      { ...fields, audience: undefined },
      { ...fields, audience: fields.audience.slice(2) },
      { ...fields, device: 'd'.repeat(129) },
      { ...fields, at: -1 },
      { ...fields, at: NOW + 0.5 },
      { ...fields, at: String(NOW) },
      { ...fields, nonce: fields.nonce.slice(2) },
      { ...fields, nonce: `${fields.nonce}00` },
      { ...fields, nonce: fields.nonce.toUpperCase() + 'G' },
      { ...fields, sig: fields.sig.slice(2) },
      { ...fields, sig: `${fields.sig}00` },
      { ...fields, more: 1 },
      [],
      null,
      7,
    ])
      await expect(
        openDeviceToken(encode(wrong as object), { ...check, keyOf: lookUp }),
      ).rejects.toThrow(/auth_missing: device token/);
    expect(looked).toEqual([]);
  });
});

describe('the audience of a token', () => {
  it('is_its_only_server_and_is_checked_before_a_key_is_looked_up', async () => {
    const asked: string[] = [];
    const isAudience = (audience: string): Promise<boolean> => {
      asked.push(audience);
      return Promise.resolve(false);
    };
    const lookUp = () => Promise.reject(new Error('looked up'));
    await expect(
      openDeviceToken(await make(), { ...check, isAudience, keyOf: lookUp }),
    ).rejects.toMatchObject({
      code: 'fleet_wrong',
      detail: `device token of ${device} is for the director with the root ${AUDIENCE}`,
    });
    expect(asked).toEqual([AUDIENCE]);
  });

  it('is_the_digest_of_a_root_with_any_signatures_and_in_any_layout', async () => {
    const signed = signedOf('root');
    const of = (bytes: Uint8Array): string => audienceOf(decodeDocument('root', bytes));
    const audience = of(await signDocument(signed, [signer]));
    expect(audience).toMatch(/^[0-9a-f]{64}$/);
    expect(of(await signDocument(signed, [signer, stranger]))).toBe(audience);
    const spaced = JSON.stringify({ signatures: [], signed }, null, 2);
    expect(of(Buffer.from(spaced))).toBe(audience);
    expect(of(await signDocument({ ...signed, version: 2 }, [signer]))).not.toBe(audience);
  });
});

describe('the refusals of tokens', () => {
  it('are_known_by_code_to_what_reports_them', () => {
    expect([...TOKEN_FAULTS].sort()).toEqual(['auth_missing', 'clock_wrong', 'fleet_wrong']);
  });
});

describe('device id', () => {
  it('is_derived_from_the_key', () => {
    expect(device).toMatch(/^dev-[0-9a-f]{20}$/);
    expect(deviceIdOf(signer.publicKey)).toBe(device);
    expect(deviceIdOf(stranger.publicKey)).not.toBe(device);
  });
});

describe('names of a key', () => {
  it('fingerprint_and_device_id_are_the_sha_256_of_its_32_bytes', () => {
    const { publicKey } = signer;
    const digest = createHash('sha256').update(publicKey.keyval.public, 'hex').digest('hex');
    expect(fingerprintOf(publicKey)).toBe(digest);
    expect(device).toBe(`dev-${digest.slice(0, 20)}`);
  });

  it('a_token_that_is_no_json_is_refused_with_the_cause', async () => {
    const error: unknown = await openDeviceToken('e30x', check).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'auth_missing', cause: expect.any(SyntaxError) as Error });
  });
});

describe('the use of a token', () => {
  it('is_the_only_one_that_it_serves_and_is_named_in_the_refusal', async () => {
    const forMqtt = await makeDeviceToken(signer, { ...claims, use: 'mqtt' });
    expect(await openDeviceToken(forMqtt, { ...check, use: 'mqtt' })).toBe(device);
    await expect(openDeviceToken(forMqtt, check)).rejects.toMatchObject({
      code: 'auth_missing',
      detail: `device token of ${device} is for mqtt`,
    });
  });

  it('of_http_may_be_repeated_without_a_second_verification_and_of_mqtt_not', async () => {
    const seen = new Set<string>();
    const open = (token: string, use: 'http' | 'mqtt', key = keyOf) =>
      openDeviceToken(token, { ...check, use, keyOf: key, seen });
    const http = await makeDeviceToken(signer, claims);
    expect(await open(http, 'http')).toBe(device);
    expect(await open(http, 'http')).toBe(device);
    expect(seen.size).toBe(1);
    const mqtt = await makeDeviceToken(signer, { ...claims, use: 'mqtt' });
    expect(await open(mqtt, 'mqtt')).toBe(device);
    await expect(open(mqtt, 'mqtt')).rejects.toMatchObject({
      code: 'auth_missing',
      detail: `device token of ${device} was used before`,
    });
    // What was verified with one key says nothing of another one, nor of a revoked device.
    const other = () => Promise.resolve(stranger.publicKey);
    await expect(open(http, 'http', other)).rejects.toMatchObject({ code: 'auth_missing' });
    const none = () => Promise.resolve(undefined);
    await expect(open(http, 'http', none)).rejects.toMatchObject({ code: 'auth_missing' });
    expect(seen.size).toBe(2);
  });

  it('and_the_device_of_a_token_are_read_without_verification_where_it_is_one', async () => {
    expect(claimedDevice(await makeDeviceToken(stranger, claims))).toBe(device);
    for (const wrong of ['', 'e30x', Buffer.from('{}').toString('base64url')])
      expect(claimedDevice(wrong)).toBeNull();
  });
});
