// The demo's traffic against a device that is a small HTTP server: every request that is sent ends
// as served or as lost.
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import {
  Traffic,
  answersOk,
  type TrafficCounts,
  digitTask,
} from '../../../firmware-tools/demo/traffic.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function device(answer: RequestListener): Promise<number> {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const digits = { images: [new Float32Array(784)], labels: Uint8Array.of(3) };
const SHORT_MS = 50;
const PER_SECOND = 200;

/** What the traffic counts once the device has met `requests` of them. */
async function countsAfter(
  requests: number,
  answer: (at: number) => RequestListener,
  timeoutMs?: number,
): Promise<TrafficCounts> {
  let met = 0;
  let enough: () => void = () => {};
  const reached = new Promise<void>((resolve) => {
    enough = resolve;
  });
  const port = await device((request, response) => {
    request.resume();
    answer(met)(request, response);
    met += 1;
    if (met >= requests) enough();
  });
  const traffic = new Traffic({ port, task: digitTask(digits), first: 0, timeoutMs });
  traffic.start(PER_SECOND);
  await reached;
  await traffic.stop();
  return traffic.counts;
}

const served: RequestListener = (_request, response) => {
  const logits = Buffer.alloc(40);
  logits.writeFloatLE(1, 3 * 4);
  response.setHeader('Linnet-Release', 'digits@1.0.0#abc').end(logits);
};

it('a_request_that_hangs_is_lost_and_stopping_does_not_wait_for_it', async () => {
  const counts = await countsAfter(1, () => () => {}, SHORT_MS);
  expect(counts.lost).toBe(counts.sent);
  expect(counts.sent).toBeGreaterThan(0);
  expect(counts.byRelease.size).toBe(0);
});

it('an_answer_that_is_cut_in_the_middle_is_lost', async () => {
  const counts = await countsAfter(3, () => (_request, response) => {
    response.writeHead(200, { 'content-length': 40 });
    response.write('half', () => response.destroy());
  });
  expect(counts.lost).toBe(counts.sent);
});

it('every_request_sent_is_served_or_lost_once_the_traffic_has_stopped', async () => {
  const broken: RequestListener = (_request, response) => response.writeHead(503).end('no model');
  const counts = await countsAfter(6, (at) => (at % 3 === 0 ? broken : served));
  const total = [...counts.byRelease.values()].reduce((sum, tally) => sum + tally.served, 0);
  expect(total + counts.lost).toBe(counts.sent);
  expect(counts.lost).toBeGreaterThan(0);
  expect([...counts.byRelease.values()].every((tally) => tally.right === tally.served)).toBe(true);
});

it('a_server_that_is_not_up_answers_no', async () => {
  const port = await device(served);
  expect(await answersOk(`http://127.0.0.1:${port}/`)).toBe(true);
  const [server] = servers.splice(0);
  server?.closeAllConnections();
  await new Promise((resolve) => server?.close(resolve));
  expect(await answersOk(`http://127.0.0.1:${port}/`)).toBe(false);
});
