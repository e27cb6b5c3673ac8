// The operator API: HTTP under /api/v1, JSON, `Authorization: Bearer <token>`. These schemas are
// the TypeScript types of both ends, Fastify's validation, and the OpenAPI document at
// /openapi.json, where a schema with a `title` becomes a named component.
//
// Lists answer one page of summaries; what costs more to read or to send (members, history,
// manifests, long details) is in the detail of one resource. A page names the next one by an opaque
// cursor, so that its cost does not grow with the distance from the first.
// Over 400 lines because it is the whole operator API.
import { Type, type Static, type TProperties, type TSchema } from 'typebox';
import { limits } from '../base/limits.js';
import { HOUR_MS } from '../base/units.js';
import { HOURS_PATTERN } from '../base/update-hours.js';
import { Manifest } from '../release/manifest.js';
import { Component, COMPONENT_PATTERN, HardwareId, Version } from '../release/manifest-head.js';
import { Hex32 } from '../base/hex-schemas.js';
import { TrialPolicy } from '../statistics/trial-verdict.js';
import { TRACE_PATTERN } from './assignment-traces.js';
import {
  DEVICE_ATTENTIONS,
  DEVICE_STATUSES,
  MEMBER_STATES,
  ROLES,
  ROLLOUT_COMMANDS,
  ROLLOUT_LIST_STATES,
  ROLLOUT_STATES,
  SECURITY_SOURCE_KINDS,
  UPDATE_STATES,
} from './states.js';

export type { RolloutCommand } from './states.js';
import {
  Condition,
  DeviceId,
  HealthBody,
  OutcomeSchema,
  Trouble,
  UpdateBody,
} from './telemetry.js';
import { QuantizationLoss } from '../release/quantization-loss.js';
import { ReleaseRef } from '../release/release-ref.js';

const named = <P extends TProperties>(title: string, properties: P) =>
  Type.Object(properties, { additionalProperties: false, title });
const pageOf = <T extends TSchema>(title: string, item: T) =>
  named(title, { items: Type.Array(item), next: OrNull(CursorText('cursor of the next page')) });
const Text = (maxChars: number) => Type.String({ maxLength: maxChars });
const OrNull = <T extends TSchema>(schema: T) => Type.Union([Type.Null(), schema]);
/** ISO 8601 with its offset, as a query has it. */
const INSTANT_PATTERN =
  '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d(:\\d\\d(\\.\\d{1,9})?)?(Z|[+-]\\d\\d:\\d\\d)$';
/** ISO 8601, UTC. */
const Time = Type.String({ maxLength: 40 });
const Count = Type.Integer({ minimum: 0 });
const Detail = Text(limits.detailMaxChars);
const Sentence = Text(limits.detailMaxChars);

export const API = '/api/v1';

/** Each role may do what the roles before it may. */
export const Role = Type.Enum([...ROLES], { title: 'Role' });
export type Role = Static<typeof Role>;

export const ApiError = named('ApiError', {
  error: Text(limits.errorMaxChars),
  code: Text(64),
  todo: Text(1000),
});
export type ApiError = Static<typeof ApiError>;

const CursorText = (description: string) =>
  Type.String({ minLength: 1, maxLength: limits.cursorMaxChars, description });
/** The query of every list. */
export const pageQuery = {
  limit: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.listPageMaxCount,
      default: limits.listPageDefaultCount,
      description: 'how many at most',
    }),
  ),
  cursor: Type.Optional(CursorText('`next` of the previous page')),
} as const;
export interface Page<T> {
  items: T[];
  /** Cursor of the next page; null after the last. */
  next: string | null;
}

const Instant = (description: string) =>
  Type.Optional(Type.String({ pattern: INSTANT_PATTERN, maxLength: 40, description }));
/** The part of a list that is of a time: from `since` on, before `until`. */
export const timeQuery = {
  since: Instant('only from this time on, such as 2026-03-01T12:00:00Z'),
  until: Instant('only before this time'),
};

const GROUP_PATTERN = '^[a-z0-9][a-z0-9-]{0,62}$';
export const GroupName = Type.String({ pattern: GROUP_PATTERN });
const LABEL_KEY = '[a-z0-9][a-z0-9._-]{0,62}';
const LabelKey = Type.String({ pattern: `^${LABEL_KEY}$` });
const Labels = Type.Record(LabelKey, Text(200), { additionalProperties: false });

export const DeviceStatus = Type.Enum([...DEVICE_STATUSES], { title: 'DeviceStatus' });
export type DeviceStatus = Static<typeof DeviceStatus>;

