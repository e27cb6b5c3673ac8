// What the strategies change: how far a device goes with the release, and which takes the halt test
// counts. The rest of a rollout is the same for all of them: waves, window, halt and hold tests,
// silence, the way back. Pure. The comparison of `ab` is in arms.ts, the go of `blue-green` in
// blue-green.ts, the end of `shadow` in shadow.ts.
import type { Activation } from '../../shared/protocol/states.js';
import type { RolloutRow } from '../interfaces.js';

type Strategy = Pick<RolloutRow, 'policy' | 'goAt'>;

/** Blue-green before its go: devices prepare the release and keep serving what they ran. */
export const isPreparing = ({ policy, goAt }: Strategy): boolean =>
  policy.strategy === 'blue-green' && goAt === null;

/** No device ever serves its release. */
export const isShadow = ({ policy }: Pick<Strategy, 'policy'>): boolean =>
  policy.strategy === 'shadow';

/** How far a device goes that takes the release now. */
export function activationOf(rollout: Strategy): Activation {
  if (isShadow(rollout)) return 'shadow';
  return isPreparing(rollout) ? 'hold' : 'swap';
}

/**
 * What its takes are counted under: the release, over all its rollouts. A device that only compared
 * the release has not shown that it can serve it, so a shadow is counted for itself.
 */
export const seriesOf = (rollout: Pick<RolloutRow, 'id' | 'policy' | 'release'>): string =>
  isShadow(rollout) ? rollout.id : rollout.release.digest;

/** What a device must have come to for its wave, in one word. */
export function provenWord(rollout: Strategy): string {
  if (isShadow(rollout)) return 'compared';
  return isPreparing(rollout) ? 'ready' : 'proven';
}
