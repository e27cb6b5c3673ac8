// A rollout on its way forward: what its devices reported is written down, waves are left behind
// when they are proven, and a person is asked when no evidence can come any more. Nothing here
// assigns a release: a device takes it when it asks (taking.ts).
import { counted } from '../../shared/base/counted.js';
import { limits } from '../../shared/base/limits.js';
import type { DeviceFacts, MemberRow, RolloutRow } from '../interfaces.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import { leaveArmB } from './arms.js';
import { go, observePreparing } from './blue-green.js';
import { afterShadow, observeShadow, report as reportShadow } from './shadow.js';
import { isPreparing, isShadow, provenWord } from './strategies.js';
import {
  assignmentBack,
  clip,
  listed,
  moved,
  only,
  type Plan,
  type Situation,
} from './situation.js';
import {
  isRevoked,
  isTalking,
  isUntaken,
  observe,
  REVOKED,
  secondsHeard,
  silenceOf,
  UNDECIDED,
} from './verdict.js';

/** What one member is judged by. */
type Look = Pick<Situation, 'rollout' | 'published' | 'now' | 'receptionSince'>;

/** What devices reported, written down. */
export function watch(situation: Situation): Plan | null {
  const { rollout, members, now } = situation;
  const changed: MemberRow[] = [];
  const untaken: MemberRow[] = [];
  for (const member of members) {
    const report = situation.facts.get(member.device);
    if (isUntaken(member, report, situation)) {
      untaken.push(member);
      const reasons = 'it did not answer its assignment, which was withdrawn';
      changed.push({ ...member, state: 'waiting', since: now, reasons });
      continue;
    }
    const seen = changeOf(member, report, situation);
    if (seen !== null) changed.push(seen);
  }
  if (changed.length === 0) return null;
  const over = isShadow(rollout) ? afterShadow(rollout, changed) : [];
  return {
    rollout,
    members: changed,
    // To nothing only what ran nothing: a device that may rest on its first release stops serving
    // when it is assigned nothing.
    assignments: [...untaken.map((member) => assignmentBack(rollout, member)), ...over],
    untaken: untaken.map(({ device }) => device),
  };
}

/** The member as its device's report changes it; null when nothing changes. */
export function changeOf(
  member: MemberRow,
  report: DeviceFacts | undefined,
  situation: Look,
): MemberRow | null {
  const { rollout, published, now } = situation;
  if (member.state === 'waiting') return changeOfWaiting(member, report, situation);
  if (!UNDECIDED.includes(member.state) && !MAY_CHANGE.has(member.state)) return null;
  const { answeredAt } = rollout;
  if (member.state === 'unproven' && answeredAt !== null && member.since <= answeredAt)
    return { ...member, state: 'excused', since: now, reasons: accepted(member) };
  if (member.assignmentId === null && !isRevoked(report)) return soaked(member, situation);
  const previous = member.previous ?? replaced(member, report, rollout.release, published);
  const seen = observerOf(rollout)({ ...member, previous }, report, rollout, situation);
  if (seen.state === member.state && previous === member.previous)
    return seen.state === 'confirmed' ? soaked(member, situation) : retold(member, seen.reasons);
  const isChanged = seen.state !== member.state;
  return {
    ...member,
    previous,
    state: seen.state,
    since: isChanged ? now : member.since,
    reasons: clip(seen.reasons),
    proven: PROVES.has(seen.state) || (member.proven && seen.state === 'confirmed'),
    failed: member.failed || seen.state === 'failed',
    silence: seen.state === 'silent' ? silenceOf(member, report) : member.silence,
  };
}

/** Decided for now; these are looked at again. */
const MAY_CHANGE: ReadonlySet<string> = new Set(['confirmed', 'ready']);
/** All that the strategy asks of a device at this point. */
const PROVES: ReadonlySet<string> = new Set(['ready', 'shadowed']);

function observerOf(rollout: RolloutRow): typeof observe {
  const own = isShadow(rollout) ? observeShadow : isPreparing(rollout) ? observePreparing : null;
  if (own === null) return observe;
  return (member, facts, row, moment) =>
    isRevoked(facts) ? REVOKED : own(member, facts, row, moment);
}

/** A person who resumed the rollout waits for it no longer; it holds no place any more. */
const accepted = ({ reasons }: MemberRow): string => clip(`accepted by a person: ${reasons}`);

/** The same state with other trouble; the age of a silence alone is no news. */
function retold(member: MemberRow, reasons: string): MemberRow | null {
  const isNews = member.state === 'taken' && clip(reasons) !== member.reasons;
  return isNews ? { ...member, reasons: clip(reasons) } : null;
}