export type DeviceAttention = (typeof DEVICE_ATTENTIONS)[number];
/** In place of a version: nothing runs. No release has it. */
export const NO_VERSION = 'none';
/** The filters of a list of devices. */
export const deviceQuery = {
  group: Type.Optional(GroupName),
  status: Type.Optional(DeviceStatus),
  hardware: Type.Optional(HardwareId),
  search: Type.Optional(
    Type.String({ minLength: 1, maxLength: 64, description: 'the beginning of a name or an id' }),
  ),
  running: Type.Optional(
    Type.String({
      pattern: '^[^@]+@[^@]+$',
      maxLength: 200,
      description: 'what a component runs, component@version; component@none: nothing',
    }),
  ),
  update: Type.Optional(
    Type.Enum([...UPDATE_STATES], {
      description: 'enrolled devices with a component, or the one of `running`, in this state',
    }),
  ),
  attention: Type.Optional(
    Type.Enum([...DEVICE_ATTENTIONS], { description: 'enrolled devices that may need a person' }),
  ),
  label: Type.Optional(
    Type.String({
      pattern: `^${LABEL_KEY}(=.*)?$`,
      maxLength: 264,
      description: 'a label, key=value; a key alone: any value',
    }),
  ),
};

const deviceHead = {
  id: DeviceId,
  name: Text(64),
  hardware: HardwareId,
  status: DeviceStatus,
  group: GroupName,
  lastSeenAt: OrNull(Time),
  /** Enrolled, and silent for longer than the server's `silent_after_seconds`. */
  silent: Type.Boolean(),
  /** Two installations with its key alternate: its data folder was copied. */
  cloned: Type.Boolean(),
  /** Why a pending device was not enrolled by the claim that it showed. */
  pendingReason: OrNull(Text(200)),
};

/** A device in a list; `updates`: what each component runs and what it is updating to. */
export const DeviceSummary = named('DeviceSummary', {
  ...deviceHead,
  /** SHA-256 of its key, of a device that waits for approval; GET /devices/{id} has the others. */
  fingerprint: OrNull(Hex32),
  /** How far its clock is ahead of the server's (negative: behind), as it last reported. */
  clockErrorMs: OrNull(Type.Number()),
  updates: Type.Array(
    named('UpdateSummary', {
      component: Component,
      state: Type.Enum([...UPDATE_STATES]),
      running: OrNull(ReleaseRef),
      updatingTo: OrNull(ReleaseRef),
      /** Why it cannot proceed now; the detail is cut to a line. */
      trouble: OrNull(Trouble),
      /** What is wrong with the release that serves; details are cut to a line. */
      conditions: Type.Array(Condition),
    }),
  ),
});
export type DeviceSummary = Static<typeof DeviceSummary>;
export const DevicePage = pageOf('DevicePage', DeviceSummary);

export const Device = named('Device', {
  ...deviceHead,
  /** SHA-256 of its key. */
  fingerprint: Hex32,
  components: Type.Array(Component),
  labels: Labels,
  enrolledAt: OrNull(Time),
  updates: Type.Array(UpdateBody),
  health: OrNull(HealthBody),
});
export type Device = Static<typeof Device>;

export const InferenceSummary = named('InferenceSummary', {
  release: ReleaseRef,
  served: Count,
  failed: Count,
  refused: Count,
  p50Ms: OrNull(Type.Number()),
  p99Ms: OrNull(Type.Number()),
  classes: OrNull(Type.Array(Count)),
  /** Answers by confidence, in equal bins over [0, 1]. */
  confidence: OrNull(Type.Array(Count)),
  meanConfidence: OrNull(Type.Number()),
});
export type InferenceSummary = Static<typeof InferenceSummary>;

export type { SecuritySourceKind } from './states.js';
/** The filters of the feed of security events. */
export const securityFeedQuery = {
  source: Type.Optional(
    Type.String({
      maxLength: limits.nameMaxChars,
      description: 'device id, name of an operator token, `server`, or remote address',
    }),
  ),
  device: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: limits.deviceIdMaxChars,
      description: 'only of this device, by id or name; excludes `source`',
    }),
  ),
  group: Type.Optional(
    Type.String({ pattern: GROUP_PATTERN, description: 'only of devices of this group' }),
  ),
  kind: Type.Optional(
    Type.Enum([...SECURITY_SOURCE_KINDS], { description: 'only of sources of this kind' }),
  ),
  code: Type.Optional(
    Type.String({ minLength: 1, maxLength: 64, description: 'only with this fault code' }),
  ),
};
/** The filters of the list of security events; a time is that of the last repeat. */
export const securityQuery = { ...securityFeedQuery, ...timeQuery };

const securityHead = {
  id: Count,
  sourceKind: Type.Enum([...SECURITY_SOURCE_KINDS]),
  /** A device id, the name of an operator token, `server`, or a remote address. */
  source: Text(100),
  /** A code of shared/base/fault-codes, if the reporter has the same version. */
  code: Text(64),
  /** How many times it happened; repeats within a UTC day are one event. */
  count: Type.Integer({ minimum: 1 }),
  firstAt: Time,
  lastAt: Time,
};

