// Connections of the local inference API: slow clients, kept connections, requests in pieces.
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { InferenceServer } from '../../../../agent/inference/api/inference-server.js';
import type { InferenceLimits } from '../../../../agent/inference/inference-limits.js';
import { silentLog } from '../../../../shared/base/interfaces.js';
import { realClock } from '../../../../shared/platform/clock.js';
import { INFER, InferenceApi, input, REQUEST_MAX_BYTES } from '../../../support/inference-api.js';
import { until } from '../../../support/inference-engines.js';

let api: InferenceApi;
beforeAll(async () => {
  api = await InferenceApi.start();
});
afterAll(() => api.close());

/** Code and text of the error that the last answer in `text` carries. */
function refusalIn(text: string): [code: unknown, error: unknown] {
  const body = text.slice(text.lastIndexOf('\r\n\r\n') + 4);
  const { code, error } = JSON.parse(body) as Record<string, unknown>;
  return [code, error];
}

describe('a slow client', () => {
  /** A server of its own on a unix socket, which has small buffers. `rings`: its clock's timers. */
  async function ownServer(
    limits: Partial<InferenceLimits>,
  ): Promise<{ path: string; rings: { ms: number; ring: () => void }[] }> {
    const rings: { ms: number; ring: () => void }[] = [];
    const clock = {
      ...realClock,
      after: (ms: number, ring: () => void) => (rings.push({ ms, ring }), () => {}),
    };
    const path = join(api.root, `own-${Object.keys(limits).join('-')}.sock`);
    const own = new InferenceServer({
      engines: api.engines,
      clock,
      log: silentLog,
      version: '9.9.9',
      unix: path,
      limits,
    });
    await own.listen();
    owned.push(own);
    return { path, rings };
  }
  const owned: InferenceServer[] = [];
  afterEach(async () => {
    for (const own of owned.splice(0)) await own.close();
  });
  const closing = (socket: Socket): Promise<void> =>
    new Promise((resolve) => socket.on('error', () => {}).once('close', () => resolve()));

  it('client_that_stops_in_its_body_is_cut_off', async () => {
    const { path } = await ownServer({ requestTransferMs: 60, connectionCheckMs: 10 });
    const socket = connect({ path });
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
    socket.write(
      'POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{',
    );
    await closing(socket);
    expect(text).toMatch(/^HTTP\/1.1 408 /);
    expect(refusalIn(text)).toEqual(['request_timeout', 'the request did not arrive in time']);
  });

  it('second_request_that_stops_on_a_kept_connection_is_refused_after_the_first_answer', async () => {
    const { path } = await ownServer({ requestTransferMs: 60, connectionCheckMs: 10 });
    const socket = connect({ path });
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => (text += chunk));
    socket.write('GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n');
    await until(() => text.includes('}'), 'the first answer');
    socket.write('GET /v2/health/live HTT');
    await closing(socket);
    expect(text).toMatch(/^HTTP\/1.1 200 [^]*\{"live":true\}HTTP\/1.1 408 /);
    expect(refusalIn(text)[0]).toBe('request_timeout');
  });

  it('client_that_does_not_read_its_answer_is_cut_off', async () => {
    const transferMs = 12_345;
    const { path, rings } = await ownServer({
      requestTransferMs: transferMs,
      requestMaxBytes: REQUEST_MAX_BYTES,
    });
    const socket = connect({ path }).pause();
    const rows = 200_000;
    socket.write(
      `POST /v2/models/digits/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: ` +
        `0\r\nContent-Length: ${rows * 16}\r\n\r\n`,
    );
    socket.write(Buffer.alloc(rows * 16));
    await until(() => rings.some(({ ms }) => ms === transferMs), 'the answer waits for its reader');
    rings.find(({ ms }) => ms === transferMs)?.ring();
    let got = 0;
    socket.on('data', (chunk: Buffer) => (got += chunk.length));
    await closing(socket.resume());
    expect(got).toBeGreaterThan(0);
    expect(got).toBeLessThan(rows * 16);
  });

  it('connections_beyond_the_limit_are_closed', async () => {
    const { path } = await ownServer({ connectionsMaxCount: 1 });
    const first = connect({ path });
    first.write('GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n');
    await new Promise((resolve) => first.once('data', resolve));
    await closing(connect({ path }).resume());
    expect(first.destroyed).toBe(false);
    first.destroy();
  });
});

