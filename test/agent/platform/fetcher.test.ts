// The fetcher against a real HTTP server that misbehaves on purpose. Over 400 lines because each
// way a source can fail has its own test.
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, describe, expect, it } from 'vitest';
import { NodeDisk } from '../../../agent/platform/disk.js';
import { HttpFetcher, type HttpFetcherOptions } from '../../../agent/platform/fetcher.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { realClock } from '../../../shared/platform/clock.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Site {
  url: string;
  requests: http.IncomingMessage[];
}

async function site(handler: http.RequestListener): Promise<Site> {
  const requests: http.IncomingMessage[] = [];
  const sockets = new Set<Socket>();
  const server = http.createServer((request, response) => {
    requests.push(request);
    handler(request, response);
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(
    () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(resolve);
      }),
  );
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

function fetcher(options: Partial<HttpFetcherOptions> & { server: string }): HttpFetcher {
  const made = new HttpFetcher({
    authorization: () => Promise.resolve('Linnet-Device t0ken'),
    clock: realClock,
    ...options,
  });
  cleanups.push(() => made.close());
  return made;
}

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'linnet-fetcher-'));
  cleanups.push(() => rmSync(made, { recursive: true }));
  return made;
}

async function whole(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const chunk of chunks) pieces.push(chunk);
  return Buffer.concat(pieces);
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no fault',
    (error: unknown) => (isFault(error) ? error.code : String(error)),
  );

/**
 * Serves `bytes` with ranges; the first `cuts` answers end in the middle by a broken connection,
 * once `isRead` resolves: what has arrived and was not read by then is lost.
 */
function cutting(
  bytes: Buffer,
  cuts: number,
  isRead: (from: number) => Promise<unknown> = () => Promise.resolve(),
): http.RequestListener {
  let left = cuts;
  return (request, response) => {
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? 'bytes=0-')?.[1]);
    const rest = bytes.subarray(from);
    response.writeHead(from > 0 ? 206 : 200, {
      'content-length': rest.length,
      ...(from > 0 ? { 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
    });
    if (left === 0) {
      response.end(rest);
      return;
    }
    left -= 1;
    response.write(
      rest.subarray(0, Math.ceil(rest.length / 2)),
      () => void isRead(from).then(() => response.destroy()),
    );
  };
}

/** For `cutting`: the file of a download is longer than at its start. */
const grownFrom =
  (disk: NodeDisk, path: string) =>
  (from: number): Promise<void> =>
    expect.poll(() => disk.size(path), { timeout: 50_000, interval: 5 }).toBeGreaterThan(from);

describe('a download', () => {
  it('cut_connections_resume_where_they_ended', async () => {
    const bytes = randomBytes(16 * limits.fetchChunkBytes);
    const disk = new NodeDisk();
    const path = join(folder(), 'file.part');
    const { url, requests } = await site(cutting(bytes, 3, grownFrom(disk, path)));
    const source = fetcher({ server: url });
    let faults = 0;
    for (let offset = 0; offset < bytes.length; offset = (await disk.size(path)) ?? 0) {
      const code = await codeOf(
        disk.append(path, offset, await source.open('/repo/image/files/x', offset)),
      );
      if (code !== 'no fault') {
        expect(code).toBe('fetch_interrupted');
        faults += 1;
      }
    }
    expect(faults).toBe(3);
    expect(
      requests.slice(1).every((request) => /^bytes=[1-9]\d*-$/.test(request.headers.range ?? '')),
    ).toBe(true);
    expect((await disk.sha256(path))?.sha256).toBe(
      createHash('sha256').update(bytes).digest('hex'),
    );
  });

  it('server_that_ignores_range_is_skipped_through', async () => {
    const bytes = randomBytes(500_000);
    const { url } = await site((_request, response) => response.end(bytes));
    expect(
      (await whole(await fetcher({ server: url }).open('/f', 123_456))).equals(
        bytes.subarray(123_456),
      ),
    ).toBe(true);
  });

  it('range_other_than_asked_is_refused', async () => {
    const { url } = await site((_request, response) =>
      response.writeHead(206, { 'content-range': 'bytes 0-9/10' }).end('0123456789'),
    );
    expect(await codeOf(fetcher({ server: url }).open('/f', 5))).toBe('fetch_interrupted');
  });

  it('complete_file_has_nothing_after_its_end', async () => {
    const { url } = await site((_request, response) =>
      response.writeHead(416, { 'content-range': 'bytes */10' }).end(),
    );
    expect((await whole(await fetcher({ server: url }).open('/f', 10))).length).toBe(0);
    expect(await codeOf(fetcher({ server: url }).open('/f', 11))).toBe('fetch_interrupted');
  });

  it('silent_server_is_aborted_before_and_in_the_body', async () => {
    const { url } = await site((request, response) => {
      if (request.url === '/mute') return;
      response.writeHead(200, { 'content-length': 100 });
      response.write('some');
    });
    const source = fetcher({ server: url, idleMs: 200 });
    expect(await codeOf(source.get('/mute', 100))).toBe('server_unreachable');
    expect(await codeOf(source.get('/stuck', 100))).toBe('fetch_interrupted');
    expect(await codeOf(whole(await source.open('/stuck', 0)))).toBe('fetch_interrupted');
  });

  it('slow_reader_is_not_a_silent_server', async () => {
    const bytes = randomBytes(400_000);
    const { url } = await site((_request, response) => response.end(bytes));
    let read = 0;
    for await (const chunk of await fetcher({ server: url, idleMs: 150 }).open('/f', 0)) {
      if (read === 0) await new Promise((resolve) => setTimeout(resolve, 400));
      read += chunk.length;
    }
    expect(read).toBe(bytes.length);
  });
});

