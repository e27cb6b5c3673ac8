// A turn of the event loop: between two slices of long work, everything else that waits runs.
import { limits } from '../base/limits.js';

export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Lets what comes at once come together: resolves when the count has not grown for
 * limits.gatherQuietTurns turns, or has reached limits.gatherMaxCount. One turn is not enough,
 * because Node accepts one connection a turn (libuv since 1.46): with 1,000 devices that came at
 * once, each was a group of its own, and each commit waited for the disk.
 */
export async function gathered(count: () => number): Promise<void> {
  let known = count();
  for (let quiet = 0; quiet < limits.gatherQuietTurns && known < limits.gatherMaxCount;) {
    await turn();
    const now = count();
    quiet = now > known ? 0 : quiet + 1;
    known = now;
  }
}
