// What the devices of a wave show together (decisions.md R8), where each has too little traffic to
// decide alone: one betting process over rounds (shared/statistics/betting.ts), not a product of
// devices. Round r is the r-th block of each device: the mean over a site's devices, then over
// sites. Evidence above the limit holds the rollout; evidence below it frees the places of unproven
// devices. No device is confirmed or cleared by it: one with evidence of its own has failed.
//
// The hold calls a person, so its level is lower than a halt's: an e-value of 8 for each output. A
// release at its very limit is held with chance 1/8 at most (Ville), in 0 to 4 % of simulated
// rollouts (10 to 100 devices of 5 to 20 pairs), and one at half of its limit in none of 400. Of
// the levels 4, 5, 8, 10 and 20 that were tried, it is the highest at which 50 devices of 5 pairs
// each find a 20 %-wrong release (limit 10 %) more often than not: in 63 %, at 20 in 7 %.
import { limits } from '../../shared/base/limits.js';
import {
  advanceRounds,
  logRoundsAbove,
  logRoundsBelow,
  type PooledDevice,
  type PooledRounds,
} from '../../shared/statistics/betting.js';
import { limitPercent, percent } from '../../shared/statistics/share-text.js';
import { limitsOf } from '../../shared/statistics/trial-tests.js';
import type { MemberRow, PoolState, RolloutRow } from '../interfaces.js';
import { moved, only, type Plan, type Situation } from './situation.js';
import { isShadow } from './strategies.js';
import { isTalking, UNDECIDED } from './verdict.js';

/** Rounds that are complete now, written down: one that was counted never changes. */
export function pool(situation: Situation): Plan | null {
  const { rollout, members } = situation;
  const { wave } = rollout;
  if (isShadow(rollout)) return null; // What devices compare is reported, and holds nothing.
  const before = rollout.pool?.wave === wave ? rollout.pool : { wave, outputs: {}, told: false };
  const outputs = { ...before.outputs };
  let isNew = false;
  for (const [output, { limit, devices }] of devicesOf(situation, members)) {
    if (devices.length < limits.poolDevicesMinCount) continue;
    const known = outputs[output] ?? { limit, rounds: [] };
    const rounds = advanceRounds(known.rounds, devices);
    if (rounds.length === known.rounds.length) continue;
    outputs[output] = { ...known, rounds };
    isNew = true;
  }
  return isNew ? only({ ...rollout, pool: { ...before, outputs } }) : null;
}

interface PooledOutput {
  readonly limit: number;
  readonly devices: PooledDevice[];
}

/** The open devices of the wave, by compared output. */
function devicesOf(situation: Situation, members: readonly MemberRow[]): Map<string, PooledOutput> {
  const { rollout, facts } = situation;
  const found = new Map<string, PooledOutput>();
  for (const { device, site, state, wave, assignmentId } of members) {
    const isOpen = state === 'confirmed' || (UNDECIDED.includes(state) && state !== 'taken');
    const report = facts.get(device);
    const trial = report?.trial ?? null;
    if (wave !== rollout.wave || !isOpen || trial === null) continue;
    if (trial.assignmentId !== assignmentId || trial.evidence.blockSeconds === null) continue;
    // A confirmed device gathers no more blocks.
    const heard = state !== 'confirmed' && isTalking(report, rollout, situation);
    for (const comparison of trial.evidence.comparisons) {
      const { limit } = limitsOf(comparison, rollout.policy.trial);
      const { devices } = found.get(comparison.output) ?? { devices: [] as PooledDevice[] };
      devices.push({ site, heard, first: comparison.blocks.first });
      found.set(comparison.output, { limit, devices });
    }
  }
  return found;
}

/** The devices differ more than the release declares, on average: a person must say. */
export function poolHold({ rollout, now }: Situation): Plan | null {
  const { pool: state } = rollout;
  if (state === null || state.told || state.wave !== rollout.wave) return null;
  const outputs = Object.entries(state.outputs);
  const needed = outputs.length * limits.poolHoldMinRatio;
  const above = outputs.filter(
    ([, { rounds, limit }]) => logRoundsAbove(rounds, limit) >= Math.log(needed),
  );
  if (above.length === 0) return null;
  const reasons = above.map(
    ([output, { rounds, limit }]) =>
      `answers of ${output} differ by ${percent(meanOf(rounds))} on average over the sites of ` +
      `the wave, in ${rounds.length} rounds; the limit is ${limitPercent(limit)}; e-value ` +
      `${Math.exp(logRoundsAbove(rounds, limit)).toFixed(1)} >= ${needed.toFixed(0)}`,
  );
  const choice = 'resume accepts this and continues; abort rolls every touched device back';
  const change = { asked: true, pool: { ...state, told: true } };
  return only(moved(rollout, 'ask', [...reasons, choice], now, change));
}

/** Together the devices show that the release differs less than its limit, in every output. */
export function isPoolGood({ pool: state, policy, wave }: RolloutRow): boolean {
  if (state?.wave !== wave || state.told) return false;
  const outputs: PoolState['outputs'][string][] = Object.values(state.outputs);
  const needed = Math.log(1000 / policy.trial.falsePassPermille);
  return (
    outputs.length > 0 &&
    outputs.every(({ rounds, limit }) => logRoundsBelow(rounds, limit) >= needed)
  );
}

const meanOf = (rounds: PooledRounds): number =>
  rounds.reduce((sum, [low, high]) => sum + (low + high) / 2, 0) / Math.max(1, rounds.length);
