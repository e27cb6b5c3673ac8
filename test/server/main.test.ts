// Starting and stopping: configuration mistakes, ports that are taken, keys and repositories that
// are not there.
import { createConnection, createServer, type AddressInfo } from 'node:net';
import { Aedes } from 'aedes';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { serverSettings } from '../../server/config.js';
import { initServer, repeat, startServer } from '../../server/main.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { batchOf, enrolled, mqttOf, startFleet } from '../support/fleet-server.js';

const faultOf = (work: Promise<unknown>): Promise<Fault> =>
  work.then(
    () => {
      throw new Error('no fault');
    },
    (error: unknown) => {
      if (isFault(error)) return error;
      throw error;
    },
  );

it.each([
  ['database = "postgresql://linnet:hush@db/linnet"', /password/],
  ['database = "mysql://db/linnet"', /database/],
  ['database = "postgresql://db:port/linnet"', /URL/],
  ['database_password_file = "/etc/secret"', /no use without database/],
])('setting_%s_is_refused_and_no_password_is_repeated', async (line, says) => {
  const start = async (): Promise<unknown> =>
    startServer(serverSettings(`data_dir = "d"\nrepository = "r"\n${line}`, {}), {
      log: silentLog,
    });
  const fault = await faultOf(start());
  expect(fault.code).toBe('config_invalid');
  expect(fault.detail).toMatch(says);
  expect(fault.detail).not.toContain('hush');
});

it('postgresql_that_does_not_answer_is_a_fault_that_names_it_without_the_password', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'linnet-server-'));
  await writeFile(join(folder, 'password'), 'hush\n');
  const settings = serverSettings(
    `data_dir = "${folder}/data"\nrepository = "${folder}/repo"\n` +
      `database = "postgresql://linnet@127.0.0.1:1/linnet"\n` +
      `database_password_file = "${folder}/password"`,
    {},
  );
  const fault = await faultOf(startServer(settings, { log: silentLog }));
  expect(fault.code).toBe('database_unreachable');
  expect(fault.detail).toContain('postgresql://127.0.0.1:1/linnet');
  expect(fault.detail).not.toContain('hush');
  await rm(folder, { recursive: true });
});

it('every_mistake_of_the_configuration_is_listed_at_once', () => {
  let detail = '';
  try {
    serverSettings(
      'repository = 3\nsilent_after_seconds = 0\nlog_level = "loud"\ncolour = ' +
        '"red"\n[http]\nport = 99999\n[broker]\nurl = "http://x"\n',
      { LINNET_SERVER__MQTT__PORT: 'soon' },
    );
  } catch (error) {
    expect(isFault(error, 'config_invalid')).toBe(true);
    detail = (error as Fault).detail;
  }
  for (const part of [
    'data_dir',
    '/repository',
    '/silent_after_seconds',
    '/log_level',
    'colour',
    '/http/port',
    '/broker/url',
    '/mqtt/port',
  ])
    expect(detail).toContain(part);
});

it('defaults_fill_what_is_left_out_and_the_environment_wins', () => {
  expect(
    serverSettings('data_dir = "d"\nrepository = "r"', {
      LINNET_SERVER__HTTP__HOST: '0.0.0.0',
      LINNET_AGENT__X: '1',
    }),
  ).toEqual({
    data_dir: 'd',
    repository: 'r',
    artifacts_redirect: false,
    http: { host: '0.0.0.0', port: 7300 },
    mqtt: { host: '127.0.0.1', port: 7301 },
    trusted_proxies: [],
    silent_after_seconds: 60,
    log_level: 'info',
  });
});

it('trusted_proxies_that_are_no_networks_are_refused_before_anything_opens', async () => {
  const settings = serverSettings(
    'data_dir = "/nowhere"\nrepository = "/nowhere"\ntrusted_proxies = ["10.0.0.0/33"]',
    {},
  );
  expect((await faultOf(startServer(settings, { log: silentLog }))).code).toBe('config_invalid');
});

it('http_and_mqtt_on_one_port_is_refused_before_anything_opens', async () => {
  const settings = serverSettings(
    'data_dir = "/nowhere"\nrepository = "/nowhere"\n[http]\nport = 4000\n[mqtt]\nport = 4000',
    {},
  );
  expect((await faultOf(startServer(settings, { log: silentLog }))).code).toBe('config_invalid');
});

it('a_port_in_use_is_named_and_nothing_stays_open', async () => {
  const fleet = await startFleet();
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve));
  const { port } = squatter.address() as AddressInfo;
  const { settings } = fleet;
  for (const part of ['http', 'mqtt'] as const) {
    const fault = await faultOf(
      startServer({ ...settings, [part]: { host: '127.0.0.1', port } }, { log: silentLog }),
    );
    expect([fault.code, fault.detail.includes(`127.0.0.1:${port}`)]).toEqual(['port_in_use', true]);
  }
  await new Promise((resolve) => squatter.close(resolve));
  // Nothing of the failed starts holds on to the port.
  const free = await startServer(
    { ...settings, http: { host: '127.0.0.1', port } },
    { log: silentLog },
  );
  expect((await fetch(`${free.address}/healthz`)).status).toBe(200);
  await free.close();
  await fleet.close();
});

