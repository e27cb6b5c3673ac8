// The tests on a release, from its takes in their order: the exact halt test, and what holds a
// rollout for a person: failures at the hold level, answers that differ more than declared, the
// same trouble on many devices, a window full of silent devices, and the silence test. Pure. The
// arithmetic is in shared/statistics; the words for a person are here. A person who resumed past
// something is asked again only when more of it came.
import { counted } from '../../shared/base/counted.js';
import { limits } from '../../shared/base/limits.js';
import {
  chanceOfHalting,
  failuresToHalt,
  holdBoundary,
  type HaltBoundary,
} from '../../shared/statistics/halt-boundary.js';
import {
  haltTest,
  holdTest,
  strataPlan,
  type HaltReading,
  type StrataPlan,
} from '../../shared/statistics/halt-test.js';
import { limitPercent, percent } from '../../shared/statistics/share-text.js';
import { silenceReading } from '../../shared/statistics/silence-test.js';
import type { RolloutPolicy } from '../../shared/protocol/operator-api.js';
import type { MemberRow, Take } from '../interfaces.js';
import { waveProgress } from './forward.js';
import { clip, listed, moved, only, type Plan, type Situation } from './situation.js';
import { candidates } from './taking.js';
import { troubleText } from './verdict.js';

/** Share of hold alarms for a release that is twice as good as it must be (decisions.md R15). */
const HOLD_ALPHA = 0.05;
/** So many takes with the same trouble before the start of the release, and this share of all. */
const SAME_TROUBLE_SHARE = 0.2;

export interface Boundaries {
  readonly halt: StrataPlan;
  readonly hold: HaltBoundary;
}

const cache = new Map<string, Boundaries>();

/** The boundaries of a rollout whose planned takes are these, by kind of hardware. */
export function boundariesOf(
  kinds: ReadonlyMap<string, number>,
  policy: RolloutPolicy,
): Boundaries {
  const acceptable = policy.acceptableFailurePermille / 1000;
  const alarming = policy.alarmingFailurePermille / 1000;
  const alpha = policy.falseAlarmPermille / 1000;
  const key = JSON.stringify([[...kinds].sort(), acceptable, alarming, alpha]);
  const known = cache.get(key);
  if (known !== undefined) return known;
  const takes = [...kinds.values()].reduce((sum, count) => sum + count, 0);
  const made = {
    halt: strataPlan({ kinds, acceptable, alarming, alpha }),
    hold: holdBoundary({ takes, acceptable, alarming, alpha: HOLD_ALPHA }),
  };
  if (cache.size >= limits.haltBoundariesMaxCount) cache.clear();
  cache.set(key, made);
  return made;
}

/** Planned takes by kind: the members, and devices that took the release in an earlier rollout. */
export function plannedKinds(
  members: readonly MemberRow[],
  takes: readonly Take[],
): Map<string, number> {
  const kinds = new Map<string, number>();
  const count = (hardware: string): void =>
    void kinds.set(hardware, (kinds.get(hardware) ?? 0) + 1);
  const earlier = new Map(takes.map(({ device, hardware }) => [device, hardware]));
  for (const { device, hardware } of members) {
    count(hardware);
    if (earlier.size > 0) earlier.delete(device);
  }
  for (const hardware of earlier.values()) count(hardware);
  return kinds;
}

export interface HaltReport {
  readonly halt: boolean;
  readonly hold: boolean;
  /** The arithmetic, for an operator. */
  readonly reasons: string;
}

const reports = new WeakMap<Situation, HaltReport>();

/** Where the release stands after the takes so far. One situation is asked about several times. */
export function haltReport(situation: Situation): HaltReport {
  const known = reports.get(situation);
  if (known !== undefined) return known;
  const report = reportOf(situation);
  reports.set(situation, report);
  return report;
}

function reportOf({ rollout, members, takes }: Situation): HaltReport {
  const { policy } = rollout;
  const { halt, hold } = boundariesOf(plannedKinds(members, takes), policy);
  const observed = takes.map(({ hardware, failed }) => ({ kind: hardware, failed }));
  const result = haltTest(observed, halt);
  const held = holdTest(observed, hold);
  const reasons = haltText(result.decisive, policy);
  return {
    halt: result.halt,
    hold: held.halt,
    reasons: held.halt && !result.halt ? `${reasons}; ${holdText(held)}` : reasons,
  };
}

