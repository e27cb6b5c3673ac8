// Admission: each refusal with several wrong inputs, each limit from both sides.
import { describe, expect, it } from 'vitest';
import { admit, admitDisk, matchAssignment } from '../../../agent/update/admission.js';
import { freshRecord, type RecordIn } from '../../../agent/update/record.js';
import { limits } from '../../../shared/base/limits.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import type { Release } from '../../../shared/release/manifest.js';
import { refOf } from '../../../shared/release/release-ref.js';
import { assignmentFor, simRelease, type SimRelease } from '../../sim/release.js';

const release = ({ manifest, digest }: SimRelease): Release => ({
  component: manifest.component,
  version: manifest.version,
  digest,
  manifest,
});

const codeOf = (work: () => void): string => {
  try {
    work();
    return 'admitted';
  } catch (error) {
    return isFault(error) ? error.code : String(error);
  }
};

const v1 = simRelease('1.0.0');
const v2 = simRelease('1.1.0');
const v3 = simRelease('1.2.0');

const record = (change: Partial<RecordIn<'idle'>> = {}): RecordIn<'idle'> => ({
  ...freshRecord('digits', 'sim'),
  ...change,
});

describe('an assignment and its manifest', () => {
  it('same_component_version_and_digest_match', () => {
    expect(codeOf(() => matchAssignment(release(v1), assignmentFor(v1, 1)))).toBe('admitted');
  });

  it.each([
    ['other_component', { component: 'letters' }],
    ['other_version', { version: '1.0.1' }],
    ['other_digest', { sha256: 'f'.repeat(64) }],
  ])('%s_is_a_mismatch', (_name, change) => {
    const assignment = { ...assignmentFor(v1, 1), ...change };
    expect(codeOf(() => matchAssignment(release(v1), assignment))).toBe('manifest_mismatch');
  });
});

describe('what a refusal says', () => {
  const sentenceOf = (work: () => void): string => {
    try {
      work();
      return 'admitted';
    } catch (error) {
      if (!isFault(error)) throw error;
      return error.detail;
    }
  };
  const short = (one: SimRelease): string => one.digest.slice(0, 12);

  it('both_values_that_do_not_fit', () => {
    expect(sentenceOf(() => matchAssignment(release(v2), assignmentFor(v1, 1)))).toBe(
      `the assignment is for digits 1.0.0 (${short(v1)}), ` +
        `the manifest is digits 1.1.0 (${short(v2)})`,
    );
    const many = release(simRelease('1.0.0', { hardware: ['pi-5', 'x86'] }));
    expect(sentenceOf(() => admit(many, assignmentFor(v1, 1), record()))).toBe(
      'digits 1.0.0 is for pi-5, x86; this device is sim',
    );
  });

  it('how_a_rollback_can_go_below_the_floor', () => {
    const floor = '1.1.0';
    const older = 'digits 1.0.0 is older than 1.1.0, which was confirmed here';
    expect(sentenceOf(() => admit(release(v1), assignmentFor(v1, 1), record({ floor })))).toBe(
      older,
    );
    const rollback = assignmentFor(v1, 1, { rollback: true });
    expect(sentenceOf(() => admit(release(v1), rollback, record({ floor })))).toBe(
      `${older}; no slot holds it, and no signed floor allows it (linnet publish --floor)`,
    );
  });
});

describe('hardware', () => {
  const many = release(simRelease('1.0.0', { hardware: ['pi-5', 'sim', 'x86'] }));
  it('one_of_several_ids_is_enough', () => {
    expect(codeOf(() => admit(many, assignmentFor(v1, 1), record()))).toBe('admitted');
  });

  it.each(['pi', 'pi-50', 'SIM', 'sim2'])('%s_is_unsupported', (hardware) => {
    expect(codeOf(() => admit(many, assignmentFor(v1, 1), record({ hardware })))).toBe(
      'hardware_unsupported',
    );
  });

  it('rollback_is_checked_too', () => {
    const held = record({ hardware: 'other', slots: { a: refOf(release(v1)), b: null } });
    const rollback = assignmentFor(v1, 2, { rollback: true });
    expect(codeOf(() => admit(release(v1), rollback, held))).toBe('hardware_unsupported');
  });
});