/** The detail is cut to a line. */
export const SecurityEventSummary = named('SecurityEventSummary', {
  ...securityHead,
  detail: Text(limits.summaryDetailMaxChars),
});
export type SecurityEventSummary = Static<typeof SecurityEventSummary>;
export const SecurityEventDetail = named('SecurityEventDetail', {
  ...securityHead,
  detail: Detail,
});
export type SecurityEventDetail = Static<typeof SecurityEventDetail>;
/** An event as it is after its latest change: a repeat raises its count and its revision. */
export const SecurityEventChange = named('SecurityEventChange', {
  ...securityHead,
  /** Rises with every change of any event: `after` of the next request. */
  revision: Count,
  detail: Detail,
});
export type SecurityEventChange = Static<typeof SecurityEventChange>;
export const SecurityEventFeed = named('SecurityEventFeed', {
  /** In the order of their revisions. */
  items: Type.Array(SecurityEventChange),
  /** `after` of the next request. */
  next: Count,
});
export const SecurityEventPage = pageOf('SecurityEventPage', SecurityEventSummary);

/** A device in a rollout, as the device's page shows it. */
const DeviceRollout = named('DeviceRollout', {
  rollout: Text(64),
  release: ReleaseRef,
  wave: Count,
  state: Type.Enum([...MEMBER_STATES]),
  since: Time,
  reasons: Text(limits.detailMaxChars),
});

/** A client certificate for the broker. */
const DeviceCertificate = named('DeviceCertificate', {
  serial: Text(100),
  issuedAt: Time,
  expiresAt: Time,
});

export const DeviceDetail = named('DeviceDetail', {
  device: Device,
  /** Rollouts that it takes part in, the last changed first. */
  rollouts: Type.Array(DeviceRollout),
  certificates: Type.Array(DeviceCertificate),
  inference: Type.Array(InferenceSummary),
  /** The newest; GET /security-events?source=ID lists more. */
  security: Type.Array(SecurityEventSummary),
  /** The newest first. */
  outcomes: Type.Array(named('TimedOutcome', { at: Time, outcome: OutcomeSchema })),
});
export type DeviceDetail = Static<typeof DeviceDetail>;

export const Group = named('Group', { name: GroupName, devices: Count });
export type Group = Static<typeof Group>;
export const GroupPage = pageOf('GroupPage', Group);

export const DevicePatch = named('DevicePatch', {
  group: Type.Optional(GroupName),
  labels: Type.Optional(Labels),
});
export type DevicePatch = Static<typeof DevicePatch>;

const Fingerprint = Type.String({
  pattern: `^[0-9a-f]{${limits.fingerprintMinChars},64}$`,
  description: "the first hex digits, or all, of the fingerprint in the device's log",
});
/** Approval by name needs the fingerprint of the key; by id it does not. */
export const DeviceApproval = named('DeviceApproval', {
  fingerprint: Type.Optional(Fingerprint),
});
export type DeviceApproval = Static<typeof DeviceApproval>;

/** `by` takes over name, group and labels; a pending one is approved, as in DeviceApproval. */
export const DeviceReplacement = named('DeviceReplacement', {
  by: Type.String({ minLength: 1, maxLength: 64, description: 'device id or name' }),
  fingerprint: Type.Optional(Fingerprint),
});
export type DeviceReplacement = Static<typeof DeviceReplacement>;

export const ClaimRequest = named('ClaimRequest', {
  group: GroupName,
  uses: Type.Integer({ minimum: 1, maximum: 10_000 }),
  minutes: Type.Integer({ minimum: 1, maximum: 60 * 24 * 30 }),
});
export type ClaimRequest = Static<typeof ClaimRequest>;
export const Claim = named('Claim', {
  claim: Text(200),
  group: GroupName,
  uses: Count,
  expiresAt: Time,
});
export type Claim = Static<typeof Claim>;

/**
 * `envelope` and `targets` as base64 of the exact bytes that were signed; the files were uploaded
 * before, by PUT /files/{sha256}.
 */
export const PublishRequest = named('PublishRequest', {
  envelope: Type.String({ maxLength: limits.manifestMaxBytes * 2 }),
  targets: Type.String({ maxLength: limits.targetsMaxBytes * 2 }),
});
export type PublishRequest = Static<typeof PublishRequest>;

const search = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: 64, description }));
/** The filters of a list of releases. */
export const releaseQuery = {
  component: Type.Optional(
    Type.String({ pattern: COMPONENT_PATTERN, description: 'only of this component' }),
  ),
  search: search('text in its name (component@version) or its description, or begin of a digest'),
};