describe('closing', () => {
  it('ends_what_is_under_way_and_never_asks_again', async () => {
    const { url, requests } = await site((request, response) => {
      if (request.url === '/first') return void response.end('1');
      if (request.url === '/body') response.writeHead(200, { 'content-length': 100 }).write('some');
    });
    const source = fetcher({ server: url });
    await source.get('/first', 10); // So that the next request goes over a kept-alive connection.
    const waiting = codeOf(source.get('/mute', 100));
    const coming = (await source.open('/body', 0))[Symbol.asyncIterator]();
    await coming.next();
    const body = codeOf(coming.next());
    await expect.poll(() => requests.length, { timeout: 50_000, interval: 5 }).toBe(3);
    source.close();
    expect(await waiting).toBe('server_unreachable');
    expect(await body).toBe('server_unreachable');
    expect(await codeOf(source.get('/mute', 100))).toBe('server_unreachable');
    expect(requests.length).toBe(3);
  });

  it('ends_a_copy_from_a_folder_too', async () => {
    const root = folder();
    mkdirSync(join(root, 'repo/image/files'), { recursive: true });
    writeFileSync(join(root, 'repo/image/files/abc'), randomBytes(3_000_000));
    const source = fetcher({ server: 'http://127.0.0.1:1', mirrors: [pathToFileURL(root).href] });
    const chunks = (await source.open('/repo/image/files/abc', 0))[Symbol.asyncIterator]();
    await chunks.next();
    source.close();
    expect(await codeOf(chunks.next())).toBe('server_unreachable');
  });
});

describe('a small document', () => {
  it('endless_data_is_refused_while_it_streams', async () => {
    let sent = 0;
    const { url } = await site((_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(10_000))) sent += 10_000;
      };
      response.on('drain', more);
      more();
    });
    expect(
      await codeOf(fetcher({ server: url }).get('/repo/image/metadata/timestamp.json', 16_384)),
    ).toBe('metadata_too_large');
    expect(sent).toBeLessThan(20_000_000);
  });

  it('longest_allowed_is_taken_whole', async () => {
    const { url } = await site((_request, response) => response.end(Buffer.alloc(16_384, 7)));
    expect((await fetcher({ server: url }).get('/t', 16_384))?.length).toBe(16_384);
    expect(await codeOf(fetcher({ server: url }).get('/t', 16_383))).toBe('metadata_too_large');
  });

  it('truncated_document_is_an_interruption', async () => {
    const { url } = await site(cutting(Buffer.alloc(1000), 1));
    expect(await codeOf(fetcher({ server: url }).get('/t', 10_000))).toBe('fetch_interrupted');
  });
});

