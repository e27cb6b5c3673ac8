// Every refusal has one shape, whichever layer refuses: routes, Fastify, or Node's HTTP parser.
import { createConnection } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { complaints } from '../../../shared/base/decode.js';
import { limits } from '../../../shared/base/limits.js';
import { ApiError, TokenPage } from '../../../shared/protocol/operator-api.js';
import { publish, securityEvents, startFleet, type TestFleet } from '../../support/fleet-server.js';

let fleet: TestFleet;
beforeAll(async () => {
  fleet = await startFleet();
});
afterAll(async () => {
  await fleet.close();
});

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly allow: string | null;
}

async function refusalOf(path: string, init: RequestInit = {}): Promise<Refusal> {
  const response = await fetch(`${fleet.server.address}${path}`, init);
  const body = (await response.json()) as ApiError;
  expect(complaints(ApiError, body)).toEqual([]);
  expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
  return { status: response.status, code: body.code, allow: response.headers.get('allow') };
}

/** Sends bytes as they are, and reads until the server closes. */
function rawText(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(Number(new URL(fleet.server.address).port), '127.0.0.1');
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString('utf8')));
    socket.once('error', reject);
    socket.once('close', () => resolve(answer));
    socket.write(text);
  });
}

async function raw(text: string): Promise<{ head: string; body: unknown }> {
  const [head = '', body = ''] = (await rawText(text)).split('\r\n\r\n');
  return { head, body: JSON.parse(body) as unknown };
}

const json = { 'content-type': 'application/json' };
const enrol = '/device/v1/enrol';

describe('refusals of fastify', () => {
  it.each([
    ['bad_json', enrol, { method: 'POST', headers: json, body: '{' }, 400, 'message_undecodable'],
    ['empty_json', enrol, { method: 'POST', headers: json, body: '' }, 400, 'message_undecodable'],
    [
      'long_body',
      enrol,
      { method: 'POST', headers: json, body: 'x'.repeat(limits.operatorBodyMaxBytes + 1) },
      413,
      'request_too_large',
    ],
    [
      'unknown_content_type',
      enrol,
      { method: 'POST', headers: { 'content-type': 'text/csv' }, body: 'a,b' },
      415,
      'media_type_unsupported',
    ],
    ['unknown_path', '/nowhere', {}, 404, 'not_found'],
    ['broken_escape_in_the_path', '/repo/image/metadata/%zz', {}, 400, 'message_undecodable'],
    [
      'parameter_too_long',
      `/repo/image/metadata/${'a'.repeat(400)}`,
      {},
      400,
      'message_undecodable',
    ],
  ])('%s_has_the_shape_of_the_api', async (_name, path, init, status, code) => {
    expect(await refusalOf(path, init)).toEqual({ status, code, allow: null });
  });

  it('an_upload_of_another_content_type_is_415', async () => {
    const headers = { authorization: `Bearer ${fleet.adminToken}`, 'content-type': 'text/plain' };
    const path = `/api/v1/files/${'ab'.repeat(32)}`;
    expect(await refusalOf(path, { method: 'PUT', headers, body: 'x' })).toMatchObject({
      status: 415,
      code: 'media_type_unsupported',
    });
  });
});

describe('methods', () => {
  it.each([
    ['DELETE', '/healthz', 'GET, HEAD'],
    ['GET', enrol, 'POST'],
    ['OPTIONS', '/api/v1/devices', 'GET, HEAD'],
    ['PUT', '/api/v1/devices/cam-1', 'GET, HEAD, PATCH'],
    ['POST', '/repo/image/metadata/timestamp.json', 'GET, HEAD'],
    ['PATCH', '/api/v1/tokens', 'GET, HEAD, POST'],
  ])('%s_%s_is_405_and_names_what_is_allowed', async (method, path, allow) => {
    expect(await refusalOf(path, { method })).toEqual({
      status: 405,
      code: 'method_not_allowed',
      allow,
    });
  });

  it('a_method_that_exists_is_not_405', async () => {
    for (const method of ['GET', 'HEAD'])
      expect((await fetch(`${fleet.server.address}/healthz`, { method })).status).toBe(200);
  });
});

