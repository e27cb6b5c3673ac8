// The states of a rollout and their transitions, as one table. The plan (plan.ts) chooses events
// from evidence, operators send theirs through the service (service.ts); nothing else moves a
// rollout. `boot` is the state after a server start: always the same state, because every step is
// one transaction. How long a wave soaks and what counts as health is decided in plan.ts and
// verdict.ts.
import { next, type Row, type Table } from '../../shared/base/state-machine.js';
import type { RolloutCommand } from '../../shared/protocol/operator-api.js';
import type { RolloutState } from '../../shared/protocol/states.js';

export type RolloutEvent =
  | 'start' | 'drop' | 'pause' | 'resume' | 'abort' | 'undo' // an operator's
  | 'pass' | 'done' // the wave is healthy, soaked and approved: to the next wave; it was the last
  | 'go' // every wave is ready: the devices swap (blue-green)
  | 'report' // the comparison is over (shadow): its devices are assigned what they serve
  | 'fail' | 'halt_needs_operator' // the halt test fired: with and without policy.autoRevert;
    // `fail` also when arm A won and policy.ab.winner is auto
  | 'ask' // a person must decide: failures at the hold level, silence, differing answers, no proof,
    // the deadline, the winner of the arms
  | 'settled'; // every touched device is back or named lost

export const ROLLOUT = {
  draft: { on: { start: 'rolling', drop: 'dropped' }, boot: 'draft' },
  rolling: {
    on: {
      pass: 'rolling', go: 'rolling', done: 'completed', report: 'reported', fail: 'reverting',
      halt_needs_operator: 'held', ask: 'held', pause: 'held', abort: 'reverting',
    },
    boot: 'rolling',
  },
  held: { on: { resume: 'rolling', abort: 'reverting', fail: 'reverting' }, boot: 'held' },
  reverting: { on: { settled: 'reverted' }, boot: 'reverting' },
  reverted: { on: {}, boot: 'reverted' },
  completed: { on: { undo: 'reverting' }, boot: 'completed' },
  reported: { on: {}, boot: 'reported' },
  dropped: { on: {}, boot: 'dropped' },
} as const satisfies Table<RolloutState, RolloutEvent>;

const TABLE: Table<RolloutState, RolloutEvent> = ROLLOUT;

/** The state after `event`; an event that the table does not list throws ImpossibleTransition. */
export function after(state: RolloutState, event: RolloutEvent): RolloutState {
  return next(TABLE, state, event);
}

const OPERATOR_EVENTS = [
  'start', 'pause', 'resume', 'abort', 'undo', 'drop',
] as const satisfies readonly RolloutEvent[];

/**
 * The commands that this state takes. `approve` is no transition: it sets a flag of the present
 * wave.
 */
export function commandsOf(state: RolloutState): RolloutCommand[] {
  const row: Row<RolloutState, RolloutEvent> = TABLE[state];
  const commands: RolloutCommand[] = OPERATOR_EVENTS.filter((event) => row.on[event] !== undefined);
  return state === 'rolling' ? ['approve', ...commands] : commands;
}

/** States in which the conductor works on a rollout, and of which a component has at most one. */
export const ACTIVE_STATES: readonly RolloutState[] = ['rolling', 'held', 'reverting'];
