// The server's own requests through a real proxy that forwards requests and opens tunnels: exports
// and artifact stores. The hosts that are named here exist nowhere else, so that nothing is reached
// but through the proxy.
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { S3Client } from '../../server/artifacts/s3-client.js';
import { s3Location } from '../../server/artifacts/s3-settings.js';
import { ociLocation } from '../../server/artifacts/oci-settings.js';
import { exportTargets } from '../../server/exports/start.js';
import { webhookTarget } from '../../server/exports/webhook.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { Proxies } from '../../shared/platform/proxies.js';
import { startProxy, type TestProxy } from '../support/http-proxy.js';
import { OciDouble, openOci } from '../support/oci-double.js';
import { S3Double, S3_KEY, openS3 } from '../support/s3-double.js';

let proxy: TestProxy;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  proxy = await startProxy();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await proxy.close();
});

const throughProxy = (): Proxies => new Proxies({ HTTP_PROXY: proxy.url, HTTPS_PROXY: proxy.url });

/** What a receiver was asked; it sends every request on to another address. */
async function receiver(status: number): Promise<{ port: number; asked: string[] }> {
  const asked: string[] = [];
  const server = http.createServer((request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.host}`);
    response.writeHead(status, { location: 'http://elsewhere.test/' }).end();
  });
  await new Promise<void>((listens) => server.listen(0, '127.0.0.1', listens));
  cleanups.push(() => new Promise((closed) => server.close(closed)));
  return { port: (server.address() as AddressInfo).port, asked };
}

describe('exports', () => {
  const webhook = (url: string, proxies: Proxies) =>
    webhookTarget({ url, secret: Buffer.alloc(32), clock: realClock, proxies });

  it('go_through_the_proxy_of_the_environment', async () => {
    const { port, asked } = await receiver(204);
    await webhook(`http://hook.test:${port}/in`, throughProxy()).send([]);
    const [otlp] = exportTargets(
      { otlp: { url: `http://collector.test:${port}` } },
      { host: 'srv', clock: realClock, proxies: throughProxy() },
    );
    await otlp?.send([]);
    expect(asked).toEqual([`POST /in hook.test:${port}`, `POST /v1/logs collector.test:${port}`]);
    expect(proxy.asked).toEqual([
      `POST http://hook.test:${port}/in`,
      `POST http://collector.test:${port}/v1/logs`,
    ]);
  });

  it('over_https_name_the_proxy_that_refuses_the_tunnel', async () => {
    proxy.login = 'user:secret';
    const sent = webhook('https://hook.test/in', throughProxy()).send([]);
    await expect(sent).rejects.toMatchObject({
      code: 'server_unreachable',
      detail: expect.stringMatching(/the proxy .* refuses .* hook\.test:443: 407/) as string,
    });
    expect(proxy.asked).toEqual(['CONNECT hook.test:443']);
  });

  it('follow_no_redirect_and_ask_exceptions_directly', async () => {
    const { port, asked } = await receiver(307);
    const moved = webhook(`http://hook.test:${port}/in`, throughProxy()).send([]);
    await expect(moved).rejects.toThrow(/answered 307/);
    expect(proxy.asked).toHaveLength(1);
    const env = { HTTP_PROXY: proxy.url, NO_PROXY: 'hook.test' };
    await expect(webhook('http://hook.test/', new Proxies(env)).send([])).rejects.toThrow();
    expect([asked.length, proxy.asked.length]).toEqual([1, 1]);
  });
});

describe('artifact stores', () => {
  it('in_a_bucket_are_asked_through_the_proxy_with_the_signature_of_their_own_host', async () => {
    const double = await new S3Double().start();
    cleanups.push(() => double.stop());
    const { port } = new URL(double.endpoint);
    const endpoint = `http://store.test:${port}`;
    const options = { endpoint, region: double.region, path_style: true };
    const location = s3Location('s3://models/some/where', options);
    const store = await openS3(double, { location, proxies: throughProxy() });
    cleanups.push(() => store.close());
    const client = new S3Client({
      ...{ location, credentials: S3_KEY, proxies: throughProxy() },
      ...{ clock: realClock, random: realRandom },
    });
    cleanups.push(() => client.close());
    const put = {
      method: 'PUT',
      name: 'a',
      body: [Buffer.from('bytes')],
      expected: [200],
    } as const;
    await client.call(put);
    const { text } = await client.call({ method: 'GET', name: 'a', expected: [200] });
    expect(text).toBe('bytes');
    expect(proxy.asked.at(-1)).toBe(`GET ${endpoint}/models/some/where/a`);
    expect(proxy.asked).toHaveLength(3);
  });

  it('in_a_registry_are_asked_through_the_proxy', async () => {
    const double = await new OciDouble().start();
    cleanups.push(() => double.stop());
    const host = `registry.test:${double.host.split(':')[1]}`;
    const location = ociLocation(`oci://${host}/some/models`, { plain_http: true });
    const store = await openOci(double.host, { location, proxies: throughProxy() });
    cleanups.push(() => store.close());
    expect(proxy.asked.length).toBeGreaterThan(0);
    for (const asked of proxy.asked) expect(asked).toContain(` http://${host}/v2/`);
  });
});
