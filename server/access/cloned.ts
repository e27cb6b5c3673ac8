// Whether a device counts as cloned: two installations with its key alternated lately. Neither of
// them is evidence for a release. The store notes when they did (server/store/instances.ts).
import { limits } from '../../shared/base/limits.js';

/** `clonedAt` is that of its DeviceRow (column `devices.cloned_at`). */
export const isCloned = (clonedAt: number | null, now: number): boolean =>
  clonedAt !== null && now - clonedAt < limits.deviceClonedMs;