const releaseHead = {
  component: Component,
  version: Version,
  digest: Hex32,
  publishedAt: Time,
  /** Of all its files. */
  bytes: Count,
  description: Text(limits.detailMaxChars),
};
export const ReleaseSummary = named('ReleaseSummary', releaseHead);
export type ReleaseSummary = Static<typeof ReleaseSummary>;
export const ReleaseDetail = named('ReleaseDetail', {
  ...releaseHead,
  manifest: Manifest,
  /** Of the signed envelope, each checked against the release keys of the present image root. */
  signatures: Type.Array(named('ReleaseSignature', { keyid: Hex32, valid: Type.Boolean() }), {
    maxItems: limits.signaturesMaxCount,
  }),
  /** How many distinct release keys must have signed. */
  signersNeeded: Count,
  /** The set that devices run before the release serves; null: the image targets name none. */
  acceptance: OrNull(
    named('ReleaseAcceptance', {
      sha256: Hex32,
      metric: Type.Enum(['accuracy', 'agreement']),
      /** What the metric must reach, as a share. */
      least: Type.Number(),
      inputs: Count,
    }),
  ),
  /** What quantization cost; null: the manifest does not say. */
  quantization: OrNull(QuantizationLoss),
  /** The newest first. */
  rollouts: Type.Array(
    named('ReleaseRollout', {
      id: Text(64),
      state: Type.Enum([...ROLLOUT_STATES]),
      createdAt: Time,
      /** Devices that come later take the release from it. */
      standing: Type.Boolean(),
      /** Devices on which it failed, those that are back included. */
      failed: Count,
      counts: Type.Array(
        named('ReleaseRolloutCount', { state: Type.Enum([...MEMBER_STATES]), devices: Count }),
      ),
    }),
    { maxItems: limits.releaseRolloutsMaxCount },
  ),
});
export type ReleaseDetail = Static<typeof ReleaseDetail>;
export const ReleasePage = pageOf('ReleasePage', ReleaseSummary);

/** The file of an upload, by its SHA-256. */
export const StoredFile = named('StoredFile', { sha256: Hex32 });

/**
 * What `linnet publish` needs to make the next targets.json: the exact bytes of the current one and
 * of the trusted root, base64.
 */
export const RepositoryView = named('RepositoryView', {
  root: Type.String(),
  targets: Type.String(),
  snapshotVersion: Count,
  files: Count,
});
export type RepositoryView = Static<typeof RepositoryView>;

export const Wave = named('Wave', {
  name: Text(64),
  /** A hand-picked group; it proves only itself. */
  group: Type.Optional(GroupName),
  /** A share of all devices of the rollout (cumulative, rounded up, earlier waves included). */
  percent: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
  /** A number of devices (cumulative, earlier waves included). */
  count: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.rolloutDevicesMaxCount })),
  /** How long each device must stay healthy after its confirmation before it counts as proven. */
  soakSeconds: Type.Integer({ minimum: 0, maximum: 30 * 86_400 }),
  /**
   * Proven devices at which the next wave may begin. When left out: half of the wave, and all of it
   * that is heard; or, where nobody of it is heard until the device deadline, half of all so far.
   */
  minProven: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.rolloutDevicesMaxCount })),
  approval: Type.Boolean(),
});
export type Wave = Static<typeof Wave>;

/** What the arms are compared on; the lower, the better. */
const ARM_METRICS = ['failed', 'refused', 'p50', 'p99', 'conditions', 'security'] as const;
export type ArmMetric = (typeof ARM_METRICS)[number];

export const ArmsPolicy = named('ArmsPolicy', {
  /** Share of the devices that are arm B and take the release, by a hash of rollout and device. */
  sharePercent: Type.Integer({ minimum: 1, maximum: 90 }),
  /** How long each device of arm B is observed, from its confirmation. */
  observeSeconds: Type.Integer({ minimum: 1, maximum: 30 * 86_400 }),
  metrics: Type.Array(Type.Enum([...ARM_METRICS]), {
    minItems: 1,
    maxItems: ARM_METRICS.length,
    uniqueItems: true,
  }),
  /** Chance that arms which do not differ get a winner, over all metrics and looks. */
  falseWinnerPermille: Type.Integer({ minimum: 1, maximum: 500 }),
  /** ask: a person accepts the winner; auto: B is given to all, or rolled back. */
  winner: Type.Enum(['ask', 'auto']),
});
export type ArmsPolicy = Static<typeof ArmsPolicy>;

const BlueGreenPolicy = named('BlueGreenPolicy', {
  /** When all waves are ready: ask a person for the go, or give it. */
  go: Type.Enum(['ask', 'auto']),
});

/**
 * How a release comes to its devices. canary: each device that takes it serves it. blue-green: all
 * prepare it through the waves and keep serving the old one, until one go lets all of them swap.
 * ab: a share of the devices serves it, and is compared with the others. shadow: no device serves
 * it; each answers copies of its live requests with it, and the differences are reported.
 */
const STRATEGIES = ['canary', 'blue-green', 'ab', 'shadow'] as const;

