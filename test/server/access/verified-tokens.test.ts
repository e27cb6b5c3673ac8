// Tokens that were verified before: one verification for many requests, one login for each MQTT
// token, and a limited memory.
import { expect, test } from 'vitest';
import { VerifiedTokens } from '../../../server/access/verified-tokens.js';
import { limits } from '../../../shared/base/limits.js';
import { openDeviceToken } from '../../../shared/trust/device-token.js';
import type { PublicKey } from '../../../shared/trust/signer.js';
import { newDevice } from '../../support/fleet-server.js';

const device = newDevice('cam-1');
const open =
  (token: string, seen: VerifiedTokens, key: PublicKey = device.key.publicKey) =>
  (use: 'http' | 'mqtt'): Promise<string> =>
    openDeviceToken(token, {
      ...{ use, nowMs: Date.now(), seen },
      isAudience: () => Promise.resolve(true),
      keyOf: () => Promise.resolve(key),
    });

test('a_verified_token_is_remembered_and_serves_again', async () => {
  const token = await device.token('http');
  const keys: string[] = [];
  class Watched extends VerifiedTokens {
    override add(key: string): void {
      keys.push(key);
      super.add(key);
    }
  }
  const seen = new Watched();
  for (let n = 0; n < 3; n++) expect(await open(token, seen)('http')).toBe(device.id);
  expect(keys).toHaveLength(1);
});

test('a_remembered_token_does_not_serve_for_another_key', async () => {
  const token = await device.token('http');
  const seen = new VerifiedTokens();
  await open(token, seen)('http');
  await expect(open(token, seen, newDevice('new-key').key.publicKey)('http')).rejects.toMatchObject(
    { code: 'auth_missing' },
  );
});

test('a_token_does_not_serve_for_the_other_use_remembered_or_not', async () => {
  for (const [made, asked] of [
    ['http', 'mqtt'],
    ['mqtt', 'http'],
  ] as const) {
    const token = await device.token(made);
    const seen = new VerifiedTokens();
    const refusal = { code: 'auth_missing' };
    await expect(open(token, seen)(asked)).rejects.toMatchObject(refusal);
    expect(await open(token, seen)(made)).toBe(device.id);
    await expect(open(token, seen)(asked)).rejects.toMatchObject(refusal);
  }
});

test('an_mqtt_token_logs_in_once', async () => {
  const token = await device.token('mqtt');
  const seen = new VerifiedTokens();
  await open(token, seen)('mqtt');
  await expect(open(token, seen)('mqtt')).rejects.toMatchObject({
    code: 'auth_missing',
    message: expect.stringContaining('used before') as string,
  });
});

test('the_memory_is_limited_and_keeps_what_is_in_use', () => {
  const seen = new VerifiedTokens();
  seen.add('in use');
  for (let n = 0; n < limits.verifiedTokensMaxCount; n++) {
    expect(seen.has('in use')).toBe(true);
    seen.add(`token ${n}`);
  }
  expect(seen.has('token 0')).toBe(false);
  expect(seen.has(`token ${limits.verifiedTokensMaxCount - 1}`)).toBe(true);
});