it('a_client_that_stalls_in_the_middle_of_a_request_does_not_hold_up_the_stop', async () => {
  const fleet = await startFleet();
  const { port } = new URL(fleet.server.address);
  const stalled = createConnection(Number(port), '127.0.0.1');
  stalled.on('error', () => {});
  await new Promise<void>((resolve) =>
    stalled.write(
      `PUT /api/v1/files/${'ab'.repeat(32)} HTTP/1.1\r\nhost: x\r\ncontent-type: ` +
        `application/octet-stream\r\nauthorization: Bearer ` +
        `${fleet.adminToken}\r\ncontent-length: 1000\r\n\r\nhalf`,
      () => resolve(),
    ),
  );
  const cut = new Promise<void>((resolve) => stalled.once('close', () => resolve()));
  await expect
    .poll(async () => (await fleet.store.audit.page({ limit: 1, after: null }))[0]?.action, {
      timeout: 20_000,
    })
    .toBe('file.put');
  await fleet.close();
  await cut;
});

it('the_first_admin_token_is_made_once', async () => {
  const fleet = await startFleet();
  expect((await faultOf(initServer(fleet.settings))).code).toBe('conflict');
  await fleet.close();
});

it('a_first_token_that_could_not_be_kept_does_not_exist', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'linnet-init-'));
  const settings = serverSettings(`data_dir = "${folder}/data"\nrepository = "${folder}/repo"`, {});
  await expect(
    initServer(settings, () => Promise.reject(new Error('the disk is full'))),
  ).rejects.toThrow('the disk is full');
  const kept: string[] = [];
  const token = await initServer(settings, async (made) => void kept.push(made));
  expect(kept).toEqual([token]);
  await rm(folder, { recursive: true });
});

it('work_that_ends_after_the_stop_is_not_planned_again', async () => {
  const timers = new Set<() => void>();
  const after = (_ms: number, fn: () => void): (() => void) => {
    timers.add(fn);
    return () => timers.delete(fn);
  };
  let finish = (): void => {};
  const work = (): Promise<void> => new Promise((resolve) => (finish = resolve));
  const stop = repeat(
    { now: () => 0, monotonic: () => 0, after },
    { everyMs: 1, what: 'test' },
    work,
    silentLog,
  );
  const [turn] = timers;
  timers.clear();
  turn?.();
  stop();
  finish();
  await new Promise((resolve) => setImmediate(resolve));
  expect(timers.size).toBe(0);
});

it('without_a_repository_or_with_an_unreachable_broker_it_does_not_start', async () => {
  const fleet = await startFleet();
  expect(
    (
      await faultOf(
        startServer({ ...fleet.settings, repository: `${fleet.folder}/none` }, { log: silentLog }),
      )
    ).code,
  ).toBe('config_invalid');
  expect(
    (
      await faultOf(
        startServer(
          { ...fleet.settings, broker: { url: 'mqtt://127.0.0.1:1' } },
          { log: silentLog },
        ),
      )
    ).code,
  ).toBe('server_unreachable');
  await fleet.close();
});

it('an_external_broker_carries_telemetry_and_acknowledgements', async () => {
  const fleet = await startFleet();
  const broker = await Aedes.createBroker();
  broker.authenticate = (client, username, password, done) =>
    done(
      null,
      client.id.startsWith('dev-') || (username === 'fleet' && password?.toString() === 'secret'),
    );
  const listener = createServer((socket) => {
    broker.handle(socket);
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as AddressInfo;
  const file = join(fleet.folder, 'broker.password');
  const settings = {
    ...fleet.settings,
    broker: { url: `mqtt://127.0.0.1:${port}`, username: 'fleet', password_file: file },
  };
  await writeFile(file, 'wrong\n');
  expect((await faultOf(startServer(settings, { log: silentLog }))).code).toBe(
    'server_unreachable',
  );
  await writeFile(file, 'secret\n');
  const server = await startServer(settings, { log: silentLog });
  expect(server.mqttPort).toBe(port);
  const outside = { ...fleet, server };
  const device = await enrolled(fleet, 'outside');
  const link = await mqttOf(outside, device);
  await link.send(
    JSON.stringify(
      batchOf([{ seq: 1, at: 1, kind: 'security', body: { code: 'x', detail: 'y' } }]),
    ),
  );
  await expect
    .poll(() => link.acks.map((ack) => ack.result), { timeout: 20_000 })
    .toEqual(['stored']);
  await link.client.endAsync(true);
  await server.close();
  await new Promise<void>((resolve) => broker.close(() => listener.close(() => resolve())));
  await fleet.close();
});
