// The link and the fetcher over TLS: they trust the authority that they are given and nobody else.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { Aedes } from 'aedes';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HttpFetcher } from '../../../agent/platform/fetcher.js';
import { MqttLink } from '../../../agent/platform/mqtt-link.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { silentLog, type Log } from '../../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';

const base = mkdtempSync(join(tmpdir(), 'linnet-tls-'));
const device = 'dev-00112233445566778899';
const cleanups: (() => unknown)[] = [];
let missing: string | null = null;
let cert = '';
let key = '';

beforeAll(() => {
  try {
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
        '-subj',
        '/CN=linnet test',
        '-addext',
        'subjectAltName=IP:127.0.0.1',
        '-keyout',
        join(base, 'key.pem'),
        '-out',
        join(base, 'cert.pem'),
      ],
      { stdio: 'pipe' },
    );
    cert = readFileSync(join(base, 'cert.pem'), 'utf8');
    key = readFileSync(join(base, 'key.pem'), 'utf8');
  } catch (error) {
    missing = `no openssl here, TLS is skipped: ${String(error)}`;
    console.log(missing);
  }
});

afterAll(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(base, { recursive: true });
});

it('link_trusts_the_given_authority_only', async ({ skip }) => {
  if (missing !== null) return skip(missing);
  const aedes = await Aedes.createBroker();
  const server = tls.createServer({ cert, key }, aedes.handle as (socket: tls.TLSSocket) => void);
  server.on('tlsClientError', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(
    () => new Promise<void>((resolve) => aedes.close(() => server.close(() => resolve()))),
  );
  const why: string[] = [];
  const log: Log = { ...silentLog, info: (fields) => why.push(JSON.stringify(fields)) };
  const url = `mqtts://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const fixture = {
    url,
    device,
    token: () => Promise.resolve('x'),
    clock: realClock,
    random: realRandom,
  };
  const stranger = new MqttLink({ ...fixture, log });
  cleanups.push(() => stranger.close());
  await expect
    .poll(() => why.some((line) => line.includes('self-signed')), { timeout: 20_000 })
    .toBe(true);
  expect(stranger.connected).toBe(false);
  const friend = new MqttLink({ ...fixture, ca: cert, log: silentLog });
  cleanups.push(() => friend.close());
  await expect.poll(() => friend.connected, { timeout: 20_000 }).toBe(true);
  await friend.publish(`linnet/v1/${device}/up/telemetry`, Buffer.from('x'));
});

it('fetcher_trusts_the_given_authority_only', async ({ skip }) => {
  if (missing !== null) return skip(missing);
  const server = https.createServer({ cert, key }, (_request, response) => response.end('safe'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const options = {
    server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    authorization: () => Promise.resolve(null),
    clock: realClock,
  };
  const friend = new HttpFetcher({ ...options, ca: cert });
  expect(Buffer.from((await friend.get('/x', 10)) ?? []).toString()).toBe('safe');
  friend.close();
  const code = await new HttpFetcher(options).get('/x', 10).then(
    () => 'no fault',
    (error: unknown) => (isFault(error) ? error.message : 'other'),
  );
  expect(code).toMatch(/^server_unreachable: .*self-signed/);
});

it('download_from_a_secure_server_is_not_redirected_to_an_insecure_one', async ({ skip }) => {
  if (missing !== null) return skip(missing);
  let asked = 0;
  const open = http.createServer((_request, response) => {
    asked += 1;
    response.end('bytes');
  });
  const location = (): string => `http://127.0.0.1:${(open.address() as AddressInfo).port}/x`;
  const secure = https.createServer({ cert, key }, (_request, response) => {
    response.writeHead(307, { location: location() }).end();
  });
  for (const server of [open, secure]) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => {
      server.closeAllConnections();
      server.close();
    });
  }
  const fetcher = new HttpFetcher({
    server: `https://127.0.0.1:${(secure.address() as AddressInfo).port}`,
    authorization: () => Promise.resolve(null),
    ...{ ca: cert, clock: realClock },
  });
  cleanups.push(() => fetcher.close());
  await expect(fetcher.open('/repo/image/files/x', 0)).rejects.toThrow(/not followed/);
  expect(asked).toBe(0);
});
