// The operator API: HTTP under /api/v1, JSON, `Authorization: Bearer <token>`. These schemas are
// the TypeScript types of both ends, Fastify's validation, and the OpenAPI document at
// /openapi.json.
import { Type, type Static, type TSchema } from 'typebox';
import { limits } from '../base/limits.js';
import { Component, HardwareId, Manifest, Version } from '../release/manifest.js';
import { Hex32 } from '../base/bytes.js';
import { TrialPolicy } from '../statistics/trial-verdict.js';
import { MEMBER_STATES, ROLLOUT_STATES } from './states.js';
import {
  DeviceId,
  HealthBody,
  OutcomeSchema,
  ReleaseRef,
  SecurityBody,
  UpdateBody,
} from './telemetry.js';

const strict = { additionalProperties: false } as const;
const Text = (max: number) => Type.String({ maxLength: max });
const OrNull = <T extends TSchema>(schema: T) => Type.Union([Type.Null(), schema]);
/** ISO 8601, UTC. */
const Time = Type.String({ maxLength: 40 });
const Count = Type.Integer({ minimum: 0 });

export const API = '/api/v1';

/** Each role may do what the roles before it may. */
export const ROLES = ['viewer', 'publisher', 'operator', 'admin'] as const;
export const Role = Type.Enum([...ROLES]);
export type Role = (typeof ROLES)[number];

export const ApiError = Type.Object(
  { error: Text(4000), code: Text(64), todo: Text(1000) },
  strict,
);
export type ApiError = Static<typeof ApiError>;

export const GroupName = Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,62}$' });
export const Labels = Type.Record(
  Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,62}$' }),
  Text(200),
);

export const Device = Type.Object(
  {
    id: DeviceId,
    name: Text(64),
    hardware: HardwareId,
    components: Type.Array(Component),
    status: Type.Enum(['pending', 'enrolled', 'revoked']),
    group: GroupName,
    labels: Labels,
    enrolledAt: OrNull(Time),
    lastSeenAt: OrNull(Time),
    /** Silent longer than the server's `silentAfterSeconds`. */
    silent: Type.Boolean(),
    updates: Type.Array(UpdateBody),
    health: OrNull(HealthBody),
  },
  strict,
);
export type Device = Static<typeof Device>;

export const DeviceDetail = Type.Object(
  {
    device: Device,
    inference: Type.Array(
      Type.Object(
        {
          release: ReleaseRef,
          served: Count,
          failed: Count,
          refused: Count,
          p50Ms: OrNull(Type.Number()),
          p99Ms: OrNull(Type.Number()),
          classes: OrNull(Type.Array(Count)),
          meanConfidence: OrNull(Type.Number()),
        },
        strict,
      ),
    ),
    security: Type.Array(Type.Object({ at: Time, body: SecurityBody }, strict)),
    outcomes: Type.Array(Type.Object({ at: Time, outcome: OutcomeSchema }, strict)),
  },
  strict,
);
export type DeviceDetail = Static<typeof DeviceDetail>;

export const Group = Type.Object({ name: GroupName, devices: Count }, strict);
export type Group = Static<typeof Group>;

export const DevicePatch = Type.Object(
  { group: Type.Optional(GroupName), labels: Type.Optional(Labels) },
  strict,
);
export type DevicePatch = Static<typeof DevicePatch>;

export const ClaimRequest = Type.Object(
  {
    group: GroupName,
    uses: Type.Integer({ minimum: 1, maximum: 10_000 }),
    minutes: Type.Integer({ minimum: 1, maximum: 60 * 24 * 30 }),
  },
  strict,
);
export type ClaimRequest = Static<typeof ClaimRequest>;
export const Claim = Type.Object(
  { claim: Text(200), group: GroupName, uses: Count, expiresAt: Time },
  strict,
);
export type Claim = Static<typeof Claim>;

/**
 * `envelope` and `targets` as base64 of the exact bytes that were signed; the files were uploaded
 * before, by PUT /files/{sha256}.
 */
export const PublishRequest = Type.Object(
  {
    envelope: Type.String({ maxLength: limits.manifestMaxBytes * 2 }),
    targets: Type.String({ maxLength: limits.targetsMaxBytes * 2 }),
  },
  strict,
);
export type PublishRequest = Static<typeof PublishRequest>;

export const ReleaseView = Type.Object(
  {
    component: Component,
    version: Version,
    digest: Hex32,
    publishedAt: Time,
    bytes: Count,
    manifest: Manifest,
  },
  strict,
);
export type ReleaseView = Static<typeof ReleaseView>;

/**
 * What `linnet publish` needs to make the next targets.json: the exact bytes of the current one and
 * of the trusted root, base64.
 */
export const RepositoryView = Type.Object(
  { root: Type.String(), targets: Type.String(), snapshotVersion: Count, files: Count },
  strict,
);
export type RepositoryView = Static<typeof RepositoryView>;

