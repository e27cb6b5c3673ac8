// The MQTT link against a real aedes broker that restarts, refuses and checks every password.
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Aedes } from 'aedes';
import { writeToStream } from 'mqtt-packet';
import { afterEach, describe, expect, it } from 'vitest';
import { MqttLink } from '../../../agent/platform/mqtt-link.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { topics } from '../../../shared/protocol/telemetry.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import {
  makeDeviceToken,
  openDeviceToken,
  deviceIdOf,
} from '../../../shared/trust/device-token.js';
import { signerFromSeed } from '../../../shared/trust/signer.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Of MQTT 3.1.1, 3.2.2.3. */
const BAD_CREDENTIALS = 4;

const key = signerFromSeed(new Uint8Array(32).fill(5));
const device = deviceIdOf(key.publicKey);
const tokenAt = (nowMs: number): Promise<string> =>
  makeDeviceToken(key, {
    ...{ device, use: 'mqtt', audience: 'aa'.repeat(32) },
    ...{ nowMs, nonce: realRandom.bytes(32) },
  });

interface Broker {
  port: number;
  passwords: string[];
  aedes: Aedes;
  stop(): Promise<void>;
}

async function broker(port = 0, publishAllowed = true): Promise<Broker> {
  const aedes = await Aedes.createBroker();
  const passwords: string[] = [];
  aedes.authenticate = (_client, username, password, done) => {
    const token = password?.toString() ?? '';
    openDeviceToken(token, {
      ...{ use: 'mqtt', nowMs: Date.now() },
      isAudience: () => Promise.resolve(true),
      keyOf: () => Promise.resolve(key.publicKey),
    })
      .then((owner) => {
        if (owner !== username || passwords.includes(token))
          throw new Error('replayed or foreign token');
        passwords.push(token);
        done(null, true);
      })
      .catch(() => done(Object.assign(new Error('no'), { returnCode: BAD_CREDENTIALS }), false));
  };
  aedes.authorizePublish = (_client, _packet, done) =>
    done(publishAllowed ? null : new Error('not allowed'));
  const server: Server = createServer(aedes.handle as (socket: Socket) => void);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  let stopped = false;
  const stop = async (): Promise<void> => {
    if (stopped) return;
    stopped = true;
    const closed = new Promise((resolve) => server.close(resolve));
    await new Promise<void>((resolve) => aedes.close(resolve));
    await closed;
  };
  cleanups.push(stop);
  return { port: (server.address() as AddressInfo).port, passwords, aedes, stop };
}

function linkTo(port: number): MqttLink {
  const made = new MqttLink({
    url: `mqtt://127.0.0.1:${port}`,
    device,
    clock: realClock,
    random: realRandom,
    log: silentLog,
    token: () => tokenAt(Date.now()),
  });
  cleanups.push(() => made.close());
  return made;
}

const until = (fact: () => boolean): Promise<void> =>
  expect
    .poll(fact, { timeout: 30_000, interval: 20 })
    .toBe(true)
    .then(() => undefined);
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no fault',
    (error: unknown) => (isFault(error) ? error.code : String(error)),
  );

function tell(aedes: Aedes, topic: string, text: string): void {
  aedes.publish(
    { cmd: 'publish', topic, payload: Buffer.from(text), qos: 1, retain: false, dup: false },
    () => {},
  );
}

it('numbers_of_packets_are_not_kept_in_memory', async () => {
  writeToStream.cacheNumbers = true;
  const link = linkTo((await broker()).port);
  await until(() => link.connected);
  expect(writeToStream.cacheNumbers).toBe(false);
});

it('broker_restart_gets_a_fresh_token_and_a_new_subscription', async () => {
  const first = await broker();
  const link = linkTo(first.port);
  const heard: string[] = [];
  let connections = 0;
  link.onMessage((topic, payload) => heard.push(`${topic} ${Buffer.from(payload).toString()}`));
  link.onConnected(() => (connections += 1));
  await until(() => link.connected);
  tell(first.aedes, topics.hint(device), 'one');
  await until(() => heard.length === 1);
  await first.stop();
  await until(() => !link.connected);
  expect(await codeOf(link.publish(topics.telemetry(device), Buffer.from('x')))).toBe(
    'server_unreachable',
  );

  const second = await broker(first.port);
  await until(() => link.connected);
  const received: string[] = [];
  second.aedes.on('publish', (packet, client) => {
    if (client !== null) received.push(packet.payload.toString());
  });
  await link.publish(topics.telemetry(device), Buffer.from('after'));
  await until(() => received.length > 0);
  expect(received).toEqual(['after']);
  tell(second.aedes, topics.hint(device), 'two');
  await until(() => heard.length === 2);
  expect(heard).toEqual([`${topics.hint(device)} one`, `${topics.hint(device)} two`]);
  expect(connections).toBe(2);
  expect(first.passwords.length + second.passwords.length).toBeGreaterThanOrEqual(2);
  expect(second.passwords).not.toContain(first.passwords[0]);
});

