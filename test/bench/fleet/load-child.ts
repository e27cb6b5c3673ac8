// One of the processes that hold the devices of the benchmark. It answers the calls of load.ts.
import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import type { Random } from '../../../shared/base/interfaces.js';
import type { TelemetryBatch, TelemetryRecord } from '../../../shared/protocol/telemetry.js';
import { seeded } from '../../support/random.js';
import { answerCalls } from './child-calls.js';
import { benchDevice, COMPONENT } from './identities.js';
import { LightDevice, type Target } from './light-device.js';
import type {
  FloodRequest,
  FloodResult,
  LookResult,
  PaceRequest,
  PaceResult,
  ReleaseRequest,
  RoundResult,
  StartRequest,
} from './load.js';

const LOOK_PAUSE_MS = 500;

/** A device with what this benchmark counts of it. */
interface Counted {
  readonly index: number;
  readonly link: LightDevice;
  readonly instance: string;
  seq: number;
  /** Records that leave a row. */
  rows: number;
  /** Of this round: since the server was started. */
  servedAt: number | null;
  isComing: boolean;
  /** Ends a wait for the connection. */
  wake: () => void;
  onHint: () => void;
}

let devices: Counted[] = [];
let failedLooks = 0;
/** Called when one more device was served. */
let onServed = (): void => {};

function batchOf(device: Counted, reports: readonly Report[]) {
  return {
    format: 'linnet.telemetry/1',
    batch: randomBytes(16).toString('hex'),
    instance: device.instance,
    records: reports.map((one) => {
      device.seq += 1;
      return { seq: device.seq, at: Date.now(), ...one } as TelemetryRecord;
    }),
  } satisfies TelemetryBatch;
}

type Report = Pick<TelemetryRecord, 'kind' | 'body'>;

const idle: Report = {
  kind: 'update',
  body: {
    component: COMPONENT,
    state: 'idle',
    ...{ running: null, previous: null, updatingTo: null, assignmentId: 0, progress: null },
    ...{ outcome: null, trouble: null, conditions: [], directorVersion: 0 },
  },
};

const healthOf = (device: Counted): Report => ({
  kind: 'health',
  body: {
    ...{ cpuUse: 0.12, memoryTotalBytes: 2_000_000_000, memoryAvailableBytes: 1_200_000_000 },
    ...{ temperatureC: 41.5, diskTotalBytes: 16_000_000_000, diskFreeBytes: 9_000_000_000 },
    ...{ agentRssBytes: 80_000_000, uptimeSeconds: device.seq * 10 },
    spool: { records: 1, bytes: 400, lost: 0 },
    clockErrorMs: 3,
  },
});

const digest = 'ab'.repeat(32);
/** One request served: the sum over a device's records is their number. */
const inference: Report = {
  kind: 'inference',
  body: {
    release: { component: COMPONENT, version: '1.0.0', digest },
    ...{ seconds: 2, served: 1, failed: 0, refused: 0 },
    latencyMs: { count: 1, bins: [[25, 1]] },
    answers: null,
  },
};

/** As the agent after its first refusal: what the server named, and up to as much again. */
const pauseMs = (error: unknown): number =>
  ((isFault(error) ? error.retryAfterMs : null) ?? LOOK_PAUSE_MS) * (1 + Math.random());

/** After each login: a report, as the agent's, and a look at its assignments. */
async function come(device: Counted): Promise<void> {
  if (device.isComing || device.servedAt !== null) return;
  device.isComing = true;
  await device.link.send(batchOf(device, [idle, healthOf(device)]));
  for (;;) {
    try {
      await device.link.look();
      break;
    } catch (error) {
      failedLooks += 1;
      await pause(pauseMs(error));
    }
  }
  device.isComing = false;
  device.servedAt = Date.now();
  onServed();
}

async function start({ indexes, target, spreadMs, seed }: StartRequest): Promise<void> {
  const fraction = seeded(seed);
  const random: Random = { bytes: (count) => randomBytes(count), fraction };
  devices = indexes.map((index) => makeDevice(index, target, random));
  await pause(0);
  for (const { link } of devices) setTimeout(() => void link.connect(), fraction() * spreadMs);
  // Keepalive, spread over its interval.
  const portions = limits.linkKeepaliveSeconds * 10;
  let turn = 0;
  setInterval(() => {
    for (let at = turn; at < devices.length; at += portions) devices[at]?.link.ping();
    turn = (turn + 1) % portions;
  }, 100);
}

