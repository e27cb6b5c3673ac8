// What the console reads from the operator API, with the type of each answer.
import type {
  AuditDetail,
  AuditHead,
  AuditSummary,
  DeviceDetail,
  DeviceSummary,
  FleetHistory,
  FleetOverview,
  Group,
  InferencePoint,
  Member,
  Page,
  ReleaseDetail,
  ReleaseSummary,
  RolloutDetail,
  RolloutPolicy,
  RolloutSummary,
  SecurityEventSummary,
  Self,
  StandingReleases,
  TelemetryHour,
  TokenView,
} from '../../../shared/protocol/operator-api.js';
import type { Read } from './api.js';
import { limits } from './limits.js';

type Query = Readonly<Record<string, string | number | undefined>>;

function withQuery(path: string, query: Query): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== '') search.set(name, String(value));
  const text = search.toString();
  return text === '' ? path : `${path}?${text}`;
}

const part = encodeURIComponent;
/** A list, page by page. */
export type List<T> = (cursor: string | undefined) => Read<Page<T>>;

const list =
  <T>(path: string, query: Query = {}, limit: number = limits.pageRowsCount): List<T> =>
  (cursor) => ({ path: withQuery(path, { ...query, limit, cursor }) });

export const reads = {
  self: (): Read<Self> => ({ path: '/self' }),
  fleet: (): Read<FleetOverview> => ({ path: '/fleet' }),
  fleetHistory: (hours: number): Read<FleetHistory> => ({
    path: withQuery('/fleet/history', { hours }),
  }),
  device: (id: string): Read<DeviceDetail> => ({ path: `/devices/${part(id)}` }),
  hours: (device: string): Read<Page<TelemetryHour>> => ({
    path: withQuery('/telemetry/hours', { device, limit: 48 }),
  }),
  inference: (device: string): Read<Page<InferencePoint>> => ({
    path: withQuery('/telemetry/inference', { device, limit: 100 }),
  }),
  rollout: (id: string): Read<RolloutDetail> => ({ path: `/rollouts/${part(id)}` }),
  defaultPolicy: (): Read<RolloutPolicy> => ({ path: '/rollouts/defaults' }),
  release: (component: string, version: string): Read<ReleaseDetail> => ({
    path: `/releases/${part(component)}/${part(version)}`,
  }),
  standing: (): Read<StandingReleases> => ({ path: '/standing-releases' }),
  auditHead: (): Read<AuditHead> => ({ path: '/audit/head' }),
  auditEntry: (seq: number): Read<AuditDetail> => ({ path: `/audit/${seq}` }),
};

export const lists = {
  devices: (query: Query, limit?: number): List<DeviceSummary> => list('/devices', query, limit),
  rollouts: (query: Query = {}): List<RolloutSummary> => list('/rollouts', query),
  members: (rollout: string, query: Query, limit?: number): List<Member> =>
    list(`/rollouts/${part(rollout)}/members`, query, limit),
  releases: (query: Query = {}, limit?: number): List<ReleaseSummary> =>
    list('/releases', query, limit),
  groups: (limit?: number): List<Group> => list('/groups', {}, limit),
  tokens: (): List<TokenView> => list('/tokens'),
  audit: (query: Query, limit?: number): List<AuditSummary> => list('/audit', query, limit),
  securityEvents: (query: Query): List<SecurityEventSummary> => list('/security-events', query),
};
