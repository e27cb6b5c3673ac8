// Versions of metadata and assignment ids that the server counts, with a floor from time: at least
// the seconds since the project began. A server that was restored from a backup then goes on above
// everything that it gave out after that backup, so no device refuses it (rollback attack) or
// overlooks it. This holds while the server counts slower than one a second and its clock is not
// set back.

/** 2026-01-01T00:00:00Z. A later epoch would lower every floor: it is never changed. */
const PROJECT_EPOCH_MS = Date.UTC(2026, 0, 1);

/** The number after `known` (0: none yet) at that time. */
export function nextVersion(known: number, nowMs: number): number {
  return Math.max(known + 1, Math.floor((nowMs - PROJECT_EPOCH_MS) / 1000));
}
