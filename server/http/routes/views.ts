// Rows as the operator API shows them: times as ISO 8601, silence judged by the server's clock,
// quantiles read from sketches.
import { reason } from '../../../shared/base/fault-codes.js';
import type {
  AuditEntry,
  Device,
  DeviceDetail,
  ReleaseView,
  SecurityEvent,
} from '../../../shared/protocol/operator-api.js';
import { totalLength } from '../../../shared/release/manifest.js';
import { QuantileSketch } from '../../../shared/statistics/quantile-sketch.js';
import type {
  AuditRow,
  DeviceRow,
  InferenceSums,
  LatestFacts,
  ReleaseRow,
  SecurityEventRow,
} from '../../interfaces.js';

export const iso = (ms: number): string => new Date(ms).toISOString();
const isoOrNull = (ms: number | null): string | null => (ms === null ? null : iso(ms));

export function deviceView(
  row: DeviceRow,
  latest: LatestFacts | undefined,
  now: number,
  silentAfterMs: number,
): Device {
  const spoke = row.lastSeenAt ?? row.enrolledAt;
  return {
    id: row.id,
    name: row.name,
    hardware: row.hardware,
    components: [...row.components],
    status: row.status,
    group: row.group,
    labels: { ...row.labels },
    enrolledAt: isoOrNull(row.enrolledAt),
    lastSeenAt: isoOrNull(row.lastSeenAt),
    silent: row.status === 'enrolled' && spoke !== null && now - spoke > silentAfterMs,
    updates: latest?.updates ?? [],
    health: latest?.health ?? null,
  };
}

export function inferenceView(sums: InferenceSums): DeviceDetail['inference'][number] {
  const latency = new QuantileSketch();
  latency.merge(sums.latencyMs);
  const judged = sums.answers?.confidence.reduce((sum, count) => sum + count, 0) ?? 0;
  return {
    release: sums.release,
    served: sums.served,
    failed: sums.failed,
    refused: sums.refused,
    p50Ms: latency.quantile(0.5),
    p99Ms: latency.quantile(0.99),
    classes: sums.answers === null ? null : [...sums.answers.classes],
    meanConfidence:
      sums.answers === null || judged === 0 ? null : sums.answers.confidenceSum / judged,
  };
}

export function releaseView(row: ReleaseRow): ReleaseView {
  return {
    component: row.component,
    version: row.version,
    digest: row.digest,
    publishedAt: iso(row.publishedAt),
    bytes: totalLength(row.manifest),
    manifest: row.manifest,
  };
}

export const auditView = (row: AuditRow): AuditEntry => ({ ...row, at: iso(row.at) });
export const securityView = (row: SecurityEventRow): SecurityEvent => ({
  at: iso(row.at),
  source: row.source,
  code: row.code,
  detail: row.detail,
});

/** A body as one line for the audit log. */
export function bodyText(body: unknown): string {
  if (body === undefined || body === null) return '';
  try {
    return JSON.stringify(body);
  } catch (error) {
    return `(body not shown: ${reason(error)})`;
  }
}
