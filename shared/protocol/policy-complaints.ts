// What is wrong with a rollout's policy beyond its schema. Pure; the command line and the server
// check the same.
import { limits } from '../base/limits.js';
import { instantOf } from '../base/instants.js';
import { isEmpty, isZone } from '../base/update-hours.js';
import type { RolloutPolicy } from './operator-api.js';

/** What is wrong with a policy beyond its schema: all complaints. */
export function policyComplaints(policy: RolloutPolicy): string[] {
  const found: string[] = [];
  const check: Check = (fits, complaint) => {
    if (!fits) found.push(complaint);
  };
  checkTests(policy, check);
  checkStrategy(policy, check);
  checkTimes(policy, check);
  checkWaves(policy, check);
  return found;
}

type Check = (fits: boolean, complaint: string) => void;

function checkTests(policy: RolloutPolicy, check: Check): void {
  const { acceptableFailurePermille: acceptable, alarmingFailurePermille: alarming } = policy;
  check(alarming > acceptable, 'alarmingFailurePermille must be above acceptableFailurePermille');
  check(
    policy.trial.maxSeconds >= policy.trial.minSeconds,
    'trial.maxSeconds must not be below trial.minSeconds',
  );
  check(
    policy.deviceDeadlineSeconds > policy.trial.minSeconds,
    'deviceDeadlineSeconds must be longer than trial.minSeconds',
  );
  check(
    policy.trial.acceptedDifferencePermille === undefined,
    'trial.acceptedDifferencePermille is not set before the field has shown its difference: ' +
      'resume --accept-difference sets it',
  );
}

function checkStrategy(policy: RolloutPolicy, check: Check): void {
  check(
    (policy.strategy === 'ab') === (policy.ab !== undefined),
    'strategy ab and the table ab need each other',
  );
  check(
    (policy.strategy === 'blue-green') === (policy.blueGreen !== undefined),
    'strategy blue-green and the table blueGreen need each other',
  );
  check(
    policy.strategy !== 'shadow' || policy.trial.minPairs > 0,
    'strategy shadow compares: trial.minPairs must be above 0',
  );
  check(
    policy.ab === undefined || policy.waves.length < limits.wavesMaxCount,
    `strategy ab has at most ${limits.wavesMaxCount - 1} waves: the last one is arm A`,
  );
}

function checkTimes({ hours, deadline }: RolloutPolicy, check: Check): void {
  if (hours !== undefined) {
    check(
      isZone(hours.zone),
      `hours.zone ${hours.zone} is not a time zone that this system knows, ` +
        'such as Europe/Berlin or UTC',
    );
    for (const window of hours.windows)
      check(!isEmpty(window), `hours.windows ${window} begins when it ends`);
  }
  check(
    deadline === undefined ||
      (/T.*(Z|[+-]\d\d:\d\d)$/.test(deadline) && !Number.isNaN(instantOf(deadline))),
    `deadline ${deadline ?? ''} must be a date and time with its zone, ` +
      'such as 2027-01-31T18:00:00Z',
  );
}

function checkWaves({ waves }: RolloutPolicy, check: Check): void {
  let percent = 0;
  let count = 0;
  waves.forEach((wave, index) => {
    const name = `wave ${index + 1} (${wave.name})`;
    const audiences = [wave.group, wave.percent, wave.count].filter((one) => one !== undefined);
    check(audiences.length === 1, `${name} must have one of group, percent and count`);
    if (wave.count !== undefined) {
      const before = count;
      check(wave.count >= before, `${name}: count includes earlier waves: at least ${before}`);
      count = wave.count;
    }
    if (wave.percent === undefined) return;
    check(
      wave.percent >= percent,
      `${name}: percent counts earlier waves too, so it cannot be below ${percent}`,
    );
    percent = wave.percent;
  });
}
