// A rollout as an operator sees it: why it is in its state, what it waits for, and which commands
// it takes now. Pure.
import type { Member, RolloutCommand, RolloutDetail } from '../../shared/protocol/operator-api.js';
import type { HistoryRow, MemberRow, RolloutRow } from '../interfaces.js';
import { haltTest, waveVerdict } from './verdict.js';
import { clip, waitsFor, type Situation } from './plan.js';
import { commandsOf } from './transitions.js';
import { inOrder } from './waves.js';

const time = (ms: number): string => new Date(ms).toISOString();

export function viewOf(situation: Situation, history: readonly HistoryRow[]): RolloutDetail {
  const { rollout } = situation;
  const members = inOrder(situation.members);
  return {
    id: rollout.id,
    release: rollout.release,
    state: rollout.state,
    wave: rollout.wave,
    reasons: [...new Set([...rollout.reasons, ...live(situation, members)])].map(clip),
    next: options(rollout, members),
    policy: rollout.policy,
    members: members.map(memberView),
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

function memberView({ device, name, group, wave, state, since, reasons }: MemberRow): Member {
  return { device, name, group, wave, state, since: time(since), reasons };
}

/** The present evidence; only states that can still move have it. */
function live(situation: Situation, members: readonly MemberRow[]): string[] {
  const { rollout } = situation;
  if (rollout.state === 'rolling' || rollout.state === 'held') {
    return [
      haltTest(members, rollout.policy).reasons,
      waveVerdict(members, rollout).reasons,
      ...waitsFor(rollout, situation),
    ];
  }
  if (rollout.state === 'reverting') {
    const left = members.filter((member) => member.state === 'reverting').length;
    return [`${left} devices are rolling back`];
  }
  return [];
}

function options(rollout: RolloutRow, members: readonly MemberRow[]): string[] {
  const meaning: Record<RolloutCommand, string> = {
    start: 'begin with the first wave',
    drop: 'discard the draft',
    pause: 'assign no more devices until resumed',
    abort: 'roll every touched device back',
    approve: 'let it go beyond this wave once it is healthy and has soaked',
    resume: resumeMeaning(rollout, members),
  };
  const needsApproval = rollout.policy.waves[rollout.wave]?.approval === true && !rollout.approved;
  return commandsOf(rollout.state)
    .filter((command) => command !== 'approve' || needsApproval)
    .map((command) => `linnet rollout ${command} ${rollout.id}  # ${meaning[command]}`);
}

function resumeMeaning(rollout: RolloutRow, members: readonly MemberRow[]): string {
  if (haltTest(members, rollout.policy).halt) {
    if (rollout.policy.autoRevert)
      return 'the halt test has fired: every touched device would be rolled back at once';
    return 'continue in spite of these failures';
  }
  return waveVerdict(members, rollout).verdict === 'inconclusive'
    ? 'accept the failures of this wave and continue'
    : 'continue';
}
