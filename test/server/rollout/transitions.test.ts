// Every pair of state and event of the rollout table, and what operators may command in each state.
import { expect, it } from 'vitest';
import { ImpossibleTransition } from '../../../shared/base/state-machine.js';
import { ROLLOUT_COMMANDS } from '../../../shared/protocol/states.js';
import { ROLLOUT_STATES } from '../../../shared/protocol/states.js';
import {
  ACTIVE_STATES,
  after,
  commandsOf,
  ROLLOUT,
  type RolloutEvent,
} from '../../../server/rollout/transitions.js';

const EVENTS: RolloutEvent[] = [
  'start',
  'drop',
  'pause',
  'resume',
  'abort',
  'undo',
  'pass',
  'go',
  'report',
  'done',
  'fail',
  'halt_needs_operator',
  'ask',
  'settled',
];
const EXPECTED = [
  'draft start rolling',
  'draft drop dropped',
  'rolling pass rolling',
  'rolling go rolling',
  'rolling done completed',
  'rolling report reported',
  'rolling fail reverting',
  'rolling halt_needs_operator held',
  'rolling ask held',
  'rolling pause held',
  'rolling abort reverting',
  'held resume rolling',
  'held abort reverting',
  'held fail reverting',
  'reverting settled reverted',
  'completed undo reverting',
];

it('every_listed_transition_leads_where_it_should_and_every_other_is_a_bug', () => {
  const found: string[] = [];
  for (const state of ROLLOUT_STATES) {
    for (const event of EVENTS) {
      try {
        found.push(`${state} ${event} ${after(state, event)}`);
      } catch (error) {
        expect(error).toBeInstanceOf(ImpossibleTransition);
      }
    }
  }
  expect(found.sort()).toEqual([...EXPECTED].sort());
});

it('a_server_that_starts_finds_every_rollout_where_it_was', () => {
  for (const state of ROLLOUT_STATES) expect(ROLLOUT[state].boot).toBe(state);
});

it('every_state_that_is_not_final_can_be_left', () => {
  for (const state of ROLLOUT_STATES) {
    const final = ['reverted', 'reported', 'dropped'].includes(state);
    expect(Object.keys(ROLLOUT[state].on).length === 0).toBe(final);
    if (ACTIVE_STATES.includes(state)) expect(final).toBe(false);
  }
});

it('commands_are_the_tables_operator_events_and_approve', () => {
  expect(Object.fromEntries(ROLLOUT_STATES.map((state) => [state, commandsOf(state)]))).toEqual({
    draft: ['start', 'drop'],
    rolling: ['approve', 'pause', 'abort'],
    held: ['resume', 'abort'],
    reverting: [],
    reverted: [],
    completed: ['undo'],
    reported: [],
    dropped: [],
  });
  const all = new Set(ROLLOUT_STATES.flatMap(commandsOf));
  expect([...all].sort()).toEqual([...ROLLOUT_COMMANDS].sort());
});

it('a_component_has_at_most_one_rollout_that_moves_waits_or_goes_back', () => {
  expect(ACTIVE_STATES).toEqual(['rolling', 'held', 'reverting']);
});
