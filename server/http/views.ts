// Rows as the operator API shows them: times as ISO 8601, silence by the server's clock, quantiles
// read from sketches. Pure.
import semver from 'semver';
import type {
  AuditDetail,
  AuditSummary,
  Device,
  DeviceSummary,
  FleetHistory,
  FleetOverview,
  InferencePoint,
  InferenceSummary,
  Member,
  ReleaseDetail,
  ReleaseSummary,
  RolloutSummary,
  SecurityEventDetail,
  SecurityEventSummary,
  StandingReleases,
  TelemetryHour,
  TelemetryRow,
  TokenView,
} from '../../shared/protocol/operator-api.js';
import { OTHER_VERSIONS } from '../../shared/protocol/operator-api.js';
import type { UpdateState } from '../../shared/protocol/states.js';
import { limits } from '../../shared/base/limits.js';
import { totalLength } from '../../shared/release/manifest.js';
import { lossOf } from '../../shared/release/quantization-loss.js';
import { fingerprintOf } from '../../shared/trust/device-token.js';
import { QuantileSketch } from '../../shared/statistics/quantile-sketch.js';
import { isCloned } from '../access/cloned.js';
import type {
  AuditRow,
  DeviceRow,
  FleetAttention,
  FleetCounts,
  FleetVersionsRow,
  HealthMetric,
  InferencePoint as InferencePointRow,
  InferenceSums,
  LatestFacts,
  MemberRow,
  ReleaseProvenance,
  ReleaseRolloutRow,
  ReleaseRow,
  ReleaseSummaryRow,
  RolloutSummaryRow,
  SecurityEventRow,
  StandingRelease,
  StoredRecord,
  TelemetryHourRow,
  TokenSummaryRow,
} from '../interfaces.js';

/** Fixed by ECMAScript: its dates end here, and a device's clock may say anything. */
const LAST_DATE_MS = 8_640_000_000_000_000;

export const iso = (ms: number): string => new Date(Math.min(ms, LAST_DATE_MS)).toISOString();
const cutToLine = <T extends { detail: string }>(row: T): T => ({
  ...row,
  detail: row.detail.slice(0, limits.summaryDetailMaxChars),
});
const isoOrNull = (ms: number | null): string | null => (ms === null ? null : iso(ms));

const deviceHead = (row: DeviceRow, now: number, silentAfterMs: number) => {
  const heardAt = row.lastSeenAt ?? row.enrolledAt;
  return {
    id: row.id,
    name: row.name,
    hardware: row.hardware,
    status: row.status,
    group: row.group,
    lastSeenAt: isoOrNull(row.lastSeenAt),
    silent: row.status === 'enrolled' && heardAt !== null && now - heardAt > silentAfterMs,
    cloned: isCloned(row.clonedAt, now),
    pendingReason: row.pendingReason,
  };
};

export function deviceSummary(
  row: DeviceRow,
  latest: LatestFacts | undefined,
  now: number,
  silentAfterMs: number,
): DeviceSummary {
  return {
    ...deviceHead(row, now, silentAfterMs),
    fingerprint: row.status === 'pending' ? fingerprintOf(row.publicKey) : null,
    clockErrorMs: latest?.health?.clockErrorMs ?? null,
    updates: (latest?.updates ?? []).map((update) => ({
      component: update.component,
      state: update.state,
      running: update.running,
      updatingTo: update.updatingTo,
      trouble: update.trouble === null ? null : cutToLine(update.trouble),
      conditions: update.conditions.map(cutToLine),
    })),
  };
}

export function deviceView(
  row: DeviceRow,
  latest: LatestFacts | undefined,
  now: number,
  silentAfterMs: number,
): Device {
  return {
    ...deviceHead(row, now, silentAfterMs),
    fingerprint: fingerprintOf(row.publicKey),
    components: [...row.components],
    labels: { ...row.labels },
    enrolledAt: isoOrNull(row.enrolledAt),
    updates: latest?.updates ?? [],
    health: latest?.health ?? null,
  };
}

export function inferenceView(sums: InferenceSums): InferenceSummary {
  const latency = new QuantileSketch();
  latency.merge(sums.latencyMs);
  const { answers } = sums;
  const judged = answers?.confidence.reduce((sum, count) => sum + count, 0) ?? 0;
  return {
    release: sums.release,
    served: sums.served,
    failed: sums.failed,
    refused: sums.refused,
    p50Ms: latency.quantile(0.5),
    p99Ms: latency.quantile(0.99),
    classes: answers === null ? null : [...answers.classes],
    confidence: answers === null ? null : [...answers.confidence],
    meanConfidence: answers === null || judged === 0 ? null : answers.confidenceSum / judged,
  };
}

export const fleetOverview = (
  { devices, components }: FleetCounts,
  { hardware, trouble, conditions, cloned, silent, held }: FleetAttention,
  now: number,
): FleetOverview => ({
  at: iso(now),
  devices: devices.map(({ heard: _heard, ...row }) => row),
  components: components.map((row) => ({ ...row, state: row.state as UpdateState })),
  hardware: [...hardware],
  attention: { trouble, conditions, cloned, silent },
  held: [...held],
});

