// What a rollout does next: a pure function of its row, its members, what the devices reported, and
// the time. It plans at most one step, which the conductor commits in one transaction before it
// asks again; the same facts always give the same plan. Every event that it uses is in
// transitions.ts, every judgement is in verdict.ts. A device's report that it is healthy is never
// enough. It is longer than 400 lines because the forward and the backward half of a rollout share
// their rules and are read together.
import type { DeviceFacts, AssignmentChange, MemberRow, RolloutRow } from '../interfaces.js';
import type { MemberState } from '../../shared/protocol/states.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import {
  failuresToAnswer,
  haltTest,
  observe,
  observeLeft,
  secondsHeard,
  assignmentSeconds,
  silentSeconds,
  waveVerdict,
  type Moment,
} from './verdict.js';
import { after, type RolloutEvent } from './transitions.js';
import { inOrder } from './waves.js';

export interface Situation extends Moment {
  readonly rollout: RolloutRow;
  readonly members: readonly MemberRow[];
  readonly facts: ReadonlyMap<string, DeviceFacts>;
  /**
   * Digests of published releases among those that devices report: a device can be rolled back only
   * to one of these.
   */
  readonly published: ReadonlySet<string>;
}

export interface Plan {
  readonly rollout: RolloutRow;
  /**
   * Only those that change; the store fills in `assignmentId` and `assignedAt` of those with an
   * assignment.
   */
  readonly members: readonly MemberRow[];
  readonly assignments: readonly AssignmentChange[];
}

const REASONS_MAX_CHARS = 2000;
export const clip = (reasons: string): string =>
  reasons.length > REASONS_MAX_CHARS ? `${reasons.slice(0, REASONS_MAX_CHARS - 1)}…` : reasons;

/**
 * The next step; null when nothing is to be done until a report, the clock or an operator changes.
 */
export function plan(situation: Situation): Plan | null {
  const now: Situation = { ...situation, members: inOrder(situation.members) };
  switch (now.rollout.state) {
    case 'rolling':
      return watch(now) ?? halt(now) ?? assign(now) ?? advance(now);
    case 'held':
      return watch(now);
    case 'reverting':
      return assignBack(now) ?? watchBack(now) ?? settle(now);
    case 'draft':
    case 'completed':
    case 'reverted':
    case 'dropped':
      return null;
  }
}

/**
 * The rollout after `event`. A new state or wave starts its own clock, without health or approval.
 */
export function moved(
  rollout: RolloutRow,
  event: RolloutEvent,
  reasons: readonly string[],
  now: number,
  change: Partial<RolloutRow> = {},
): RolloutRow {
  const state = after(rollout.state, event);
  return {
    ...rollout,
    state,
    since: now,
    healthySince: null,
    approved: false,
    reasons: reasons.map(clip),
    ...change,
  };
}

const only = (rollout: RolloutRow): Plan => ({ rollout, members: [], assignments: [] });

const UNDER_WAY: readonly MemberState[] = ['waiting', 'assigned', 'trial', 'confirmed'];
const REVOKED = 'revoked: it takes no further part, and counts neither for nor against the release';
const isRevoked = (facts: DeviceFacts | undefined): boolean => facts?.status === 'revoked';

/** Records what devices reported, and since when the wave is healthy. */
function watch(situation: Situation): Plan | null {
  const { rollout, members, facts, published, now } = situation;
  const changed = new Map<string, MemberRow>();
  for (const member of members) {
    if (UNDER_WAY.includes(member.state) && isRevoked(facts.get(member.device))) {
      changed.set(member.device, { ...member, state: 'lost', since: now, reasons: REVOKED });
      continue;
    }
    const taking = member.state === 'assigned' || member.state === 'trial';
    const soaking =
      member.state === 'confirmed' && member.wave <= rollout.wave && member.assignmentId !== null;
    if (!taking && !soaking) continue;
    const report = facts.get(member.device);
    const left = member.state === 'confirmed' && member.wave < rollout.wave;
    const previous = member.previous ?? replaced(member, report, rollout.release, published);
    const known = { ...member, previous };
    const seen = left
      ? observeLeft(known, report, rollout)
      : observe(known, report, rollout, situation);
    if (seen.state === member.state && previous === member.previous) continue;
    const since = seen.state === member.state ? member.since : now;
    const failed = seen.state === 'failed';
    changed.set(member.device, {
      ...member,
      previous,
      state: seen.state,
      since,
      reasons: clip(seen.reasons),
      failed,
    });
  }
  const healthy =
    waveVerdict(
      members.map((member) => changed.get(member.device) ?? member),
      rollout,
    ).verdict === 'ok';
  const healthySince = healthy ? (rollout.healthySince ?? now) : null;
  if (changed.size === 0 && healthySince === rollout.healthySince) return null;
  return { rollout: { ...rollout, healthySince }, members: [...changed.values()], assignments: [] };
}

