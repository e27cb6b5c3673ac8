// Strategy `ab`. Arm B takes the release through the waves and the window; arm A keeps what it
// runs, as the last wave, which begins only when a winner is accepted. A device's arm is a hash of
// rollout and device, so it never changes. Pure.
//
// The unit of the comparison is a device: its arm was drawn once, so hours of one device are no
// independent observations. Each device of arm B is observed for a fixed time from its
// confirmation, beside `partners` devices of arm A in the same hours; no device is used twice. Its
// observation is the share of its partners that did better, ties as a half. When the arms do not
// differ, its mean is 1/2 whatever the metric's distribution (Mann and Whitney 1947), so betting
// against a mean of at most, and at least, 1/2 (shared/statistics/betting.ts) tests it with any
// number of looks; in blocks of both arms as in Turner, Ly and Gruenwald, "Generic E-variables for
// exact sequential k-sample tests that allow for optional stopping" (2024). alpha is split over
// metrics and sides. Devices that fail are no observation: the halt test judges them.
import { limits } from '../../shared/base/limits.js';
import { sha256 } from '../../shared/base/bytes.js';
import {
  addBlock,
  blocksOf,
  emptyTally,
  logEvidenceAbove,
  logEvidenceBelow,
  meanInterval,
  meanOf,
} from '../../shared/statistics/betting.js';
import { limitPercent, percent } from '../../shared/statistics/share-text.js';
import { EVIDENCE_MOST } from '../../shared/protocol/operator-api.js';
import type {
  ArmMetric,
  ArmsPolicy,
  ArmsView,
  RolloutPolicy,
} from '../../shared/protocol/operator-api.js';
import type {
  ArmsState,
  EligibleDevice,
  MeasuredBlock,
  MemberRow,
  MetricTally,
  RolloutRow,
} from '../interfaces.js';
import { moved, only, type Plan, type Situation } from './situation.js';
import { UNDECIDED } from './verdict.js';
import { placeInWaves, type Place } from './waves.js';

/** A device of arm B whose time is over, and the partners of arm A for the same hours. */
export interface DueBlock {
  readonly device: string;
  readonly partners: readonly string[];
  readonly from: number;
  readonly to: number;
}

const EMPTY: ArmsState = { done: [], metrics: {}, told: false };
/** Hexadecimal digits of the hash: a number that a double holds exactly. */
const hashChars = 12;

function isArmB(rollout: string, device: string, { sharePercent }: ArmsPolicy): boolean {
  const hash = parseInt(sha256(`${rollout}\n${device}\narm`).slice(0, hashChars), 16);
  return hash / 16 ** hashChars < sharePercent / 100;
}

/** The policy with arm A as its last wave; the same policy for other strategies. */
export function withArms(policy: RolloutPolicy): RolloutPolicy {
  const last = policy.waves.at(-1);
  if (policy.ab === undefined || last === undefined) return policy;
  const { soakSeconds } = last;
  const rest = { name: 'arm A', percent: 100, soakSeconds, approval: false };
  return { ...policy, waves: [...policy.waves, rest] };
}

/** As placeInWaves, where the waves but the last draw from arm B, and the last one is arm A. */
export function placeInArms(
  rollout: string,
  devices: readonly EligibleDevice[],
  { waves, ab }: RolloutPolicy,
): Place[] {
  if (ab === undefined) return placeInWaves(rollout, devices, waves);
  const armB = devices.filter(({ id }) => isArmB(rollout, id, ab));
  const armA = devices.filter(({ id }) => !isArmB(rollout, id, ab));
  const first = placeInWaves(rollout, armB, waves.slice(0, -1));
  const rest = placeInWaves(rollout, armA, waves.slice(-1));
  return [
    ...first,
    ...rest.map(({ device, rank }) => ({
      device,
      wave: waves.length - 1,
      rank: first.length + rank,
    })),
  ];
}

