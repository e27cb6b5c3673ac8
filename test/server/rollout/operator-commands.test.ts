// What a command makes of a rollout's row: what it keeps, resets and accepts.
import { describe, expect, test } from 'vitest';
import { commanded } from '../../../server/rollout/operator-commands.js';
import { commandsOf } from '../../../server/rollout/transitions.js';
import type { RolloutRow } from '../../../server/interfaces.js';
import { ROLLOUT_COMMANDS } from '../../../shared/protocol/states.js';
import { ROLLOUT_STATES } from '../../../shared/protocol/states.js';
import { rollout, T0 } from '../../support/rollout-rows.js';

const NOW = T0 + 1000;
type Command = (typeof ROLLOUT_COMMANDS)[number];
const after = (change: Partial<RolloutRow>, command: Command, why?: string): RolloutRow =>
  commanded({ rollout: rollout(change), now: NOW }, command, 'ann', why);

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