export const Wave = Type.Object(
  {
    name: Text(64),
    /**
     * A group, or a share of all devices of the rollout (cumulative, rounded up, earlier waves
     * included).
     */
    group: Type.Optional(GroupName),
    percent: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
    soakSeconds: Type.Integer({ minimum: 0, maximum: 30 * 86_400 }),
    approval: Type.Boolean(),
  },
  strict,
);
export type Wave = Static<typeof Wave>;

export const RolloutPolicy = Type.Object(
  {
    waves: Type.Array(Wave, { minItems: 1, maxItems: limits.wavesMaxCount }),
    trial: TrialPolicy,
    /**
     * Failure rate of devices that is acceptable, and the worse one that the halt test looks for,
     * in thousandths.
     */
    acceptableFailurePermille: Type.Integer({ minimum: 1, maximum: 500 }),
    alarmingFailurePermille: Type.Integer({ minimum: 2, maximum: 1000 }),
    /**
     * Chance that a release within the acceptable rate is halted, over the whole rollout and any
     * number of looks.
     */
    falseAlarmPermille: Type.Integer({ minimum: 1, maximum: 500 }),
    /** A device that has not spoken for this long while it takes part counts as a failure. */
    silentAfterSeconds: Type.Integer({ minimum: 1, maximum: 30 * 86_400 }),
    /** A device that has not finished this long after its assignment counts as a failure. */
    deviceDeadlineSeconds: Type.Integer({ minimum: 1, maximum: 60 * 86_400 }),
    /** On a halt: take every touched device back. Otherwise the rollout is held for a person. */
    autoRevert: Type.Boolean(),
  },
  strict,
);
export type RolloutPolicy = Static<typeof RolloutPolicy>;

export const RolloutRequest = Type.Object(
  {
    component: Component,
    version: Version,
    policy: RolloutPolicy,
    /**
     * Only these devices take part (all enrolled devices that carry the component and the hardware,
     * when left out).
     */
    groups: Type.Optional(Type.Array(GroupName, { minItems: 1, maxItems: 100 })),
  },
  strict,
);
export type RolloutRequest = Static<typeof RolloutRequest>;

export const Member = Type.Object(
  {
    device: DeviceId,
    name: Text(64),
    group: GroupName,
    wave: Count,
    state: Type.Enum([...MEMBER_STATES]),
    since: Time,
    reasons: Text(2000),
  },
  strict,
);
export type Member = Static<typeof Member>;

export const RolloutView = Type.Object(
  {
    id: Text(64),
    release: ReleaseRef,
    state: Type.Enum([...ROLLOUT_STATES]),
    wave: Count,
    /** Why it is in this state, with the arithmetic, one sentence a line. */
    reasons: Type.Array(Text(2000)),
    /** What an operator can do now. */
    next: Type.Array(Text(200)),
    policy: RolloutPolicy,
    members: Type.Array(Member),
    createdAt: Time,
    createdBy: Text(200),
    history: Type.Array(
      Type.Object(
        {
          at: Time,
          state: Type.Enum([...ROLLOUT_STATES]),
          wave: Count,
          reasons: Type.Array(Text(2000)),
        },
        strict,
      ),
    ),
  },
  strict,
);
export type RolloutView = Static<typeof RolloutView>;

export const ROLLOUT_COMMANDS = ['start', 'pause', 'resume', 'approve', 'abort', 'drop'] as const;
export type RolloutCommand = (typeof ROLLOUT_COMMANDS)[number];
export const CommandRequest = Type.Object({ reason: Type.Optional(Text(500)) }, strict);

export const AuditEntry = Type.Object(
  {
    seq: Count,
    at: Time,
    actor: Text(200),
    action: Text(100),
    subject: Text(200),
    detail: Text(4000),
    hash: Hex32,
  },
  strict,
);
export type AuditEntry = Static<typeof AuditEntry>;

export const SecurityEvent = Type.Object(
  { at: Time, source: Text(100), code: Text(64), detail: Text(2000) },
  strict,
);
export type SecurityEvent = Static<typeof SecurityEvent>;

/**
 * Of the audit chain: how many rows, the last row's hash (64 zeros before the first), the first row
 * that does not fit.
 */
export const AuditHead = Type.Object(
  { entries: Count, hash: Hex32, brokenAt: OrNull(Count) },
  strict,
);
export type AuditHead = Static<typeof AuditHead>;

export const TokenName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$' });
export const TokenRequest = Type.Object({ name: TokenName, role: Role }, strict);
export type TokenRequest = Static<typeof TokenRequest>;
export const TokenView = Type.Object(
  { name: TokenName, role: Role, createdAt: Time, revokedAt: OrNull(Time) },
  strict,
);
export type TokenView = Static<typeof TokenView>;
/** The token is shown this once. */
export const NewToken = Type.Object({ name: TokenName, role: Role, token: Text(200) }, strict);
export type NewToken = Static<typeof NewToken>;

/** A raw record as it was stored; page on with `before` = the last id seen. */
export const TelemetryRow = Type.Object(
  {
    id: Count,
    device: DeviceId,
    seq: Count,
    kind: Text(20),
    deviceAt: Time,
    at: Time,
    body: Type.Unknown(),
  },
  strict,
);
export type TelemetryRow = Static<typeof TelemetryRow>;