describe('the version floor', () => {
  it.each([
    [v1, '1.1.0', 'version_floor'],
    [v2, '1.1.0', 'admitted'],
    [v3, '1.1.0', 'admitted'],
    [v1, null, 'admitted'],
    [simRelease('1.1.0-rc.1'), '1.1.0', 'version_floor'],
    [simRelease('1.10.0'), '1.9.0', 'admitted'],
  ])('is_compared_as_a_version', (candidate, floor, expected) => {
    const { manifest } = candidate;
    expect(
      codeOf(() => admit(release(candidate), assignmentFor(candidate, 1), record({ floor }))),
      `${manifest.version} with floor ${floor}`,
    ).toBe(expected);
  });

  it('rollback_goes_below_the_floor_only_to_what_a_slot_holds', () => {
    const rollback = assignmentFor(v1, 3, { rollback: true });
    const floor = '1.1.0';
    for (const [a, b, expected] of [
      [v1, v2, 'admitted'],
      [v2, v1, 'admitted'],
      [v2, v3, 'version_floor'],
      [v2, null, 'version_floor'],
      [null, null, 'version_floor'],
    ] as const) {
      const slots = {
        a: a === null ? null : refOf(release(a)),
        b: b === null ? null : refOf(release(b)),
      };
      expect(codeOf(() => admit(release(v1), rollback, record({ floor, slots })))).toBe(expected);
    }
  });

  it('rollback_to_what_was_confirmed_here_is_fetched_again_when_its_slot_was_lost', () => {
    const rollback = assignmentFor(v2, 3, { rollback: true });
    const slots = { a: refOf(release(v1)), b: null };
    const lost = record({ floor: '1.1.0', slots });
    expect(codeOf(() => admit(release(v2), rollback, lost))).toBe('admitted');
  });

  it.each([
    ['1.0.0', 'admitted'],
    ['1.0.1', 'version_floor'],
  ])('rollback_goes_down_to_the_signed_floor_%s_and_no_further', (floor, expected) => {
    const slots = { a: refOf(release(v3)), b: null };
    const held = record({ floor: '1.2.0', slots });
    const rollback = assignmentFor(v1, 3, { rollback: true, floor });
    expect(codeOf(() => admit(release(v1), rollback, held))).toBe(expected);
    const forward = assignmentFor(v1, 3, { floor });
    expect(codeOf(() => admit(release(v1), forward, held))).toBe('version_floor');
  });

  it('rollback_to_what_never_ran_here_is_refused_unless_no_slot_can_show_what_did', () => {
    const rollback = assignmentFor(v1, 3, { rollback: true });
    for (const [a, b, expected] of [
      [v2, null, 'version_floor'],
      [null, v2, 'version_floor'],
      [null, null, 'admitted'],
    ] as const) {
      const slots = { a: a && refOf(release(a)), b: b && refOf(release(b)) };
      expect(codeOf(() => admit(release(v1), rollback, record({ slots })))).toBe(expected);
    }
  });

  it('rollback_to_the_version_but_other_bytes_is_refused', () => {
    const slots = { a: refOf(release(v2)), b: { ...refOf(release(v1)), digest: 'e'.repeat(64) } };
    const rollback = assignmentFor(v1, 3, { rollback: true });
    expect(codeOf(() => admit(release(v1), rollback, record({ floor: null, slots })))).toBe(
      'version_floor',
    );
  });
});

describe('disk', () => {
  const needed = 1000 + limits.freeSpaceReserveBytes;
  it.each([
    [1000, needed, 'admitted'],
    [1000, needed - 1, 'contract_disk'],
    [0, 0, 'admitted'],
    [1, limits.freeSpaceReserveBytes, 'contract_disk'],
  ])('%s_missing_with_%s_free', (missing, free, expected) => {
    expect(codeOf(() => admitDisk(release(v1), missing, free))).toBe(expected);
  });
});