export const RolloutPolicy = named('RolloutPolicy', {
  /** When left out: canary. */
  strategy: Type.Optional(Type.Enum([...STRATEGIES])),
  /** Only of strategy ab: its arms and what they are compared on. The waves are those of arm B. */
  ab: Type.Optional(ArmsPolicy),
  /** Only of strategy blue-green. */
  blueGreen: Type.Optional(BlueGreenPolicy),
  waves: Type.Array(Wave, { minItems: 1, maxItems: limits.wavesMaxCount }),
  trial: TrialPolicy,
  /**
   * Failure rate of devices that is acceptable, and the worse one that the halt test looks for, in
   * thousandths.
   */
  acceptableFailurePermille: Type.Integer({ minimum: 1, maximum: 500 }),
  alarmingFailurePermille: Type.Integer({ minimum: 2, maximum: 1000 }),
  /**
   * Chance that a release within the acceptable rate is halted, over the whole rollout and any
   * number of checks.
   */
  falseAlarmPermille: Type.Integer({ minimum: 1, maximum: 500 }),
  /**
   * How many devices may have the release undecided at the beginning; later, as many as are proven.
   * When left out: 3, and 1 in rollouts of fewer than 30 devices.
   */
  startWindow: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  /** The same for each kind of hardware. When left out: 1. */
  kindWindow: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
  /** A device that is not heard for this long while it takes part is silent. */
  silentAfterSeconds: Type.Integer({ minimum: 1, maximum: 30 * 86_400 }),
  /** A device that has not finished this long after its assignment is no longer waited for. */
  deviceDeadlineSeconds: Type.Integer({ minimum: 1, maximum: 60 * 86_400 }),
  /** On a halt: roll every touched device back. Otherwise the rollout is held for an operator. */
  autoRevert: Type.Boolean(),
  /** At most so many devices take the release within any hour. */
  takesPerHour: Type.Optional(Type.Integer({ minimum: 1, maximum: limits.rolloutDevicesMaxCount })),
  /** Devices take the release only within these hours of the zone; one may go over midnight. */
  hours: Type.Optional(
    named('RolloutHours', {
      windows: Type.Array(Type.String({ pattern: HOURS_PATTERN }), { minItems: 1, maxItems: 10 }),
      /** An IANA name such as Europe/Berlin. */
      zone: Type.String({ minLength: 1, maxLength: 64 }),
    }),
  ),
  /** A rollout that is not completed by then (ISO 8601, with its zone) is held for a person. */
  deadline: Type.Optional(Time),
});
export type RolloutPolicy = Static<typeof RolloutPolicy>;

/**
 * Of the enrolled devices that carry the component and have the release's hardware, those that
 * match everything here: one of the groups, one of the hardware ids, and each label.
 */
export const Selector = named('Selector', {
  groups: Type.Optional(Type.Array(GroupName, { minItems: 1, maxItems: 100 })),
  hardware: Type.Optional(Type.Array(HardwareId, { minItems: 1, maxItems: 100 })),
  labels: Type.Optional(Labels),
});
export type Selector = Static<typeof Selector>;

export const RolloutRequest = named('RolloutRequest', {
  component: Component,
  version: Version,
  policy: RolloutPolicy,
  selector: Type.Optional(Selector),
  /** Take a release that declares a larger difference than the policy's limit; the cap holds. */
  acceptDifference: Type.Optional(Type.Boolean()),
});
export type RolloutRequest = Static<typeof RolloutRequest>;

/** What a rollout would do, before it exists. */
export const RolloutPreview = named('RolloutPreview', {
  release: ReleaseRef,
  devices: Count,
  /** Undecided devices at the beginning; for each kind of hardware it begins with one. */
  startWindow: Count,
  waves: Type.Array(
    named('WavePreview', {
      name: Text(64),
      devices: Count,
      hardware: Type.Record(Type.String(), Count),
      sites: Count,
      groups: Type.Record(Type.String(), Count),
      /** The first ones, in the order in which they are asked. */
      names: Type.Array(Text(64)),
    }),
  ),
  /** Chance that the release is halted, or held for a person, at a true failure rate. */
  promises: Type.Array(
    named('RolloutPromise', {
      failureRate: Type.Number(),
      halt: Type.Number(),
      hold: Type.Number(),
      /** Of so many rollouts a year, as in the last year. */
      haltsPerYear: Type.Number(),
      /** Devices that take the release before the halt or the end: mean. */
      expectedTakes: Type.Number(),
    }),
  ),
  /** Of a good release that every device can take, in lengths of a trial with its soak. */
  trialLengths: Count,
  rolloutsPerYear: Count,
  warnings: Type.Array(Sentence),
});
export type RolloutPreview = Static<typeof RolloutPreview>;

export const Member = named('Member', {
  device: DeviceId,
  name: Text(64),
  group: GroupName,
  wave: Count,
  state: Type.Enum([...MEMBER_STATES]),
  since: Time,
  reasons: Text(limits.detailMaxChars),
});
export type Member = Static<typeof Member>;
/** By wave and rank. */
export const MemberPage = pageOf('MemberPage', Member);

