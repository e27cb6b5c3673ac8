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
export function plan(situation: Situation): Plan | null {
  switch (situation.rollout.state) {
    case 'rolling':
      return (
        watch(situation) ??
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
      // Evidence goes on to come in while a person is asked; a person's own pause is not overruled.
      const { asked, policy } = situation.rollout;
      return watch(situation) ?? (asked && policy.autoRevert ? halt(situation) : null);
    }
    case 'completed':
      return watch(situation) ?? alarm(situation);
    case 'reverting':
      return assignBack(situation) ?? watchBack(situation) ?? settle(situation);
    case 'draft':
    case 'reverted':
    case 'reported':
    case 'dropped':
      return null;
  }
}