describe('an error answer', () => {
  const answers: Record<string, [number, string]> = {
    '/401': [401, '{"error":"who are you","code":"auth_missing"}'],
    '/403': [403, 'no'],
    '/claim': [403, '{"error":"claim used up","code":"claim_invalid"}'],
    '/409': [409, '{"error":"already so"}'],
    '/500': [500, '{"error":"oh","code":"internal"}'],
    '/503': [503, '{"error":"later","code":"auth_denied"}'],
    '/302': [302, ''],
    '/308': [308, ''],
    '/400': [400, '{"code":"no_such_code"}'],
  };

  async function answering(): Promise<HttpFetcher> {
    const { url } = await site((request, response) => {
      const [status, body] = answers[request.url ?? ''] ?? [
        404,
        '{"error":"nothing here","code":"not_found"}',
      ];
      const locations: Record<number, string> = { 302: '/401', 308: 'https://fleet.example/x' };
      const location = locations[status];
      response.writeHead(status, location === undefined ? {} : { location }).end(body);
    });
    return fetcher({ server: url });
  }

  it.each([
    ['/401', 'auth_missing'],
    ['/403', 'auth_denied'],
    ['/claim', 'claim_invalid'],
    ['/409', 'conflict'],
    ['/500', 'server_unreachable'],
    ['/503', 'server_unreachable'],
    ['/400', 'message_undecodable'],
  ])('answer_%s_is_%s', async (path, code) => {
    const source = await answering();
    expect(await codeOf(source.get(path, 1000))).toBe(code);
    expect(await codeOf(source.open(path, 0))).toBe(code);
    expect(await codeOf(source.post(path, {}, 1000))).toBe(code);
  });

  it('missing_is_null_for_get_and_a_fault_otherwise', async () => {
    const source = await answering();
    expect(await source.get('/none', 1000)).toBeNull();
    expect(await codeOf(source.open('/none', 0))).toBe('not_found');
    expect(await codeOf(source.post('/none', {}, 1000))).toBe('not_found');
  });

  it('redirect_of_a_document_is_not_followed_and_its_location_is_named', async () => {
    const source = await answering();
    const advice = /\/302 answered 302 redirects to Location \/401: redirects are not followed/;
    await expect(source.get('/302', 1000)).rejects.toThrow(advice);
    await expect(source.post('/302', {}, 1000)).rejects.toThrow(advice);
    await expect(source.get('/308', 1000)).rejects.toThrow(/Location https:\/\/fleet\.example\/x/);
    await expect(source.get('/401', 1000)).rejects.not.toThrow(/Location/);
  });

  it('text_of_the_server_is_kept', async () => {
    await expect((await answering()).get('/claim', 1000)).rejects.toThrow(
      /403 claim used up \(claim_invalid\)/,
    );
    await expect((await answering()).get('/500', 1000)).rejects.toThrow(/500 oh \(internal\)/);
  });

  it('closed_port_is_unreachable', async () => {
    const { url } = await site(() => {});
    const dead = new URL(url);
    for (const cleanup of cleanups.splice(0)) await cleanup();
    expect(await codeOf(fetcher({ server: `http://127.0.0.1:${dead.port}` }).get('/x', 10))).toBe(
      'server_unreachable',
    );
  });
});

describe('posting', () => {
  it('sends_json_with_the_token_and_reads_json', async () => {
    const { url, requests } = await site((request, response) => {
      let text = '';
      request
        .setEncoding('utf8')
        .on('data', (piece: string) => (text += piece))
        .on('end', () => response.end(`{"got":${text}}`));
    });
    expect(await fetcher({ server: url }).post('/device/v1/enrol', { a: 1 }, 1000)).toEqual({
      got: { a: 1 },
    });
    expect(requests[0]?.headers.authorization).toBe('Linnet-Device t0ken');
  });

  it('answer_that_is_not_json_is_refused', async () => {
    const { url } = await site((request, response) =>
      request.resume().on('end', () => response.end('<html>')),
    );
    expect(await codeOf(fetcher({ server: url }).post('/p', {}, 1000))).toBe('message_undecodable');
  });

  it('kept_alive_connection_that_the_server_closed_is_replaced', async () => {
    const server = http.createServer({ keepAliveTimeout: 1 }, (request, response) =>
      request.resume().on('end', () => response.end('1')),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => server.close());
    const source = fetcher({
      server: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    });
    expect(await source.post('/p', {}, 10)).toBe(1);
    server.closeAllConnections();
    expect(await source.post('/p', {}, 10)).toBe(1);
  });
});

