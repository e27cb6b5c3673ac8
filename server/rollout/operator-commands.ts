// What an operator's command makes of a rollout. Pure. Commands are events of transitions.ts,
// except `approve`, which only approves going beyond the present wave and accepts no failure.
// `resume` of a rollout that asked a person accepts what held it; anything new holds it again. It
// never overrules the halt test where policy.autoRevert is on, and never resets it.
import { Fault } from '../../shared/base/fault-codes.js';
import type { RolloutCommand } from '../../shared/protocol/operator-api.js';
import type { RolloutRow } from '../interfaces.js';
import { limitPercent } from '../../shared/statistics/share-text.js';
import { clip, moved, type Plan, type Situation } from './situation.js';
import { commandsOf } from './transitions.js';

/** The row after the command. Faults: conflict when the state does not take it. */
export function commanded(
  { rollout, now }: Pick<Situation, 'rollout' | 'now'>,
  command: RolloutCommand,
  actor: string,
  why?: string,
): RolloutRow {
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
  switch (command) {
    case 'start':
      return moved(rollout, 'start', [`started by ${actor}${because}`], now);
    case 'drop':
      return moved(rollout, 'drop', [`dropped by ${actor}${because}`], now);
    case 'abort':
      return moved(rollout, 'abort', [`aborted by ${actor}${because}`], now);
    case 'undo':
      return moved(rollout, 'undo', [`undone by ${actor}${because}`], now, { undo: true });
    case 'pause':
      return moved(rollout, 'pause', [`paused by ${actor}${because}`], now, {
        approved: rollout.approved,
      });
    case 'approve':
      return approve(rollout, `approved by ${actor}${because}`);
    case 'resume':
      return resume(rollout, `resumed by ${actor}${because}`, now);
  }
}

/** Going on after a question accepts what was asked; after a pause there is nothing to accept. */
function resume(rollout: RolloutRow, reason: string, now: number): RolloutRow {
  if (!rollout.asked)
    return moved(rollout, 'resume', [reason], now, { approved: rollout.approved });
  const accepted = `accepted: ${rollout.reasons.join('; ')}`;
  return moved(rollout, 'resume', [reason, accepted], now, {
    asked: false,
    approved: true,
    answeredAt: now,
  });
}

function approve(rollout: RolloutRow, reason: string): RolloutRow {
  if (rollout.approved)
    throw new Fault(
      'conflict',
      `rollout ${rollout.id}: wave ${rollout.wave + 1} is approved already`,
    );
  return { ...rollout, approved: true, reasons: [reason] };
}

/**
 * What a resume with an accepted difference changes besides the row: the limit of this rollout's
 * trials, in every assignment that devices have of it, and the devices that went back for their
 * difference, which take the release again. Fault conflict: there are none, or it is above the cap.
 */
export function acceptDifference(
  { rollout: before, members, now }: Situation,
  command: RolloutCommand,
  resumed: RolloutRow,
  permille: number,
): Plan {
  const { trial } = before.policy;
  const accepted = limitPercent(permille / 1000);
  const differing = members.filter(({ state }) => state === 'differs');
  if (command !== 'resume' || !before.asked || differing.length === 0)
    throw new Fault(
      'conflict',
      `rollout ${before.id}: a difference is accepted with resume, when devices went back for it`,
    );
  if (permille > trial.differenceCapPermille)
    throw new Fault(
      'conflict',
      `rollout ${before.id}: ${accepted} is above its cap of ` +
        `${limitPercent(trial.differenceCapPermille / 1000)}, beyond which a release has failed`,
    );
  const policy = {
    ...before.policy,
    trial: { ...trial, acceptedDifferencePermille: permille },
  };
  const again = `takes it again, with a mean difference of up to ${accepted} accepted`;
  return {
    rollout: { ...resumed, policy, reasons: [...resumed.reasons, `accepted: ${accepted}`] },
    members: differing.map((member) => ({
      ...member,
      state: 'waiting' as const,
      since: now,
      reasons: clip(`${again}; before: ${member.reasons}`),
    })),
    assignments: [],
  };
}
