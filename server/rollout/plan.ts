// What a rollout does next: a pure function of its row, its members, what the devices reported, and
// the time. It plans at most one step, which the conductor commits in one transaction before it
// asks again; the same facts always give the same plan. Every event that it uses is in
// transitions.ts. A device's report that it is healthy is never enough.
import { armAWins, compareArms } from './arms.js';
import { assignBack, settle, watchBack } from './backward.js';
import { advance, watch } from './forward.js';
import { alarm, ask, halt } from './halt.js';
import { pool, poolHold } from './pool.js';
import { endSlot } from './silence.js';
import type { Plan, Situation } from './situation.js';

/**
 * The next step; null when nothing is to be done until a report, the clock or an operator changes.
 */
export const plan = (situation: Situation): Plan | null =>
  watchStep(situation) ?? wholeStep(situation);

/**
 * What devices reported, written down. Each member for itself: of some of the members it is that
 * part of the step that concerns them.
 */
export function watchStep(situation: Situation): Plan | null {
  switch (situation.rollout.state) {
    case 'rolling':
    case 'held': // Evidence goes on to come in while a person is asked.
    case 'completed':
      return watch(situation);
    case 'reverting':
      return watchBack(situation);
    case 'draft':
    case 'reverted':
    case 'reported':
    case 'dropped':
      return null;
  }
}

/** What follows from all members together, after everything that devices reported is written. */
export function wholeStep(situation: Situation): Plan | null {
  switch (situation.rollout.state) {
    case 'rolling':
      return (
        halt(situation) ??
        endSlot(situation) ??
        compareArms(situation) ??
        pool(situation) ??
        poolHold(situation) ??
        ask(situation) ??
        armAWins(situation) ??
        advance(situation)
      );
    case 'held': {
      // A person's own pause is not overruled.
      const { asked, policy } = situation.rollout;
      return asked && policy.autoRevert ? halt(situation) : null;
    }
    case 'completed':
      return alarm(situation);
    case 'reverting':
      return assignBack(situation) ?? settle(situation);
    case 'draft':
    case 'reverted':
    case 'reported':
    case 'dropped':
      return null;
  }
}