/** Complaints about arms without devices. */
export function emptyArms({ ab, waves }: RolloutPolicy, places: readonly Place[]): string[] {
  if (ab === undefined || places.length === 0) return [];
  const last = waves.length - 1;
  const found: string[] = [];
  if (!places.some(({ wave }) => wave < last)) found.push('arm B has no device');
  if (!places.some(({ wave }) => wave === last)) found.push('arm A has no device');
  return found.map((text) => `${text}: select more devices, or another sharePercent`);
}

interface Arms {
  readonly a: readonly MemberRow[];
  readonly b: readonly MemberRow[];
  /** Devices of arm A that are compared with one of arm B. */
  readonly partners: number;
  /** Comparisons that there can be. */
  readonly planned: number;
}

function armsOf({ policy }: RolloutRow, members: readonly MemberRow[]): Arms {
  const last = policy.waves.length - 1;
  const a = members.filter(({ wave }) => wave === last);
  const b = members.filter(({ wave }) => wave < last);
  return { a, b, ...sizesOf(a.length, b.length) };
}

function sizesOf(a: number, b: number): { partners: number; planned: number } {
  const partners = Math.min(
    limits.armsPartnersMaxCount,
    Math.max(1, Math.floor(a / Math.max(1, b))),
  );
  const planned = Math.min(b, Math.floor(a / partners), limits.armsBlocksMaxCount);
  return { partners, planned };
}

/** Those whose time of observation has passed and that are not counted yet, a few at a time. */
export function dueBlocks(
  rollout: RolloutRow,
  members: readonly MemberRow[],
  now: number,
): DueBlock[] {
  const { ab } = rollout.policy;
  if (ab === undefined || rollout.state !== 'rolling') return [];
  const { a, b, partners, planned } = armsOf(rollout, members);
  const { done } = rollout.arms ?? EMPTY;
  const counted = new Set(done);
  const lengthMs = ab.observeSeconds * 1000;
  return b
    .filter(
      ({ device, state, assignmentId, since }) =>
        state === 'confirmed' &&
        assignmentId !== null &&
        since + lengthMs <= now &&
        !counted.has(device),
    )
    .sort((one, other) => one.since - other.since)
    .slice(0, Math.min(limits.armsBlocksPerStepMaxCount, planned - done.length))
    .map(({ device, since }, index) => {
      const first = (done.length + index) * partners;
      return {
        device,
        partners: a.slice(first, first + partners).map((member) => member.device),
        from: since,
        to: since + lengthMs,
      };
    });
}

/** Counts the comparisons that were measured. */
export function compareArms({ rollout, blocks }: Situation): Plan | null {
  const { ab } = rollout.policy;
  if (ab === undefined || blocks.length === 0) return null;
  const arms = blocks.reduce((state, block) => counted(state, block, ab), rollout.arms ?? EMPTY);
  return only({ ...rollout, arms });
}

export function counted(state: ArmsState, block: MeasuredBlock, ab: ArmsPolicy): ArmsState {
  const metrics: Record<string, MetricTally> = { ...state.metrics };
  for (const metric of ab.metrics) {
    const b = block.b[metric];
    const a = block.a.map((one) => one[metric]).filter((value) => value !== null);
    if (b === null || a.length === 0) continue;
    const before = metrics[metric] ?? { blocks: emptyTally(), sumA: 0, sumB: 0 };
    const better = a.map((value) => (value < b ? 1 : value === b ? 0.5 : 0));
    metrics[metric] = {
      blocks: addBlock(before.blocks, meanOfAll(better)),
      sumA: before.sumA + meanOfAll(a),
      sumB: before.sumB + b,
    };
  }
  return { ...state, done: [...state.done, block.device], metrics };
}

const meanOfAll = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

const NAMES: Record<ArmMetric, string> = {
  failed: 'share of failed requests',
  refused: 'share of refused inputs',
  p50: 'median latency in ms',
  p99: '99 % latency in ms',
  conditions: 'conditions of the release',
  security: 'security events',
};

