// Telemetry over everything that goes wrong at once, on real parts: the server and its broker are
// away, the agent is killed with -9 under traffic, and in the end the server has every record that
// the device ever numbered, once. Also here, because it needs a whole agent at work: ONNX Runtime
// writes nothing of its own, wherever it may look for a home.
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadDigits } from '../../firmware-tools/demo/digits/data.js';
import { Traffic, digitTask } from '../../firmware-tools/demo/traffic.js';
import { startServer, type RunningServer } from '../../server/main.js';
import { silentLog } from '../../shared/base/interfaces.js';
import {
  DeviceDetail,
  TelemetryHourPage,
  TelemetryPage,
  type TelemetryRow,
} from '../../shared/protocol/operator-api.js';
import type { InferenceBody } from '../../shared/protocol/telemetry.js';
import { startFleet, type TestFleet } from '../support/fleet-server.js';
import { isWhole } from '../support/whole.js';
import {
  AgentProcess,
  enrolledAndInstalled,
  freePorts,
  LINNET,
  publishDigits,
  until,
} from '../support/journey-devices.js';

const PER_SECOND = 20;
const digits = loadDigits().test;
/** Where ONNX Runtime would keep its telemetry if it ever found the real home. */
const microsoftCache = (): string[] => {
  const folder = join(homedir(), '.cache', 'Microsoft');
  return existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String).sort() : [];
};
const cacheBefore = microsoftCache();

let fleet: TestFleet;
/** The server that runs at the moment, on the ports that the first one was given. */
let server: RunningServer;
let agent: AgentProcess;
let home: string;

beforeAll(async () => {
  fleet = await startFleet();
  server = fleet.server;
  await publishDigits(fleet, '1.0.0');
  const [port = 0] = await freePorts(1);
  agent = await AgentProcess.make(fleet, 'gate', port);
  home = mkdtempSync(join(tmpdir(), 'linnet-home-'));
}, 60_000);

afterAll(async () => {
  await agent.stop();
  await server.close();
  await fleet.close();
  rmSync(home, { recursive: true });
}, 30_000);

function startAgent(): void {
  agent.start(LINNET, [], {
    HOME: home,
    XDG_CACHE_HOME: '',
    XDG_CONFIG_HOME: '',
    XDG_DATA_HOME: '',
  });
}

async function startServerAgain(): Promise<void> {
  const { settings } = fleet;
  const port = Number(new URL(fleet.server.address).port);
  const again = {
    http: { ...settings.http, port },
    mqtt: { ...settings.mqtt, port: fleet.server.mqttPort },
  };
  server = await startServer({ ...settings, ...again }, { log: silentLog });
}

const detail = (): Promise<DeviceDetail> =>
  fleet.admin.request('GET', '/devices/gate', DeviceDetail);

/** Every raw record of the device that the server has, the oldest first. */
async function recordsOnServer(): Promise<TelemetryRow[]> {
  const rows = await fleet.admin.list('/telemetry?device=gate', TelemetryPage);
  return rows.sort((a, b) => a.seq - b.seq);
}

/**
 * How many records of the device the server has taken. Health and update reports that repeat the
 * one before are only counted, so that not every record is a row.
 */
async function takenByServer(): Promise<number> {
  const hours = await fleet.admin.list('/telemetry/hours?device=gate', TelemetryHourPage);
  return hours
    .flatMap(({ records }) => Object.values(records))
    .reduce((sum, count) => sum + count, 0);
}

/** None was taken twice, and what the server lacks is in the spool. Not while the agent runs. */
async function nothingIsMissing(): Promise<void> {
  const { last, left, lost } = spoolLeft();
  expect(lost).toBe(0);
  const missing = last - (await takenByServer());
  expect(missing).toBeGreaterThanOrEqual(0);
  expect(missing).toBeLessThanOrEqual(left.length);
}

/**
 * What the agent left behind in its spool: the highest number that it ever gave, and the records
 * that it still holds. Not while it runs.
 */
