// The record: what reads, what does not, and what follows an event.
import { describe, expect, it } from 'vitest';
import { afterChange, afterEvent, outcomeOf } from '../../../agent/update/next-record.js';
import {
  decodeRecord,
  encodeRecord,
  freshRecord,
  RecordFile,
  runningOf,
  type RecordIn,
  type UpdateRecord,
} from '../../../agent/update/record.js';
import type { Disk } from '../../../agent/interfaces.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { ImpossibleTransition } from '../../../shared/base/state-machine.js';
import { SimDisk } from '../../sim/disk.js';
import { seeded } from '../../support/random.js';
import { assignmentFor, simRelease } from '../../sim/release.js';

const v1 = simRelease('1.0.0');
const v2 = simRelease('1.1.0');
const ref = ({ manifest, digest }: typeof v1) => ({
  component: manifest.component,
  version: manifest.version,
  digest,
});
const fresh = freshRecord('digits', 'sim');
const working = (
  state: 'assigned' | 'staged' | 'probed' | 'rehearsed' | 'shadowing' | 'swapped',
  change: Partial<UpdateRecord> = {},
  rollback = false,
): UpdateRecord => ({
  ...fresh,
  active: 'a',
  slots: { a: ref(v1), b: ref(v2) },
  writes: 3,
  ...change,
  state,
  assignment: assignmentFor(v2, 2, { rollback }),
});

describe('reading a record', () => {
  it('record_comes_back_as_it_was_written', () => {
    for (const record of [fresh, working('staged'), working('swapped', { trialFaults: 2 })])
      expect(decodeRecord(encodeRecord(record))).toEqual(record);
  });

  it.each(['', 'not json', '{', 'null', '[]', '7', '"text"', '{}', '{"record":null}', '\0\0\0'])(
    'bytes_%j_are_unreadable',
    (text) => {
      expect(decodeRecord(Buffer.from(text))).toMatchObject({
        unreadable: expect.stringMatching(/./) as string,
      });
    },
  );

  it('every_single_byte_changed_is_unreadable_or_the_same_record', () => {
    const bytes = encodeRecord(working('staged'));
    for (let at = 0; at < bytes.length; at += 7) {
      const copy = Uint8Array.from(bytes);
      copy[at] = (copy[at] ?? 0) ^ 0x01;
      const decoded = decodeRecord(copy);
      if (!('unreadable' in decoded)) expect(decoded).toEqual(working('staged'));
    }
  });

  it('state_without_its_assignment_and_assignment_without_its_state_are_unreadable', () => {
    const lost = { ...working('staged'), assignment: null } as unknown as UpdateRecord;
    const stray = { ...working('staged'), state: 'idle' } as UpdateRecord;
    for (const record of [lost, stray])
      expect(decodeRecord(encodeRecord(record))).toMatchObject({
        unreadable: expect.stringMatching(/does not fit its assignment/) as string,
      });
  });

  it('file_that_is_missing_is_null_and_one_that_cannot_be_read_says_why', async () => {
    const disk = new SimDisk(seeded(1));
    const file = new RecordFile(disk, '/data/record.json');
    expect(await file.read()).toBeNull();
    await disk.makeFolder('/data');
    await file.write(fresh);
    expect(await file.read()).toEqual(fresh);
    disk.unreadable.add('/data/record.json');
    expect(await file.read()).toMatchObject({
      unreadable: expect.stringMatching(/EIO/) as string,
    });
  });
});

describe('a record', () => {
  it('of_a_new_device_has_nothing', () => {
    expect(fresh).toEqual({
      format: 'linnet.record/1',
      component: 'digits',
      hardware: 'sim',
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
    });
    expect(runningOf(fresh)).toBeNull();
    expect(runningOf(working('staged'))).toEqual(ref(v1));
    expect(Buffer.from(encodeRecord(fresh)).toString()).toMatch(/}\n$/);
  });

  const unreadable = (record: object): string => {
    const decoded = decodeRecord(encodeRecord(record as UpdateRecord));
    return 'unreadable' in decoded ? decoded.unreadable : 'readable';
  };

  it.each(['assignmentId', 'damaged', 'trialFaults', 'writes'])('has_no_negative_%s', (name) => {
    expect(unreadable({ ...fresh, [name]: 0 })).toBe('readable');
    expect(unreadable({ ...fresh, [name]: -1 })).toContain(name);
  });

  it.each([
    ['path', 'x'.repeat(300), 'x'.repeat(301)],
    ['length', 1, 0],
    ['rollout', 'x'.repeat(64), 'x'.repeat(65)],
    ['assignmentId', 1, 0],
  ])('has_an_assignment_with_a_%s_within_its_limit', (name, good, bad) => {
    const staged = (value: unknown) => ({
      ...working('staged'),
      assignment: { ...assignmentFor(v2, 2), [name]: value },
    });
    expect(unreadable(staged(good))).toBe('readable');
    expect(unreadable(staged(bad))).toContain(name);
  });

  it('that_is_wrong_in_two_places_names_both', () => {
    expect(unreadable({ ...fresh, damaged: -1, writes: -1 })).toMatch(/damaged.*; .*writes/);
  });

  it('is_written_up_to_its_limit_and_reads_only_what_a_disk_may_fail_with', async () => {
    const disk = new SimDisk(seeded(1));
    await disk.makeFolder('/data');
    const file = new RecordFile(disk, '/data/record.json');
    const long = (chars: number): UpdateRecord => ({ ...fresh, component: 'x'.repeat(chars) });
    const most = limits.recordMaxBytes - encodeRecord(long(0)).length;
    await file.write(long(most));
    await expect(file.write(long(most + 1))).rejects.toThrow('bytes long');
    const failing = (fault: Error) =>
      new RecordFile({ read: () => Promise.reject(fault) } as unknown as Disk, '/data/x').read();
    expect(await failing(new Fault('disk_failed', 'EIO'))).toEqual({ unreadable: 'EIO' });
    await expect(failing(new Fault('disk_full', 'ENOSPC'))).rejects.toThrow('disk_full');
  });
});

