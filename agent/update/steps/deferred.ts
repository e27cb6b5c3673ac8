// The update hours of the device: whatever changes what serves waits for them, except for the way
// back from a bad release.
import type { Assignment } from '../record.js';
import { REST, type WaitResult } from './step.js';

/** The wait for the update hours; null while they last (`opensAt` null) and for a rollback. */
export function deferred(assignment: Assignment, opensAt: number | null): WaitResult | null {
  if (opensAt === null || assignment.rollback) return null;
  const until = new Date(opensAt).toISOString();
  const detail = `${assignment.component} ${assignment.version}: deferred until ${until}`;
  return { ...REST, trouble: { code: 'deferred', detail } };
}