function makeDevice(index: number, target: Target, random: Random): Counted {
  const device: Counted = {
    index,
    link: new LightDevice(benchDevice(index), target, random, {
      onConnected: () => {
        device.wake();
        void come(device);
      },
      onLost: () => (device.servedAt = null),
      onHint: () => device.onHint(),
    }),
    instance: randomBytes(16).toString('hex'),
    ...{ seq: 0, rows: 0, servedAt: null, isComing: false },
    wake: () => {},
    onHint: () => {},
  };
  return device;
}

/** Those whose connection outlived the server (an external broker) come as well. */
function again(): void {
  for (const device of devices) {
    if (device.servedAt === null) continue;
    device.servedAt = null;
    void come(device);
  }
}

/** All are served, or the time is over. */
async function round({ withinMs }: { withinMs: number }): Promise<RoundResult> {
  const isDone = (): boolean => devices.every(({ servedAt }) => servedAt !== null);
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, withinMs);
    onServed = () => {
      if (!isDone()) return;
      clearTimeout(timer);
      resolve();
    };
    onServed();
  });
  onServed = () => {};
  const result = {
    servedAt: devices.flatMap(({ servedAt }) => servedAt ?? []),
    unserved: devices.filter(({ servedAt }) => servedAt === null).length,
    attempts: devices.reduce((sum, { link }) => sum + link.attempts, 0),
    failedLooks,
  };
  failedLooks = 0;
  for (const { link } of devices) link.attempts = 0;
  return result;
}

/** Each of the devices sends one batch after another. */
async function flood({ below, records, milliseconds }: FloodRequest): Promise<FloodResult> {
  const until = performance.now() + milliseconds;
  const waits: number[] = [];
  const chosen = devices.filter(({ index }) => index < below);
  const resentBefore = chosen.reduce((sum, { link }) => sum + link.resent, 0);
  const bodies = Array.from({ length: records }, () => inference);
  await Promise.all(
    chosen.map(async (device) => {
      while (performance.now() < until) {
        const from = performance.now();
        await device.link.send(batchOf(device, bodies));
        waits.push(performance.now() - from);
        device.rows += records;
      }
    }),
  );
  return {
    batches: waits.length,
    waits,
    resent: chosen.reduce((sum, { link }) => sum + link.resent, 0) - resentBefore,
    rows: chosen.map(({ link, rows }) => [link.device.id, rows] as const),
  };
}

/** Every device does it once within the time, evenly. */
async function pace({ what, milliseconds }: PaceRequest): Promise<PaceResult> {
  const waits: number[] = [];
  let failed = 0;
  await Promise.all(
    devices.map(async (device, at) => {
      await pause((at / devices.length) * milliseconds);
      const from = performance.now();
      try {
        if (what === 'poll') await device.link.look();
        else await device.link.send(batchOf(device, [healthOf(device)]));
        waits.push(performance.now() - from);
      } catch {
        failed += 1;
      }
    }),
  );
  return { waits, failed };
}

let looks: Promise<LookResult[]> = Promise.resolve([]);

/** From now on a device looks when it is hinted, and is done when it has the release. */
function watchHints({ below, version, withinMs }: ReleaseRequest): void {
  looks = Promise.all(
    devices
      .filter(({ index }) => index < below)
      .map(
        (device) =>
          new Promise<LookResult>((resolve) => {
            const result = { hintAt: 0, haveAt: 0, hints: 0, emptyLooks: 0, failedLooks: 0 };
            const timer = setTimeout(() => resolve(result), withinMs);
            const look = async (): Promise<void> => {
              try {
                const targets = await device.link.look();
                if (targets?.includes(`"${COMPONENT}/${version}`) === true) {
                  result.haveAt = Date.now();
                  clearTimeout(timer);
                  device.onHint = () => {};
                  resolve(result);
                } else result.emptyLooks += 1;
              } catch (error) {
                result.failedLooks += 1;
                setTimeout(() => void look(), pauseMs(error));
              }
            };
            device.onHint = () => {
              result.hints += 1;
              if (result.hintAt === 0) result.hintAt = Date.now();
              void look();
            };
          }),
      ),
  );
}

answerCalls({
  start,
  again,
  round,
  flood,
  pace,
  watchHints,
  hintResults: () => looks,
  connected: () => devices.filter(({ link }) => link.isConnected).length,
});
