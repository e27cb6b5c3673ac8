// Metrics that are read when somebody scrapes: the fleet and the rollouts from the database, the
// store, the connections, readiness. The database is read at most once in limits.fleetCountsKeptMs,
// however many scrape. When it cannot be read, the fleet's series are left out, and
// linnet_fleet_counts_ok is 0: a number that is not known is not shown as an old one.
import { Counter, Gauge } from 'prom-client';
import type { Clock, Log } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import type { FleetCounts, FleetCountStore } from '../interfaces.js';
import { boundedSeries, type Sample } from './bounded-series.js';
import type { RoleExpiry } from './checks.js';
import type { Readiness } from './readiness.js';
import { READINESS_CHECKS } from './readiness.js';
import type { MetricRegistry } from './server-metrics.js';

export interface FleetMetricsOptions {
  readonly registry: MetricRegistry;
  readonly clock: Clock;
  readonly log: Log;
  readonly counts: Pick<FleetCountStore, 'read' | 'databaseBytes'>;
  readonly silentAfterMs: number;
  readonly readiness: () => Promise<Readiness>;
  readonly expiries: () => readonly RoleExpiry[];
  /** Null: an external broker has them. */
  readonly mqttConnections: () => number | null;
  /** On the disk of the data folder. */
  readonly freeBytes: () => Promise<number>;
  readonly memoryBytes: () => number;
  readonly cpuSeconds: () => number;
}

export function registerFleetMetrics(options: FleetMetricsOptions): void {
  const counts = keptCounts(options);
  deviceMetrics(options, counts);
  rolloutMetrics(options, counts);
  securityMetrics(options, counts);
  serverStateMetrics(options);
  storageMetrics(options);
}

type Counts = () => Promise<FleetCounts | null>;

function keptCounts({ clock, log, counts, silentAfterMs }: FleetMetricsOptions): Counts {
  let kept: { readonly at: number; readonly counts: Promise<FleetCounts | null> } | null = null;
  return () => {
    const at = clock.monotonic();
    if (kept === null || at - kept.at >= limits.fleetCountsKeptMs) {
      const read = counts.read(clock.now() - silentAfterMs).catch((error: unknown) => {
        log.error({ err: error }, 'cannot count the fleet for metrics');
        return null;
      });
      kept = { at, counts: read };
    }
    return kept.counts;
  };
}

function fill<L extends string>(gauge: Gauge<L>, samples: readonly Sample<L>[]): void {
  gauge.reset();
  for (const { labels, count } of samples) gauge.set(labels, count);
}

function deviceMetrics({ registry }: FleetMetricsOptions, counts: Counts): void {
  const registers = [registry];
  new Gauge({
    name: 'linnet_devices',
    help: 'Devices; heard: whether they sent anything within silent_after_seconds.',
    labelNames: ['group', 'status', 'heard'],
    registers,
    async collect() {
      const samples = ((await counts())?.devices ?? []).map(({ group, status, heard, count }) => ({
        labels: { group, status, heard: heard ? 'yes' : 'no' },
        count,
      }));
      fill(
        this,
        boundedSeries(samples, { group: limits.metricGroupsMaxCount }, limits.metricSeriesMaxCount),
      );
    },
  });
  new Gauge({
    name: 'linnet_device_components',
    help: 'Components of enrolled devices, by the version that they run and their update state.',
    labelNames: ['component', 'version', 'group', 'state'],
    registers,
    async collect() {
      const rows = (await counts())?.components ?? [];
      const samples = rows.map(({ component, version, group, state, count }) => ({
        labels: { component, version: version ?? 'none', group, state },
        count,
      }));
      const maxValues = {
        component: limits.metricComponentsMaxCount,
        version: limits.metricVersionsMaxCount,
        group: limits.metricGroupsMaxCount,
      };
      fill(this, boundedSeries(samples, maxValues, limits.metricSeriesMaxCount));
    },
  });
  new Gauge({
    name: 'linnet_fleet_counts_ok',
    help: '1: the database was read for these metrics; 0: it could not be read.',
    registers,
    async collect() {
      this.set((await counts()) === null ? 0 : 1);
    },
  });
}