describe('the record after an event', () => {
  it('assignment_that_is_accepted_is_kept_until_the_machine_rests', () => {
    const assignment = assignmentFor(v2, 2);
    const assigned = afterEvent(fresh, { event: 'assigned', assignment });
    expect(assigned).toMatchObject({ state: 'assigned', assignment, writes: 1 });
    const downloaded = afterEvent(assigned, { event: 'downloaded' });
    expect(downloaded).toMatchObject({ state: 'downloaded', assignment, writes: 2 });
    const refused = afterEvent(downloaded, { event: 'refused' });
    expect(refused).toMatchObject({ state: 'idle', assignment: null, writes: 0 });
  });

  it('candidate_whose_update_ends_early_leaves_its_slot', () => {
    for (const state of ['staged', 'probed', 'rehearsed', 'shadowing'] as const)
      for (const event of ['refused', 'spent', 'superseded'] as const)
        expect(afterEvent(working(state), { event }).slots).toEqual({ a: ref(v1), b: null });
    const shadowed = afterEvent(working('shadowing'), { event: 'shadowed' });
    expect(shadowed).toMatchObject({ state: 'idle', active: 'a', slots: { a: ref(v1), b: null } });
    // A device that is stranded needs every slot that may verify.
    const lost = afterEvent(working('staged'), { event: 'unverified' });
    expect(lost).toMatchObject({ state: 'stranded', slots: { a: ref(v1), b: ref(v2) } });
    const differs = afterEvent(working('probed'), { event: 'differs' });
    expect(differs).toMatchObject({ state: 'idle', active: 'a', slots: { a: ref(v1), b: null } });
  });

  it('release_to_roll_back_to_keeps_its_slot_when_the_rollback_ends_early', () => {
    for (const state of ['staged', 'probed', 'rehearsed'] as const)
      expect(afterEvent(working(state, {}, true), { event: 'refused' }).slots.b).toEqual(ref(v2));
  });

  it('previous_release_keeps_its_slot_when_an_update_ends_before_it_is_staged', () => {
    expect(afterEvent(working('assigned'), { event: 'refused' }).slots.b).toEqual(ref(v2));
  });

  it('trial_that_ends_keeps_the_slots_of_its_result', () => {
    expect(afterEvent(working('swapped'), { event: 'confirmed' }).slots.b).toEqual(ref(v2));
    const slots = { a: ref(v1), b: null };
    const change = { slots, active: 'a' as const };
    expect(afterEvent(working('swapped'), { event: 'rolled_back', change })).toMatchObject({
      state: 'idle',
      slots,
      active: 'a',
    });
  });

  it('event_that_the_state_does_not_have_is_a_bug', () => {
    expect(() => afterEvent(fresh, { event: 'confirmed' })).toThrow(ImpossibleTransition);
    expect(() => afterEvent(working('swapped'), { event: 'refused' })).toThrow(
      ImpossibleTransition,
    );
  });

  it('hold_that_is_reached_counts_its_writes_from_there', () => {
    const probed = working('probed');
    expect(afterEvent(probed, { event: 'rehearsed' }).writes).toBe(4);
    const assignment = assignmentFor(v2, 2, { activation: 'hold' });
    const hold = { ...probed, assignment } as UpdateRecord;
    expect(afterEvent(hold, { event: 'rehearsed' }).writes).toBe(0);
    const staged = { ...working('staged'), assignment } as UpdateRecord;
    expect(afterEvent(staged, { event: 'probed' }).writes).toBe(4);
  });

  it('change_without_an_event_keeps_the_state_and_counts_only_while_working', () => {
    expect(afterChange(fresh, { active: null })).toMatchObject({ state: 'idle', writes: 0 });
    expect(afterChange(working('swapped'), { trialFaults: 1 })).toMatchObject({
      state: 'swapped',
      trialFaults: 1,
      writes: 4,
    });
  });

  it('outcome_names_the_release_and_its_detail_is_limited', () => {
    const long = 'x'.repeat(limits.detailMaxChars + 5);
    const end = { result: 'refused', code: 'file_digest', detail: long } as const;
    const outcome = outcomeOf(assignmentFor(v2, 7), end);
    expect(outcome).toMatchObject({ release: ref(v2), assignmentId: 7, code: 'file_digest' });
    expect(outcome.detail).toHaveLength(limits.detailMaxChars);
  });
});

describe('types', () => {
  it('working_state_without_an_assignment_does_not_compile', () => {
    // @ts-expect-error a working state has its assignment
    const record: RecordIn<'staged'> = { ...fresh, state: 'staged', assignment: null };
    expect(record.state).toBe('staged');
  });
});
