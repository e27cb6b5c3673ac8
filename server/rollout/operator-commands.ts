// What an operator's command makes of a rollout. Pure. Commands are events of transitions.ts,
// except `approve`, which only approves advancing past the present wave and accepts no failure.
// `resume` of a rollout that was held because of failures accepts the failures seen so far and
// counts as the approval of the wave; a later failure in the same wave holds it again. It never
// overrules the halt test where policy.autoRevert is on.
import { Fault } from '../../shared/base/fault-codes.js';
import type { RolloutCommand } from '../../shared/protocol/operator-api.js';
import type { RolloutRow } from '../interfaces.js';
import { failuresToAnswer, haltTest, isHollow, waveVerdict } from './verdict.js';
import { moved, type Situation } from './plan.js';
import { commandsOf } from './transitions.js';
import { inOrder } from './waves.js';

/** The row after the command. Faults: conflict when the state does not take it. */
export function commanded(
  situation: Situation,
  command: RolloutCommand,
  actor: string,
  why?: string,
): RolloutRow {
  const { rollout, members, now } = situation;
  const possible = commandsOf(rollout.state);
  if (!possible.includes(command)) {
    const can =
      possible.length === 0 ? 'it takes no commands any more' : `possible: ${possible.join(', ')}`;
    throw new Fault(
      'conflict',
      `rollout ${rollout.id} is ${rollout.state}, which does not take ${command}; ${can}`,
    );
  }
  const because = why === undefined || why === '' ? '' : `: ${why}`;
  const { healthySince, approved } = rollout;
  switch (command) {
    case 'start':
      return moved(rollout, 'start', [`started by ${actor}${because}`], now);
    case 'drop':
      return moved(rollout, 'drop', [`dropped by ${actor}${because}`], now);
    case 'abort':
      return moved(rollout, 'abort', [`aborted by ${actor}${because}`], now);
    case 'pause':
      return moved(rollout, 'pause', [`paused by ${actor}${because}`], now, {
        healthySince,
        approved,
      });
    case 'approve':
      return approve(rollout, [`approved by ${actor}${because}`]);
    case 'resume': {
      const answered = needsAnswer({ rollout, members });
      const reasons = [
        `resumed by ${actor}${because}`,
        ...(answered ? ['the failures so far in this wave are accepted'] : []),
      ];
      const answeredAt = answered ? now : rollout.answeredAt;
      return moved(rollout, 'resume', reasons, now, {
        healthySince,
        approved: answered || approved,
        answeredAt,
      });
    }
  }
}

function approve(rollout: RolloutRow, reasons: string[]): RolloutRow {
  if (rollout.approved)
    throw new Fault(
      'conflict',
      `rollout ${rollout.id}: wave ${rollout.wave + 1} is approved already`,
    );
  return { ...rollout, approved: true, reasons };
}

/**
 * There are failures (or a wave without devices) for an operator to accept, and nothing else can
 * move the rollout on.
 */
function needsAnswer({ rollout, members }: Pick<Situation, 'rollout' | 'members'>): boolean {
  if (failuresToAnswer(members, rollout).length === 0 && !isHollow(members, rollout)) return false;
  return (
    waveVerdict(members, rollout).verdict === 'inconclusive' ||
    haltTest(inOrder(members), rollout.policy).halt
  );
}