export const memberQuery = {
  wave: Type.Optional(Type.Integer({ minimum: 0, description: 'only this wave, from 0' })),
  state: Type.Optional(Type.Enum([...MEMBER_STATES], { description: 'only devices in it' })),
  failed: Type.Optional(
    Type.Boolean({ description: 'true: only devices on which the release failed, also once back' }),
  ),
};

/** The filters of a list of rollouts. */
export const rolloutQuery = {
  state: Type.Optional(
    Type.Enum([...ROLLOUT_LIST_STATES], {
      description: 'only in this state; active: rolling, held or reverting',
    }),
  ),
  component: Type.Optional(
    Type.String({ pattern: COMPONENT_PATTERN, description: 'only of this component' }),
  ),
  group: Type.Optional(
    Type.String({
      pattern: GROUP_PATTERN,
      description: 'only those whose selector does not exclude this group',
    }),
  ),
  search: search('text in its id or in the name of its release (component@version)'),
};

const rolloutHead = {
  id: Text(64),
  release: ReleaseRef,
  state: Type.Enum([...ROLLOUT_STATES]),
  /** The current wave, from 0. */
  wave: Count,
  createdAt: Time,
  createdBy: Text(200),
};

/** Without members and history: its size does not grow with the fleet. */
export const RolloutSummary = named('RolloutSummary', {
  ...rolloutHead,
  waves: Count,
  devices: Count,
  /** As of its last change; the detail adds what is true at this moment. */
  reasons: Type.Array(Sentence),
});
export type RolloutSummary = Static<typeof RolloutSummary>;
export const RolloutPage = pageOf('RolloutPage', RolloutSummary);

/** What devices take that enrol, return or change their group. By component, the newest first. */
export const StandingReleases = named('StandingReleases', {
  items: Type.Array(
    named('StandingRelease', {
      release: ReleaseRef,
      /** Which devices; the newest that selects a device is its own. */
      selector: Selector,
      rollout: Text(64),
      createdAt: Time,
      createdBy: Text(200),
      /** It failed on too many devices since: no further device takes it. */
      alarmed: Type.Boolean(),
      /** A rollout of the component that is under way: until its end no device takes this one. */
      waitsFor: OrNull(Text(64)),
    }),
  ),
});
export type StandingReleases = Static<typeof StandingReleases>;

/** The halt test of all devices together, as a curve of failures over takes. */
export const RolloutEvidence = named('RolloutEvidence', {
  takes: Count,
  planned: Count,
  failures: Count,
  /** The failing takes by their number from 1, the first ones. */
  failedAt: Type.Array(Count, { maxItems: limits.evidencePointsMaxCount }),
  /** From `takes` on, so many failures halt; the last is for all planned takes. */
  boundary: Type.Array(
    Type.Object({ takes: Count, failures: Count }, { additionalProperties: false }),
    { maxItems: limits.evidencePointsMaxCount },
  ),
});
export type RolloutEvidence = Static<typeof RolloutEvidence>;

/** JSON has no infinity: larger e-values are this one. */
export const EVIDENCE_MOST = 1e15;

/** Strategy ab: the comparison so far. */
export const ArmsView = named('ArmsView', {
  devicesA: Count,
  devicesB: Count,
  /** Devices of arm B that were compared, and how many can be, each with `partners` of arm A. */
  compared: Count,
  planned: Count,
  partners: Count,
  /** The e-value at which one side of one metric decides. */
  needed: Type.Number(),
  /** A: B is worse in some metric; B: it is better in some, and shown worse in none. */
  winner: OrNull(Type.Enum(['A', 'B'])),
  metrics: Type.Array(
    named('ArmMetricView', {
      metric: Type.Enum([...ARM_METRICS]),
      /** What it is, with its unit. */
      name: Text(64),
      comparisons: Count,
      /** Null before the first comparison. */
      meanA: OrNull(Type.Number()),
      meanB: OrNull(Type.Number()),
      /**
       * Share of comparisons in which it was higher in arm B, ties as a half; the intervals of all
       * metrics hold together with the chance of the policy, whenever they are read.
       */
      higherInB: OrNull(
        named('ArmShare', { share: Type.Number(), low: Type.Number(), high: Type.Number() }),
      ),
      /** E-values of "B is worse" and of "B is better", at most EVIDENCE_MOST. */
      worse: Type.Number(),
      better: Type.Number(),
    }),
  ),
});
export type ArmsView = Static<typeof ArmsView>;

/** How a device judges the comparison of a shadow, and what `measuring` says: too little. */
const SHADOW_VERDICTS = [
  'pass',
  'unproven',
  'differs_more_than_declared',
  'fail',
  'measuring',
] as const;

