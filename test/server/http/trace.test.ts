// Trace ids: taken over from the caller, made where there is none, and in the server's log.
import { expect, it } from 'vitest';
import { traceparentOf } from '../../../server/http/trace.js';
import { silentLog, type Log } from '../../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { HttpFetcher } from '../../../agent/platform/fetcher.js';
import { Traces } from '../../../agent/update/traces.js';
import { limits } from '../../../shared/base/limits.js';
import { defaultPolicy } from '../../../shared/protocol/default-policy.js';
import { DEVICE_SCHEME, routes } from '../../../shared/protocol/device-api.js';
import {
  AuditHead,
  AuditPage,
  RolloutDetail,
  TelemetryPage,
} from '../../../shared/protocol/operator-api.js';
import {
  batchOf,
  enrolled,
  idleUpdate,
  mqttOf,
  publish,
  startFleet,
} from '../../support/fleet-server.js';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const FORM = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

it('the_trace_of_the_caller_goes_on_with_a_span_of_the_server', () => {
  const made = traceparentOf(`00-${TRACE}-00f067aa0ba902b7-01`, realRandom);
  expect(made).toMatch(FORM);
  expect(made).toMatch(new RegExp(`^00-${TRACE}-(?!00f067aa0ba902b7).*-01$`));
});

it.each([
  ['none', undefined],
  ['empty', ''],
  ['zeros', `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`],
  ['version_ff', `ff-${TRACE}-00f067aa0ba902b7-01`],
  ['upper_case', `00-${TRACE.toUpperCase()}-00f067aa0ba902b7-01`],
  ['a_forged_log_line', `00-x\n${TRACE}`],
])('a_header_that_is_no_trace_begins_a_new_one_%s', (_name, header) => {
  const made = traceparentOf(header, realRandom);
  expect(made).toMatch(FORM);
  expect(made).not.toContain(TRACE);
});

it('the_answer_and_the_log_line_of_a_request_have_its_trace', async () => {
  const logged: string[] = [];
  const log: Log = {
    ...silentLog,
    debug: (fields) => void logged.push(JSON.stringify(fields)),
    child: () => log,
  };
  const fleet = await startFleet('', log);
  const answer = await fetch(`${fleet.server.address}/api/v1/devices`, {
    headers: { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` },
  });
  await fleet.close();
  expect(answer.status).toBe(401);
  const traceparent = answer.headers.get('traceparent') ?? '';
  expect(traceparent).toContain(TRACE);
  expect(logged.filter((line) => line.includes(traceparent))).toHaveLength(1);
});

it('what_an_operator_did_has_the_trace_of_the_request_in_the_audit_log', async () => {
  const fleet = await startFleet();
  const ask = (body: object): Promise<Response> =>
    fetch(`${fleet.server.address}/api/v1/tokens`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${fleet.adminToken}`,
        'content-type': 'application/json',
        traceparent: `00-${TRACE}-00f067aa0ba902b7-01`,
      },
      body: JSON.stringify(body),
    });
  expect((await ask({ name: 'anna', role: 'viewer' })).ok).toBe(true);
  const { items } = await fleet.admin.request('GET', '/audit', AuditPage);
  expect(items.map(({ action, trace }) => [action, trace])).toEqual([
    ['token.create', TRACE],
    ['token.create', null],
  ]);
  const head = await fleet.admin.request('GET', '/audit/head', AuditHead);
  expect([head.entries, head.brokenAt]).toEqual([2, null]);
  await fleet.close();
});

it('the_request_that_starts_a_rollout_is_found_by_its_trace_up_to_the_report_of_a_device', async () => {
  const fleet = await startFleet();
  const device = await enrolled(fleet, 'gate-1', 'canary');
  await publish(fleet, '1.0.0');
  const { id } = await fleet.admin.request('POST', '/rollouts', RolloutDetail, {
    component: 'digits',
    version: '1.0.0',
    policy: defaultPolicy(),
  });
  const command = (name: string, trace: string): Promise<Response> =>
    fetch(`${fleet.server.address}/api/v1/rollouts/${id}/${name}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${fleet.adminToken}`,
        'content-type': 'application/json',
        traceparent: `00-${trace}-00f067aa0ba902b7-01`,
      },
      body: '{}',
    });
  expect((await command('start', TRACE)).status).toBe(200);
  // Assigns nothing: what follows is still of the start.
  expect((await command('pause', 'ab'.repeat(16))).status).toBe(200);
  expect((await command('resume', TRACE)).status).toBe(200);

  // The device asks, as the agent does.
  const traces = new Traces();
  const fetcher = new HttpFetcher({
    server: fleet.server.address,
    authorization: async () => `${DEVICE_SCHEME} ${await device.token('http', fleet)}`,
    onTraces: (header) => traces.learn(header),
    clock: realClock,
  });
  const path = routes.director('timestamp.json');
  const timestamp = await fetcher.get(path, limits.timestampMaxBytes);
  fetcher.close();
  expect(timestamp).not.toBeNull();
  const { assignments } = await fleet.store.assignments.assignments(device.id);
  const assignmentId = assignments[0]?.assignmentId ?? 0;
  expect(traces.of('digits', assignmentId)).toBe(TRACE);

  const session = await mqttOf(fleet, device);
  const body = idleUpdate({ assignmentId, trace: TRACE });
  await session.send(JSON.stringify(batchOf([{ seq: 1, at: Date.now(), kind: 'update', body }])));
  await expect.poll(() => session.acks.map(({ result }) => result)).toEqual(['stored']);
  await session.client.endAsync(true);
  const rows = await fleet.admin.list('/telemetry?device=gate-1', TelemetryPage);
  expect(rows.map((row) => row.body)).toMatchObject([{ assignmentId, trace: TRACE }]);
  const audit = await fleet.admin.request('GET', '/audit', AuditPage);
  const traced = audit.items.filter(({ trace }) => trace === TRACE);
  expect(traced.map(({ action, subject }) => [action, subject])).toEqual([
    ['rollout.resume', id],
    ['rollout.start', id],
  ]);
  await fleet.close();
});
