// How a `doctor` command ends: what it found, and the exit code of a negative result.
import { findingsText, isHealthy, type Finding } from '../base/findings.js';

/** Exit code of a command that ran and whose result is negative (firmware-tools/cli/output.ts). */
export const NEGATIVE_RESULT = 6;

/** Sets the exit code when something is bad. */
export function reportFindings(
  findings: readonly Finding[],
  out: { result(value: unknown, human: () => string): void },
): void {
  const healthy = isHealthy(findings);
  out.result({ healthy, findings }, () => findingsText(findings));
  if (!healthy) process.exitCode = NEGATIVE_RESULT;
}
