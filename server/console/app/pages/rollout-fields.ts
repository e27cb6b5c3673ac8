// The numbers of a rollout's policy as fields of the form: each with its label, its unit and its
// range. The values of a form that was filled come back by the same table.
import { DAY_MS } from '../../../../shared/base/units.js';
import type { RolloutPolicy } from '../../../../shared/protocol/operator-api.js';
import { limits } from '../limits.js';

type TrialNumber = Exclude<keyof RolloutPolicy['trial'], 'acceptedDifferencePermille'>;
type PolicyNumber =
  | 'acceptableFailurePermille'
  | 'alarmingFailurePermille'
  | 'falseAlarmPermille'
  | 'silentAfterSeconds'
  | 'deviceDeadlineSeconds';
type ArmNumber = 'sharePercent' | 'observeSeconds' | 'falseWinnerPermille';
type OptionalNumber = 'startWindow' | 'kindWindow' | 'takesPerHour';

export interface NumberField<Name extends string = string> {
  readonly name: Name;
  readonly text: string;
  /** The policy's number is so many times what the form shows: 10 for thousandths as percent. */
  readonly scale: number;
  readonly min: number;
  readonly max: number;
}

const percent = <Name extends string>(
  name: Name,
  text: string,
  min = 0.1,
  max = 100,
): NumberField<Name> => ({ name, text: `${text}, percent`, scale: 10, min, max });
const seconds = <Name extends string>(
  name: Name,
  text: string,
  min: number,
  days: number,
): NumberField<Name> => ({
  name,
  text: `${text}, seconds`,
  scale: 1,
  min,
  max: (days * DAY_MS) / 1000,
});
const whole = <Name extends string>(
  name: Name,
  text: string,
  min: number,
  max: number,
): NumberField<Name> => ({ name, text, scale: 1, min, max });

/** When the rollout stops; always given. */
export const stopFields: readonly NumberField<PolicyNumber>[] = [
  percent('acceptableFailurePermille', 'Acceptable: devices that fail', 0.1, 50),
  percent('alarmingFailurePermille', 'Alarming: devices that fail', 0.2),
  percent('falseAlarmPermille', 'Chance that an acceptable release is halted', 0.1, 50),
  seconds('silentAfterSeconds', 'A device is silent when it is not heard for', 1, 30),
  seconds('deviceDeadlineSeconds', 'A device is no longer waited for after', 1, 60),
];

/** How long a device's trial is; its limits are below. */
export const trialFields: readonly NumberField<TrialNumber>[] = [
  whole('minPairs', 'Comparisons that a trial needs', 0, 10_000_000),
  seconds('minSeconds', 'A trial lasts at least', 0, 30),
  seconds('maxSeconds', 'A trial stays unproven after', 1, 60),
];

export const trialLimitFields: readonly NumberField<TrialNumber>[] = [
  percent('differenceLimitPermille', 'Difference of the answers, where the release declares none'),
  percent('differenceCapPermille', 'Difference above which a release has failed'),
  percent('errorLimitPermille', 'Requests that the release may fail'),
  percent('slowdownLimitPermille', 'Latency against the old release', 100, 10_000),
  percent('confidenceDropLimitPermille', 'Fall of the mean confidence'),
  whole('classShiftLimitPermille', 'Shift of the classes (PSI in thousandths)', 1, 100_000),
  percent('falseAlarmPermille', 'Chance that a device sends a good release back'),
  percent('falsePassPermille', 'Chance that a release at a limit passes'),
];

/** May be empty: then the policy leaves them out. */
export const paceFields: readonly NumberField<OptionalNumber>[] = [
  whole('takesPerHour', 'Pace: devices an hour at most', 1, limits.rolloutDevicesMaxCount),
  whole('startWindow', 'Devices that may have it undecided at the beginning', 1, 1000),
  whole('kindWindow', 'The same for each kind of hardware', 1, 1000),
];

/** Of strategy ab. */
export const armFields: readonly NumberField<ArmNumber>[] = [
  whole('sharePercent', 'Devices in arm B, which takes it, percent', 1, 90),
  seconds('observeSeconds', 'Each device of arm B is observed for', 1, 30),
  percent('falseWinnerPermille', 'Chance that equal arms get a winner', 0.1, 50),
];

/** What a field shows of the policy's number. */
export const shown = ({ scale }: NumberField, value: number): string => String(value / scale);

/** The policy's numbers from the form; a field that is empty is left out. */
export function numbersOf<Name extends string>(
  fields: readonly NumberField<Name>[],
  given: (name: string) => string,
  prefix = '',
): Partial<Record<Name, number>> {
  const numbers: Partial<Record<Name, number>> = {};
  for (const { name, scale } of fields) {
    const text = given(`${prefix}${name}`);
    if (text !== '') numbers[name] = Math.round(Number(text) * scale);
  }
  return numbers;
}