describe('mirrors', () => {
  it('folder_mirror_serves_the_image_tree_and_never_sees_the_rest', async () => {
    const root = folder();
    mkdirSync(join(root, 'repo/image/files'), { recursive: true });
    writeFileSync(join(root, 'repo/image/files/abc'), 'from the folder');
    const { url, requests } = await site((_request, response) => response.end('from the server'));
    const source = fetcher({ server: url, mirrors: [pathToFileURL(root).href] });
    expect((await whole(await source.open('/repo/image/files/abc', 5))).toString()).toBe(
      'the folder',
    );
    expect(requests.length).toBe(0);
    expect(Buffer.from((await source.get('/repo/image/files/other', 100)) ?? []).toString()).toBe(
      'from the server',
    );
    expect(Buffer.from((await source.get('/device/v1/me', 100)) ?? []).toString()).toBe(
      'from the server',
    );
    expect(await codeOf(source.get('/repo/image/../../etc/passwd', 100))).toBe('no fault');
    expect(requests.length).toBe(3);
  });

  it('http_mirror_never_sees_the_device_token_and_its_faults_only_mean_the_next', async () => {
    const mirror = await site((_request, response) => response.writeHead(500).end());
    const server = await site((_request, response) => response.end('good'));
    const source = fetcher({ server: server.url, mirrors: [mirror.url, 'http://127.0.0.1:1'] });
    expect(
      Buffer.from((await source.get('/repo/image/metadata/root.json', 100)) ?? []).toString(),
    ).toBe('good');
    expect(mirror.requests.length).toBe(1);
    expect(mirror.requests[0]?.headers.authorization).toBeUndefined();
    expect(server.requests[0]?.headers.authorization).toBe('Linnet-Device t0ken');
  });

  it('mirror_that_breaks_in_the_middle_is_asked_last_at_the_resumption', async () => {
    const bytes = randomBytes(4 * limits.fetchChunkBytes);
    const path = join(folder(), 'p');
    const disk = new NodeDisk();
    const broken = await site(cutting(bytes, 1000, grownFrom(disk, path)));
    const good = await site(cutting(bytes, 0));
    const server = await site((_request, response) => response.writeHead(404).end());
    const source = fetcher({ server: server.url, mirrors: [broken.url, good.url] });
    expect(await codeOf(disk.append(path, 0, await source.open('/repo/image/files/x', 0)))).toBe(
      'fetch_interrupted',
    );
    const had = (await disk.size(path)) ?? 0;
    expect(had).toBeGreaterThan(0);
    await disk.append(path, had, await source.open('/repo/image/files/x', had));
    expect((await disk.sha256(path))?.sha256).toBe(
      createHash('sha256').update(bytes).digest('hex'),
    );
    expect(good.requests.length).toBe(1);
  });

  it('mirror_whose_bytes_failed_verification_is_not_asked_for_them_again', async () => {
    const bad = await site((_request, response) => response.end('bad'));
    const server = await site((_request, response) => response.end('good'));
    const source = fetcher({ server: server.url, mirrors: [bad.url] });
    const get = async (path: string) => Buffer.from((await source.get(path, 100)) ?? []).toString();
    expect(await get('/repo/image/metadata/2.root.json')).toBe('bad');
    expect(await get('/repo/image/metadata/2.root.json')).toBe('good');
    expect((await whole(await source.open('/repo/image/files/x', 0))).toString()).toBe('bad');
    expect((await whole(await source.open('/repo/image/files/x', 0))).toString()).toBe('good');
    expect(bad.requests.length).toBe(2);
  });

  it('what_changes_under_its_name_comes_from_the_server_alone', async () => {
    const frozen = await site((_request, response) => response.end('old'));
    const server = await site((_request, response) => response.end('new'));
    const source = fetcher({ server: server.url, mirrors: [frozen.url] });
    expect(
      Buffer.from((await source.get('/repo/image/metadata/timestamp.json', 100)) ?? []).toString(),
    ).toBe('new');
    expect(frozen.requests.length).toBe(0);
  });

  it('trickling_mirror_is_aborted_and_the_next_one_asked', async () => {
    const trickling = await site((_request, response) => {
      response.writeHead(200, { 'content-length': 100_000 });
      const drops = setInterval(() => response.write('.'), 5);
      response.once('close', () => clearInterval(drops));
    });
    const server = await site((_request, response) => response.end('good'));
    const source = fetcher({ server: server.url, mirrors: [trickling.url], idleMs: 300 });
    expect(
      Buffer.from((await source.get('/repo/image/metadata/2.root.json', 100_000)) ?? []).toString(),
    ).toBe('good');
    expect(await codeOf(whole(await source.open('/repo/image/files/x', 0)))).toBe(
      'fetch_interrupted',
    );
  });

  it('endless_error_answer_is_not_read_to_its_end', async () => {
    const endless = await site((_request, response) => {
      response.writeHead(404);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(10_000)));
      };
      response.on('drain', more);
      more();
    });
    const server = await site((_request, response) => response.end('good'));
    const source = fetcher({ server: server.url, mirrors: [endless.url] });
    expect(
      Buffer.from((await source.get('/repo/image/metadata/2.root.json', 100)) ?? []).toString(),
    ).toBe('good');
    await expect
      .poll(() => endless.requests[0]?.destroyed, { timeout: 50_000, interval: 5 })
      .toBe(true);
  });

  it('only_the_server_may_say_that_something_does_not_exist', async () => {
    const server = await site((_request, response) => response.writeHead(404).end());
    const source = fetcher({ server: server.url, mirrors: [pathToFileURL(folder()).href] });
    expect(await source.get('/repo/image/metadata/2.root.json', 100)).toBeNull();
    const down = fetcher({ server: 'http://127.0.0.1:1', mirrors: [pathToFileURL(folder()).href] });
    expect(await codeOf(down.get('/repo/image/metadata/2.root.json', 100))).toBe(
      'server_unreachable',
    );
  });
});

