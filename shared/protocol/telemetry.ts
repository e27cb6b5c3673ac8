// MQTT between a device and the fleet server. A device publishes batches of telemetry records and
// waits for the server's own acknowledgement; the server publishes acknowledgements and hints.
// Hints and reports carry no authority: what a device installs is decided by signed metadata alone.
// Broker rule: a client `dev-x` may publish only to `linnet/v1/dev-x/up/#` and subscribe only to
// `linnet/v1/dev-x/down/#`.
import { Type, type Static } from 'typebox';
import { ReleaseRef } from '../release/release-ref.js';
import { limits } from '../base/limits.js';
import { Component } from '../release/manifest-head.js';
import { Sketch } from '../statistics/quantile-sketch.js';
import { Answers, TrialEvidence } from '../statistics/trial-verdict.js';
import { TRACE_PATTERN } from './assignment-traces.js';
import { UPDATE_STATES } from './states.js';

const strict = { additionalProperties: false } as const;
const Count = Type.Integer({ minimum: 0 });
const MaybeNumber = Type.Union([Type.Null(), Type.Number()]);
export const DeviceId = Type.String({ pattern: '^dev-[0-9a-f]{20}$' });

export const topics = {
  telemetry: (device: string) => `linnet/v1/${device}/up/telemetry`,
  ack: (device: string) => `linnet/v1/${device}/down/ack`,
  hint: (device: string) => `linnet/v1/${device}/down/hint`,
  up: (device: string) => `linnet/v1/${device}/up/#`,
  down: (device: string) => `linnet/v1/${device}/down/#`,
  everyUp: 'linnet/v1/+/up/telemetry',
} as const;

/** The device of an up topic, or null. */
export function deviceOfTopic(topic: string): string | null {
  return /^linnet\/v1\/(dev-[0-9a-f]{20})\/up\/telemetry$/.exec(topic)?.[1] ?? null;
}

/**
 * Bodies by kind. Memory and disk in bytes, temperature in degrees Celsius, load and use as shares
 * in [0, 1], times in ms.
 */
export const HealthBody = Type.Object(
  {
    cpuUse: MaybeNumber,
    memoryTotalBytes: Count,
    memoryAvailableBytes: Count,
    temperatureC: MaybeNumber,
    diskTotalBytes: MaybeNumber,
    diskFreeBytes: MaybeNumber,
    agentRssBytes: Count,
    uptimeSeconds: Type.Number({ minimum: 0 }),
    spool: Type.Object(
      {
        records: Count,
        bytes: Count,
        lost: Count,
        /**
         * Age of the oldest record that waits to be sent, by the device's own clock (one that was
         * set meanwhile gives a wrong age); absent while none waits.
         */
        oldestSeconds: Type.Optional(Count),
      },
      strict,
    ),
    /**
     * How far the device's own clock is ahead of the server's (negative: behind); null before it
     * knows the server's time.
     */
    clockErrorMs: MaybeNumber,
  },
  strict,
);
export type HealthBody = Static<typeof HealthBody>;

/** Deltas since the last record of this kind for this release. */
export const InferenceBody = Type.Object(
  {
    release: ReleaseRef,
    seconds: Type.Number({ minimum: 0 }),
    served: Count,
    failed: Count,
    refused: Count,
    latencyMs: Sketch,
    answers: Type.Union([Type.Null(), Answers]),
  },
  strict,
);
export type InferenceBody = Static<typeof InferenceBody>;

const Outcome = Type.Object(
  {
    /**
     * `differs`: sent back because it differs more than declared; it has not failed. `shadowed`: it
     * was compared with what serves and never served; its code is null when it passed.
     */
    result: Type.Enum([
      'confirmed',
      'rolled_back',
      'differs',
      'refused',
      'spent',
      'reverted',
      'shadowed',
    ]),
    code: Type.Union([Type.Null(), Type.String({ maxLength: 64 })]),
    detail: Type.String({ maxLength: limits.detailMaxChars }),
    release: ReleaseRef,
    /** The id of the assignment that this outcome answers (DirectorCustom.assignmentId). */
    assignmentId: Count,
  },
  strict,
);
export type Outcome = Static<typeof Outcome>;
export { Outcome as OutcomeSchema };

/**
 * Why the device cannot proceed now: a code of shared/base/fault-codes, and since when, by the
 * device's corrected clock (ms since the epoch).
 */
export const Trouble = Type.Object(
  {
    code: Type.String({ maxLength: 64 }),
    detail: Type.String({ maxLength: limits.detailMaxChars }),
    since: Count,
  },
  { ...strict, title: 'Trouble' },
);
export type Trouble = Static<typeof Trouble>;

export const CONDITIONS = ['crashes', 'hangs', 'memory', 'withheld', 'errors'] as const;

/** What is wrong with the release that serves, counted over the last day. */
export const Condition = Type.Object(
  {
    code: Type.Enum([...CONDITIONS]),
    count: Type.Integer({ minimum: 1 }),
    since: Count,
    detail: Type.String({ maxLength: limits.detailMaxChars }),
  },
  { ...strict, title: 'Condition' },
);
export type Condition = Static<typeof Condition>;

