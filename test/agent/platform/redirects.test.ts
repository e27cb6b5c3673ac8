// Redirects of file downloads: where they lead, how many there may be, what the other host sees and
// what it may say. Both hosts are real HTTP servers.
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HttpFetcher } from '../../../agent/platform/fetcher.js';
import { limits } from '../../../shared/base/limits.js';
import { TIME_HEADER } from '../../../shared/protocol/device-api.js';
import { realClock } from '../../../shared/platform/clock.js';

interface Host {
  readonly url: string;
  readonly requests: http.IncomingMessage[];
  answer: http.RequestListener;
  close(): Promise<void>;
}

async function openHost(): Promise<Host> {
  const requests: http.IncomingMessage[] = [];
  const host = { answer: ((_request, response) => response.end()) as http.RequestListener };
  const server = http.createServer((request, response) => {
    requests.push(request);
    host.answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(host, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

let server: Host;
let store: Host;
let fetcher: HttpFetcher;
let times: number[];
beforeEach(async () => {
  [server, store] = [await openHost(), await openHost()];
  times = [];
  fetcher = new HttpFetcher({
    server: server.url,
    authorization: () => Promise.resolve('Linnet-Device t0ken'),
    clock: realClock,
    onServerTime: (ms) => {
      times.push(ms);
      return false;
    },
  });
  server.answer = to(`${store.url}/bucket/x?X-Amz-Signature=secret`);
});
afterEach(async () => {
  fetcher.close();
  await server.close();
  await store.close();
});

const FILE = '/repo/image/files/x';
const BYTES = Buffer.from('the bytes of a model');

function to(location: string, status = 307): http.RequestListener {
  return (_request, response) => response.writeHead(status, { location }).end('moved');
}

const sendRange: http.RequestListener = ({ headers }, response) => {
  const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? 'bytes=0-')?.[1]);
  const range = { 'content-range': `bytes ${from}-${BYTES.length - 1}/${BYTES.length}` };
  response.writeHead(from > 0 ? 206 : 200, from > 0 ? range : {}).end(BYTES.subarray(from));
};

async function download(offset = 0): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of await fetcher.open(FILE, offset)) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

test.each([301, 302, 303, 307, 308])('file_follows_%d_and_the_token_stays_here', async (status) => {
  server.answer = to(`${store.url}/bucket/x`, status);
  store.answer = sendRange;
  expect(await download()).toBe(BYTES.toString());
  expect(server.requests[0]?.headers.authorization).toBe('Linnet-Device t0ken');
  const { headers, url } = store.requests[0] ?? { headers: {}, url: '' };
  expect(Object.keys(headers).sort()).toEqual(['connection', 'host']);
  expect(url).toBe('/bucket/x');
});

test('query_of_the_link_is_kept_and_no_fault_shows_it', async () => {
  store.answer = (_request, response) => response.writeHead(403).end('expired');
  const error = await download().catch((caught: unknown) => caught);
  expect(store.requests[0]?.url).toBe('/bucket/x?X-Amz-Signature=secret');
  expect(error).toMatchObject({
    code: 'fetch_interrupted',
    detail: `${store.url}/bucket/x answered 403`,
  });
});

test('download_resumes_by_range_through_a_redirect', async () => {
  store.answer = sendRange;
  expect(await download(4)).toBe(BYTES.subarray(4).toString());
  for (const { requests } of [server, store])
    expect(requests.map(({ headers }) => headers.range)).toEqual(['bytes=4-']);
});

test('relative_location_is_of_the_host_that_gave_it', async () => {
  store.answer = (request, response) => {
    if (request.url === '/other') sendRange(request, response);
    else to('/other')(request, response);
  };
  expect(await download()).toBe(BYTES.toString());
  expect(store.requests.length).toBe(limits.redirectsMaxCount);
});

test('more_redirects_than_two_are_refused', async () => {
  store.answer = to('/again');
  await expect(download()).rejects.toMatchObject({ code: 'fetch_interrupted' });
  expect(store.requests.length).toBe(limits.redirectsMaxCount);
});

test.each(['ftp://host/x', 'file:///etc/passwd', 'http://', 'http://me:pass@127.0.0.1/x'])(
  'redirect_to_%s_is_refused',
  async (location) => {
    server.answer = to(location);
    await expect(download()).rejects.toMatchObject({ code: 'fetch_interrupted' });
    expect(store.requests).toEqual([]);
  },
);

test.each([401, 404, 410])('other_host_tells_no_time_and_cannot_refuse_by_%d', async (status) => {
  store.answer = (_request, response) =>
    response
      .writeHead(status, { [TIME_HEADER]: '1', 'content-type': 'application/json' })
      .end('{"error":"go away","code":"device_cloned"}');
  await expect(download()).rejects.toMatchObject({ code: 'fetch_interrupted' });
  expect(times).toEqual([]);
  expect(store.requests.length).toBe(1);
});

test('documents_and_posts_are_not_redirected', async () => {
  await expect(fetcher.get(FILE, 100)).rejects.toMatchObject({ code: 'server_unreachable' });
  await expect(fetcher.post(FILE, {}, 100)).rejects.toMatchObject({ code: 'server_unreachable' });
  expect(store.requests).toEqual([]);
});