/** What the device reports that its trial replaced, if nothing was known at its assignment. */
function replaced(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  release: ReleaseRef,
  published: ReadonlySet<string>,
): ReleaseRef | null {
  const trial = facts?.trial?.assignmentId === member.assignmentId ? facts.trial : null;
  const previous = trial?.previous ?? null;
  return previous !== null && previous.digest !== release.digest && published.has(previous.digest)
    ? previous
    : null;
}

function halt({ rollout, members, now }: Situation): Plan | null {
  const health = haltTest(members, rollout.policy);
  if (!health.halt) return null;
  const reasons = [health.reasons, ...failureText(members)];
  if (rollout.policy.autoRevert) return only(moved(rollout, 'fail', reasons, now));
  // Without autoRevert an operator decides: failures that an operator has resumed past do not halt
  // the rollout again.
  if (failuresToAnswer(members, rollout).length === 0) return null;
  const choice =
    'autoRevert is off, so no device is rolled back automatically: ' +
    'abort rolls every touched device back, ' +
    'resume continues in spite of these failures';
  return only(moved(rollout, 'halt_needs_operator', [...reasons, choice], now));
}

const FAILURES_LISTED_MAX = 5;
/** Why devices failed, a line each. */
function failureText(members: readonly MemberRow[]): string[] {
  const failed = members.filter((member) => member.failed);
  const lines = failed
    .slice(0, FAILURES_LISTED_MAX)
    .map((member) => `${member.name}: ${member.reasons}`);
  return failed.length > lines.length
    ? [...lines, `and ${failed.length - lines.length} more failed`]
    : lines;
}

/**
 * Assigns the release to the wave's waiting devices, except those that certainly run it already.
 */
function assign(situation: Situation): Plan | null {
  const { rollout, members, facts, now } = situation;
  const waiting = members.filter(
    (member) => member.state === 'waiting' && member.wave <= rollout.wave,
  );
  if (waiting.length === 0) return null;
  const assignments: AssignmentChange[] = [];
  const changed = waiting.map((member): MemberRow => {
    const report = facts.get(member.device);
    if (runsAlready(report, rollout, now)) {
      return { ...member, state: 'confirmed', since: now, reasons: 'ran this release already' };
    }
    const previous = replacedBy(rollout.release, report, situation.published);
    assignments.push(assignmentOf(rollout, member, rollout.release, false));
    const reasons =
      previous === null
        ? `assigned ${rollout.release.version}; no previous release is known`
        : `assigned ${rollout.release.version} in place of ${previous.version}`;
    const mayRun = [report?.update?.running, report?.standing?.release].some(
      (ref) => ref?.digest === rollout.release.digest,
    );
    return { ...member, state: 'assigned', since: now, previous, mayRun, reasons };
  });
  return { rollout, members: changed, assignments };
}

/**
 * What the device would be rolled back to: the release of a rollback that is still under way,
 * before what it reports to run meanwhile.
 */
function replacedBy(
  release: ReleaseRef,
  facts: DeviceFacts | undefined,
  published: ReadonlySet<string>,
): ReleaseRef | null {
  const rollingBackTo = facts?.standing?.rollback === true ? facts.standing.release : null;
  const candidates = [rollingBackTo, facts?.update?.running, facts?.update?.previous];
  return (
    candidates.find((ref) => ref && ref.digest !== release.digest && published.has(ref.digest)) ??
    null
  );
}

