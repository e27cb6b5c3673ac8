// The policy of a rollout where nobody says otherwise: what `linnet rollout create --help` lists,
// and what the form of the console begins with.
import { defaultTrialPolicy } from '../statistics/default-trial-policy.js';
import type { RolloutPolicy } from './operator-api.js';

export const defaults = {
  soakSeconds: 60,
  then: [50, 100] as readonly number[],
  acceptableFailurePermille: 50,
  alarmingFailurePermille: 300,
  falseAlarmPermille: 50,
  silentAfterSeconds: 120,
  deviceDeadlineSeconds: 2 * defaultTrialPolicy.maxSeconds,
  autoRevert: true,
} as const;

export function defaultPolicy(): RolloutPolicy {
  const { soakSeconds, then, ...base } = defaults;
  const waves = then.map((percent, index) => ({
    name: `${percent}%`,
    percent,
    soakSeconds: index === then.length - 1 ? 0 : soakSeconds,
    approval: false,
  }));
  return { ...base, waves, trial: defaultTrialPolicy };
}
