// What the conductor remembers of a rollout between its passes: when it saw that nothing was to be
// done, and until when that holds. It saves work and decides nothing: a conductor that knows
// nothing reads the rollout whole.
import { limits } from '../../shared/base/limits.js';
import type { MemberCount, MemberKey, RolloutRow } from '../interfaces.js';
import { isQuiet, quietUntil } from './quiet.js';

/** What is read of a rollout, whatever its size, to tell whether it must be read whole. */
export interface Seen {
  readonly rollout: RolloutRow;
  readonly counts: readonly MemberCount[];
  readonly hasTakes: boolean;
  readonly failed: number;
  readonly receptionSince: number;
  readonly now: number;
}

export class Known {
  isPooled = false;
  isTroubled = false;
  /** Devices that can be asked are searched again then, and from there. */
  askAt = 0;
  askAfter: MemberKey | null = null;
  /** The change (updates.ts) that assignments follow, and the last device whose one does. */
  updating: { readonly change: string; readonly upTo: string | null } | null = null;
  /** The change that all assignments follow. */
  updated: string | null = null;
  /** At this revision nothing was left to do. */
  #revision: number | null = null;
  #restAt = 0;
  #key: string | null = null;
  #receptionSince = 0;
  #failed = 0;
  #readAt = 0;
  #readEnd = 0;
  #readMs = 0;
  /** It was read whole, and what follows from it is not done yet. */
  #isOpen = false;

  /** Something may be to be done, besides members that are due. */
  isStale({ revision }: RolloutRow, receptionSince: number, now: number): boolean {
    return (
      revision !== this.#revision ||
      receptionSince !== this.#receptionSince ||
      this.#isOpen ||
      now >= this.#restAt ||
      now >= this.askAt
    );
  }

  needsWhole(seen: Seen): boolean {
    return (
      this.#mustRead(seen) ||
      this.#isOpen ||
      seen.receptionSince !== this.#receptionSince ||
      seen.now - this.#readAt >= limits.conductorWholeEveryMs ||
      !this.#isQuiet(seen)
    );
  }

  /** Reading takes a bounded share of the time, but after a command or a step of its own. */
  mayRead(seen: Seen, monotonic: number): boolean {
    const share = seen.failed > this.#failed ? 0.5 : limits.conductorWholeShare;
    return this.#mustRead(seen) || monotonic - this.#readEnd >= this.#readMs * (1 / share - 1);
  }

  noteRead({ rollout, receptionSince, now }: Seen, from: number, to: number): void {
    this.#key = keyOf(rollout);
    this.#receptionSince = receptionSince;
    this.#readAt = now;
    this.#readMs = to - from;
    this.#readEnd = to;
    this.#isOpen = true;
  }

  /** Nothing follows from all of it together. */
  noteWhole({ failed }: Seen, signs: { isPooled: boolean; isTroubled: boolean }): void {
    this.#failed = failed;
    this.isPooled = signs.isPooled;
    this.isTroubled = signs.isTroubled;
    this.#isOpen = false;
  }

  noteDone(seen: Seen): void {
    const { rollout, now } = seen;
    this.#revision = rollout.revision;
    this.#restAt = this.#isQuiet(seen)
      ? Math.min(quietUntil(rollout), this.#readAt + limits.conductorWholeEveryMs)
      : now;
  }

  /**
   * Never read, or its row is another one in what members are judged by. Where all go back at once,
   * each does for itself, and the end is read whole in any case.
   */
  #mustRead({ rollout }: Seen): boolean {
    if (this.#key === null) return true;
    const isBack = rollout.state === 'reverting' && !rollout.undo;
    return !isBack && this.#key !== keyOf(rollout);
  }

  #isQuiet({ rollout, counts, hasTakes, failed, now }: Seen): boolean {
    const { isPooled, isTroubled } = this;
    const isFailing = failed !== this.#failed;
    return isQuiet(rollout, { counts, hasTakes, isFailing, isPooled, isTroubled }, now);
  }
}

export function keyOf(rollout: RolloutRow): string {
  const { state, wave, policy, answeredAt, goAt, approved, asked } = rollout;
  return JSON.stringify([state, wave, answeredAt, goAt, approved, asked, policy]);
}