/** The e-value at which one side of one metric decides. */
const needed = ({ falseWinnerPermille, metrics }: ArmsPolicy): number =>
  (2 * metrics.length * 1000) / falseWinnerPermille;

interface Reading {
  /** A: B is worse in some metric; B: it is better in some, and shown worse in none. */
  readonly winner: 'A' | 'B' | null;
  readonly reasons: readonly string[];
}

/** The e-values of a metric are logarithms. */
interface Side {
  readonly metric: ArmMetric;
  readonly tally: MetricTally;
  readonly worse: number;
  readonly better: number;
}

const sidesOf = ({ metrics }: ArmsState, ab: ArmsPolicy): Side[] =>
  ab.metrics.map((metric) => {
    const tally = metrics[metric] ?? { blocks: emptyTally(), sumA: 0, sumB: 0 };
    const worse = logEvidenceAbove(tally.blocks, 1 / 2);
    const better = logEvidenceBelow(tally.blocks, 1 / 2);
    return { metric, tally, worse, better };
  });

function winnerOf(sides: readonly Side[], ab: ArmsPolicy): Reading['winner'] {
  const goal = Math.log(needed(ab));
  if (sides.some(({ worse }) => worse >= goal)) return 'A';
  return sides.some(({ better }) => better >= goal) ? 'B' : null;
}

export function readArms(state: ArmsState, ab: ArmsPolicy): Reading {
  const sides = sidesOf(state, ab);
  const chance = limitPercent(ab.falseWinnerPermille / 1000);
  return {
    winner: winnerOf(sides, ab),
    reasons: [
      ...sides.map(metricText),
      `an e-value of ${needed(ab).toFixed(0)} decides: arms that do not differ get a winner with ` +
        `chance ${chance} at most`,
    ],
  };
}

function metricText({ metric, tally: { blocks, sumA, sumB }, worse, better }: Side): string {
  const count = blocksOf(blocks);
  const name = NAMES[metric];
  if (count === 0) return `${name}: no device of arm B was compared yet`;
  const mean = (sum: number): string => Number((sum / count).toPrecision(3)).toString();
  return (
    `${name}: ${mean(sumB)} in arm B, ${mean(sumA)} in arm A (means); higher in B on ` +
    `${percent(meanOf(blocks))} of ${count} comparisons; e-value of B worse ` +
    `${Math.exp(worse).toFixed(1)}, of B better ${Math.exp(better).toFixed(1)}`
  );
}

/** What is known of the comparison; none for other strategies. */
export function armsText({ rollout, members }: Situation): string[] {
  const { ab } = rollout.policy;
  if (ab === undefined) return [];
  const { done } = rollout.arms ?? EMPTY;
  const { a, b, partners, planned } = armsOf(rollout, members);
  return [
    `arm B: ${b.length} devices, arm A: ${a.length}; ${done.length} of at most ${planned} ` +
      `devices of arm B were compared, each with ${partners} of arm A over ${ab.observeSeconds} s`,
    ...readArms(rollout.arms ?? EMPTY, ab).reasons,
  ];
}

/** The same as numbers; null for other strategies. */
export function armsView({ rollout, members }: Situation): ArmsView | null {
  const { ab } = rollout.policy;
  if (ab === undefined) return null;
  const state = rollout.arms ?? EMPTY;
  const { a, b, partners, planned } = armsOf(rollout, members);
  const sides = sidesOf(state, ab);
  const alpha = ab.falseWinnerPermille / 1000 / ab.metrics.length;
  return {
    devicesA: a.length,
    devicesB: b.length,
    compared: state.done.length,
    planned,
    partners,
    needed: needed(ab),
    winner: winnerOf(sides, ab),
    metrics: sides.map(({ metric, tally: { blocks, sumA, sumB }, worse, better }) => {
      const comparisons = blocksOf(blocks);
      const isNone = comparisons === 0;
      return {
        metric,
        name: NAMES[metric],
        comparisons,
        meanA: isNone ? null : sumA / comparisons,
        meanB: isNone ? null : sumB / comparisons,
        higherInB: isNone ? null : { share: meanOf(blocks), ...meanInterval(blocks, alpha) },
        worse: evalue(worse),
        better: evalue(better),
      };
    }),
  };
}

