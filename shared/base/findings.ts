// What `doctor` commands find: one finding a check, with what to do about it.
import { isFault, reason } from './fault-codes.js';

export interface Finding {
  readonly check: string;
  /** `skipped`: it could not be looked at, for the reason that another finding gives. */
  readonly state: 'good' | 'warning' | 'bad' | 'skipped';
  readonly found: string;
  /** What to do; of warnings and of what is bad. */
  readonly todo?: string;
}

export const good = (check: string, found: string): Finding => ({ check, state: 'good', found });
export const warning = (check: string, found: string, todo: string): Finding => ({
  check,
  state: 'warning',
  found,
  todo,
});
export const bad = (check: string, found: string, todo: string): Finding => ({
  check,
  state: 'bad',
  found,
  todo,
});
export const skipped = (check: string, found: string): Finding => ({
  check,
  state: 'skipped',
  found,
});

/** What a finding says of an error. */
export const faultText = (error: unknown): string =>
  isFault(error) ? error.detail : reason(error);

export const isHealthy = (findings: readonly Finding[]): boolean =>
  findings.every(({ state }) => state !== 'bad');

/** One line a finding, and under it what to do. */
export function findingLines(findings: readonly Finding[]): string[] {
  const width = Math.max(...findings.map(({ check }) => check.length));
  return findings.flatMap(({ check, state, found, todo }) => [
    `${state.padEnd('warning'.length)}  ${check.padEnd(width)}  ${found}`,
    ...(todo === undefined ? [] : [`${' '.repeat(width + 11)}-> ${todo}`]),
  ]);
}

/** As lines, and how many need something. */
export function findingsText(findings: readonly Finding[]): string {
  const count = (wanted: Finding['state']): number =>
    findings.filter(({ state }) => state === wanted).length;
  return [...findingLines(findings), `${count('bad')} bad, ${count('warning')} to look at`].join(
    '\n',
  );
}
