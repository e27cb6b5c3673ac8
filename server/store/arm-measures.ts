// What one device reported of a component within a time: what arms of a rollout are compared on.
import type { InferenceBody, UpdateBody } from '../../shared/protocol/telemetry.js';
import { QuantileSketch } from '../../shared/statistics/quantile-sketch.js';
import type { ArmMeasures } from '../interfaces.js';
import type { Queries } from './database.js';

export async function armMeasures(
  queries: Queries,
  component: string,
  device: string,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<ArmMeasures> {
  const rows = await queries
    .selectFrom('telemetry')
    .select(['kind', 'body_json'])
    .where('device', '=', device)
    .where('kind', 'in', ['inference', 'update', 'security'])
    .where('at', '>', from)
    .where('at', '<=', to)
    .execute();
  const latency = new QuantileSketch();
  const requests = { served: 0, failed: 0, refused: 0 };
  const conditions = new Set<string>();
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
  const seen = (count: number): number | null => (rows.length === 0 ? null : count);
  return {
    failed: share(failed, served + failed),
    refused: share(refused, served + failed + refused),
    p50: latency.quantile(0.5),
    p99: latency.quantile(0.99),
    conditions: seen(conditions.size),
    security: seen(rows.filter(({ kind }) => kind === 'security').length),
  };
}