/**
 * Its last report counts only while it is fresh, and while no other assignment is waiting for the
 * device.
 */
function runsAlready(
  facts: DeviceFacts | undefined,
  { release, policy }: RolloutRow,
  now: number,
): boolean {
  const update = facts?.update;
  const seenAt = facts?.lastSeenAt ?? null;
  if (seenAt === null || now - seenAt > policy.silentAfterSeconds * 1000) return false;
  if (facts?.standing && facts.standing.release?.digest !== release.digest) return false;
  return (
    update?.state === 'idle' &&
    update.running?.digest === release.digest &&
    (update.updatingTo === null || update.updatingTo.digest === release.digest)
  );
}

function assignmentOf(
  rollout: RolloutRow,
  member: MemberRow,
  release: ReleaseRef | null,
  rollback: boolean,
): AssignmentChange {
  const {
    id,
    policy,
    release: { component },
  } = rollout;
  return { device: member.device, component, release, rollback, rollout: id, trial: policy.trial };
}

/**
 * To the next wave when this one is healthy, has soaked and is approved; to an operator when this
 * wave can give no more evidence.
 */
function advance(situation: Situation): Plan | null {
  const { rollout, members, now } = situation;
  const { verdict, reasons } = waveVerdict(members, rollout);
  if (verdict === 'open') return null;
  if (verdict === 'inconclusive') {
    const choice =
      'resume accepts these failures and continues with the next wave ' +
      '(it counts as the approval); ' +
      'abort rolls every touched device back';
    const lines = [
      haltTest(members, rollout.policy).reasons,
      reasons,
      ...failureText(members),
      choice,
    ];
    return only(moved(rollout, 'inconclusive', lines, now));
  }
  if (waitsFor(rollout, situation).length > 0) return null;
  const wave = rollout.policy.waves[rollout.wave];
  const lines = [
    reasons,
    ...(wave !== undefined && wave.soakSeconds > 0
      ? [`stayed healthy for ${wave.soakSeconds} s`]
      : []),
  ];
  if (rollout.wave + 1 >= rollout.policy.waves.length)
    return only(moved(rollout, 'done', lines, now));
  return only(moved(rollout, 'pass', lines, now, { wave: rollout.wave + 1, answeredAt: now }));
}

/** What a healthy wave still waits for: its soak, an operator's approval. */
export function waitsFor(rollout: RolloutRow, moment: Moment): string[] {
  const wave = rollout.policy.waves[rollout.wave];
  if (wave === undefined || rollout.healthySince === null) return [];
  const soaked = secondsHeard(moment, rollout.healthySince);
  return [
    ...(soaked < wave.soakSeconds
      ? [`wave ${wave.name} is healthy and soaks: ${soaked} of ${wave.soakSeconds} s`]
      : []),
    ...(wave.approval && !rollout.approved
      ? [`wave ${wave.name} needs an operator's approval before the next step`]
      : []),
  ];
}

const FORWARD: readonly MemberState[] = ['assigned', 'trial', 'confirmed', 'failed'];

/**
 * Assigns to every device of this rollout what it ran before; also to one that has rolled back by
 * itself, so that its assignment agrees with it.
 */
function assignBack({ rollout, members, facts, now }: Situation): Plan | null {
  const reachable = (member: MemberRow): boolean => !isRevoked(facts.get(member.device));
  const touched = members.filter(
    (member) => member.assignmentId !== null && FORWARD.includes(member.state) && reachable(member),
  );
  if (touched.length === 0) return null;
  return {
    rollout,
    members: touched.map((member) => ({
      ...member,
      state: 'reverting' as const,
      since: now,
      reasons: withCause(
        member,
        member.previous === null
          ? 'assignment withdrawn'
          : `assigned ${member.previous.version} again`,
      ),
    })),
    assignments: touched.map((member) =>
      assignmentOf(rollout, member, member.previous, member.previous !== null),
    ),
  };
}

const BECAUSE = '; failed before: ';
/** The news of a member, followed by why it failed, if it did: that reason is kept for good. */
function withCause(member: MemberRow, news: string): string {
  const at = member.reasons.indexOf(BECAUSE);
  const cause = at < 0 ? member.reasons : member.reasons.slice(at + BECAUSE.length);
  return clip(member.failed ? news + BECAUSE + cause : news);
}

