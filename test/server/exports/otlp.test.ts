// Metrics and security events by OTLP/HTTP in its JSON encoding, to a receiver over real sockets.
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Counter, Gauge, Histogram } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { otlpHeaders } from '../../../server/exports/otlp-http.js';
import { otlpTarget } from '../../../server/exports/otlp-logs.js';
import { OtlpMetrics } from '../../../server/exports/otlp-metrics.js';
import { newRegistry } from '../../../server/monitoring/server-metrics.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { realClock } from '../../../shared/platform/clock.js';
import { Proxies } from '../../../shared/platform/proxies.js';
import { startFleet } from '../../support/fleet-server.js';
import { tempFolder } from '../../support/temp-folders.js';
import { VirtualClock } from '../../sim/fleet.js';
import { until } from '../../support/journey-devices.js';

interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

let received: Received[];
let status: number;
let url: string;
let close: () => Promise<void>;

beforeEach(async () => {
  received = [];
  status = 200;
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    request.on('end', () => {
      const { url: path = '', headers } = request;
      received.push({ path, headers, body: JSON.parse(text) });
      response.writeHead(status).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  };
});
afterEach(() => close());

const options = () => ({
  ...{ url, headers: { 'x-key': 'secret' }, host: 'srv' },
  ...{ clock: realClock, proxies: new Proxies({}) },
});
const resource = {
  attributes: [
    { key: 'service.name', value: { stringValue: 'linnet-server' } },
    { key: 'host.name', value: { stringValue: 'srv' } },
  ],
};

/** What that registry becomes. */
function expectedAt(nanoseconds: string): unknown {
  const times = { startTimeUnixNano: nanoseconds, timeUnixNano: nanoseconds };
  const attributes: unknown[] = [];
  return {
    resourceMetrics: [
      {
        resource,
        scopeMetrics: [
          {
            scope: { name: 'linnet' },
            metrics: [
              {
                name: 'c_total',
                description: 'c',
                sum: {
                  aggregationTemporality: 2,
                  isMonotonic: true,
                  dataPoints: [
                    {
                      ...times,
                      attributes: [{ key: 'a', value: { stringValue: 'x' } }],
                      asDouble: 2,
                    },
                  ],
                },
              },
              {
                name: 'g',
                description: 'g',
                gauge: { dataPoints: [{ ...times, attributes, asDouble: 1.5 }] },
              },
              {
                name: 'h',
                description: 'h',
                histogram: {
                  aggregationTemporality: 2,
                  dataPoints: [
                    {
                      ...times,
                      attributes,
                      count: '4',
                      sum: 12.7,
                      bucketCounts: ['1', '2', '1'],
                      explicitBounds: [1, 2],
                    },
                  ],
                },
              },
            ],
          },
        ],
      },
    ],
  };
}

describe('metrics', () => {
  it('are_cumulative_sums_gauges_and_histograms_with_buckets_each_alone', async () => {
    const registry = newRegistry();
    const registers = [registry];
    new Counter({ name: 'c_total', help: 'c', labelNames: ['a'], registers }).inc({ a: 'x' }, 2);
    new Gauge({ name: 'g', help: 'g', registers }).set(1.5);
    const histogram = new Histogram({ name: 'h', help: 'h', buckets: [1, 2], registers });
    for (const value of [0.5, 1.5, 1.7, 9]) histogram.observe(value);
    new Gauge({ name: 'none', help: 'of no series yet', labelNames: ['a'], registers });
    const clock = new VirtualClock();
    const metrics = new OtlpMetrics({ otlp: options(), registry, clock, log: silentLog });
    metrics.start();
    await metrics.stop();
    expect(received).toHaveLength(1);
    expect(received[0]).toMatchObject({
      path: '/v1/metrics',
      headers: { 'x-key': 'secret', 'content-type': 'application/json' },
    });
    expect(received[0]?.body).toEqual(expectedAt(`${clock.now()}000000`));
  });

  it('of_a_collector_that_refuses_are_pushed_again_at_the_next_turn_and_said_once', async () => {
    const clock = new VirtualClock();
    const warnings: string[] = [];
    const log = {
      ...silentLog,
      warn: (_fields: unknown, text?: string) => void warnings.push(text ?? ''),
    };
    status = 503;
    const metrics = new OtlpMetrics({ otlp: options(), registry: newRegistry(), clock, log });
    metrics.start();
    for (const count of [1, 2]) {
      await until('it was refused', () => received.length === count && clock.timers > 0);
      clock.advance(limits.metricsPushEveryMs);
    }
    status = 200;
    await until('it was taken', () => received.length === 3);
    await metrics.stop();
    expect(warnings).toEqual(['cannot push metrics; will retry']);
  });
});

describe('security events', () => {
  it('are_log_records', async () => {
    await otlpTarget(options()).send([
      {
        ...{ id: 7, sourceKind: 'device', source: 'dev-1', code: 'file_digest' },
        ...{ detail: 'model.onnx', count: 2, firstAt: 0, lastAt: 1000, revision: 3 },
      },
    ]);
    const string = (key: string, stringValue: string) => ({ key, value: { stringValue } });
    const number = (key: string, intValue: string) => ({ key, value: { intValue } });
    expect(received[0]?.path).toBe('/v1/logs');
    expect(received[0]?.body).toEqual({
      resourceLogs: [
        {
          resource,
          scopeLogs: [
            {
              scope: { name: 'linnet' },
              logRecords: [
                {
                  timeUnixNano: '1000000000',
                  observedTimeUnixNano: '1000000000',
                  severityNumber: 13,
                  severityText: 'WARN',
                  eventName: 'linnet.security_event',
                  body: { stringValue: 'model.onnx' },
                  attributes: [
                    number('linnet.event.id', '7'),
                    string('linnet.event.code', 'file_digest'),
                    string('linnet.event.source', 'dev-1'),
                    string('linnet.event.source_kind', 'device'),
                    number('linnet.event.count', '2'),
                  ],
                },
              ],
            },
          ],
        },
      ],
    });
  });

  it('to_a_collector_that_redirects_are_a_failure_without_the_headers_going_there', async () => {
    status = 307;
    await expect(otlpTarget(options()).send([])).rejects.toMatchObject({
      code: 'server_unreachable',
      detail: expect.stringContaining('answered 307') as string,
    });
    expect(received).toHaveLength(1);
  });
});

it('headers_come_from_a_file_of_names_and_values', () => {
  expect(otlpHeaders('# a key\nApi-Key = a b=c \n\nx-tenant=t1\r\n')).toEqual({
    'api-key': 'a b=c',
    'x-tenant': 't1',
  });
  expect(() => otlpHeaders('ok = 1\nno value =\n')).toThrow(/line 2/);
  expect(() => otlpHeaders('name: value')).toThrow(/line 1/);
});

it('a_server_with_a_collector_pushes_its_metrics_and_a_wrong_token', async () => {
  const headers = join(tempFolder(), 'headers');
  writeFileSync(headers, 'api-key = k1\n');
  const fleet = await startFleet(`[otlp]\nurl = "${url}"\nheaders_file = "${headers}"\n`);
  try {
    await fetch(`${fleet.server.address}/api/v1/devices`, {
      headers: { authorization: `Bearer lnt_${'0'.repeat(64)}` },
    });
    await until('metrics and events have come', () =>
      ['/v1/metrics', '/v1/logs'].every((path) => received.some((one) => one.path === path)),
    );
  } finally {
    await fleet.close();
  }
  expect(received.every((one) => one.headers['api-key'] === 'k1')).toBe(true);
  expect(JSON.stringify(received)).toContain('linnet_ingest_batches_total');
  expect(JSON.stringify(received)).toContain('auth_missing');
});
