// Trace ids: taken over from the caller, made where there is none, and in the server's log.
import { expect, it } from 'vitest';
import { traceparentOf } from '../../../server/http/trace.js';
import { silentLog, type Log } from '../../../shared/base/interfaces.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { AuditHead, AuditPage } from '../../../shared/protocol/operator-api.js';
import { startFleet } from '../../support/fleet-server.js';

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
