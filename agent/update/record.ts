// The record of one component: the one small file that says what is true on this device. Replacing
// it is the only way anything changes; the replacement that changes `active` IS the swap, and the
// one that changes it back IS the rollback. It is written whole (Disk.replace) with a checksum; a
// record that does not read is a reason to start from the slots' own proofs, never to guess.
import { Type, type Static } from 'typebox';
import { limits } from '../../shared/base/limits.js';
import { complaints } from '../../shared/base/decode.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import { Component, HardwareId, Version } from '../../shared/release/manifest.js';
import { UPDATE_STATES } from '../../shared/protocol/states.js';
import { OutcomeSchema, ReleaseRef } from '../../shared/protocol/telemetry.js';
import { Hex32, canonicalBytes, sha256, utf8 } from '../../shared/base/bytes.js';
import { TrialPolicy } from '../../shared/statistics/trial-verdict.js';
import type { Disk } from '../interfaces.js';

const strict = { additionalProperties: false } as const;
const OrNull = <T extends ReturnType<typeof Type.Object>>(schema: T) =>
  Type.Union([Type.Null(), schema]);

/**
 * An order that director and image repository agree on (see metadata.ts), as the record keeps it
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
    trial: TrialPolicy,
  },
  strict,
);
export type Assignment = Static<typeof Assignment>;

export type SlotName = 'a' | 'b';

export const UpdateRecord = Type.Object(
  {
    format: Type.Literal('linnet.record/1'),
    component: Component,
    hardware: HardwareId,
    state: Type.Enum([...UPDATE_STATES]),
    /** The slot that serves; null before the first swap and when nothing may be served. */
    active: Type.Union([Type.Null(), Type.Literal('a'), Type.Literal('b')]),
    slots: Type.Object({ a: OrNull(ReleaseRef), b: OrNull(ReleaseRef) }, strict),
    /** The lowest version that an order may install; only a signed order to go back lowers it. */
    floor: Type.Union([Type.Null(), Version]),
    /**
     * Nothing but its first release was ever confirmed here: there is nothing that a withdrawn
     * order could go back to.
     */
    first: Type.Boolean(),
    /** The order under way (its outcome is not known yet), and the number of the last one taken. */
    assignment: OrNull(Assignment),
    assignmentId: Type.Integer({ minimum: 0 }),
    /** Failed tries of the step that leaves this state. */
    tries: Type.Integer({ minimum: 0 }),
    /** How often what was fetched for the order under way did not prove. */
    damaged: Type.Integer({ minimum: 0 }),
    /**
     * Faults of the new model's process in this trial, over restarts of the agent. Power cuts do
     * not count.
     */
    modelFaults: Type.Integer({ minimum: 0 }),
    /**
     * What became of the last order; reported with every heartbeat until the next order replaces
     * it.
     */
    outcome: OrNull(OutcomeSchema),
    /** Writes since the machine last came to rest; bounded, so that a loop ends. */
    writes: Type.Integer({ minimum: 0 }),
  },
  strict,
);
export type UpdateRecord = Static<typeof UpdateRecord>;

export function freshRecord(component: string, hardware: string): UpdateRecord {
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
    tries: 0,
    damaged: 0,
    modelFaults: 0,
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

/** The record, or the complaint that makes it unreadable. */
export function decodeRecord(bytes: Uint8Array): UpdateRecord | { unreadable: string } {
  try {
    const whole = JSON.parse(Buffer.from(bytes).toString('utf8')) as {
      record?: unknown;
      sha256?: unknown;
    };
    const found = complaints(UpdateRecord, whole.record);
    if (found.length > 0) return { unreadable: found.join('; ') };
    const record = whole.record as UpdateRecord;
    return sha256(canonicalBytes(record)) === whole.sha256
      ? record
      : { unreadable: 'checksum differs' };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError)
      return { unreadable: error.message };
    throw error;
  }
}

export class RecordFile {
  constructor(
    private readonly disk: Disk,
    readonly path: string,
  ) {}

  /**
   * What stands on disk; null when there is none yet. An unreadable record comes back as such, for
   * the caller to heal.
   */
  async read(): Promise<UpdateRecord | { unreadable: string } | null> {
    try {
      const bytes = await this.disk.read(this.path, limits.recordMaxBytes);
      return bytes === null ? null : decodeRecord(bytes);
    } catch (error) {
      if (!isFault(error, 'disk_failed')) throw error;
      return { unreadable: error.detail };
    }
  }

  /** Durable on return. */
  async write(record: UpdateRecord): Promise<void> {
    const bytes = encodeRecord(record);
    if (bytes.length > limits.recordMaxBytes)
      throw new Fault(
        'internal',
        `record is ${bytes.length} bytes, bound is ${limits.recordMaxBytes}`,
      );
    await this.disk.replace(this.path, bytes);
  }
}
