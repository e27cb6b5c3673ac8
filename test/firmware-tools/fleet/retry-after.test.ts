// A server that says when to ask again: commands wait for it, once and not for long.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { FleetClient } from '../../../firmware-tools/fleet/fleet-client.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { Claim } from '../../../shared/protocol/operator-api.js';
import { ManualClock } from '../../sim/manual-clock.js';

const claim: Claim = {
  claim: 'lnc_x',
  group: 'canary',
  uses: 1,
  expiresAt: '2026-01-01T00:00:00Z',
};
const BUSY = JSON.stringify({ error: 'too many failed logins', code: 'too_many_attempts' });

let server: Server;
/** The answers that are left; then the claim. */
let refusals: { status: number; retryAfter?: string }[] = [];
let bodies: string[] = [];
let waits: number[] = [];
let clock: ManualClock;

beforeEach(async () => {
  [refusals, bodies, waits, clock] = [[], [], [], new ManualClock()];
  server = createServer((request, response) => {
    void (async () => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      bodies.push(body);
      const refusal = refusals.shift();
      const { retryAfter } = refusal ?? {};
      if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter);
      response.statusCode = refusal?.status ?? 200;
      response.end(refusal === undefined ? JSON.stringify(claim) : BUSY);
    })();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

function ask(patient = true): Promise<Claim> {
  const { port } = server.address() as AddressInfo;
  const onWait = (seconds: number): void => {
    waits.push(seconds);
    setImmediate(() => clock.pass(seconds * 1000));
  };
  const client = new FleetClient({
    server: `http://127.0.0.1:${port}`,
    token: 'lnt_x',
    ...(patient ? { patience: { clock, onWait } } : {}),
  });
  return client.request('POST', '/claims', Claim, { group: 'canary' });
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no fault',
    (error: unknown) => (isFault(error) ? error.code : String(error)),
  );

it('waits_as_long_as_the_server_says_and_sends_the_same_request_again', async () => {
  refusals = [{ status: 429, retryAfter: '7' }];
  expect(await ask()).toEqual(claim);
  expect(waits).toEqual([7]);
  expect(bodies).toEqual(['{"group":"canary"}', '{"group":"canary"}']);
});

it('asks_once_more_and_then_says_what_the_server_said', async () => {
  refusals = [
    { status: 429, retryAfter: '1' },
    { status: 429, retryAfter: '1' },
  ];
  expect(await codeOf(ask())).toBe('too_many_attempts');
  expect(waits).toEqual([1]);
});

it.each([
  [
    'longer_than_a_person_waits',
    { status: 429, retryAfter: `${limits.commandWaitMaxMs / 1000 + 1}` },
  ],
  ['without_a_time', { status: 429 }],
  ['with_a_date', { status: 429, retryAfter: 'Fri, 31 Dec 2027 23:59:59 GMT' }],
  ['of_a_server_that_may_have_done_it', { status: 503, retryAfter: '1' }],
])('a_refusal_%s_is_told_at_once', async (_what, refusal) => {
  refusals = [refusal];
  expect(await codeOf(ask())).toBe('too_many_attempts');
  expect([waits, bodies.length]).toEqual([[], 1]);
});

it('a_client_without_patience_waits_for_nothing', async () => {
  refusals = [{ status: 429, retryAfter: '1' }];
  expect(await codeOf(ask(false))).toBe('too_many_attempts');
  expect(bodies.length).toBe(1);
});
