// The fetcher, the link and the command through a real proxy that forwards requests and opens
// tunnels. It asks this machine for every host; the hosts that are named here exist nowhere else.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { Aedes } from 'aedes';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { HttpFetcher } from '../../../agent/platform/fetcher.js';
import { MqttLink } from '../../../agent/platform/mqtt-link.js';
import { linnet } from '../../../firmware-tools/cli/main.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { Proxies } from '../../../shared/platform/proxies.js';
import { startProxy, type TestProxy } from '../../support/http-proxy.js';
import { tempFolder } from '../../support/temp-folders.js';

const DEVICE = 'dev-00112233445566778899';
const cleanups: (() => unknown)[] = [];
let proxy: TestProxy;
let cert: string;
let key: string;

beforeAll(() => {
  const folder = tempFolder();
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const name = ['-subj', '/CN=fleet.test', '-addext', 'subjectAltName=DNS:fleet.test'];
  const files = ['-keyout', join(folder, 'key'), '-out', join(folder, 'crt'), '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...kind, ...name, ...files], { stdio: 'pipe' });
  [cert, key] = [
    readFileSync(join(folder, 'crt'), 'utf8'),
    readFileSync(join(folder, 'key'), 'utf8'),
  ];
});
beforeEach(async () => {
  proxy = await startProxy();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await proxy.close();
});
afterAll(() => {
  process.exitCode = undefined;
});

async function listening(server: Server): Promise<number> {
  await new Promise<void>((listens) => server.listen(0, '127.0.0.1', listens));
  cleanups.push(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** What the server was asked, by method, path and Host. */
async function fleet(secure: boolean): Promise<{ port: number; asked: string[] }> {
  const asked: string[] = [];
  const answer: http.RequestListener = (request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.host}`);
    response.end('{"items":[],"next":null}');
  };
  const server = secure ? https.createServer({ cert, key }, answer) : http.createServer(answer);
  cleanups.push(() => server.closeAllConnections());
  return { port: await listening(server), asked };
}

function fetcher(server: string, proxies: Proxies): HttpFetcher {
  const made = new HttpFetcher({
    server,
    ca: cert,
    clock: realClock,
    authorization: () => Promise.resolve('Device secret'),
    proxies,
  });
  cleanups.push(() => made.close());
  return made;
}

describe('the fetcher', () => {
  it('asks_the_proxy_for_the_whole_url_over_http', async () => {
    const { port, asked } = await fleet(false);
    const fetch = fetcher(`http://fleet.test:${port}`, new Proxies({}, proxy.url));
    expect(await fetch.get('/a?b=c', 100)).not.toBeNull();
    expect(asked).toEqual([`GET /a?b=c fleet.test:${port}`]);
    expect(proxy.asked).toEqual([`GET http://fleet.test:${port}/a?b=c`]);
  });

  it('goes_through_one_tunnel_over_https_in_which_the_proxy_sees_nothing', async () => {
    const { port, asked } = await fleet(true);
    const fetch = fetcher(`https://fleet.test:${port}`, new Proxies({ HTTPS_PROXY: proxy.url }));
    for (const path of ['/a', '/b']) expect(await fetch.get(path, 100)).not.toBeNull();
    expect(asked).toEqual([`GET /a fleet.test:${port}`, `GET /b fleet.test:${port}`]);
    expect([proxy.asked, proxy.read]).toEqual([[`CONNECT fleet.test:${port}`], []]);
  });

  it('names_the_proxy_that_refuses_and_logs_in_with_what_the_environment_says', async () => {
    proxy.login = 'user:p@ss';
    const { port } = await fleet(true);
    const url = `https://fleet.test:${port}`;
    const { host } = new URL(proxy.url);
    await expect(fetcher(url, new Proxies({}, proxy.url)).get('/a', 100)).rejects.toThrow(
      `the proxy ${host} refuses a connection to fleet.test:${port}: 407`,
    );
    const env = { HTTPS_PROXY: proxy.url.replace('//', '//user:p%40ss@') };
    expect(await fetcher(url, new Proxies(env)).get('/a', 100)).not.toBeNull();
  });

  it('does_not_trust_a_proxy_that_answers_in_the_servers_place', async () => {
    const { port } = await fleet(true);
    const other = fetcher(`https://other.test:${port}`, new Proxies({}, proxy.url));
    await expect(other.get('/a', 100)).rejects.toThrow(/altnames|does not match/);
  });

  it('asks_this_machine_and_exceptions_directly', async () => {
    const { port, asked } = await fleet(false);
    await fetcher(`http://127.0.0.1:${port}`, new Proxies({}, proxy.url)).get('/a', 100);
    expect([asked.length, proxy.asked]).toEqual([1, []]);
  });
});

describe('the link', () => {
  it.each(['mqtt', 'mqtts'])('over_%s_goes_through_a_tunnel', async (scheme) => {
    const aedes = await Aedes.createBroker();
    cleanups.push(() => new Promise<void>((closed) => aedes.close(closed)));
    const server =
      scheme === 'mqtts'
        ? tls.createServer({ cert, key }, aedes.handle)
        : createServer(aedes.handle);
    const port = await listening(server);
    const link = new MqttLink({
      url: `${scheme}://fleet.test:${port}`,
      device: DEVICE,
      token: () => Promise.resolve('t'),
      ca: cert,
      proxies: new Proxies({}, proxy.url),
      clock: realClock,
      random: realRandom,
      log: silentLog,
    });
    cleanups.push(() => link.close());
    await new Promise<void>((connected) => link.onConnected(connected));
    await link.publish('linnet/x', Buffer.from('1'));
    expect(proxy.asked).toEqual([`CONNECT fleet.test:${port}`]);
  });
});

describe('the command', () => {
  it('asks_a_fleet_through_the_proxy_of_the_environment', async () => {
    const { port, asked } = await fleet(false);
    const folder = tempFolder();
    writeFileSync(join(folder, 'token'), `lnt_${'x'.repeat(43)}`);
    const before = { ...process.env };
    Object.assign(process.env, { http_proxy: proxy.url, XDG_CONFIG_HOME: folder });
    let text = '';
    const take = (some: string): void => void (text += some);
    const url = `http://fleet.test:${port}`;
    const options = ['--server', url, '--token-file', join(folder, 'token')];
    const code = await linnet(['group', 'list', ...options], { out: take, err: take });
    process.env = before;
    expect([code, text]).toEqual([0, 'no groups\n']);
    expect(asked).toHaveLength(1);
    expect(proxy.asked[0]).toContain(`GET ${url}/api/v1/groups`);
  });
});