describe('one connection', () => {
  const body = JSON.stringify({ inputs: [input()] });
  const plain =
    `POST ${INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ` +
    `${body.length}\r\n\r\n${body}`;
  const metadata = 'GET /v2/models/digits HTTP/1.1\r\nHost: localhost\r\n\r\n';
  const chunked =
    `POST ${INFER} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: ` +
    `chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

  /** Writes the pieces, each after a turn of the loop, and reads until `answers` answers came. */
  async function converse(pieces: string[], answers: number): Promise<string> {
    const socket = connect({ path: api.unix });
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    for (const piece of pieces) {
      socket.write(piece, 'latin1');
      await pause(2);
    }
    const complete = () =>
      (text.match(/HTTP\/1\.1 \d+/g)?.length ?? 0) >= answers && text.trimEnd().endsWith('}');
    await until(complete, `${answers} answers, got ${text}`);
    socket.destroy();
    return text;
  }

  const statuses = (text: string): string[] =>
    [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status as string);

  it('one_connection_carries_requests_of_every_kind', async () => {
    const text = await converse([plain, plain, metadata, plain, chunked, plain], 6);
    expect(statuses(text)).toEqual(['200', '200', '200', '200', '200', '200']);
    expect(text.match(/"data":\[1\.5,2,3,4\]/g)).toHaveLength(5);
  });

  it('pipelined_requests_are_answered_in_order', async () => {
    const named = (id: string) => {
      const own = JSON.stringify({ id, inputs: [input()] });
      return (
        `POST ${INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: ` +
        `${own.length}\r\n\r\n${own}`
      );
    };
    const text = await converse([named('a') + named('b') + named('c') + metadata], 4);
    expect([...text.matchAll(/"id":"(.)"/g)].map(([, id]) => id)).toEqual(['a', 'b', 'c']);
    expect(statuses(text)).toEqual(['200', '200', '200', '200']);
  });

  it('request_may_arrive_in_any_pieces', async () => {
    for (const at of [
      1,
      4,
      30,
      plain.indexOf('\r\n\r\n') + 2,
      plain.indexOf('\r\n\r\n') + 4,
      plain.length - 1,
    ]) {
      expect(statuses(await converse([plain.slice(0, at), plain.slice(at)], 1))).toEqual(['200']);
    }
    expect(statuses(await converse(Array.from(plain), 1))).toEqual(['200']);
  });

  it('expect_continue_is_answered_and_ambiguous_requests_are_refused', async () => {
    const expecting = plain.replace('Host: localhost', 'Host: localhost\r\nExpect: 100-continue');
    expect(statuses(await converse([expecting], 2))).toEqual(['100', '200']);
    for (const bad of ['Content-Length: 5', 'Transfer-Encoding: chunked', 'Bad Name: x']) {
      const text = await api.exchange(
        plain.replace('Host: localhost', `Host: localhost\r\n${bad}`),
        null,
      );
      expect(text).toMatch(/^HTTP\/1\.1 400/);
      expect(refusalIn(text)[0]).toBe('message_undecodable');
    }
  });

  it.each([
    ['request_without_host', plain.replace('Host: localhost\r\n', ''), 400, 'message_undecodable'],
    ['greeting_of_another_protocol', 'EHLO x\r\n\r\n', 400, 'message_undecodable'],
    [
      'header_that_is_too_long',
      plain.replace('Host', `X: ${'y'.repeat(20_000)}\r\nHost`),
      431,
      'header_too_large',
    ],
  ])('%s_is_refused_in_the_shape_of_the_api', async (_, request, status, code) => {
    for (const over of ['tcp', 'unix'] as const) {
      const text = await api.exchange(request, null, over);
      expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [A-Z]`));
      expect(text).toMatch(/\r\nconnection: close\r\n/i);
      expect(refusalIn(text)[0]).toBe(code);
    }
  });
});
