// What a command makes of a rollout's row: what it keeps, resets and accepts.
import { describe, expect, test } from 'vitest';
import { acceptDifference, commanded } from '../../../server/rollout/operator-commands.js';
import { commandsOf } from '../../../server/rollout/transitions.js';
import type { RolloutRow } from '../../../server/interfaces.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { ROLLOUT_COMMANDS } from '../../../shared/protocol/states.js';
import { ROLLOUT_STATES } from '../../../shared/protocol/states.js';
import { policyOf } from '../../sim/fleet.js';
import { member, rollout, situation, T0 } from '../../support/rollout-rows.js';

const NOW = T0 + 1000;
type Command = (typeof ROLLOUT_COMMANDS)[number];
const after = (change: Partial<RolloutRow>, command: Command, why?: string): RolloutRow =>
  commanded({ rollout: rollout(change), now: NOW }, command, 'ann', why);

/** What a conflict says; any other error is thrown on. */
function conflictOf(work: () => unknown): string {
  try {
    work();
    return 'no conflict';
  } catch (error) {
    if (!isFault(error, 'conflict')) throw error;
    return error.detail;
  }
}

test('every_state_takes_its_commands_and_no_other', () => {
  for (const state of ROLLOUT_STATES)
    for (const command of ROLLOUT_COMMANDS) {
      const takes = commandsOf(state).includes(command);
      if (takes) expect(() => after({ state }, command)).not.toThrow();
      else
        expect(() => after({ state }, command)).toThrow(
          `rollout ro-1 is ${state}, which does not take ${command}; `,
        );
    }
});

test('a_refusal_is_a_conflict_and_names_what_is_possible', () => {
  const refusal = (change: Partial<RolloutRow>, command: Command): string =>
    conflictOf(() => after(change, command));
  expect(refusal({ state: 'draft' }, 'pause')).toMatch(/; possible: start, drop$/);
  expect(refusal({ state: 'dropped' }, 'start')).toMatch(/; it takes no commands any more$/);
  expect(refusal({ approved: true }, 'approve')).toMatch(/is approved already$/);
});

test('each_says_who_did_it_and_why', () => {
  for (const [state, command, word] of [
    ['draft', 'start', 'started'],
    ['draft', 'drop', 'dropped'],
    ['rolling', 'abort', 'aborted'],
    ['rolling', 'pause', 'paused'],
    ['rolling', 'approve', 'approved'],
    ['held', 'resume', 'resumed'],
    ['completed', 'undo', 'undone'],
  ] as const) {
    expect(after({ state }, command).reasons).toEqual([`${word} by ann`]);
    expect(after({ state }, command, '').reasons).toEqual([`${word} by ann`]);
    expect(after({ state }, command, 'the boss').reasons).toEqual([`${word} by ann: the boss`]);
  }
});

describe('a pause and its resume', () => {
  test('keep_the_approval_and_accept_nothing', () => {
    for (const approved of [true, false]) {
      const paused = after({ state: 'rolling', approved }, 'pause');
      expect(paused).toMatchObject({ state: 'held', approved, asked: false, since: NOW });
      const resumed = after(paused, 'resume');
      expect(resumed).toMatchObject({ state: 'rolling', approved, answeredAt: null });
    }
  });
});

describe('a question and its answer', () => {
  test('accepts_what_was_asked_now_and_goes_beyond_it', () => {
    const asked = { state: 'held', asked: true, reasons: ['2 failed', 'd0: crashed'] } as const;
    expect(after(asked, 'resume', 'known')).toMatchObject({
      state: 'rolling',
      asked: false,
      approved: true,
      answeredAt: NOW,
      reasons: ['resumed by ann: known', 'accepted: 2 failed; d0: crashed'],
    });
  });
});

describe('a difference that a person accepts', () => {
  const trial = { ...policyOf().trial, differenceCapPermille: 500 };
  const before = rollout({ state: 'held', asked: true, policy: policyOf({ trial }) });
  const differs = member(1, { state: 'differs', since: T0, reasons: 'differ by 15 %' });
  const members = [member(0, { state: 'trial' }), differs, member(2, { state: 'failed' })];
  interface Over {
    readonly row?: RolloutRow;
    readonly members?: typeof members;
    readonly command?: Command;
  }
  const accept = (permille: number, over: Over = {}) => {
    const row = over.row ?? before;
    const resumed = after(row, 'resume', 'known');
    return acceptDifference(
      { ...situation({ members: over.members ?? members }), rollout: row, now: NOW },
      over.command ?? 'resume',
      resumed,
      permille,
    );
  };

  test('is_the_limit_from_now_on_and_those_that_went_back_for_it_wait_again', () => {
    const { rollout: row, members: changed, assignments } = accept(154);
    expect(row.policy).toEqual({
      ...before.policy,
      trial: { ...trial, acceptedDifferencePermille: 154 },
    });
    expect(row).toMatchObject({ state: 'rolling', approved: true, asked: false });
    expect(row.reasons).toEqual(['resumed by ann: known', 'accepted: ', 'accepted: 15.4 %']);
    expect(changed).toEqual([
      {
        ...differs,
        state: 'waiting',
        since: NOW,
        reasons:
          'takes it again, with a mean difference of up to 15.4 % accepted; before: differ by 15 %',
      },
    ]);
    expect(assignments).toEqual([]);
  });

  test('is_written_within_the_limit_of_a_reason', () => {
    const long = { ...differs, reasons: 'x'.repeat(limits.detailMaxChars) };
    expect(accept(154, { members: [long] }).members[0]?.reasons).toHaveLength(
      limits.detailMaxChars,
    );
  });

  test('may_be_the_cap_and_not_above_it', () => {
    expect(accept(500).rollout.policy.trial.acceptedDifferencePermille).toBe(500);
    expect(conflictOf(() => accept(510))).toMatch(/^rollout ro-1: 51 % is above its cap of 50 %,/);
  });

  test.each<[string, Over]>([
    ['with_another_command', { command: 'abort' }],
    ['after_a_pause', { row: { ...before, asked: false } }],
    ['without_a_device_that_differs', { members: members.filter((one) => one !== differs) }],
  ])('is_refused_%s', (_, over) => {
    expect(conflictOf(() => accept(154, over))).toBe(
      'rollout ro-1: a difference is accepted with resume, when devices went back for it',
    );
  });
});

test('an_approval_moves_nothing_and_is_given_once', () => {
  const row = rollout({ wave: 1, answeredAt: T0 });
  expect(after(row, 'approve')).toEqual({ ...row, approved: true, reasons: ['approved by ann'] });
  expect(() => after({ wave: 1, approved: true }, 'approve')).toThrow(
    'rollout ro-1: wave 2 is approved already',
  );
});

test('undo_goes_back_through_the_window_and_abort_at_once', () => {
  expect(after({ state: 'completed' }, 'undo')).toMatchObject({ state: 'reverting', undo: true });
  expect(after({ state: 'held' }, 'abort')).toMatchObject({ state: 'reverting', undo: false });
});
