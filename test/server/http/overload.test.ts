// A server that is behind refuses what begins work for a device, and nothing else.
import { afterEach, expect, it } from 'vitest';
import { AddressLimits } from '../../../server/access/address-limits.js';
import { Admission } from '../../../server/access/admission.js';
import { ChangeFeed } from '../../../server/changes/change-feed.js';
import { buildApp } from '../../../server/http/app.js';
import type { AppOptions, FleetApp } from '../../../server/http/context.js';
import { newRegistry, ServerMetrics } from '../../../server/monitoring/server-metrics.js';
import { refusalFault } from '../../../shared/platform/http-refusal.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { DEVICE_SCHEME } from '../../../shared/protocol/device-api.js';
import { enrolBody, newDevice } from '../../support/fleet-server.js';
import { ManualClock } from '../../sim/manual-clock.js';

let app: FleetApp | null = null;
afterEach(async () => {
  await app?.close();
  app = null;
});

const device = newDevice('asks');

/** Behind: one waits for a turn that does not come. */
async function serverThatIsBehind(): Promise<{ app: FleetApp; refusals: string[] }> {
  const clock = new ManualClock();
  const refusals: string[] = [];
  const admission = new Admission({
    clock,
    log: silentLog,
    inNextTurn: () => {},
    onRefused: (work) => void refusals.push(work),
  });
  void admission.enter('request');
  clock.pass(limits.deviceRequestWaitMaxMs + 1);
  const security = { report: () => {}, record: async () => {}, flush: async () => {} };
  const registry = newRegistry();
  app = await buildApp({
    devices: {
      get: async (id: string) =>
        id === device.id
          ? { id, hardware: 'pi4', status: 'enrolled', publicKey: device.key.publicKey }
          : null,
    },
    director: {
      metadata: async (_device: unknown, name: string) => Buffer.from(name),
      isAudience: async () => true,
    },
    tokens: { valid: async () => null },
    security,
    addressLimits: new AddressLimits({ clock: realClock, security }),
    admission,
    connections: { maxCount: 100, perAddressMaxCount: 100 },
    changes: new ChangeFeed({ clock: realClock }),
    trustedProxies: [],
    metrics: new ServerMetrics(registry),
    registry,
    clock: realClock,
    random: realRandom,
    log: silentLog,
    tls: null,
  } as unknown as AppOptions);
  return { app, refusals };
}

it('server_that_is_behind_refuses_new_work_of_devices_and_ends_what_began', async () => {
  const { app: behind, refusals } = await serverThatIsBehind();
  const authorization = `${DEVICE_SCHEME} ${await device.token('http')}`;
  const get = (name: string) =>
    behind.inject({ url: `/device/v1/director/${name}`, headers: { authorization } });
  for (const name of ['timestamp.json', '2.root.json']) {
    const { statusCode, headers, body } = await get(name);
    expect([name, statusCode, headers['retry-after']]).toEqual([name, 503, '2']);
    expect(JSON.parse(body)).toMatchObject({ code: 'overloaded' });
    const answer = { status: statusCode, body, retryAfter: String(headers['retry-after']) };
    // As the agent sees it.
    expect(refusalFault(answer, name)).toMatchObject({
      code: 'server_unreachable',
      retryAfterMs: limits.overloadRetryMs,
    });
  }
  const enrolment = await behind.inject({
    method: 'POST',
    url: '/device/v1/enrol',
    payload: await enrolBody(device),
  });
  expect(enrolment.statusCode).toBe(503);
  expect(refusals).toEqual(['request', 'request', 'request']);

  expect((await get('7.snapshot.json')).body).toBe('7.snapshot.json');
  expect((await get('7.targets.json')).body).toBe('7.targets.json');
  // An operator, who is not refused for that reason.
  const operator = await behind.inject({
    url: '/api/v1/devices',
    headers: { authorization: `Bearer lnt_${'a'.repeat(43)}` },
  });
  expect(operator.statusCode).toBe(401);
});