/** The whole truth of one component on this device, sent at each change and with each heartbeat. */
export const UpdateBody = Type.Object(
  {
    component: Component,
    state: Type.Enum([...UPDATE_STATES]),
    running: Type.Union([Type.Null(), ReleaseRef]),
    previous: Type.Union([Type.Null(), ReleaseRef]),
    updatingTo: Type.Union([Type.Null(), ReleaseRef]),
    /** The `order` of the last assignment seen; 0 before the first. */
    assignmentId: Count,
    progress: Type.Union([
      Type.Null(),
      Type.Object({ doneBytes: Count, totalBytes: Count }, strict),
    ]),
    outcome: Type.Union([Type.Null(), Outcome]),
    trouble: Type.Union([Type.Null(), Trouble]),
    conditions: Type.Array(Condition, { maxItems: limits.conditionsMaxCount }),
    /**
     * The highest version of director metadata that the device has trusted; 0 before the first. A
     * server that gives older ones was restored from a backup.
     */
    directorVersion: Type.Integer({ minimum: 0, maximum: limits.metadataVersionMaxCount }),
    /**
     * W3C trace id of the operator's request that `assignmentId` follows from; absent where the
     * server told none.
     */
    trace: Type.Optional(Type.String({ pattern: TRACE_PATTERN })),
  },
  strict,
);
export type UpdateBody = Static<typeof UpdateBody>;

export const TrialBody = Type.Object(
  {
    release: ReleaseRef,
    previous: Type.Union([Type.Null(), ReleaseRef]),
    assignmentId: Count,
    evidence: TrialEvidence,
  },
  strict,
);
export type TrialBody = Static<typeof TrialBody>;

export const SecurityBody = Type.Object(
  {
    code: Type.String({ maxLength: 64 }),
    detail: Type.String({ maxLength: limits.detailMaxChars }),
  },
  strict,
);
export type SecurityBody = Static<typeof SecurityBody>;

export const BODIES = {
  health: HealthBody,
  inference: InferenceBody,
  update: UpdateBody,
  trial: TrialBody,
  security: SecurityBody,
} as const;
export type Kind = keyof typeof BODIES;
/** Named, because the type of a schema that is not known yet costs the compiler half its time. */
interface Bodies {
  health: HealthBody;
  inference: InferenceBody;
  update: UpdateBody;
  trial: TrialBody;
  security: SecurityBody;
}
export type BodyOf<K extends Kind> = Bodies[K];

/**
 * When the spool is full, the oldest record of the least important kind goes first (lowest number =
 * least important).
 */
export const IMPORTANCE: Readonly<Record<Kind, number>> = {
  health: 0,
  inference: 1,
  trial: 2,
  update: 3,
  security: 4,
};

const recordOf = <K extends Kind>(kind: K) =>
  Type.Object(
    {
      seq: Type.Integer({ minimum: 1 }),
      /** Device wall clock, ms since the epoch; a report, not verified. */
      at: Type.Integer({ minimum: 0 }),
      kind: Type.Literal(kind),
      body: BODIES[kind],
    },
    strict,
  );

export const TelemetryRecord = Type.Union([
  recordOf('health'),
  recordOf('inference'),
  recordOf('update'),
  recordOf('trial'),
  recordOf('security'),
]);
export type TelemetryRecord = {
  [K in Kind]: { seq: number; at: number; kind: K; body: BodyOf<K> };
}[Kind];

/**
 * `batch` is chosen once by the device and never reused, so that the server can insert it twice as
 * once.
 */
export const TelemetryBatch = Type.Object(
  {
    format: Type.Literal('linnet.telemetry/1'),
    batch: Type.String({ pattern: '^[0-9a-f]{32}$' }),
    /** Random at each start of the agent: two that alternate are copies of one data folder. */
    instance: Type.String({ pattern: '^[0-9a-f]{32}$' }),
    records: Type.Array(TelemetryRecord, { minItems: 1, maxItems: limits.batchMaxCount }),
  },
  strict,
);
export interface TelemetryBatch {
  format: 'linnet.telemetry/1';
  batch: string;
  instance: string;
  records: TelemetryRecord[];
}

/**
 * `refused`: the batch does not decode and never will; the device drops it, counts the loss and
 * raises a security event.
 */
export const TelemetryAck = Type.Object(
  {
    batch: Type.String({ pattern: '^[0-9a-f]{32}$' }),
    result: Type.Enum(['stored', 'refused']),
    detail: Type.Optional(Type.String({ maxLength: limits.detailMaxChars })),
  },
  strict,
);
export type TelemetryAck = Static<typeof TelemetryAck>;

/** "Look at your assignment now." Carries no authority. */
export const Hint = Type.Object({ look: Type.Literal('assignment') }, strict);
export type Hint = Static<typeof Hint>;
