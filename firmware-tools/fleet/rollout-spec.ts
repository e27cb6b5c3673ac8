// A rollout's policy from a TOML file or from command-line options, with the defaults that --help
// lists. The server gives the policy its meaning; here only its shape is checked, and every mistake
// is reported at once.
import { parse as parseToml } from 'smol-toml';
import { decode } from '../../shared/base/decode.js';
import { Fault, reason } from '../../shared/base/fault-codes.js';
import { RolloutPolicy, type Wave } from '../../shared/protocol/operator-api.js';
import { defaultTrialPolicy, type TrialPolicy } from '../../shared/statistics/trial-verdict.js';

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

export interface PolicyOptions {
  readonly canary?: string;
  readonly then: readonly number[];
  readonly soak: number;
  readonly approval: boolean;
  readonly silentAfter: number;
  readonly deadline: number;
  readonly acceptable: number;
  readonly alarming: number;
  readonly falseAlarm: number;
  readonly window?: number;
  readonly revert: boolean;
  readonly trialMin: number;
  readonly trialMax: number;
  readonly trialPairs: number;
}

/**
 * Waves: the canary group (when named), then growing shares of all devices. Fault usage lists every
 * mistake.
 */
export function policyOf(options: PolicyOptions): RolloutPolicy {
  const waves: Wave[] =
    options.canary === undefined
      ? []
      : [
          {
            name: 'canary',
            group: options.canary,
            soakSeconds: options.soak,
            approval: options.approval,
          },
        ];
  options.then.forEach((percent, index) => {
    const last = index === options.then.length - 1;
    waves.push({
      name: `${percent}%`,
      percent,
      soakSeconds: last ? 0 : options.soak,
      approval: options.approval && !last,
    });
  });
  const trial: TrialPolicy = {
    ...defaultTrialPolicy,
    minSeconds: options.trialMin,
    maxSeconds: options.trialMax,
    minPairs: options.trialPairs,
  };
  return decode(
    RolloutPolicy,
    {
      waves,
      trial,
      acceptableFailurePermille: options.acceptable,
      alarmingFailurePermille: options.alarming,
      falseAlarmPermille: options.falseAlarm,
      ...(options.window === undefined ? {} : { startWindow: options.window }),
      silentAfterSeconds: options.silentAfter,
      deviceDeadlineSeconds: options.deadline,
      autoRevert: options.revert,
    },
    'rollout policy',
    'usage',
  );
}

/**
 * The policy of a TOML file: keys as in the API; what is left out, also within [trial], takes the
 * default.
 */
export function policyOfToml(text: string, file: string): RolloutPolicy {
  let given: Record<string, unknown>;
  try {
    given = parseToml(text);
  } catch (error) {
    throw new Fault('usage', `${file} is not TOML: ${reason(error)}`, { cause: error });
  }
  const { soakSeconds: _soak, then: _then, ...base } = defaults;
  const waves = Array.isArray(given['waves'])
    ? given['waves'].map((wave: unknown) => ({
        soakSeconds: defaults.soakSeconds,
        approval: false,
        ...(wave as object),
      }))
    : given['waves'];
  const trial = { ...defaultTrialPolicy, ...(given['trial'] as object | undefined) };
  return decode(RolloutPolicy, { ...base, ...given, waves, trial }, file, 'usage');
}

/** `50,100` as rising shares. */
export function shares(text: string): number[] {
  const found = text
    .split(',')
    .map((part) => (/^\d{1,3}$/.test(part.trim()) ? Number(part) : Number.NaN));
  const good = found.every(
    (share, index) => share >= 1 && share <= 100 && share > (found[index - 1] ?? 0),
  );
  if (!good)
    throw new Fault(
      'usage',
      `${text}: shares are whole percents from 1 to 100, rising, for example 10,50,100`,
    );
  return found;
}
