// What one device reported of a component within a time: what arms of a rollout are compared on.
import { sql } from 'kysely';
import { limits } from '../../shared/base/limits.js';
import type { InferenceBody, UpdateBody } from '../../shared/protocol/telemetry.js';
import { QuantileSketch } from '../../shared/statistics/quantile-sketch.js';
import type { ArmMeasures } from '../interfaces.js';
import type { Queries } from './database.js';
import { wasHeard } from './telemetry-hours.js';

export async function armMeasures(
  queries: Queries,
  component: string,
  device: string,
  time: { readonly from: number; readonly to: number },
): Promise<ArmMeasures> {
  const { from, to } = time;
  const rows = await queries
    .selectFrom('telemetry')
    .select(['kind', 'body_json'])
    .where('device', '=', device)
    .where('kind', 'in', ['inference', 'update', 'security'])
    .where('at', '>', from)
    .where('at', '<=', to)
    .execute();
  const conditions = new Set(await conditionsAt(queries, component, device, from));
  const isObserved = rows.length > 0 || (await wasHeard(queries, device, time));
  const latency = new QuantileSketch();
  const requests = { served: 0, failed: 0, refused: 0 };
  for (const { kind, body_json } of rows) {
    if (kind === 'inference') {
      const body = JSON.parse(body_json) as InferenceBody;
      if (body.release.component !== component) continue;
      latency.merge(body.latencyMs);
      requests.served += body.served;
      requests.failed += body.failed;
      requests.refused += body.refused;
    } else if (kind === 'update') {
      const body = JSON.parse(body_json) as UpdateBody;
      if (body.component === component)
        for (const { code } of body.conditions) conditions.add(code);
    }
  }
  const { served, failed, refused } = requests;
  const share = (part: number, whole: number): number | null => (whole === 0 ? null : part / whole);
  // A device that reported nothing was not observed.
  const seen = (count: number): number | null => (isObserved ? count : null);
  return {
    failed: share(failed, served + failed),
    refused: share(refused, served + failed + refused),
    p50: latency.quantile(0.5),
    p99: latency.quantile(0.99),
    conditions: seen(conditions.size),
    security: seen(rows.filter(({ kind }) => kind === 'security').length),
  };
}

/**
 * The conditions of the last report at or before that time. A report that repeats the one before is
 * stored once in limits.updateRepeatedMs; twice that time leaves room for a batch that was late.
 */
async function conditionsAt(
  queries: Queries,
  component: string,
  device: string,
  at: number,
): Promise<string[]> {
  const rows = await queries
    .selectFrom('telemetry')
    .select('body_json')
    .where('device', '=', device)
    // A literal: with a parameter, SQLite would not take the index of these.
    .where('kind', '=', sql.lit('update'))
    .where('at', '>', at - 2 * limits.updateRepeatedMs)
    .where('at', '<=', at)
    .orderBy('id', 'desc')
    .execute();
  const last = rows
    .map(({ body_json }) => JSON.parse(body_json) as UpdateBody)
    .find((body) => body.component === component);
  return last?.conditions.map(({ code }) => code) ?? [];
}