function watchBack(situation: Situation): Plan | null {
  const { rollout, members, facts, now } = situation;
  const changed = members.flatMap((member): MemberRow[] => {
    const report = facts.get(member.device);
    const cutOff =
      member.assignmentId !== null && FORWARD.includes(member.state) && isRevoked(report);
    if (cutOff)
      return [{ ...member, state: 'lost', since: now, reasons: withCause(member, LOST_REVOKED) }];
    if (member.state !== 'reverting' && member.state !== 'lost') return [];
    if (isBack(member, report, rollout.release)) {
      return [
        {
          ...member,
          state: 'reverted',
          since: now,
          reasons: withCause(member, backText(member, report)),
        },
      ];
    }
    const lost = member.state === 'reverting' ? lostText(member, report, rollout, situation) : null;
    return lost === null
      ? []
      : [{ ...member, state: 'lost', since: now, reasons: withCause(member, lost) }];
  });
  return changed.length === 0 ? null : { rollout, members: changed, assignments: [] };
}

/**
 * Back means: idle on the previous release, and the device has reported the id of the rollback
 * assignment, so that an earlier assignment cannot overtake it. A withdrawn assignment has no id to
 * report: there, the device must have been heard since, idle and no longer on the release.
 */
function isBack(member: MemberRow, facts: DeviceFacts | undefined, release: ReleaseRef): boolean {
  const update = facts?.update;
  if (update === null || update === undefined) return false;
  if (member.previous !== null) {
    return (
      update.state === 'idle' &&
      update.running?.digest === member.previous.digest &&
      update.assignmentId === member.assignmentId
    );
  }
  const heardSince = (facts?.lastSeenAt ?? 0) > (member.assignedAt ?? Number.POSITIVE_INFINITY);
  return (
    heardSince &&
    (update.state === 'idle' || update.state === 'stranded') &&
    update.running?.digest !== release.digest
  );
}

function backText(member: MemberRow, facts: DeviceFacts | undefined): string {
  if (member.previous !== null) return `runs ${member.previous.version} again`;
  return `assignment withdrawn; runs ${facts?.update?.running?.version ?? 'nothing, as before'}`;
}

const LOST_REVOKED = 'lost: revoked, so no assignment reaches it';

function lostText(
  member: MemberRow,
  facts: DeviceFacts | undefined,
  { policy }: RolloutRow,
  moment: Moment,
): string | null {
  if (isRevoked(facts)) return LOST_REVOKED;
  const { silentAfterSeconds, deviceDeadlineSeconds } = policy;
  const stays = 'its rollback stays assigned, and it rolls back when it returns';
  const silence = silentSeconds(member, facts, moment);
  if (silence > silentAfterSeconds) return `lost: silent for ${silence} s; ${stays}`;
  const age = assignmentSeconds(member, moment);
  return age > deviceDeadlineSeconds
    ? `lost: not back within ${deviceDeadlineSeconds} s; ${stays}`
    : null;
}

function settle({ rollout, members, facts, now }: Situation): Plan | null {
  if (members.some((member) => member.state === 'reverting')) return null;
  const lost = members.filter((member) => member.state === 'lost' && member.assignmentId !== null);
  const revoked = lost.filter((member) => isRevoked(facts.get(member.device)));
  const awaited = lost.filter((member) => !revoked.includes(member));
  const back = members.filter((member) => member.state === 'reverted').length;
  const count = `${back} of ${back + lost.length} touched devices are back on what they ran before`;
  const named = (some: readonly MemberRow[], what: string): string[] =>
    some.length === 0 ? [] : [`${what}: ${some.map((member) => member.name).join(', ')}`];
  const reasons = [
    count,
    ...named(awaited, 'lost, with their rollback still assigned'),
    ...named(revoked, 'lost, because they were revoked'),
  ].join('; ');
  // The reasons for the rollback stay readable in the final state.
  return only(moved(rollout, 'settled', [...rollout.reasons, reasons], now));
}