function haltText(
  { kind, boundary, takes, failures, prefix, halt }: HaltReading,
  policy: RolloutPolicy,
): string {
  const who = `${kind === null ? '' : `${kind} `}devices that took it`;
  const acceptable = limitPercent(policy.acceptableFailurePermille / 1000);
  const chance = percent(chanceOfHalting(boundary, boundary.acceptable));
  const needed = failuresToHalt(boundary, Math.max(1, takes));
  const decided =
    halt && prefix.takes < takes
      ? `${prefix.failures} of the first ${prefix.takes}, where ${prefix.failuresToHalt} halt`
      : `${needed === 1 ? '1 failure halts' : `${needed} failures halt`} so far`;
  return (
    `${failures} of ${takes} ${who} failed; acceptable is ${acceptable}; ${decided} ` +
    `(exact: of ${boundary.takes} planned, an acceptable release is halted with chance ` +
    `${chance}): ${halt ? 'halted' : 'not halted'}`
  );
}

const holdText = ({ prefix }: HaltReading): string =>
  `${prefix.failures} of the first ${prefix.takes} failed: ` +
  'twice the failures that a good release would show, so a person decides';

/** Worse than acceptable: back, or to a person where the policy says so. */
export function halt(situation: Situation): Plan | null {
  const { rollout, members, now } = situation;
  const report = haltReport(situation);
  if (!report.halt) return null;
  const reasons = [report.reasons, ...failureText(members)];
  if (rollout.policy.autoRevert) return only(moved(rollout, 'fail', reasons, now));
  if (newFailures(situation).length === 0) return null;
  const choice =
    'autoRevert is off, so no device is rolled back automatically: ' +
    'abort rolls every touched device back, resume continues in spite of these failures';
  return only(moved(rollout, 'halt_needs_operator', [...reasons, choice], now, { asked: true }));
}

/** Bad news after the end: nothing is rolled back by itself, but no further device takes it. */
export function alarm(situation: Situation): Plan | null {
  const { rollout, members } = situation;
  const report = haltReport(situation);
  if (rollout.asked || !report.halt || newFailures(situation).length === 0) return null;
  const choice = 'no further device takes it; undo rolls it back on those that have it';
  const reasons = [...rollout.reasons, report.reasons, ...failureText(members), choice];
  return only({ ...rollout, asked: true, reasons: reasons.map(clip) });
}

/** Failures since a person resumed the rollout last. */
const newFailures = ({ rollout, members }: Situation): MemberRow[] =>
  members.filter((member) => member.failed && isNews(member, rollout.answeredAt));

const isNews = (member: MemberRow, answeredAt: number | null): boolean =>
  answeredAt === null || member.since > answeredAt;

/** A person is asked: the first reason that holds. */
export function ask(situation: Situation): Plan | null {
  const { rollout, now } = situation;
  const reasons =
    failuresHold(situation) ??
    differenceHold(situation) ??
    troubleHold(situation) ??
    stalledHold(situation) ??
    silenceTestHold(situation) ??
    deadlineHold(situation);
  if (reasons === null) return null;
  const choice = 'resume accepts this and continues; abort rolls every touched device back';
  return only(moved(rollout, 'ask', [...reasons, choice], now, { asked: true }));
}

function failuresHold(situation: Situation): string[] | null {
  const report = haltReport(situation);
  if (!report.hold || newFailures(situation).length === 0) return null;
  return [report.reasons, ...failureText(situation.members)];
}

/** The field differs from the evaluation: harder inputs, or a wrong model. A person must say. */
function differenceHold({ rollout, members }: Situation): string[] | null {
  const differing = members.filter(
    (member) => member.state === 'differs' && isNews(member, rollout.answeredAt),
  );
  if (differing.length === 0) return null;
  return [
    `${counted(differing.length, 'device answers', 'devices answer')} more differently than the ` +
      'release declares, and went back',
    ...differing
      .slice(0, limits.reasonLinesMaxCount)
      .map((member) => `${member.name}: ${member.reasons}`),
    'resume --accept-difference PERCENT accepts that much, and these devices take it again',
  ];
}

