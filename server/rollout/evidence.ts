// The halt test of all devices together as a curve that can be drawn: failures over takes, and how
// many failures would halt. Pure.
import { limits } from '../../shared/base/limits.js';
import type { RolloutEvidence } from '../../shared/protocol/operator-api.js';
import { failuresToHalt, type HaltBoundary } from '../../shared/statistics/halt-boundary.js';
import { boundariesOf, plannedKinds } from './halt.js';
import type { Situation } from './situation.js';

export function evidenceOf({ rollout, members, takes }: Situation): RolloutEvidence {
  const { pooled } = boundariesOf(plannedKinds(members, takes), rollout.policy).halt;
  const counted = takes.slice(0, pooled.takes);
  const failedAt = counted.flatMap(({ failed }, index) => (failed ? [index + 1] : []));
  return {
    takes: counted.length,
    planned: pooled.takes,
    failures: failedAt.length,
    failedAt: failedAt.slice(0, limits.evidencePointsMaxCount),
    boundary: steps(pooled),
  };
}

/** Where the needed number of failures changes; of a long plan, at places of equal distance. */
function steps(boundary: HaltBoundary): RolloutEvidence['boundary'] {
  const planned = boundary.takes;
  const stride = Math.max(1, Math.ceil(planned / (limits.evidencePointsMaxCount - 1)));
  const found: RolloutEvidence['boundary'] = [];
  for (let takes = 1; takes < planned; takes += stride) {
    const failures = failuresToHalt(boundary, takes);
    if (found.at(-1)?.failures !== failures) found.push({ takes, failures });
  }
  if (planned > 0) found.push({ takes: planned, failures: failuresToHalt(boundary, planned) });
  return found;
}