/** JSON has no infinity. */
const evalue = (log: number): number => Math.min(EVIDENCE_MOST, Math.exp(log));

/** Nothing of this device can be compared any more. */
const isOver = ({ state, assignmentId }: MemberRow): boolean =>
  state === 'confirmed' ? assignmentId === null : state !== 'waiting' && !UNDECIDED.includes(state);

/** Arm B is worse: no need to wait for the end of its waves. Asked once before that end. */
export function armAWins(situation: Situation): Plan | null {
  const { rollout, now } = situation;
  const { policy, arms } = rollout;
  if (policy.ab === undefined || arms === null || arms.told || isPastArmB(rollout)) return null;
  if (readArms(arms, policy.ab).winner !== 'A') return null;
  const reasons = ['arm A is better and is proposed as the winner', ...armsText(situation)];
  const change = { arms: { ...arms, told: true } };
  if (policy.ab.winner === 'auto') return only(moved(rollout, 'fail', reasons, now, change));
  return only(moved(rollout, 'ask', [...reasons, CHOICE], now, { asked: true, ...change }));
}

const CHOICE = 'abort rolls arm B back; resume goes on in spite of this';
const isPastArmB = ({ policy, wave }: RolloutRow): boolean => wave === policy.waves.length - 1;

/** The next step gives the release to arm A; a person may approve it before there is a winner. */
export const isEndOfArmB = ({ policy, wave }: RolloutRow): boolean =>
  policy.ab !== undefined && wave === policy.waves.length - 2;

/**
 * May the rollout go on from the waves of arm B to arm A? Undefined: yes, or it is no such step;
 * null: not yet.
 */
export function leaveArmB(situation: Situation): Plan | null | undefined {
  const { rollout, members, now } = situation;
  const { policy, approved } = rollout;
  const { ab } = policy;
  if (ab === undefined || !isEndOfArmB(rollout) || approved) return undefined;
  const state = rollout.arms ?? EMPTY;
  const { winner } = readArms(state, ab);
  if (winner === 'B' && ab.winner === 'auto') return undefined;
  const { b, planned } = armsOf(rollout, members);
  const counted = new Set(state.done);
  const isEnd =
    state.done.length >= planned || b.every((one) => counted.has(one.device) || isOver(one));
  if (winner === null && !isEnd) return null;
  const proposal =
    winner === null
      ? 'no difference between the arms was found'
      : `arm ${winner} is better and is proposed as the winner`;
  const choice = 'resume gives arm B to all devices; abort rolls it back';
  return only(
    moved(rollout, 'ask', [proposal, ...armsText(situation), choice], now, { asked: true }),
  );
}

/** What an operator should know before the arms exist. */
export function armsWarnings(policy: RolloutPolicy, places: readonly Place[]): string[] {
  const { ab, waves } = policy;
  if (ab === undefined) return [];
  const b = places.filter(({ wave }) => wave < waves.length - 1).length;
  const { partners, planned } = sizesOf(places.length - b, b);
  const least = leastBlocks(ab);
  return [
    `arm B is ${b} of ${places.length} devices; ` +
      'arm A keeps what it runs until a winner is accepted',
    `at most ${planned} comparisons of one device with ${partners} of arm A; ` +
      (planned < least
        ? `too few: even a difference on every device takes ${least}`
        : `a difference on every device takes ${least}`),
  ];
}

function leastBlocks(ab: ArmsPolicy): number {
  const goal = Math.log(needed(ab));
  let count = 1;
  while (logEvidenceAbove({ counts: [[1000, count]], first: [] }, 1 / 2) < goal) count++;
  return count;
}