function rolloutMetrics({ registry }: FleetMetricsOptions, counts: Counts): void {
  const registers = [registry];
  const release = ({ component, version }: { component: string; version: string }) => ({
    component,
    version,
  });
  new Gauge({
    name: 'linnet_rollouts',
    help: 'Rollouts by their present state.',
    labelNames: ['state'],
    registers,
    async collect() {
      const rows = (await counts())?.rollouts ?? [];
      fill(
        this,
        rows.map(({ state, count }) => ({ labels: { state }, count })),
      );
    },
  });
  new Counter({
    name: 'linnet_rollouts_reached_total',
    help: 'Rollouts that were ever in a state; reverting: they were halted, aborted or undone.',
    labelNames: ['state'],
    registers,
    async collect() {
      this.reset();
      for (const { state, count } of (await counts())?.reached ?? []) this.inc({ state }, count);
    },
  });
  new Gauge({
    name: 'linnet_rollout_wave',
    help: 'The wave that an active rollout has reached, counted from 0.',
    labelNames: ['component', 'version', 'state'],
    registers,
    async collect() {
      this.reset();
      const rows = ((await counts())?.active ?? []).slice(0, limits.metricComponentsMaxCount);
      for (const row of rows) this.set({ ...release(row), state: row.state }, row.wave);
    },
  });
  new Gauge({
    name: 'linnet_rollout_members',
    help: 'Devices of active rollouts by their state in it.',
    labelNames: ['component', 'version', 'state'],
    registers,
    async collect() {
      const samples = ((await counts())?.members ?? []).map(({ count, state, ...row }) => ({
        labels: { ...release(row), state },
        count,
      }));
      const maxValues = { component: limits.metricComponentsMaxCount };
      fill(this, boundedSeries(samples, maxValues, limits.metricSeriesMaxCount));
    },
  });
}

function securityMetrics({ registry }: FleetMetricsOptions, counts: Counts): void {
  new Counter({
    name: 'linnet_security_events_total',
    help: 'Security events of devices and of the server, repeats included, since the first start.',
    labelNames: ['code'],
    registers: [registry],
    async collect() {
      this.reset();
      for (const { code, count } of (await counts())?.security ?? []) this.inc({ code }, count);
    },
  });
}

function serverStateMetrics(options: FleetMetricsOptions): void {
  const { registry, readiness, expiries, mqttConnections, memoryBytes, cpuSeconds } = options;
  const registers = [registry];
  new Gauge({
    name: 'linnet_ready',
    help: 'What /readyz looks at; 1: it works.',
    labelNames: ['check'],
    registers,
    async collect() {
      const { reasons } = await readiness();
      for (const check of READINESS_CHECKS)
        this.set({ check }, reasons.some((one) => one.check === check) ? 0 : 1);
    },
  });
  new Gauge({
    name: 'linnet_metadata_expiry_seconds',
    help: 'When image metadata expires, in seconds since 1970.',
    labelNames: ['role'],
    registers,
    collect() {
      for (const { role, at } of expiries()) this.set({ role }, at / 1000);
    },
  });
  new Gauge({
    name: 'linnet_mqtt_connections',
    help: 'Devices that are connected to the embedded broker; absent with an external one.',
    registers,
    collect() {
      const count = mqttConnections();
      if (count === null) this.remove();
      else this.set(count);
    },
  });
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory of the server.',
    registers,
    collect() {
      this.set(memoryBytes());
    },
  });
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time of the server, user and system.',
    registers,
    collect() {
      this.reset();
      this.inc(cpuSeconds());
    },
  });
}

function storageMetrics({ registry, counts, freeBytes }: FleetMetricsOptions): void {
  const registers = [registry];
  new Gauge({
    name: 'linnet_store_bytes',
    help: 'Size of the database.',
    registers,
    async collect() {
      const bytes = await counts.databaseBytes().catch(() => null);
      if (bytes === null) this.remove();
      else this.set(bytes);
    },
  });
  new Gauge({
    name: 'linnet_store_free_bytes',
    help: 'Room that is left on the disk of the data folder, with a database file if there is one.',
    registers,
    async collect() {
      const bytes = await freeBytes().catch(() => null);
      if (bytes === null) this.remove();
      else this.set(bytes);
    },
  });
}