/** Strategy shadow: what the comparisons say so far. */
export const ShadowView = named('ShadowView', {
  devices: Count,
  compared: Count,
  verdicts: Type.Array(
    named('ShadowVerdict', { verdict: Type.Enum([...SHADOW_VERDICTS]), devices: Count }),
  ),
  /** Of the devices that compared or are comparing; differences and limits in [0, 1]. */
  outputs: Type.Array(
    named('ShadowOutput', {
      output: Text(200),
      devices: Count,
      /** Inputs that both releases answered. */
      pairs: Count,
      /** Mean over the devices of their mean difference. */
      mean: Type.Number(),
      /** The largest of a device, and which one. */
      worst: Type.Number(),
      worstDevice: Text(64),
      /** The lowest of the devices: a release may declare another one for each release. */
      limit: Type.Number(),
      cap: Type.Number(),
    }),
  ),
});
export type ShadowView = Static<typeof ShadowView>;

export const RolloutDetail = named('RolloutDetail', {
  ...rolloutHead,
  /** Why it is in this state, with the arithmetic, one sentence each. */
  reasons: Type.Array(Sentence),
  /** What an operator can do now. */
  next: Type.Array(Text(200)),
  /** The same, for a program: the commands that it takes now, and what each would do. */
  commands: Type.Array(
    named('AllowedCommand', { command: Type.Enum([...ROLLOUT_COMMANDS]), meaning: Text(200) }),
  ),
  evidence: RolloutEvidence,
  /** Null for other strategies. */
  arms: OrNull(ArmsView),
  shadow: OrNull(ShadowView),
  /** Strategy blue-green: when the go was given; null before it, and for other strategies. */
  goAt: OrNull(Time),
  policy: RolloutPolicy,
  selector: Selector,
  /** How many devices of each wave are in each state; GET /rollouts/{id}/members names them. */
  counts: Type.Array(
    named('MemberCount', { wave: Count, state: Type.Enum([...MEMBER_STATES]), devices: Count }),
  ),
  history: Type.Array(
    named('RolloutHistoryEntry', {
      at: Time,
      state: Type.Enum([...ROLLOUT_STATES]),
      wave: Count,
      reasons: Type.Array(Sentence),
    }),
  ),
});
export type RolloutDetail = Static<typeof RolloutDetail>;

export const CommandRequest = named('CommandRequest', {
  reason: Type.Optional(Text(500)),
  /**
   * With `resume` of a rollout whose devices differ more than declared: the mean difference that is
   * accepted from now on, at most the policy's cap. Those devices take the release again.
   */
  acceptDifferencePermille: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
});
export type CommandRequest = Static<typeof CommandRequest>;

const exact = (description: string) =>
  Type.Optional(Type.String({ minLength: 1, maxLength: limits.nameMaxChars, description }));
/** The filters of the audit log. */
export const auditQuery = {
  actor: exact('only of this token'),
  action: exact('only this action'),
  subject: exact('only about this'),
  ...timeQuery,
};

const auditHead = {
  seq: Count,
  at: Time,
  actor: Text(200),
  action: Text(100),
  subject: Text(200),
  /** W3C trace id of the request; null where there was none. */
  trace: OrNull(Type.String({ pattern: TRACE_PATTERN })),
};
/** The detail is cut to a line. */
export const AuditSummary = named('AuditSummary', {
  ...auditHead,
  detail: Text(limits.summaryDetailMaxChars),
});
export type AuditSummary = Static<typeof AuditSummary>;
export const AuditDetail = named('AuditDetail', {
  ...auditHead,
  detail: Text(limits.auditDetailMaxChars),
  hash: Hex32,
});
export type AuditDetail = Static<typeof AuditDetail>;
export const AuditPage = pageOf('AuditPage', AuditSummary);

/**
 * Of the audit chain: how many entries fit it, the hash of the last of these (64 zeros before the
 * first), and the first entry that is missing or does not fit.
 */
export const AuditHead = named('AuditHead', {
  entries: Count,
  hash: Hex32,
  brokenAt: OrNull(Count),
});
export type AuditHead = Static<typeof AuditHead>;

/** The token that calls; `tokens`: valid ones of its name, this one included. */
export const Self = named('Self', { name: Text(200), role: Role, tokens: Count });
export type Self = Static<typeof Self>;

/** Enrolled devices in numbers, and what needs a person; counted anew every few seconds. */
export const FleetOverview = named('FleetOverview', {
  at: Time,
  devices: Type.Array(
    named('DeviceCount', { group: GroupName, status: DeviceStatus, count: Count }),
  ),
  components: Type.Array(
    named('ComponentCount', {
      component: Component,
      /** Null: nothing runs. */
      version: OrNull(Version),
      group: GroupName,
      state: Type.Enum([...UPDATE_STATES]),
      count: Count,
    }),
  ),
  hardware: Type.Array(named('HardwareCount', { hardware: HardwareId, count: Count })),
  /** Enrolled devices: how many have a trouble, a condition, two installations, or are silent. */
  attention: named('AttentionCounts', {
    trouble: Count,
    conditions: Count,
    cloned: Count,
    silent: Count,
  }),
  /** Rollouts that wait for a person. */
  held: Type.Array(named('HeldRollout', { id: Text(64), release: ReleaseRef })),
});
export type FleetOverview = Static<typeof FleetOverview>;

