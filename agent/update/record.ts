// The record of one component: the one small file that says what is true on this device. Only a
// replacement of this file changes anything: the replacement that changes `active` is the swap, and
// the one that changes it back is the rollback. It is written whole (Disk.replace) with a checksum.
// A record that cannot be read is rebuilt from the slots (record-recovery.ts), never guessed. Which
// change follows which event is next-record.ts.
import assert from 'node:assert/strict';
import { Type, type Static } from 'typebox';
import { limits } from '../../shared/base/limits.js';
import { complaints } from '../../shared/base/decode.js';
import { isFault } from '../../shared/base/fault-codes.js';
import { Component, HardwareId, Version } from '../../shared/release/manifest-head.js';
import { ACTIVATIONS, UPDATE_STATES, type UpdateState } from '../../shared/protocol/states.js';
import { OutcomeSchema } from '../../shared/protocol/telemetry.js';
import { ReleaseRef } from '../../shared/release/release-ref.js';
import { sha256, utf8 } from '../../shared/base/bytes.js';
import { canonicalBytes } from '../../shared/base/canonical-json.js';
import { Hex32 } from '../../shared/base/hex-schemas.js';
import { TrialPolicy } from '../../shared/statistics/trial-verdict.js';
import { AcceptanceFile } from '../../shared/trust/documents.js';
import type { Disk } from '../interfaces.js';

const strict = { additionalProperties: false } as const;
const OrNull = <T extends ReturnType<typeof Type.Object>>(schema: T) =>
  Type.Union([Type.Null(), schema]);

/**
 * An assignment that director and image repository agree on (metadata.ts), as the record keeps it
 * across power cuts.
 */
export const Assignment = Type.Object(
  {
    component: Component,
    version: Version,
    path: Type.String({ maxLength: 300 }),
    length: Type.Integer({ minimum: 1 }),
    sha256: Hex32,
    rollout: Type.String({ maxLength: 64 }),
    assignmentId: Type.Integer({ minimum: 1 }),
    rollback: Type.Boolean(),
    /** As it was when the assignment was accepted; a hold ends by the latest assignment. */
    activation: Type.Enum([...ACTIVATIONS]),
    /** The oldest version that a rollback may fetch again, signed offline. */
    floor: Type.Union([Type.Null(), Version]),
    /** The file with the acceptance set that the release must pass, signed offline. */
    acceptance: OrNull(AcceptanceFile),
    trial: TrialPolicy,
  },
  strict,
);
export type Assignment = Static<typeof Assignment>;

export type SlotName = 'a' | 'b';
export const SLOT_NAMES = ['a', 'b'] as const;

const RecordFields = Type.Object(
  {
    format: Type.Literal('linnet.record/1'),
    component: Component,
    hardware: HardwareId,
    state: Type.Enum([...UPDATE_STATES]),
    /** The slot that serves; null before the first swap and when nothing may be served. */
    active: Type.Union([Type.Null(), Type.Literal('a'), Type.Literal('b')]),
    slots: Type.Object({ a: OrNull(ReleaseRef), b: OrNull(ReleaseRef) }, strict),
    /** The lowest version that may be installed; only a signed rollback lowers it. */
    floor: Type.Union([Type.Null(), Version]),
    /**
     * Only the first release was ever confirmed here: when its assignment is withdrawn, there is
     * nothing to roll back to.
     */
    first: Type.Boolean(),
    /** The assignment under way; null exactly in the resting states. */
    assignment: OrNull(Assignment),
    /** The id of the last assignment that was accepted. */
    assignmentId: Type.Integer({ minimum: 0 }),
    /** It was a shadow: when it is withdrawn, what serves stays. */
    shadowed: Type.Boolean(),
    /** Downloads of the assignment under way that failed verification. */
    damaged: Type.Integer({ minimum: 0 }),
    /**
     * Failed activations of the new release in this trial, over restarts of the agent. Power cuts
     * do not count.
     */
    trialFaults: Type.Integer({ minimum: 0 }),
    /** How the last assignment ended; reported until the next assignment replaces it. */
    outcome: OrNull(OutcomeSchema),
    /** Writes since the machine last rested or began a hold; limited, so that a loop ends. */
    writes: Type.Integer({ minimum: 0 }),
  },
  strict,
);
type RecordFields = Static<typeof RecordFields>;