it('publish_that_the_broker_does_not_take_rejects_when_the_connection_ends', async () => {
  const strict = await broker(0, false);
  const link = linkTo(strict.port);
  await until(() => link.connected);
  expect(await codeOf(link.publish('linnet/v1/other/up/telemetry', Buffer.from('x')))).toBe(
    'server_unreachable',
  );
});

it('broker_that_comes_late_is_found_and_closing_ends_the_attempts', async () => {
  const probe = await broker();
  await probe.stop();
  const link = linkTo(probe.port);
  const late = await broker(probe.port);
  await until(() => link.connected);
  await link.close();
  expect(link.connected).toBe(false);
  await until(() => late.aedes.connectedClients === 0);
});

it('wrong_password_keeps_trying_and_never_counts_as_connected', async () => {
  const real = await broker();
  let asked = 0;
  const link = new MqttLink({
    url: `mqtt://127.0.0.1:${real.port}`,
    device,
    clock: realClock,
    random: realRandom,
    log: silentLog,
    token: () => {
      asked += 1;
      return asked < 3 ? Promise.resolve('rubbish') : tokenAt(Date.now());
    },
  });
  cleanups.push(() => link.close());
  let connections = 0;
  link.onConnected(() => (connections += 1));
  await until(() => link.connected);
  expect(asked).toBe(3);
  expect(connections).toBe(1);
});

describe('a login that is refused', () => {
  /** A device whose clock stands in 1970 until `learn`. */
  function wrongClock(port: number, learn: () => boolean) {
    let madeAt = 0;
    const seen = { tokens: 0, asked: 0 };
    const waits: number[] = [];
    const link = new MqttLink({
      url: `mqtt://127.0.0.1:${port}`,
      device,
      clock: { ...realClock, after: (ms, fn) => (waits.push(ms), realClock.after(ms, fn)) },
      random: realRandom,
      log: silentLog,
      token: () => {
        seen.tokens += 1;
        return tokenAt(madeAt);
      },
      onRefused: () => {
        seen.asked += 1;
        const learned = learn();
        if (learned) madeAt = Date.now();
        return Promise.resolve(learned);
      },
    });
    cleanups.push(() => link.close());
    return { link, seen, waits };
  }

  it('clock_of_1970_is_corrected_and_the_login_is_tried_again_at_once', async () => {
    const real = await broker();
    const { link, seen, waits } = wrongClock(real.port, () => true);
    await until(() => link.connected);
    expect(seen).toEqual({ tokens: 2, asked: 1 });
    expect(waits).toEqual([]); // No backoff in between.
  });

  it('without_news_of_the_time_it_backs_off', async () => {
    const real = await broker();
    let asked = 0;
    const { link, seen, waits } = wrongClock(real.port, () => (asked += 1) === 2);
    await until(() => link.connected);
    expect(seen).toEqual({ tokens: 3, asked: 2 });
    expect(waits).toHaveLength(1);
  });
});

it('broker_without_room_is_asked_again_later_and_the_token_is_not_doubted', async () => {
  const { port, aedes, passwords } = await broker();
  const logIn = aedes.authenticate;
  let isBusy = true;
  aedes.authenticate = (client, username, password, done) => {
    if (isBusy) done(Object.assign(new Error('no room'), { returnCode: 3 }), null);
    else logIn(client, username, password, done);
    isBusy = false;
  };
  const waits: number[] = [];
  let doubts = 0;
  const link = new MqttLink({
    url: `mqtt://127.0.0.1:${port}`,
    device,
    clock: {
      ...realClock,
      after: (ms, fn) => {
        waits.push(ms);
        return realClock.after(0, fn);
      },
    },
    random: realRandom,
    log: silentLog,
    token: () => tokenAt(Date.now()),
    onRefused: async () => {
      doubts += 1;
      return true;
    },
  });
  cleanups.push(() => link.close());
  await until(() => link.connected);
  expect(waits).toHaveLength(1);
  expect(waits[0]).toBeGreaterThanOrEqual(limits.linkBusyFirstMs / 2);
  expect([doubts, passwords.length]).toEqual([0, 1]);
});
