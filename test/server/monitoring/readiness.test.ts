// /livez and /readyz: each reason by its name, on a real server where that is possible.
import { rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Aedes } from 'aedes';
import { expect, it } from 'vitest';
import { requireUnexpired, requireWritable } from '../../../server/monitoring/checks.js';
import { ReadinessWatch } from '../../../server/monitoring/readiness.js';
import { Fault, type FaultCode } from '../../../shared/base/fault-codes.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { MIB } from '../../../shared/base/units.js';
import { startFleet } from '../../support/fleet-server.js';
import { mountSmallDisk } from '../../support/small-disk.js';

const works = (): Promise<void> => Promise.resolve();
const fails = (code: FaultCode) => (): Promise<void> => Promise.reject(new Fault(code, 'x'));

function watchOf(
  checks: Partial<Record<'database' | 'disk' | 'broker' | 'metadata', typeof works>>,
) {
  const time = { ms: 0 };
  const logged: string[] = [];
  const note = (_fields: object, message: string): void => void logged.push(message);
  const watch = new ReadinessWatch({
    clock: { now: () => time.ms, monotonic: () => time.ms, after: () => () => {} },
    log: { ...silentLog, error: note, info: note },
    checks: { database: works, disk: works, broker: works, metadata: works, ...checks },
  });
  return { watch, time, logged };
}

it('every_failed_check_is_a_named_reason', async () => {
  const { watch } = watchOf({
    database: fails('disk_failed'),
    broker: fails('server_unreachable'),
    metadata: () => Promise.reject(new Error('a bug')),
  });
  expect((await watch.look()).reasons).toEqual([
    { check: 'database', code: 'disk_failed' },
    { check: 'broker', code: 'server_unreachable' },
    { check: 'metadata', code: 'internal' },
  ]);
});

it('a_crowd_that_asks_costs_one_look_and_a_change_is_logged_once', async () => {
  let looks = 0;
  let full = true;
  const { watch, time, logged } = watchOf({
    database: () => {
      looks += 1;
      return full ? fails('disk_full')() : works();
    },
  });
  for (let ask = 0; ask < 100; ask += 1) await watch.look();
  expect(looks).toBe(1);
  time.ms += limits.readinessKeptMs;
  await watch.look();
  full = false;
  expect((await watch.look()).reasons).toHaveLength(1);
  time.ms += limits.readinessKeptMs;
  expect((await watch.look()).reasons).toEqual([]);
  expect(logged).toEqual(['the server is not ready', 'the server is ready again']);
});

it('a_database_error_without_a_fault_is_a_failed_disk_and_not_a_bug', async () => {
  const busy = Object.assign(new Error('database is locked'), { code: 'SQLITE_BUSY' });
  await expect(requireWritable(() => Promise.reject(busy))).rejects.toMatchObject({
    code: 'disk_failed',
  });
});

it('metadata_is_expired_at_the_time_that_it_names', () => {
  const expiries = [{ role: 'timestamp', at: 1000 } as const, { role: 'root', at: 9000 } as const];
  expect(() => requireUnexpired(expiries, 999)).not.toThrow();
  expect(() => requireUnexpired(expiries, 1000)).toThrow(/timestamp/);
});

it('a_server_on_a_full_disk_lives_and_is_not_ready_until_there_is_room', async () => {
  const disk = mountSmallDisk(64, 'a full disk of the server');
  if (disk === null) return;
  const fleet = await startFleet('', silentLog, join(disk.folder, 'data'));
  const get = (path: string) => fetch(`${fleet.server.address}${path}`);
  const ready = async (status: number): Promise<unknown> => {
    for (;;) {
      const answer = await get('/readyz');
      const body: unknown = await answer.json();
      if (answer.status === status) return body;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  };
  try {
    expect(await ready(200)).toEqual({ status: 'ok' });
    const filler = join(disk.folder, 'filler');
    fill(filler);
    const { reasons } = (await ready(503)) as { reasons: unknown[] };
    expect(reasons).toContainEqual({ check: 'disk', code: 'disk_full' });
    expect((await get('/livez')).status).toBe(200);
    rmSync(filler);
    expect(await ready(200)).toEqual({ status: 'ok' });
  } finally {
    await fleet.close();
    disk.unmount();
  }
});

it('a_server_whose_broker_is_gone_is_not_ready_and_names_the_broker', async () => {
  const aedes = await Aedes.createBroker();
  const broker = createServer((socket) => void aedes.handle(socket));
  await new Promise<void>((resolve) => broker.listen(0, '127.0.0.1', resolve));
  const { port } = broker.address() as AddressInfo;
  const fleet = await startFleet(`[broker]\nurl = "mqtt://127.0.0.1:${port}"`);
  try {
    expect((await fetch(`${fleet.server.address}/readyz`)).status).toBe(200);
    broker.close();
    await new Promise<void>((resolve) => aedes.close(() => resolve()));
    let answer = await fetch(`${fleet.server.address}/readyz`);
    while (answer.status === 200) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      answer = await fetch(`${fleet.server.address}/readyz`);
    }
    expect(await answer.json()).toEqual({
      status: 'not ready',
      reasons: [{ check: 'broker', code: 'server_unreachable' }],
    });
  } finally {
    await fleet.close();
  }
});

function fill(file: string): void {
  const piece = Buffer.alloc(MIB);
  try {
    for (;;) writeFileSync(file, piece, { flag: 'a' });
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
  }
}