describe('refusals of the http parser', () => {
  it.each([
    ['not_http', 'hello\r\n\r\n', 400, 'message_undecodable'],
    ['no_host', 'GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n', 400, 'message_undecodable'],
    ['bad_version', 'GET / HTTP/9.9\r\n\r\n', 400, 'message_undecodable'],
    [
      'headers_too_long',
      `GET /healthz HTTP/1.1\r\nhost: x\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`,
      431,
      'header_too_large',
    ],
  ])('%s_has_the_shape_of_the_api', async (_name, text, status, code) => {
    const { head, body } = await raw(text);
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [A-Z]`));
    expect(head).toContain('content-type: application/json');
    expect(complaints(ApiError, body)).toEqual([]);
    expect((body as ApiError).code).toBe(code);
  });
});

describe('files', () => {
  it('ranges_and_conditions_are_answered_as_rfc_9110_says', async () => {
    const release = await publish(fleet, '1.0.0');
    const [digest, bytes] = [...release.files][0] as [string, Uint8Array];
    const get = (headers: Record<string, string>, method = 'GET'): Promise<Response> =>
      fetch(`${fleet.server.address}/repo/image/files/${digest}`, { method, headers });
    const etag = `"${digest}"`;
    const last = bytes.length - 1;
    const cases: [Record<string, string>, number, string | null, Uint8Array][] = [
      [{}, 200, null, bytes],
      [{ range: 'bytes=2-5' }, 206, `bytes 2-5/${bytes.length}`, bytes.subarray(2, 6)],
      [{ range: 'bytes=0-' }, 206, `bytes 0-${last}/${bytes.length}`, bytes],
      [{ range: 'bytes=-3' }, 206, `bytes ${last - 2}-${last}/${bytes.length}`, bytes.subarray(-3)],
      [
        { range: `bytes=1-${last + 99}` },
        206,
        `bytes 1-${last}/${bytes.length}`,
        bytes.subarray(1),
      ],
      [
        { range: 'bytes=2-5', 'if-range': etag },
        206,
        `bytes 2-5/${bytes.length}`,
        bytes.subarray(2, 6),
      ],
      [{ range: 'bytes=2-5', 'if-range': '"other"' }, 200, null, bytes],
      // What a server may ignore: other units, malformed ranges, several ranges.
      [{ range: 'lines=2-5' }, 200, null, bytes],
      [{ range: 'bytes=5-2' }, 200, null, bytes],
      [{ range: 'bytes=0-1,4-5' }, 200, null, bytes],
      [{ 'if-none-match': '"other"' }, 200, null, bytes],
    ];
    for (const [headers, status, range, expected] of cases) {
      const response = await get(headers);
      const body = Buffer.from(await response.arrayBuffer());
      expect([headers, response.status, response.headers.get('content-range')]).toEqual([
        headers,
        status,
        range,
      ]);
      expect([headers, body.equals(expected)]).toEqual([headers, true]);
      expect(response.headers.get('etag')).toBe(etag);
    }
    // Not by fetch: it adds cache-control: no-cache, which asks for the file in any case.
    const known = await rawText(
      `GET /repo/image/files/${digest} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n` +
        `if-none-match: "other", ${etag}\r\n\r\n`,
    );
    expect(known).toMatch(/^HTTP\/1\.1 304 [^]*\r\n\r\n$/);
    const head = await get({}, 'HEAD');
    expect([
      head.status,
      head.headers.get('content-length'),
      head.headers.get('accept-ranges'),
    ]).toEqual([200, String(bytes.length), 'bytes']);
    const beyond = await get({ range: `bytes=${bytes.length}-` });
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([
      416,
      `bytes */${bytes.length}`,
    ]);
    expect(((await beyond.json()) as ApiError).code).toBe('range_unsatisfiable');
    expect(await refusalOf(`/repo/image/files/${'cd'.repeat(32)}`)).toMatchObject({ status: 404 });
  });
});

describe('security events of strangers', () => {
  it('bad_tokens_5100_times_evict_nothing_are_one_event_and_are_soon_refused', async () => {
    await fleet.store.security.add([
      {
        source: { kind: 'operator', name: 'marker' },
        code: 'signature_invalid',
        detail: 'the one that matters',
        count: 1,
        firstAt: 1,
        lastAt: 1,
      },
    ]);
    const attempt = async (n: number): Promise<number> => {
      const token = `lnt_${n.toString().padStart(43, '0')}`;
      const device = n % 2 === 0;
      const path = device
        ? '/device/v1/director/timestamp.json'
        : `/api/v1/devices?limit=${(n % 9) + 1}`;
      const authorization = device ? `Linnet-Device ${token}` : `Bearer ${token}`;
      const response = await fetch(`${fleet.server.address}${path}`, {
        headers: { authorization },
      });
      await response.arrayBuffer();
      return response.status;
    };
    const statuses = new Map<number, number>();
    for (let n = 0; n < 5100; n += 50)
      for (const status of await Promise.all(Array.from({ length: 50 }, (_, k) => attempt(n + k))))
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
    const verified = statuses.get(401) ?? 0;
    expect(statuses.get(429)).toBe(5100 - verified);
    // 30 of both kinds at once, and one a second of each; those that were under way in parallel.
    expect(verified).toBeLessThan(1000);
    expect(await securityEvents(fleet, 'marker')).toMatchObject([
      { detail: 'the one that matters', count: 1 },
    ]);
    const strangers = await securityEvents(fleet, '127.0.0.1');
    expect(strangers.every(({ sourceKind }) => sourceKind === 'anonymous')).toBe(true);
    const counts = new Map(strangers.map(({ code, count }) => [code, count]));
    expect(counts.get('auth_missing')).toBe(verified);
    expect([...counts.keys()].sort()).toEqual(['auth_missing', 'too_many_attempts']);
    // The operator works at the same address.
    expect(await fleet.admin.list('/tokens', TokenPage)).toHaveLength(1);
  });

  it('a_request_without_a_token_is_no_event', async () => {
    const before = (await securityEvents(fleet)).length;
    expect(await refusalOf('/api/v1/devices')).toMatchObject({ status: 401 });
    expect(await refusalOf('/device/v1/director/timestamp.json')).toMatchObject({ status: 401 });
    expect(await securityEvents(fleet)).toHaveLength(before);
  });
});
