// How long signed metadata is valid, and when the server renews what it signs. Expiry ends a freeze
// attack: a device that gets only old metadata notices it when the timestamp expires, however long
// the other roles are valid.
import { DAY_MS } from '../base/units.js';

export const validityMs = {
  /**
   * Signed by people. Long: a compromised key is replaced by a new root, which devices accept even
   * when older roots have expired, while a forgotten renewal would stop every update.
   */
  root: 5 * 365 * DAY_MS,
  /**
   * Signed offline at each publication, which renews it. The server warns when it is about to end.
   */
  imageTargets: 365 * DAY_MS,
  /**
   * Signed by the server's online keys and renewed at half their life: a server may be down for
   * half a day before devices refuse the metadata.
   */
  imageSnapshot: 7 * DAY_MS,
  imageTimestamp: 1 * DAY_MS,
  /** The three director documents of a device are signed together, on demand, by online keys. */
  director: 1 * DAY_MS,
} as const;

/** The server's log warns this long before the offline targets role expires. */
export const targetsWarningMs = 30 * DAY_MS;

/** True from half of the life on. */
export function renewalDue(nowMs: number, expiresMs: number, lifeMs: number): boolean {
  return nowMs >= expiresMs - lifeMs / 2;
}