describe('a token that is refused for its time', () => {
  /** A server whose time is `now()`; it takes tokens that name it. */
  async function strict(now: () => number) {
    return site((request, response) => {
      const isGood = request.headers.authorization === `Linnet-Device ${now()}`;
      response.writeHead(isGood ? 200 : 401, { 'linnet-time': String(now()) });
      response.end(isGood ? 'yes' : '{"error":"too old","code":"clock_wrong"}');
    });
  }

  it('time_of_the_answer_makes_the_next_token_and_the_request_is_sent_once_more', async () => {
    const { url, requests } = await strict(() => 5000);
    let present = 0;
    const ours = fetcher({
      server: url,
      authorization: () => Promise.resolve(`Linnet-Device ${present}`),
      onServerTime: (serverMs) => {
        const moved = present !== serverMs;
        present = serverMs;
        return moved;
      },
    });
    expect(Buffer.from((await ours.get('/x', 10)) ?? []).toString()).toBe('yes');
    expect(await codeOf(ours.post('/x', {}, 10))).toBe('message_undecodable'); // `yes` is no JSON.
    expect(requests.length).toBe(3);
  });

  it('server_that_refuses_every_time_is_asked_twice_and_no_more', async () => {
    let now = 0;
    const { url, requests } = await strict(() => (now += 1));
    const ours = fetcher({ server: url, onServerTime: () => true });
    expect(await codeOf(ours.get('/x', 10))).toBe('clock_wrong');
    expect(requests.length).toBe(2);
  });

  it('mirror_tells_no_time', async () => {
    const mirror = await strict(() => 5000);
    const server = await site((_request, response) => response.end('yes'));
    const told: number[] = [];
    const ours = fetcher({
      server: server.url,
      mirrors: [mirror.url],
      onServerTime: (serverMs) => told.push(serverMs) > 0,
    });
    await ours.get('/repo/image/files/x', 10);
    expect(told).toEqual([]);
  });
});

describe('timestamps', () => {
  const PATH = '/device/v1/director/timestamp.json';

  /** A server whose document may change, and a clock that the test sets. */
  async function polled() {
    const state = { text: 'one', now: 0 };
    const { url, requests } = await site((request, response) => {
      const etag = `"${state.text}"`;
      const isKnown = request.headers['if-none-match'] === etag;
      response.writeHead(isKnown ? 304 : 200, { etag }).end(isKnown ? undefined : state.text);
    });
    const made = fetcher({ server: url, clock: { ...realClock, monotonic: () => state.now } });
    const poll = async (): Promise<string> =>
      Buffer.from((await made.get(PATH, 100)) ?? []).toString('utf8');
    const asked = () => requests.map(({ headers }) => headers['if-none-match'] ?? null);
    return { state, poll, asked };
  }

  it('an_unchanged_timestamp_is_asked_for_by_its_tag_and_comes_from_memory', async () => {
    const { state, poll, asked } = await polled();
    expect([await poll(), await poll()]).toEqual(['one', 'one']);
    state.text = 'two';
    expect([await poll(), await poll()]).toEqual(['two', 'two']);
    expect(asked()).toEqual([null, '"one"', '"one"', '"two"']);
  });

  it('a_timestamp_is_fetched_whole_again_after_a_while', async () => {
    const { state, poll, asked } = await polled();
    await poll();
    state.now = limits.revalidatedMs - 1;
    await poll();
    state.now = limits.revalidatedMs;
    await poll();
    expect(asked()).toEqual([null, '"one"', null]);
  });

  it('a_server_without_tags_is_asked_for_the_whole_document_each_time', async () => {
    const { url, requests } = await site((_request, response) => response.end('one'));
    const made = fetcher({ server: url });
    for (let n = 0; n < 2; n++) await made.get(PATH, 100);
    expect(requests.map(({ headers }) => headers['if-none-match'])).toEqual([undefined, undefined]);
  });
});
