// How long signed metadata stays valid, and when the server renews what it signs itself. Expiry is
// what ends a freeze attack: a device that is shown an old state notices within the timestamp's
// life, however long the other roles live.

const DAY_MS = 24 * 60 * 60_000;

export const validityMs = {
  /**
   * Signed by people. Long, because a compromised key is answered by a new root (devices walk the
   * chain whatever the old ones' expiry), while a renewal that nobody remembered would stop every
   * update of the fleet.
   */
  root: 5 * 365 * DAY_MS,
  /**
   * Signed offline at each publication, which renews it. The server warns when it is about to end.
   */
  imageTargets: 365 * DAY_MS,
  /**
   * Signed by the server's online keys, renewed at half their life: a server may be down for half a
   * day before a device minds.
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