/** States without an assignment under way. */
export type RestingState = 'idle' | 'stranded';
export type WorkingState = Exclude<UpdateState, RestingState>;
export const isResting = (state: UpdateState): state is RestingState =>
  state === 'idle' || state === 'stranded';

/** The record in state S: a working state always has its assignment, a resting state never. */
export type RecordIn<S extends UpdateState> = Omit<RecordFields, 'state' | 'assignment'> & {
  readonly state: S;
  readonly assignment: S extends RestingState ? null : Assignment;
};
export type UpdateRecord = { [S in UpdateState]: RecordIn<S> }[UpdateState];

export function freshRecord(component: string, hardware: string): RecordIn<'idle'> {
  return {
    format: 'linnet.record/1',
    component,
    hardware,
    state: 'idle',
    active: null,
    slots: { a: null, b: null },
    floor: null,
    first: true,
    assignment: null,
    assignmentId: 0,
    shadowed: false,
    damaged: 0,
    trialFaults: 0,
    outcome: null,
    writes: 0,
  };
}

export const spareOf = (record: UpdateRecord): SlotName => (record.active === 'a' ? 'b' : 'a');

/** The release that serves, or null. */
export const runningOf = (record: UpdateRecord): ReleaseRef | null =>
  record.active === null ? null : record.slots[record.active];
export const previousOf = (record: UpdateRecord): ReleaseRef | null =>
  record.slots[spareOf(record)];

/** Bytes of a record with its checksum. */
export function encodeRecord(record: UpdateRecord): Uint8Array {
  return utf8(JSON.stringify({ record, sha256: sha256(canonicalBytes(record)) }, null, 1) + '\n');
}

/** The record, or why it is unreadable. */
export function decodeRecord(bytes: Uint8Array): UpdateRecord | { unreadable: string } {
  let whole: { record?: unknown; sha256?: unknown } | null;
  try {
    whole = JSON.parse(Buffer.from(bytes).toString('utf8')) as typeof whole;
  } catch (error) {
    if (error instanceof SyntaxError) return { unreadable: error.message };
    throw error;
  }
  const found = complaints(RecordFields, whole?.record);
  if (found.length > 0) return { unreadable: found.join('; ') };
  const record = whole?.record as RecordFields;
  if (sha256(canonicalBytes(record)) !== whole?.sha256) return { unreadable: 'checksum differs' };
  if (isResting(record.state) !== (record.assignment === null))
    return { unreadable: `state ${record.state} does not fit its assignment` };
  return record as UpdateRecord;
}

export class RecordFile {
  readonly #disk: Disk;
  readonly path: string;

  constructor(disk: Disk, path: string) {
    this.#disk = disk;
    this.path = path;
  }

  /** What is on disk; null when there is no record yet. */
  async read(): Promise<UpdateRecord | { unreadable: string } | null> {
    try {
      const bytes = await this.#disk.read(this.path, limits.recordMaxBytes);
      return bytes === null ? null : decodeRecord(bytes);
    } catch (error) {
      if (!isFault(error, 'disk_failed')) throw error;
      return { unreadable: error.detail };
    }
  }

  /** Durable on return. Faults: disk_full, disk_failed. */
  async write(record: UpdateRecord): Promise<void> {
    const bytes = encodeRecord(record);
    assert(bytes.length <= limits.recordMaxBytes, `the record is ${bytes.length} bytes long`);
    await this.#disk.replace(this.path, bytes);
  }
}
