// Telemetry from report to the server's database, over a real broker, through outages and kills;
// and the collectors. Over 400 lines because each way a delivery can fail has its own test.
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { MqttLink } from '../../../agent/platform/mqtt-link.js';
import type { Link, Reporter } from '../../../agent/interfaces.js';
import { DeviceHealth } from '../../../agent/telemetry/device-health.js';
import { InferenceStats } from '../../../agent/telemetry/inference-stats.js';
import { linuxTemperature, realSensors, type Sensors } from '../../../agent/telemetry/sensors.js';
import { TelemetryUploader } from '../../../agent/telemetry/uploader.js';
import { Spool } from '../../../agent/telemetry/spool.js';
import { listenForHints } from '../../../agent/update/hint-listener.js';
import { complaints } from '../../../shared/base/decode.js';
import { silentLog, type Clock } from '../../../shared/base/interfaces.js';
import {
  HealthBody,
  InferenceBody,
  topics,
  type Hint,
} from '../../../shared/protocol/telemetry.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { QuantileSketch } from '../../../shared/statistics/quantile-sketch.js';
import {
  health,
  startBroker,
  startServer,
  Store,
  type Broker,
  type Server,
} from '../../support/telemetry-broker.js';
import { isWhole } from '../../support/whole.js';

const device = 'dev-00112233445566778899';
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'linnet-telemetry-'));
  cleanups.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

async function broker(port = 0): Promise<Broker> {
  const made = await startBroker(port);
  cleanups.push(() => made.stop());
  return made;
}

async function server(...args: Parameters<typeof startServer>): Promise<Server> {
  const made = await startServer(...args);
  cleanups.push(() => made.stop());
  return made;
}

function store(): Store {
  const made = new Store(join(folder(), 'server.db'));
  cleanups.push(() => made.close());
  return made;
}

interface Agent {
  spool: Spool;
  link: MqttLink;
  reporter: TelemetryUploader;
}

/**
 * Time that runs `speed` times as fast, so that seconds of waiting for an acknowledgement cost the
 * test milliseconds.
 */
const fast = (speed: number): Clock => ({
  ...realClock,
  after: (ms, fn) => realClock.after(ms / speed, fn),
});

const instance = 'ab'.repeat(16);

function agent(port: number, clock: Clock = realClock): Agent {
  const fixture = { clock, random: realRandom, log: silentLog };
  const spool = new Spool(join(folder(), 'spool.db'), { maxBytes: 8 << 20, ...fixture });
  const link = new MqttLink({
    url: `mqtt://127.0.0.1:${port}`,
    device,
    token: () => Promise.resolve('x'),
    ...fixture,
  });
  const reporter = new TelemetryUploader({ device, instance, spool, link, ...fixture });
  reporter.start();
  cleanups.push(async () => {
    await reporter.stop();
    await link.close();
    spool.close();
  });
  return { spool, link, reporter };
}

const until = async (fact: () => boolean): Promise<void> => {
  await expect.poll(fact, { timeout: 50_000, interval: 10 }).toBe(true);
};

interface Child {
  process: ChildProcess;
  named: () => number[];
  gone: Promise<unknown>;
}

