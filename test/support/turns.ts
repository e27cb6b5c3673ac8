// How often the event loop turns while something is under way.
import { turn } from '../../shared/platform/turn.js';

/**
 * Runs `work`, and calls `onTurn` in each turn of the event loop until it has ended, with the
 * number of turns so far.
 */
export async function duringTurns<T>(
  work: () => Promise<T>,
  onTurn: (turns: number) => void,
): Promise<T> {
  let isOver = false;
  const turning = (async (): Promise<void> => {
    for (let turns = 1; !isOver; turns += 1) {
      await turn();
      onTurn(turns);
    }
  })();
  try {
    return await work();
  } finally {
    isOver = true;
    await turning;
  }
}