/** Stands for the versions of a component that are not counted apart; no release has it. */
export const OTHER_VERSIONS = 'other';

export const fleetHistoryQuery = {
  hours: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: limits.fleetVersionsKeptMs / HOUR_MS,
      default: limits.fleetVersionsDefaultHours,
      description: 'how far back',
    }),
  ),
};

/** How many enrolled devices ran what, by the hour. Hours in which no server ran are missing. */
export const FleetHistory = named('FleetHistory', {
  from: Time,
  to: Time,
  components: Type.Array(
    named('ComponentHistory', {
      component: Component,
      /** Of the whole time; null: nothing runs; OTHER_VERSIONS: those not counted apart. */
      versions: Type.Array(OrNull(Text(100))),
      /** The oldest first; `devices` in the order of `versions`. */
      hours: Type.Array(
        Type.Object({ at: Time, devices: Type.Array(Count) }, { additionalProperties: false }),
      ),
    }),
  ),
});
export type FleetHistory = Static<typeof FleetHistory>;

const CHANGE_TOPICS = ['rollouts', 'devices', 'releases', 'security', 'audit', 'tokens'] as const;
export type ChangeTopic = (typeof CHANGE_TOPICS)[number];
/** What changed; `ids` null: any of them, or many. Carries no content: it is read again. */
export const Change = named('Change', {
  topic: Type.Enum([...CHANGE_TOPICS]),
  ids: OrNull(Type.Array(Text(64), { maxItems: limits.changedIdsMaxCount })),
});
export type Change = Static<typeof Change>;

export const TokenName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$' });
export const TokenRequest = named('TokenRequest', { name: TokenName, role: Role });
export type TokenRequest = Static<typeof TokenRequest>;
export const TokenView = named('TokenView', {
  name: TokenName,
  role: Role,
  createdAt: Time,
  revokedAt: OrNull(Time),
});
export type TokenView = Static<typeof TokenView>;
export const TokenPage = pageOf('TokenPage', TokenView);
/** The token is shown this once. */
export const NewToken = named('NewToken', { name: TokenName, role: Role, token: Text(200) });
export type NewToken = Static<typeof NewToken>;
export const RevokedTokens = named('RevokedTokens', { revoked: Count });
/** `force`: also when no admin token is left then. */
export const TokenRevocation = named('TokenRevocation', { force: Type.Optional(Type.Boolean()) });
/** Which tokens of the caller's name are revoked. */
export const SelfRevocation = named('SelfRevocation', {
  /** True: the token that calls stays valid. */
  keepThis: Type.Boolean(),
});

/**
 * A raw record as it was stored. Health is in TelemetryHour and in the device's detail only, and an
 * update report that repeats the one before is stored once an hour.
 */
export const TelemetryRow = named('TelemetryRow', {
  id: Count,
  device: DeviceId,
  seq: Count,
  kind: Text(20),
  deviceAt: Time,
  at: Time,
  body: Type.Unknown(),
});
export type TelemetryRow = Static<typeof TelemetryRow>;
export const TelemetryPage = pageOf('TelemetryPage', TelemetryRow);

/** What a device served between two reports. */
export const InferencePoint = named('InferencePoint', {
  id: Count,
  at: Time,
  release: ReleaseRef,
  seconds: Type.Number({ minimum: 0 }),
  served: Count,
  failed: Count,
  refused: Count,
  p50Ms: OrNull(Type.Number()),
  p99Ms: OrNull(Type.Number()),
});
export type InferencePoint = Static<typeof InferencePoint>;
export const InferencePointPage = pageOf('InferencePointPage', InferencePoint);

const Quantiles = (description: string) =>
  OrNull(
    Type.Object(
      { p50: Type.Number(), p99: Type.Number() },
      { additionalProperties: false, description },
    ),
  );

/** What a device reported in one hour; quantiles are within 2 %. */
export const TelemetryHour = named('TelemetryHour', {
  hour: Time,
  firstAt: Time,
  lastAt: Time,
  records: named('TelemetryCounts', {
    health: Count,
    inference: Count,
    trial: Count,
    update: Count,
    security: Count,
  }),
  cpuUse: Quantiles('share in [0, 1]'),
  memoryAvailableMib: Quantiles('MiB'),
  temperatureC: Quantiles('degrees Celsius; below 0 counts as 0'),
  diskFreeMib: Quantiles('MiB'),
  agentRssMib: Quantiles('MiB'),
});
export type TelemetryHour = Static<typeof TelemetryHour>;
export const TelemetryHourPage = pageOf('TelemetryHourPage', TelemetryHour);