function reporting(where: string, port: number, first: number, count: number): Child {
  const script = join(import.meta.dirname, '../../../dist/test/agent/telemetry/reporting-child.js');
  const process_ = spawn(
    process.execPath,
    [script, where, String(port), device, String(first), String(count)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  let text = '';
  process_.stdout.on('data', (piece: Buffer) => (text += piece.toString()));
  const gone = new Promise((resolve) => process_.once('close', resolve));
  cleanups.push(async () => {
    process_.kill('SIGKILL');
    await gone;
  });
  return { process: process_, named: () => text.split('\n').slice(0, -1).map(Number), gone };
}

describe('exactly once', () => {
  it.skipIf(!isWhole)(
    'broker_and_server_stop_for_a_while_agent_killed_every_record_arrives_exactly_once',
    { timeout: 180_000 },
    async () => {
      const where = folder();
      const kept = store();
      const firstBroker = await broker();
      const { port } = firstBroker;
      // One batch in each life of the server is stored, but its acknowledgement never leaves: the
      // agent must send it again.
      const judge = (n: number) =>
        n === 3 ? ('stored without a word' as const) : ('stored' as const);
      const firstServer = await server(port, kept, judge);
      const named: number[] = [];
      const kill = async (child: Child): Promise<void> => {
        child.process.kill('SIGKILL');
        await child.gone;
        named.push(...child.named());
      };

      const one = reporting(where, port, 0, 100_000);
      await until(() => kept.numbers().length > 50);
      await firstServer.stop(); // The broker still takes what nobody stores.
      const sofar = one.named().length;
      await until(() => one.named().length > sofar + 50);
      await firstBroker.stop();
      const without = one.named().length;
      await until(() => one.named().length > without + 50);
      await kill(one);

      const two = reporting(where, port, 100_000, 100_000); // Starts with nobody there.
      await until(() => two.named().length > 50);
      await broker(port);
      const secondServer = await server(port, kept, judge);
      const before = kept.numbers().length;
      await until(() => kept.numbers().length > before + 50);
      await kill(two); // Most likely with a batch in flight.

      const three = reporting(where, port, 200_000, 100);
      await until(() => kept.numbers().at(-1) === 200_099);
      named.push(...three.named());
      const arrived = kept.numbers();
      expect(new Set(arrived).size).toBe(arrived.length);
      const there = new Set(arrived);
      expect(named.filter((n) => !there.has(n))).toEqual([]);
      // One a kill may be durable without having been named.
      expect(arrived.length - named.length).toBeLessThanOrEqual(2);
      // In the order in which they were appended.
      expect(arrived).toEqual([...arrived].sort((a, b) => a - b));
      // The silence did make it send again.
      expect(firstServer.repeats() + secondServer.repeats()).toBeGreaterThan(0);
    },
  );

  it('puback_without_the_acknowledgement_of_the_server_deletes_nothing', async () => {
    const kept = store();
    const { port } = await broker();
    let deaf = true;
    const ours = await server(port, kept, () => (deaf ? 'silent' : 'stored'));
    const { spool, reporter } = agent(port, fast(50));
    for (let n = 0; n < 10; n += 1) reporter.report('health', health(n));
    await until(() => ours.batches.length >= 4);
    expect(spool.stats().records).toBe(10);
    expect(new Set(ours.batches.map(({ batch }) => batch)).size).toBe(1);
    expect(new Set(ours.batches.map(({ records }) => JSON.stringify(records))).size).toBe(1);
    deaf = false;
    await until(() => spool.stats().records === 0);
    expect(kept.numbers()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('reconnection_sends_at_once_what_waited', async () => {
    const kept = store();
    const probe = await broker();
    await probe.stop();
    const { spool, reporter } = agent(probe.port);
    for (let n = 0; n < 450; n += 1) reporter.report('health', health(n));
    expect(spool.stats().records).toBe(450);
    await broker(probe.port);
    const ours = await server(probe.port, kept);
    await until(() => spool.stats().records === 0);
    expect(kept.numbers()).toEqual(Array.from({ length: 450 }, (_, n) => n));
    expect(
      ours.batches.map(({ records }) => records.length).reduce((a, b) => a + b),
    ).toBeGreaterThanOrEqual(450);
  });
});

describe('answers of the server', () => {
  it('refused_batch_is_dropped_counted_and_logged_once', async () => {
    const kept = store();
    const { port } = await broker();
    let refusing = 3;
    await server(port, kept, () => (refusing-- > 0 ? 'refused' : 'stored'));
    const { spool, reporter } = agent(port, fast(20));
    reporter.report('health', health(0));
    // The record, and the security event about it: no third one follows.
    await until(() => spool.stats().lost >= 2);
    reporter.report('health', health(1));
    await until(() => spool.stats().lost === 3);
    reporter.report('health', health(2));
    await until(() => spool.stats().records === 0 && kept.numbers().length === 1);
    expect(kept.numbers()).toEqual([2]);
    expect(spool.stats().lost).toBe(3);
  });

  it('refusal_is_reported_as_a_security_event', async () => {
    const kept = store();
    const { port } = await broker();
    const ours = await server(port, kept, (n) => (n === 0 ? 'refused' : 'stored'));
    const { spool, reporter } = agent(port, fast(20));
    reporter.report('health', health(0));
    await until(() => ours.batches.length === 2 && spool.stats().records === 0);
    expect(
      ours.batches[1]?.records.map(({ kind, body }) => [kind, (body as { code?: string }).code]),
    ).toEqual([['security', 'message_undecodable']]);
  });

  it('undecodable_and_foreign_acks_change_nothing_and_hints_reach_their_listener', async () => {
    const kept = store();
    const { port } = await broker();
    let deaf = true;
    const ours = await server(port, kept, () => (deaf ? 'silent' : 'stored'));
    const { spool, reporter, link } = agent(port, fast(20));
    const hints: Hint[] = [];
    listenForHints({ device, link, log: silentLog, onHint: (hint) => hints.push(hint) });
    reporter.report('health', health(0));
    await until(() => ours.batches.length > 0);
    const batch = ours.batches[0]?.batch ?? '';
    for (const text of [
      '',
      '{',
      'null',
      '{"batch":"x","result":"stored"}',
      `{"batch":"${'0'.repeat(32)}","result":"stored"}`,
      `{"batch":"${'0'.repeat(32)}","result":"refused"}`,
      `{"batch":"${batch}","result":"maybe"}`,
      `{"batch":"${batch}","result":"stored","more":1}`,
    ]) {
      await ours.say(topics.ack(device), text);
    }
    for (const text of ['{"look":"assignment","install":"this"}', 'look', '{"look":"assignment"}'])
      await ours.say(topics.hint(device), text);
    await until(() => hints.length > 0);
    expect(hints).toEqual([{ look: 'assignment' }]);
    expect(spool.stats()).toMatchObject({ records: 1, lost: 0 });
    deaf = false;
    await until(() => spool.stats().records === 0);
  });

  it('late_ack_after_the_wait_still_counts', async () => {
    const spool = new Spool(join(folder(), 'spool.db'), {
      maxBytes: 8 << 20,
      clock: realClock,
      random: realRandom,
    });
    cleanups.push(() => spool.close());
    const sent: string[] = [];
    let say: (topic: string, payload: Uint8Array) => void = () => {};
    const link: Link = {
      connected: true,
      onConnected: () => {},
      close: () => Promise.resolve(),
      onMessage: (listener) => (say = listener),
      publish: (_topic, payload) => {
        sent.push((JSON.parse(Buffer.from(payload).toString()) as { batch: string }).batch);
        return Promise.resolve();
      },
    };
    const timers: (() => void)[] = []; // No time passes unless the test says so.
    const clock: Clock = {
      ...realClock,
      after: (_ms, fn) => (timers.push(fn), () => timers.splice(timers.indexOf(fn), 1)),
    };
    const reporter = new TelemetryUploader({
      device,
      instance,
      spool,
      link,
      clock,
      random: realRandom,
      log: silentLog,
    });
    reporter.start();
    cleanups.push(() => reporter.stop());
    reporter.report('health', health(0));
    await until(() => timers.length === 1);
    // The wait for the acknowledgement ends; the pause before the next try begins.
    timers.shift()?.();
    await until(() => timers.length === 1);
    expect(sent.length).toBe(1);
    reporter.report('health', health(1));
    say(topics.ack(device), Buffer.from(JSON.stringify({ batch: sent[0], result: 'stored' })));
    await until(() => sent.length === 2);
    expect(sent[1]).not.toBe(sent[0]);
    expect(spool.stats().records).toBe(1);
  });
});

class Recorder implements Reporter {
  readonly told: { kind: string; body: unknown }[] = [];
  report(kind: string, body: unknown): void {
    this.told.push({ kind, body });
  }
}

describe('health', () => {
  const options = {
    spool: { stats: () => ({ records: 1, bytes: 2, lost: 3 }), oldestAt: () => null },
    clockErrorMs: () => -5,
    clock: realClock,
    log: silentLog,
  };

  it('real_sensors_give_a_body_that_the_server_takes', async () => {
    const collector = new DeviceHealth({
      ...options,
      reporter: new Recorder(),
      folder: folder(),
    });
    const body = await collector.sample();
    expect(complaints(HealthBody, body)).toEqual([]);
    expect(body.memoryTotalBytes).toBeGreaterThan(body.memoryAvailableBytes);
    expect(body.memoryAvailableBytes).toBeGreaterThan(0);
    expect(body.diskTotalBytes).toBeGreaterThan(body.diskFreeBytes ?? Infinity);
    expect(body.cpuUse).not.toBeNull();
    expect(body.spool).toEqual({ records: 1, bytes: 2, lost: 3 });
    expect(body.clockErrorMs).toBe(-5);
  });

  it('says_how_old_the_oldest_record_that_waits_is', async () => {
    const clock = { ...realClock, now: () => 1_000_000 };
    const spool = { ...options.spool, oldestAt: () => 877_000 };
    const of = { ...options, clock, spool, reporter: new Recorder(), folder: folder() };
    const body = await new DeviceHealth(of).sample();
    expect(complaints(HealthBody, body)).toEqual([]);
    expect(body.spool).toEqual({ records: 1, bytes: 2, lost: 3, oldestSeconds: 123 });
  });

  it('failing_sensors_are_null_and_the_rest_arrives', async () => {
    const broken: Sensors = {
      ...realSensors,
      cpuUse: () => Promise.resolve(Number.NaN),
      temperature: () => {
        throw new Error('no such bus');
      },
      disk: () => Promise.reject(new Error('gone')),
    };
    const recorder = new Recorder();
    const collector = new DeviceHealth({
      ...options,
      reporter: recorder,
      folder: '/none',
      sensors: broken,
    });
    collector.start();
    await until(() => recorder.told.length === 1);
    collector.stop();
    const body = recorder.told[0]?.body as HealthBody;
    expect(complaints(HealthBody, body)).toEqual([]);
    expect(body).toMatchObject({
      cpuUse: null,
      temperatureC: null,
      diskTotalBytes: null,
      diskFreeBytes: null,
    });
    expect(body.memoryTotalBytes).toBeGreaterThan(0);
  });

  it('hottest_zone_counts_and_zones_without_a_sensor_do_not', async () => {
    const base = folder();
    expect(await linuxTemperature(base)).toBeNull();
    for (const [zone, text] of Object.entries({
      thermal_zone0: '41500\n',
      thermal_zone1: '-274000\n',
      thermal_zone2: '63250\n',
      cooling_device0: '99000',
    })) {
      mkdirSync(join(base, zone));
      writeFileSync(join(base, zone, 'temp'), text);
    }
    mkdirSync(join(base, 'thermal_zone3'));
    expect(await linuxTemperature(base)).toBe(63.25);
  });
});

describe('inference', () => {
  const release: ReleaseRef = { component: 'digits', version: '1.0.0', digest: 'a'.repeat(64) };
  const other: ReleaseRef = { ...release, version: '1.1.0', digest: 'b'.repeat(64) };

  it('deltas_per_release_only_when_something_happened', () => {
    const recorder = new Recorder();
    const stats = new InferenceStats({ reporter: recorder, clock: realClock });
    stats.flush();
    expect(recorder.told).toEqual([]);
    for (let n = 1; n <= 100; n += 1) {
      stats.take({
        release,
        latencyMs: n,
        outcome: 'served',
        labels: 3,
        classes: [{ index: n % 3, confidence: n / 100 }],
      });
    }
    stats.take({ release, latencyMs: 5000, outcome: 'failed', labels: 3, classes: null });
    stats.take({ release: other, latencyMs: 0, outcome: 'refused', labels: 0, classes: null });
    stats.take({
      release: other,
      latencyMs: 1,
      outcome: 'served',
      labels: 3,
      classes: [
        { index: 3, confidence: 1 },
        { index: 0, confidence: Number.NaN },
      ],
    });
    stats.flush();
    stats.flush();
    expect(recorder.told.map(({ body }) => complaints(InferenceBody, body))).toEqual([[], []]);
    const [first, second] = recorder.told.map(({ body }) => body as InferenceBody);
    expect(first).toMatchObject({
      release,
      served: 100,
      failed: 1,
      refused: 0,
      answers: { classes: [33, 34, 33] },
    });
    expect(first?.answers?.confidence.reduce((a, b) => a + b)).toBe(100);
    expect(first?.answers?.confidence.at(-1)).toBe(6); // 0.95 ... 1.00
    expect(first?.answers?.confidenceSum).toBeCloseTo(50.5);
    const latency = new QuantileSketch();
    latency.merge(first?.latencyMs ?? { count: 0, bins: [] });
    expect(latency.count).toBe(100);
    expect(Math.abs((latency.quantile(0.5) ?? 0) - 51)).toBeLessThan(2.1);
    expect(second).toMatchObject({
      release: other,
      served: 1,
      failed: 0,
      refused: 1,
      answers: { classes: [0, 0, 0] },
    });
    stats.take({ release, latencyMs: 1, outcome: 'served', labels: 0, classes: null });
    stats.stop();
    expect(recorder.told.at(-1)?.body).toMatchObject({ release, served: 1, answers: null });
  });
});
