// Who may log in at the embedded broker and use which topics: each refusal with several wrong
// inputs, each permission at its limit.
import { describe, expect, test } from 'vitest';
import {
  connectRefusal,
  publishRefusal,
  subscribeRefusal,
  verifyLogin,
} from '../../../server/mqtt/access-control.js';
import { limits } from '../../../shared/base/limits.js';
import { topics } from '../../../shared/protocol/telemetry.js';
import { newDevice } from '../../support/fleet-server.js';

const device = newDevice('cam-1');
const other = newDevice('cam-2');
const keyOf = (id: string) =>
  Promise.resolve([device, other].find((known) => known.id === id)?.key.publicKey);
const check = (nowMs = Date.now()) => ({
  ...{ nowMs, keyOf },
  isAudience: (audience: string) => Promise.resolve(audience === fleet.audience),
});
const fleet = { audience: 'aa'.repeat(32) };
const token = await device.token('mqtt', fleet);
const login = (change: object = {}) => ({
  clientId: device.id,
  username: device.id,
  password: token,
  ...change,
});

describe('login', () => {
  test('device_with_a_fresh_token_of_its_own_key_is_admitted', async () => {
    await verifyLogin(login(), check());
  });

  test('everyone_else_is_refused', async () => {
    const stranger = newDevice('stranger');
    for (const change of [
      { clientId: other.id },
      { username: other.id },
      { clientId: other.id, username: other.id },
      { username: undefined },
      { username: '' },
      { clientId: '' },
      { password: await other.token('mqtt', fleet) },
      { password: '' },
      { password: 'nonsense' },
      {
        clientId: stranger.id,
        username: stranger.id,
        password: await stranger.token('mqtt', fleet),
      },
      { clientId: 'linnet-server', username: 'linnet-server', password: 'guess' },
    ])
      await expect(verifyLogin(login(change), check())).rejects.toMatchObject({
        code: 'auth_missing',
      });
  });

  test('device_of_another_fleet_is_refused', async () => {
    const password = await device.token('mqtt', { audience: 'bb'.repeat(32) });
    await expect(verifyLogin(login({ password }), check())).rejects.toMatchObject({
      code: 'fleet_wrong',
    });
  });

  test('old_token_is_refused', async () => {
    const life = limits.deviceTokenLifeMs + limits.clockSkewMaxMs;
    await verifyLogin(login(), check(Date.now() + life - 5000));
    for (const now of [Date.now() + life + 5000, Date.now() - life - 5000])
      await expect(verifyLogin(login(), check(now))).rejects.toMatchObject({
        code: 'clock_wrong',
      });
  });
});

describe('publish', () => {
  const publication = (change: object = {}) => ({
    topic: topics.telemetry(device.id),
    retain: false,
    qos: 1,
    payloadBytes: limits.mqttPayloadMaxBytes,
    ...change,
  });

  test('own_telemetry_up_to_the_largest_payload_is_allowed', () => {
    expect(publishRefusal(device.id, publication())).toBeNull();
  });

  test('foreign_topics_are_refused', () => {
    for (const topic of [
      topics.telemetry(other.id),
      topics.hint(device.id),
      topics.ack(device.id),
      topics.hint(other.id),
      `linnet/v1/${device.id}`,
      `linnet/v1/${device.id}/up`,
      `x/${topics.telemetry(device.id)}`,
      '$SYS/x',
      '',
    ])
      expect(publishRefusal(device.id, publication({ topic }))).toContain('is not a topic of');
  });

  test('long_topic_is_cut_in_the_refusal', () => {
    const refusal = publishRefusal(device.id, publication({ topic: 'x'.repeat(60_000) }));
    expect(refusal?.length).toBeLessThan(limits.quotedMaxChars + 100);
  });

  test('qos_2_is_refused_because_it_is_kept_until_it_is_released', () => {
    expect(publishRefusal(device.id, publication({ qos: 2 }))).toBe('QoS 2 is not offered');
    for (const qos of [0, 1]) expect(publishRefusal(device.id, publication({ qos }))).toBeNull();
  });

  test('retained_and_long_messages_are_refused', () => {
    expect(publishRefusal(device.id, publication({ retain: true }))).toContain('retain');
    const payloadBytes = limits.mqttPayloadMaxBytes + 1;
    expect(publishRefusal(device.id, publication({ payloadBytes }))).toContain(
      `the limit is ${limits.mqttPayloadMaxBytes}`,
    );
  });
});

describe('subscribe', () => {
  test('the_own_down_filter_is_allowed_whole', () => {
    expect(subscribeRefusal(device.id, topics.down(device.id))).toBeNull();
  });

  test('all_other_filters_are_refused', () => {
    for (const filter of [
      topics.ack(device.id),
      topics.hint(device.id),
      `${topics.down(device.id).slice(0, -1)}1`,
      topics.down(other.id),
      topics.up(device.id),
      topics.up(other.id),
      topics.everyUp,
      '#',
      '+/+/+/down/#',
      `linnet/v1/+/down/#`,
      `linnet/v1/${device.id}/+/#`,
      `linnet/v1/${device.id}`,
      `$share/group/${topics.down(device.id)}`,
      '',
    ])
      expect(subscribeRefusal(device.id, filter)).toContain('is not the filter of');
  });
});

describe('a connection', () => {
  test('has_a_clean_session_and_leaves_no_will', () => {
    expect(connectRefusal({ clean: true })).toBeNull();
    expect(connectRefusal({ clean: true, will: null })).toBeNull();
    for (const clean of [false, undefined])
      expect(connectRefusal({ clean })).toContain('clean session');
    expect(connectRefusal({ clean: true, will: { topic: 'x' } })).toContain('will');
  });
});