function changeOfWaiting(
  member: MemberRow,
  report: DeviceFacts | undefined,
  { rollout, now, receptionSince }: Look,
): MemberRow | null {
  if (isRevoked(report))
    return {
      ...member,
      state: 'excused',
      since: now,
      reasons: 'revoked before it took the release',
    };
  if (member.wave > rollout.wave || !runsAlready(report, rollout, { now, receptionSince }))
    return null;
  return { ...member, state: 'confirmed', since: now, reasons: 'ran this release already' };
}

/** A confirmed device is proven when it stayed so for the soak of its wave. */
function soaked(member: MemberRow, situation: Look): MemberRow | null {
  if (member.proven || member.state !== 'confirmed') return null;
  const soakSeconds = situation.rollout.policy.waves[member.wave]?.soakSeconds ?? 0;
  const isDone =
    member.assignmentId === null || secondsHeard(situation, member.since) >= soakSeconds;
  return isDone ? { ...member, proven: true } : null;
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

/**
 * Its last report counts only while it is fresh, and while no other assignment is waiting for the
 * device.
 */
export function runsAlready(
  facts: DeviceFacts | undefined,
  rollout: RolloutRow,
  moment: { now: number; receptionSince: number },
): boolean {
  const { digest } = rollout.release;
  const update = facts?.update;
  if (!isTalking(facts, rollout, moment)) return false;
  if (facts?.standing && facts.standing.release?.digest !== digest) return false;
  return (
    update?.state === 'idle' &&
    update.running?.digest === digest &&
    (update.updatingTo === null || update.updatingTo.digest === digest)
  );
}

/** Where a wave stands: what it still waits for, and whether that can come without a person. */
export interface WaveProgress {
  readonly reasons: string[];
  /** Nothing that this wave waits for can come by itself. */
  readonly stuck: string | null;
  readonly done: boolean;
}

export function waveProgress(situation: Situation): WaveProgress {
  const { rollout } = situation;
  const { policy, wave, approved } = rollout;
  const current = policy.waves[wave];
  const name = current?.name ?? String(wave);
  const seen = lookAtWave(situation);
  const { own, proven, taking, soaking, waiting, unproven, silent } = seen;
  const needed = current?.minProven ?? Math.ceil(own / 2);
  const reasons = [
    `wave ${name}: ${proven} of ${counted(own, 'device')} ${provenWord(rollout)}, ${needed} needed`,
    ...countText('not decided yet', taking),
    ...countText(`confirmed, and soaking for ${current?.soakSeconds ?? 0} s`, soaking),
    ...countText('unproven', unproven),
    ...countText('silent', silent),
    ...notReached(seen, situation.now),
    ...(current?.approval === true && !approved
      ? [`wave ${name} needs an operator's approval before the next step`]
      : []),
  ];
  const rest = taking.count + soaking.count + seen.talking;
  const isProven =
    (proven >= needed && (current?.minProven !== undefined || rest === 0)) ||
    (rest === 0 && isOutOfReach(seen, situation));
  const isApproved = current?.approval !== true || approved;
  const canComeBack = waiting.count + unproven.count + silent.count;
  const stuck =
    !isProven && rest === 0 && canComeBack === 0
      ? `wave ${name} cannot be proven: ${proven} of ${counted(own, 'device')} are, ` +
        `${needed} are needed`
      : null;
  return { reasons, stuck, done: isProven && isApproved };
}

/** How many, and the first of them by name. */
class Group {
  count = 0;
  readonly first: MemberRow[] = [];

  add(member: MemberRow): void {
    this.count += 1;
    if (this.first.length < limits.reasonLinesMaxCount) this.first.push(member);
  }
}

/** The members of a wave and of those before it, seen once: there may be 100,000. */
interface WaveLook {
  /** Of this wave: all, those that are proven, and those that are neither proven nor waiting. */
  own: number;
  proven: number;
  halfway: number;
  /** Of this wave and those before it. */
  open: number;
  openProven: number;
  readonly taking: Group;
  readonly soaking: Group;
  readonly waiting: Group;
  readonly unproven: Group;
  readonly silent: Group;
  /** Waiting ones that are heard; when the one that was heard first was; whether some never was. */
  talking: number;
  oldest: number;
  isSomeUnheard: boolean;
}

function lookAtWave(situation: Situation): WaveLook {
  const { rollout, members, facts } = situation;
  const { wave } = rollout;
  const seen: WaveLook = {
    own: 0,
    proven: 0,
    halfway: 0,
    open: 0,
    openProven: 0,
    taking: new Group(),
    soaking: new Group(),
    waiting: new Group(),
    unproven: new Group(),
    silent: new Group(),
    talking: 0,
    oldest: Infinity,
    isSomeUnheard: false,
  };
  for (const member of members) {
    if (member.wave > wave) continue;
    const { state, proven } = member;
    seen.open += 1;
    if (proven) seen.openProven += 1;
    if (member.wave === wave) {
      seen.own += 1;
      if (proven) seen.proven += 1;
      else if (state !== 'waiting') seen.halfway += 1;
    }
    if (state === 'waiting') addWaiting(seen, member, facts.get(member.device), situation);
    else if (state === 'taken' || state === 'trial') seen.taking.add(member);
    else if (state === 'confirmed' && !proven) seen.soaking.add(member);
    else if (state === 'unproven') seen.unproven.add(member);
    else if (state === 'silent') seen.silent.add(member);
  }
  return seen;
}

function addWaiting(
  seen: WaveLook,
  member: MemberRow,
  report: DeviceFacts | undefined,
  situation: Situation,
): void {
  const heardAt = report?.lastSeenAt ?? null;
  seen.waiting.add(member);
  if (isTalking(report, situation.rollout, situation)) seen.talking += 1;
  if (heardAt === null) seen.isSomeUnheard = true;
  else seen.oldest = Math.min(seen.oldest, heardAt);
}

/**
 * Nobody of a drawn wave is heard until the deadline, and what was reached before proves the
 * release: half of all devices so far. So one device that is switched off for weeks, alone in its
 * wave, stops no rollout, and a night with one shop awake is still no success. A hand-picked group
 * is waited for.
 */
function isOutOfReach({ halfway, open, openProven }: WaveLook, situation: Situation): boolean {
  const { policy, wave, since } = situation.rollout;
  const { minProven, group } = policy.waves[wave] ?? {};
  return (
    minProven === undefined &&
    group === undefined &&
    halfway === 0 &&
    openProven >= Math.max(1, open / 2) &&
    secondsHeard(situation, since) > policy.deviceDeadlineSeconds
  );
}

function countText(what: string, { count, first }: Group): string[] {
  return count === 0 ? [] : [`${count} ${what}: ${listed(first, count)}`];
}

const DAY_S = 86_400;
const HOUR_S = 3_600;
function ageText(seconds: number): string {
  if (seconds >= 2 * DAY_S) return `${Math.floor(seconds / DAY_S)} d`;
  return seconds >= 2 * HOUR_S ? `${Math.floor(seconds / HOUR_S)} h` : `${seconds} s`;
}

/** "5 not reached (oldest seen 3 d ago): d1, d2": they take the release when they ask. */
function notReached({ waiting, isSomeUnheard, oldest }: WaveLook, now: number): string[] {
  const { count, first } = waiting;
  if (count === 0) return [];
  const heard = isSomeUnheard
    ? 'some never heard'
    : `oldest heard ${ageText(Math.floor((now - oldest) / 1000))} ago`;
  return [`${count} not reached (${heard}): ${listed(first, count)}`];
}

/** To the next wave when this one is proven and approved; a person when it cannot be. */
export function advance(situation: Situation): Plan | null {
  const progress = waveProgress(situation);
  if (progress.stuck !== null) return stuck(situation, progress.stuck);
  if (!progress.done) return null;
  const held = leaveArmB(situation);
  if (held !== undefined) return held;
  return leaveWave(situation, progress.reasons);
}

/** To the next wave; after the last one, to what the strategy has there. */
function leaveWave(situation: Situation, because: readonly string[]): Plan {
  const { rollout, members, now } = situation;
  if (!isLastWave(rollout))
    return only(moved(rollout, 'pass', because, now, { wave: rollout.wave + 1 }));
  if (isShadow(rollout)) return reportShadow(situation, because);
  if (isPreparing(rollout)) return go(situation, because);
  const late = members.filter(({ state }) => state === 'waiting' || UNDECIDED.includes(state));
  const reasons =
    late.length === 0
      ? because
      : [...because, `${late.length} more take it when they ask: ${listed(late)}`];
  return only(moved(rollout, 'done', reasons, now));
}

const isLastWave = ({ wave, policy }: RolloutRow): boolean => wave + 1 >= policy.waves.length;

/** A person said so: the wave may be left without the proof that cannot come. */
function stuck(situation: Situation, reason: string): Plan | null {
  const { rollout, members, now } = situation;
  if (rollout.approved) return leaveWave(situation, [reason, 'resumed past it']);
  const own = members.filter((member) => member.wave === rollout.wave && !member.proven);
  const why = own
    .slice(0, limits.reasonLinesMaxCount)
    .map((member) => `${member.name}: ${member.state}, ${member.reasons}`);
  const next =
    isLastWave(rollout) && isPreparing(rollout)
      ? 'resume gives the go to those that are ready'
      : 'resume goes on to the next wave without it';
  const choice = `${next}; abort rolls every touched device back`;
  return only(moved(rollout, 'ask', [reason, ...why, choice], now, { asked: true }));
}
