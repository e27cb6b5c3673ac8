// A rollout as an operator sees it: why it is in its state, what it waits for, and which commands
// it takes now. Pure.
import { counted } from '../../shared/base/counted.js';
import type { RolloutCommand, RolloutDetail } from '../../shared/protocol/operator-api.js';
import type { HistoryRow, MemberRow } from '../interfaces.js';
import { waveProgress } from './forward.js';
import { armsText, armsView, isEndOfArmB } from './arms.js';
import { evidenceOf } from './evidence.js';
import { haltReport } from './halt.js';
import { shadowText, shadowView } from './shadow.js';
import { lastTake, paused } from './pace.js';
import { clip, type Situation } from './situation.js';
import { commandsOf } from './transitions.js';
import { countsOf, windowOf } from './window.js';

const time = (ms: number): string => new Date(ms).toISOString();

export function viewOf(situation: Situation, history: readonly HistoryRow[]): RolloutDetail {
  const { rollout, members } = situation;
  const commands = allowed(situation);
  return {
    id: rollout.id,
    release: rollout.release,
    state: rollout.state,
    wave: rollout.wave,
    reasons: [...new Set([...rollout.reasons, ...live(situation)])].map(clip),
    next: commands.map(
      ({ command, meaning }) => `linnet rollout ${command} ${rollout.id}  # ${meaning}`,
    ),
    commands,
    evidence: evidenceOf(situation),
    arms: armsView(situation),
    shadow: shadowView(situation),
    goAt: rollout.goAt === null ? null : time(rollout.goAt),
    policy: rollout.policy,
    selector: rollout.selector,
    counts: memberCounts(members),
    createdAt: time(rollout.createdAt),
    createdBy: rollout.createdBy,
    history: history.map(({ at, state, wave, reasons }) => ({
      at: time(at),
      state,
      wave,
      reasons: [...reasons],
    })),
  };
}

/** By wave, then by state in the order in which its first device stands. */
function memberCounts(members: readonly MemberRow[]): RolloutDetail['counts'] {
  const counts = new Map<string, RolloutDetail['counts'][number]>();
  for (const { wave, state } of members) {
    const key = `${wave} ${state}`;
    const devices = (counts.get(key)?.devices ?? 0) + 1;
    counts.set(key, { wave, state, devices });
  }
  return [...counts.values()];
}

/** The present evidence; only states that can still move have it. */
function live(situation: Situation): string[] {
  const { rollout, members } = situation;
  switch (rollout.state) {
    case 'rolling':
    case 'held': {
      const { open, size } = windowOf(rollout, countsOf(members), null);
      return [
        haltReport(situation).reasons,
        ...waveProgress(situation).reasons,
        `window: ${counted(open, 'device has', 'devices have')} it undecided, at most ${size} may`,
        ...pauseText(situation),
        ...armsText(situation),
        ...shadowText(situation),
      ];
    }
    case 'completed':
      return [haltReport(situation).reasons];
    case 'reverting': {
      const left = members.filter((member) => member.state === 'reverting').length;
      return [`${counted(left, 'device is', 'devices are')} rolling back`];
    }
    case 'draft':
    case 'reverted':
    case 'reported':
    case 'dropped':
      return [];
  }
}

function pauseText({ rollout: { policy }, members, now }: Situation): string[] {
  if (!members.some(({ state }) => state === 'waiting')) return [];
  const pause = paused(policy, lastTake(members, policy.takesPerHour), now);
  return pause === null ? [] : [pause.reason];
}

function allowed(situation: Situation): RolloutDetail['commands'] {
  const { rollout } = situation;
  const meaning: Record<RolloutCommand, string> = {
    start: 'begin with the first wave',
    drop: 'discard the draft',
    pause: 'let no further device take it until it is resumed',
    abort: 'roll every touched device back',
    undo: 'roll every device back to what it ran before, through the window',
    approve: 'allow the step beyond this wave once it is proven',
    resume: resumeMeaning(situation),
  };
  const needsApproval =
    (rollout.policy.waves[rollout.wave]?.approval === true || isEndOfArmB(rollout)) &&
    !rollout.approved;
  return commandsOf(rollout.state)
    .filter((command) => command !== 'approve' || needsApproval)
    .map((command) => ({ command, meaning: meaning[command] }));
}

function resumeMeaning(situation: Situation): string {
  const { rollout } = situation;
  if (haltReport(situation).halt)
    return rollout.policy.autoRevert
      ? 'the halt test has fired: every touched device would be rolled back at once'
      : 'continue in spite of these failures';
  return rollout.asked ? 'accept what held it and continue' : 'continue';
}
