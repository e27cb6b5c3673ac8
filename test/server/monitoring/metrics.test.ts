// /metrics of a real server: what it counts, who may read it, and that strangers cannot make it
// long or dear.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { boundedSeries } from '../../../server/monitoring/bounded-series.js';
import { registerFleetMetrics } from '../../../server/monitoring/fleet-metrics.js';
import { newRegistry, ServerMetrics } from '../../../server/monitoring/server-metrics.js';
import type { FleetCounts } from '../../../server/interfaces.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { NewToken } from '../../../shared/protocol/operator-api.js';
import {
  batchOf,
  enrolled,
  idleUpdate,
  mqttOf,
  startFleet,
  type TestFleet,
} from '../../support/fleet-server.js';
import { scrape } from '../../support/metrics.js';

describe('a real server', () => {
  let fleet: TestFleet;
  beforeAll(async () => {
    fleet = await startFleet();
  });
  afterAll(async () => {
    await fleet.close();
  });

  it('counts_devices_batches_requests_connections_and_security_events', async () => {
    const device = await enrolled(fleet, 'gate-1', 'north');
    const session = await mqttOf(fleet, device);
    const records = [
      { seq: 1, at: 1, kind: 'update', body: idleUpdate() } as const,
      { seq: 2, at: 2, kind: 'security', body: { code: 'file_digest', detail: 'x' } } as const,
      { seq: 3, at: 3, kind: 'security', body: { code: 'my_own_code', detail: 'x' } } as const,
    ];
    await session.send(JSON.stringify(batchOf([...records])));
    while (session.acks.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const found = await scrape(fleet);
    await session.client.endAsync();
    const expected = {
      'linnet_devices{group="north",status="enrolled",heard="yes"}': 1,
      'linnet_device_components{component="digits",version="none",group="north",state="idle"}': 1,
      linnet_fleet_counts_ok: 1,
      'linnet_ingest_batches_total{result="stored"}': 1,
      linnet_ingest_records_total: 3,
      'linnet_security_events_total{code="file_digest"}': 1,
      'linnet_security_events_total{code="other"}': 1,
      'linnet_http_requests_total{method="POST",route="/device/v1/enrol",status="200"}': 1,
      linnet_mqtt_connections: 1,
      'linnet_ready{check="database"}': 1,
    };
    for (const [series, value] of Object.entries(expected))
      expect([series, found.get(series)]).toEqual([series, value]);
    expect(found.get('linnet_store_bytes')).toBeGreaterThan(0);
    expect(found.get('linnet_metadata_expiry_seconds{role="root"}')).toBeGreaterThan(
      Date.now() / 1000,
    );
  });

  it('paths_that_do_not_exist_are_one_series', async () => {
    for (let path = 0; path < 20; path += 1) await fetch(`${fleet.server.address}/x-${path}`);
    const series = [...(await scrape(fleet)).keys()].filter((key) => key.includes('status="404"'));
    expect(series).toEqual(['linnet_http_requests_total{method="GET",route="other",status="404"}']);
  });

  it('a_viewer_may_read_them_and_a_stranger_may_not', async () => {
    expect((await fetch(`${fleet.server.address}/metrics`)).status).toBe(401);
    const { token } = await fleet.admin.request('POST', '/tokens', NewToken, {
      name: 'prometheus',
      role: 'viewer',
    });
    expect((await scrape({ ...fleet, adminToken: token })).size).toBeGreaterThan(0);
  });
});

const EMPTY: FleetCounts = {
  devices: [],
  components: [],
  rollouts: [],
  reached: [],
  active: [],
  members: [],
  security: [],
};

function metricsOver(read: () => Promise<FleetCounts>) {
  const registry = newRegistry();
  const time = { ms: 0 };
  registerFleetMetrics({
    registry,
    clock: { now: () => time.ms, monotonic: () => time.ms, after: () => () => {} },
    log: silentLog,
    counts: { read, databaseBytes: () => Promise.reject(new Error('no database')) },
    silentAfterMs: 60_000,
    readiness: () => Promise.resolve({ reasons: [] }),
    expiries: () => [],
    mqttConnections: () => null,
    freeBytes: () => Promise.reject(new Error('no disk')),
    memoryBytes: () => 1,
    cpuSeconds: () => 1,
  });
  return { registry, time };
}

it('many_scrapes_count_the_fleet_once_in_a_while', async () => {
  let reads = 0;
  const { registry, time } = metricsOver(() => {
    reads += 1;
    return Promise.resolve(EMPTY);
  });
  for (let scrapes = 0; scrapes < 20; scrapes += 1) await registry.metrics();
  expect(reads).toBe(1);
  time.ms += limits.fleetCountsKeptMs;
  await registry.metrics();
  expect(reads).toBe(2);
});

it('a_database_that_fails_leaves_the_other_metrics_and_no_old_numbers', async () => {
  let fails = false;
  const device = { group: 'a', status: 'enrolled', heard: true, count: 7 } as const;
  const { registry, time } = metricsOver(() =>
    fails ? Promise.reject(new Error('x')) : Promise.resolve({ ...EMPTY, devices: [device] }),
  );
  expect(await registry.metrics()).toContain('linnet_devices{group="a"');
  fails = true;
  time.ms += limits.fleetCountsKeptMs;
  const text = await registry.metrics();
  expect(text).not.toContain('linnet_devices{');
  expect(text).toContain('linnet_fleet_counts_ok 0');
  expect(text).not.toMatch(/^linnet_(mqtt_connections|store_bytes|store_free_bytes) /m);
});

it('ten_thousand_groups_are_a_limited_number_of_series_that_add_up', async () => {
  const components = Array.from({ length: 10_000 }, (_, index) => ({
    component: `c${index % 40}`,
    version: `${index % 90}.0.0`,
    group: `g${index}`,
    state: 'idle',
    count: 1,
  }));
  const { registry } = metricsOver(() => Promise.resolve({ ...EMPTY, components }));
  const lines = (await registry.metrics())
    .split('\n')
    .filter((line) => line.startsWith('linnet_device_components{'));
  expect(lines.length).toBeLessThanOrEqual(limits.metricSeriesMaxCount + 1);
  const total = lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  expect(total).toBe(10_000);
});

it('the_largest_groups_keep_their_names', () => {
  const sample = (group: string, count: number) => ({ labels: { group }, count });
  const samples = [sample('small', 1), sample('big', 9), sample('mid', 5), sample('tiny', 1)];
  expect(boundedSeries(samples, { group: 2 }, 10)).toEqual([
    sample('big', 9),
    sample('mid', 5),
    sample('other', 2),
  ]);
  expect(boundedSeries(samples, {}, 1)).toEqual([sample('big', 9), sample('other', 7)]);
});

it('a_stall_of_the_event_loop_is_in_the_histogram', async () => {
  const registry = newRegistry();
  const time = { ms: 0 };
  let timer: (() => void) | null = null;
  const stop = new ServerMetrics(registry).watchEventLoop({
    now: () => time.ms,
    monotonic: () => time.ms,
    after: (_ms, fn) => {
      timer = fn;
      return () => (timer = null);
    },
  });
  time.ms += limits.eventLoopLookMs + 700;
  (timer as (() => void) | null)?.();
  const text = await registry.metrics();
  expect(text).toContain('linnet_event_loop_delay_seconds_bucket{le="0.5"} 0');
  expect(text).toContain('linnet_event_loop_delay_seconds_bucket{le="1"} 1');
  stop();
  expect(timer).toBeNull();
});