/** Rows of `read`, the oldest first. */
export function fleetHistory(
  rows: readonly FleetVersionsRow[],
  from: number,
  to: number,
): FleetHistory {
  const components = [...new Set(rows.map(({ component }) => component))].sort();
  return {
    from: iso(from),
    to: iso(to),
    components: components.map((component) => {
      const own = rows.filter((row) => row.component === component);
      const versions = [...new Set(own.map(({ version }) => version))].sort(byVersion);
      const hours = [...new Set(own.map(({ hour }) => hour))];
      const counts = new Map(
        own.map(({ hour, version, devices }) => [`${hour} ${version}`, devices]),
      );
      return {
        component,
        versions,
        hours: hours.map((hour) => ({
          at: iso(hour),
          devices: versions.map((version) => counts.get(`${hour} ${version}`) ?? 0),
        })),
      };
    }),
  };
}

/** Nothing first, then by precedence, and the rest last. */
function byVersion(one: string | null, other: string | null): number {
  const rank = (version: string | null): number =>
    version === null ? 0 : version === OTHER_VERSIONS ? 2 : 1;
  if (rank(one) !== rank(other)) return rank(one) - rank(other);
  const [left, right] = [semver.parse(one), semver.parse(other)];
  return left !== null && right !== null
    ? left.compare(right)
    : String(one).localeCompare(String(other));
}

export const releaseSummary = (row: ReleaseSummaryRow): ReleaseSummary => ({
  ...row,
  publishedAt: iso(row.publishedAt),
});

export const releaseDetail = (
  row: ReleaseRow,
  { signatures, signersNeeded, acceptance }: ReleaseProvenance,
  rollouts: readonly ReleaseRolloutRow[],
  standing: readonly StandingRelease[],
): ReleaseDetail => ({
  component: row.component,
  version: row.version,
  digest: row.digest,
  publishedAt: iso(row.publishedAt),
  bytes: totalLength(row.manifest),
  description: row.manifest.description,
  manifest: row.manifest,
  signatures,
  signersNeeded,
  acceptance,
  quantization: lossOf(row.manifest.lineage),
  rollouts: rollouts.map(({ counts, createdAt, ...rollout }) => ({
    ...rollout,
    createdAt: iso(createdAt),
    standing: standing.some((one) => one.rollout.id === rollout.id && !one.rollout.asked),
    counts: [...counts],
  })),
});

export const rolloutSummary = (row: RolloutSummaryRow): RolloutSummary => ({
  id: row.id,
  release: row.release,
  state: row.state,
  wave: row.wave,
  waves: row.policy.waves.length,
  devices: row.devices,
  reasons: [...row.reasons],
  createdAt: iso(row.createdAt),
  createdBy: row.createdBy,
});

export const standingView = (standing: readonly StandingRelease[]): StandingReleases => ({
  items: standing.map(({ rollout, waitsFor }) => ({
    release: rollout.release,
    selector: rollout.selector,
    rollout: rollout.id,
    createdAt: iso(rollout.createdAt),
    createdBy: rollout.createdBy,
    alarmed: rollout.asked,
    waitsFor,
  })),
});

export const memberView = (row: MemberRow): Member => ({
  device: row.device,
  name: row.name,
  group: row.group,
  wave: row.wave,
  state: row.state,
  since: iso(row.since),
  reasons: row.reasons,
});

export const auditDetail = (row: AuditRow): AuditDetail => ({ ...row, at: iso(row.at) });
export const auditSummary = ({ hash: _hash, ...row }: AuditRow): AuditSummary => ({
  ...row,
  at: iso(row.at),
});

/** For a summary the store has cut the detail. */
export const securityDetail = (row: SecurityEventRow): SecurityEventDetail => ({
  ...row,
  firstAt: iso(row.firstAt),
  lastAt: iso(row.lastAt),
});
export const securitySummary = (row: SecurityEventRow): SecurityEventSummary => securityDetail(row);

export function inferencePointView({ id, at, body }: InferencePointRow): InferencePoint {
  const { release, seconds, served, failed, refused } = body;
  const latency = new QuantileSketch();
  latency.merge(body.latencyMs);
  return {
    ...{ id, at: iso(at), release, seconds, served, failed, refused },
    p50Ms: latency.quantile(0.5),
    p99Ms: latency.quantile(0.99),
  };
}

export const telemetryView = (row: StoredRecord): TelemetryRow => ({
  ...row,
  deviceAt: iso(row.deviceAt),
  at: iso(row.at),
});

export function telemetryHourView(row: TelemetryHourRow): TelemetryHour {
  const { records, health } = row;
  const quantiles = (metric: HealthMetric): TelemetryHour['cpuUse'] => {
    const sketch = new QuantileSketch();
    sketch.merge(health[metric] ?? { count: 0, bins: [] });
    const [p50, p99] = [sketch.quantile(0.5), sketch.quantile(0.99)];
    return p50 === null || p99 === null ? null : { p50, p99 };
  };
  return {
    hour: iso(row.hour),
    firstAt: iso(row.firstAt),
    lastAt: iso(row.lastAt),
    records: { health: 0, inference: 0, trial: 0, update: 0, security: 0, ...records },
    cpuUse: quantiles('cpuUse'),
    memoryAvailableMib: quantiles('memoryAvailableMib'),
    temperatureC: quantiles('temperatureC'),
    diskFreeMib: quantiles('diskFreeMib'),
    agentRssMib: quantiles('agentRssMib'),
  };
}

export const tokenView = ({ name, role, createdAt, revokedAt }: TokenSummaryRow): TokenView => ({
  name,
  role,
  createdAt: iso(createdAt),
  revokedAt: isoOrNull(revokedAt),
});
