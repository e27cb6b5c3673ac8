// Watches one stream of observations in [0, 1] for ever (share of failed requests, crashes, drift
// of one device or of the fleet, one observation a step) and raises an alarm when its mean rises
// above a limit. Such a watch has no alpha, because everything changes some day; it has a mean
// number of steps between false alarms. The value is a Shiryaev-Roberts e-detector (Shin, Ramdas,
// Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", 2024): the
// sum, over all steps at which the change may have begun, of the evidence since then. While the
// mean is at most the limit, the mean time until the value reaches a threshold is at least the
// threshold, in steps.
import { betFactors } from './betting.js';

/** Plain JSON, to be stored between steps: one sum for each size of bet. */
export interface DetectorState {
  readonly sums: readonly number[];
}

/** A sum never grows beyond this; thresholds are far below. */
const SUM_MOST = 1e15;

/** The state at the start, and again after each alarm. */
export const emptyDetector = (): DetectorState => ({ sums: betFactors(0, 1).map(() => 0) });

/** The state after an observation of a stream whose mean is normally at most `limit`, in (0, 1). */
export function observeStep(state: DetectorState, value: number, limit: number): DetectorState {
  const clamped = Math.min(1, Math.max(0, value));
  return {
    sums: betFactors(clamped, limit).map((factor, i) =>
      Math.min(SUM_MOST, factor * (1 + (state.sums[i] ?? 0))),
    ),
  };
}

/** The value to compare with the threshold. */
export function detectorValue({ sums }: DetectorState): number {
  return sums.reduce((total, sum) => total + sum, 0) / sums.length;
}

export interface AlarmRate {
  /** Devices times conditions that are watched. */
  readonly streams: number;
  /** Days that lie between two false alarms of all streams together, on average. */
  readonly daysBetweenAlarms: number;
  readonly stepsPerDay: number;
}

/** The value that raises an alarm: 1,000 devices, 6 conditions, 90 days, daily: 540,000. */
export function alarmThreshold({ streams, daysBetweenAlarms, stepsPerDay }: AlarmRate): number {
  return streams * daysBetweenAlarms * stepsPerDay;
}
