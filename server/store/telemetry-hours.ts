// What a device reported, hour by hour: how many records of each kind, and its health as mergeable
// sketches. Health readings have no rows of their own, so that an idle device costs the database
// little (about 9,000 readings a day become 24 rows). Hours are the server's.
import type { HealthBody, Kind, TelemetryRecord } from '../../shared/protocol/telemetry.js';
import { HOUR_MS, MIB } from '../../shared/base/units.js';
import { QuantileSketch, type Sketch } from '../../shared/statistics/quantile-sketch.js';
import type { HealthMetric, TelemetryHourRow } from '../interfaces.js';
import { portions, type Queries } from './database.js';
import { among, inserting } from './dialect.js';

/** Bytes are counted in MiB, because the bins of a sketch end at about 1e9. */
const READINGS: Readonly<Record<HealthMetric, (body: HealthBody) => number | null>> = {
  cpuUse: (body) => body.cpuUse,
  memoryAvailableMib: (body) => body.memoryAvailableBytes / MIB,
  temperatureC: (body) => body.temperatureC,
  diskFreeMib: (body) => (body.diskFreeBytes === null ? null : body.diskFreeBytes / MIB),
  agentRssMib: (body) => body.agentRssBytes / MIB,
};
const METRICS = Object.keys(READINGS) as HealthMetric[];

interface Sums {
  records: Partial<Record<Kind, number>>;
  health: Partial<Record<HealthMetric, Sketch>>;
}

const hourOf = (at: number): number => Math.floor(at / HOUR_MS) * HOUR_MS;

/** Adds records that were not counted before. */
export async function countInHour(
  queries: Queries,
  counted: readonly { readonly device: string; readonly records: readonly TelemetryRecord[] }[],
  now: number,
): Promise<void> {
  const ofDevice = new Map<string, TelemetryRecord[]>();
  for (const { device, records } of counted)
    if (records.length > 0) ofDevice.set(device, [...(ofDevice.get(device) ?? []), ...records]);
  if (ofDevice.size === 0) return;
  const hour = hourOf(now);
  const known = await queries
    .selectFrom('telemetry_hours')
    .select(['device', 'sums_json'])
    .where(among(queries, 'device', [...ofDevice.keys()]))
    .where('hour', '=', hour)
    .execute();
  const before = new Map(known.map((row) => [row.device, JSON.parse(row.sums_json) as Sums]));
  const rows = [...ofDevice].map(([device, records]) => ({
    device,
    hour,
    first_at: now,
    last_at: now,
    sums_json: JSON.stringify(added(before.get(device) ?? { records: {}, health: {} }, records)),
  }));
  for (const some of portions(rows))
    await inserting(queries, 'telemetry_hours', some)
      .onConflict((oc) =>
        oc.columns(['device', 'hour']).doUpdateSet((eb) => ({
          last_at: eb.ref('excluded.last_at'),
          sums_json: eb.ref('excluded.sums_json'),
        })),
      )
      .execute();
}

function added(sums: Sums, records: readonly TelemetryRecord[]): Sums {
  const counts = { ...sums.records };
  for (const { kind } of records) counts[kind] = (counts[kind] ?? 0) + 1;
  const readings = records.flatMap(({ kind, body }) => (kind === 'health' ? [body] : []));
  if (readings.length === 0) return { records: counts, health: sums.health };
  const health: Sums['health'] = {};
  for (const metric of METRICS) {
    const sketch = sketchOf(sums.health[metric]);
    for (const body of readings) {
      const value = READINGS[metric](body);
      if (value !== null) sketch.add(value);
    }
    if (sketch.count > 0) health[metric] = sketch.toSketch();
  }
  return { records: counts, health };
}

function sketchOf(sketch: Sketch | undefined): QuantileSketch {
  const made = new QuantileSketch();
  if (sketch !== undefined) made.merge(sketch);
  return made;
}

/** The newest first; `before` is the hour of the last row of the previous page. */
export async function hoursOf(
  queries: Queries,
  device: string,
  limit: number,
  before: number | null,
): Promise<TelemetryHourRow[]> {
  let query = queries.selectFrom('telemetry_hours').selectAll().where('device', '=', device);
  if (before !== null) query = query.where('hour', '<', before);
  const rows = await query.orderBy('hour', 'desc').limit(limit).execute();
  return rows.map((row) => {
    const { records, health } = JSON.parse(row.sums_json) as Sums;
    return {
      hour: row.hour,
      firstAt: row.first_at,
      lastAt: row.last_at,
      records,
      health,
    };
  });
}

/** Whether the device reported anything after `from` and until `to`. */
export async function wasHeard(
  queries: Queries,
  device: string,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<boolean> {
  const row = await queries
    .selectFrom('telemetry_hours')
    .select('hour')
    .where('device', '=', device)
    .where('hour', '>=', hourOf(from))
    .where('first_at', '<=', to)
    .where('last_at', '>', from)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}
