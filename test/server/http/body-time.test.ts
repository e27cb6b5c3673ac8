// How long the body of a request may take: all of it in a fixed time for everybody, and by its rate
// for an operator who has authenticated. The clock is moved by hand; the sockets are real.
import { createConnection, type AddressInfo, type Socket } from 'node:net';
import type { Server } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { TimedRequest } from '../../../server/http/body-time.js';
import { makeServer } from '../../../server/http/listener.js';
import { limits } from '../../../shared/base/limits.js';
import { ManualClock } from '../../sim/manual-clock.js';

const SECOND_MS = 1000;
const LEAST_BYTES = (limits.uploadRateMinBytes * limits.uploadRateWindowMs) / SECOND_MS;

let server: Server;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

interface Upload {
  readonly clock: ManualClock;
  readonly socket: Socket;
  /** All that the server has sent. */
  readonly answer: () => string;
  /** Sends so many bytes of the body, and waits until the server has them. */
  readonly send: (bytes: number) => Promise<void>;
}

/** Begins a request with a long body. `answersFirst`: the server answers and does not want it. */
async function upload(kind: 'stranger' | 'operator', answersFirst = false): Promise<Upload> {
  const clock = new ManualClock();
  let received = 0;
  const begun = new Promise<void>((resolve) => {
    server = makeServer(
      (request, response) => {
        expect(request).toBeInstanceOf(TimedRequest);
        if (kind === 'operator' && request instanceof TimedRequest) request.judgeBodyByRate(clock);
        if (answersFirst) response.writeHead(401).end();
        else request.on('data', (chunk: Buffer) => (received += chunk.length));
        request.on('end', () => {
          if (!answersFirst) response.end('all of it');
        });
        resolve();
      },
      {
        clock,
        tls: null,
        connections: { maxCount: 10, perAddressMaxCount: 10 },
        trustedProxies: [],
        security: {
          report: () => {},
          record: () => Promise.resolve(),
          flush: () => Promise.resolve(),
        },
      },
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const socket = createConnection((server.address() as AddressInfo).port, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => {});
  let answer = '';
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
  socket.write(`PUT /file HTTP/1.1\r\nhost: x\r\ncontent-length: ${10 * LEAST_BYTES}\r\n\r\n`);
  await begun;
  let sent = 0;
  return {
    clock,
    socket,
    answer: () => answer,
    send: async (bytes) => {
      sent += bytes;
      socket.write(Buffer.alloc(bytes));
      if (!answersFirst) await expect.poll(() => received).toBe(sent);
    },
  };
}

const closed = (socket: Socket): Promise<unknown> =>
  new Promise((resolve) => (socket.closed ? resolve(null) : socket.once('close', resolve)));

test('body_of_a_stranger_that_trickles_is_ended_with_an_answer', async () => {
  const { clock, socket, answer, send } = await upload('stranger');
  for (let second = 0; second < limits.httpBodyMs / SECOND_MS; second++) {
    expect(answer()).toBe('');
    await send(100);
    clock.pass(SECOND_MS);
  }
  await closed(socket);
  expect(answer()).toContain('HTTP/1.1 408');
  expect(answer()).toContain('request_timeout');
});

test('body_that_nobody_wants_is_ended_as_well', async () => {
  const { clock, socket, answer, send } = await upload('stranger', true);
  await send(100);
  clock.pass(limits.httpBodyMs);
  await closed(socket);
  expect(answer().match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 401']);
});

test('slow_upload_of_an_operator_is_not_cut_off', async () => {
  const { clock, socket, answer, send } = await upload('operator');
  for (let window = 0; window < 9; window++) {
    await send(LEAST_BYTES);
    clock.pass(limits.uploadRateWindowMs);
    expect([socket.destroyed, answer()]).toEqual([false, '']);
  }
  await send(LEAST_BYTES);
  await expect.poll(answer).toContain('all of it');
  // Its time has ended with it.
  clock.pass(10 * limits.uploadRateWindowMs);
  expect(answer()).not.toContain('408');
});

test('upload_of_an_operator_that_trickles_is_ended', async () => {
  const { clock, socket, answer, send } = await upload('operator');
  await send(LEAST_BYTES);
  clock.pass(limits.uploadRateWindowMs);
  await send(LEAST_BYTES / 2);
  clock.pass(limits.uploadRateWindowMs);
  await closed(socket);
  expect(answer()).toContain('HTTP/1.1 408');
});