/** The same trouble before the first start on many devices is a reason to look, not a failure. */
function troubleHold({ rollout, members, facts, takes }: Situation): string[] | null {
  const byCode = new Map<string, MemberRow[]>();
  for (const member of members) {
    const code = facts.get(member.device)?.update?.trouble?.code;
    const isEarly = member.state === 'taken' || member.state === 'excused';
    if (!isEarly || code === undefined || !isNews(member, rollout.answeredAt)) continue;
    byCode.set(code, [...(byCode.get(code) ?? []), member]);
  }
  for (const [code, same] of byCode) {
    if (
      same.length < limits.sameTroubleMinCount ||
      same.length <= SAME_TROUBLE_SHARE * takes.length
    )
      continue;
    const first = same[0];
    const detail = first === undefined ? '' : (troubleText(facts.get(first.device)) ?? '');
    return [
      `${same.length} of ${counted(takes.length, 'device')} that took it cannot begin, ` +
        `with ${code}: ` +
        listed(same),
      detail,
    ];
  }
  return null;
}

/** Nothing more comes by itself: all that have it undecided are silent or unproven. */
function stalledHold(situation: Situation): string[] | null {
  const { rollout, members } = situation;
  const stalled = members.filter(({ state }) => state === 'silent' || state === 'unproven');
  const isMoving = members.some(
    ({ state, proven }) =>
      state === 'taken' || state === 'trial' || (state === 'confirmed' && !proven),
  );
  if (isMoving || !stalled.some((member) => isNews(member, rollout.answeredAt))) return null;
  if (candidates(situation).length > 0 || waveProgress(situation).done) return null;
  const silent = stalled.filter(({ state }) => state === 'silent');
  const unproven = stalled.filter(({ state }) => state === 'unproven');
  const sites = [...new Set(silent.map(({ site }) => site))]
    .slice(0, limits.reasonLinesMaxCount)
    .join(', ');
  return [
    ...(silent.length === 0
      ? []
      : [
          `all that have it undecided are silent: ${listed(silent)} (site ${sites}); ` +
            'silence is neither failure nor health',
        ]),
    ...(unproven.length === 0
      ? []
      : [`${unproven.length} keep it without enough evidence: ${listed(unproven)}`]),
  ];
}

function silenceTestHold({ rollout }: Situation): string[] | null {
  if (rollout.silence === null) return null;
  const { state, eventAt } = rollout.silence;
  const { logE, hold } = silenceReading(state);
  const isAnswered = rollout.answeredAt !== null && (eventAt ?? 0) <= rollout.answeredAt;
  if (!hold || isAnswered) return null;
  return [
    'devices that took it go silent more often than the others of their sites: ' +
      `${state.touchedEvents} against ${state.controlEvents} in ${state.slots} slots; ` +
      `e-value ${Math.exp(logE).toFixed(1)} >= 20`,
  ];
}

/** A person who resumes it after its deadline goes on without one. */
function deadlineHold({ rollout, members, now }: Situation): string[] | null {
  const { deadline } = rollout.policy;
  if (deadline === undefined) return null;
  const at = Date.parse(deadline);
  if (now < at || (rollout.answeredAt ?? 0) >= at) return null;
  const proven = members.filter((member) => member.proven).length;
  return [
    `not completed by its deadline ${deadline}: ${proven} of ` +
      `${counted(members.length, 'device')} proven`,
  ];
}

/** Why devices failed, a line each. */
function failureText(members: readonly MemberRow[]): string[] {
  const failed = members.filter((member) => member.failed);
  const lines = failed
    .slice(0, limits.reasonLinesMaxCount)
    .map((member) => `${member.name}: ${member.reasons}`);
  return failed.length > lines.length
    ? [...lines, `and ${failed.length - lines.length} more failed`]
    : lines;
}