function spoolLeft(): { last: number; left: number[]; lost: number } {
  const db = new Database(join(fleet.folder, 'devices', 'gate', 'data', 'spool.sqlite'), {
    readonly: true,
  });
  try {
    const last =
      db.prepare<[], { seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = 'record'").get()
        ?.seq ?? 0;
    const left = db.prepare<[], { seq: number }>('SELECT seq FROM record ORDER BY seq').all();
    return {
      last,
      left: left.map(({ seq }) => seq),
      lost: db.prepare<[], { lost: number }>('SELECT lost FROM tally').get()?.lost ?? -1,
    };
  } finally {
    db.close();
  }
}

const served = (rows: readonly TelemetryRow[]): number =>
  rows.reduce(
    (sum, { kind, body }) => sum + (kind === 'inference' ? (body as InferenceBody).served : 0),
    0,
  );
const answered = (...all: Traffic[]): number =>
  all
    .flatMap(({ counts }) => [...counts.byRelease.values()])
    .reduce((sum, tally) => sum + tally.served, 0);

function traffic(first: number): Traffic {
  const one = new Traffic({ port: agent.port, task: digitTask(digits), first });
  one.start(PER_SECOND);
  return one;
}

describe.skipIf(!isWhole)('telemetry (npm run test:whole)', () => {
  it('broker_and_server_stop_for_a_while_the_agent_is_killed_and_every_record_arrives_exactly_once', async () => {
    startAgent();
    await enrolledAndInstalled(fleet, 1);
    const before = traffic(0);
    await until(
      'the server counts answers',
      async () => served(await recordsOnServer()) > 2 * PER_SECOND,
    );

    await server.close();
    const whenClosed = answered(before);
    await until(
      'the agent answers without a server',
      () => answered(before) > whenClosed + 4 * PER_SECOND,
    );
    await agent.stop('SIGKILL');
    await before.stop();
    const killed = spoolLeft();
    expect(killed.left.length).toBeGreaterThan(0);
    expect(killed.left.at(-1)).toBe(killed.last);

    startAgent();
    await until(
      'it serves again, still without a server',
      async () => (await agent.serving()) === '1.0.0',
    );
    const after = traffic(1000);
    await until('it answers', () => answered(after) > 3 * PER_SECOND);
    await startServerAgain();
    await until('what was spooled before the kill has arrived', async () =>
      (await recordsOnServer()).some(({ seq }) => seq > killed.last),
    );
    await until('there is more traffic', () => answered(after) > 6 * PER_SECOND);
    await after.stop();
    expect(after.counts.lost, after.counts.complaints.join('; ')).toBe(0);
    await agent.stop();
    expect(agent.child?.exitCode, agent.stderr).toBe(0);

    // Stopped in the middle: what the server lacks is in the spool, and only that (or a batch whose
    // acknowledgement was lost).
    const { last } = spoolLeft();
    const stored = (await recordsOnServer()).map(({ seq }) => seq);
    expect(new Set(stored).size, 'none twice').toBe(stored.length);
    await nothingIsMissing();

    startAgent();
    await until(
      'as many records as up to the graceful stop have arrived',
      async () => (await takenByServer()) >= last,
    );
    await until('its spool is empty', async () => {
      const { health } = (await detail()).device;
      return health !== null && health.spool.records <= 1 && health.spool.lost === 0;
    });
    await agent.stop();
    await nothingIsMissing();

    const sum = served(await recordsOnServer());
    const { inference, security } = await detail();
    expect(inference.map((one) => one.served)).toEqual([sum]);
    // A kill takes what was counted since the last report along, and nothing else; nothing is
    // counted that was not asked.
    expect(sum).toBeLessThanOrEqual(before.counts.sent + after.counts.sent);
    expect(sum).toBeGreaterThanOrEqual(answered(after));
    expect(inference[0]).toMatchObject({ failed: 0, refused: 0 });
    expect(inference[0]?.classes?.reduce((total, count) => total + count, 0)).toBe(sum);
    expect(security).toEqual([]);
    startAgent();
  });

  it('onnx_runtime_writes_nothing_of_its_own', async () => {
    const one = traffic(0);
    await until('it answers', () => answered(one) > PER_SECOND);
    await one.stop();
    await agent.stop();
    expect(readdirSync(home)).toEqual([]);
    expect(readdirSync(join(fleet.folder, 'devices', 'gate', 'data', 'hosts', 'digits'))).toEqual(
      [],
    );
    expect(microsoftCache()).toEqual(cacheBefore);
  });
});
