// Why this device cannot proceed now: one owner for all reasons. Each part of the agent that meets
// an obstacle sets it and clears it once the same work succeeds; every update heartbeat carries the
// most telling one, so that the server never takes an obstacle of the device (a full disk, metadata
// that it must refuse, a wrong clock) for silence or for a fault of a release.
import type { Clock } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import type { FaultCode } from '../../shared/base/fault-codes.js';
import type { Trouble } from '../../shared/protocol/telemetry.js';

/**
 * What cannot proceed: the look at the assignments (of the whole device), the update under way of
 * one component, or the release that it serves.
 */
type Part = 'assignments' | 'update' | 'serving';

interface Obstacle {
  readonly code: FaultCode;
  readonly detail: string;
  /** When this code was met first (monotonic). */
  readonly at: number;
}

/** `deferred` is a plan and no obstacle: anything else is told before it. */
const isPlan = ({ code }: Obstacle): boolean => code === 'deferred';

export class Troubles {
  readonly #clock: Clock;
  readonly #obstacles = new Map<string, Obstacle>();

  /** `clock` tells the corrected time, so that `since` is right once the server's time is known. */
  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
  }

  /** `component` is null for what concerns the whole device. */
  set(
    part: Part,
    component: string | null,
    { code, detail }: { readonly code: FaultCode; readonly detail: string },
  ): void {
    const key = keyOf(part, component);
    const before = this.#obstacles.get(key);
    const at = before?.code === code ? before.at : this.#clock.monotonic();
    this.#obstacles.set(key, { code, detail: detail.slice(0, limits.detailMaxChars), at });
  }

  clear(part: Part, component: string | null): void {
    this.#obstacles.delete(keyOf(part, component));
  }

  /** The reason to report for a component; null when it can proceed. */
  of(component: string): Trouble | null {
    const met = [
      this.#obstacles.get(keyOf('update', component)),
      this.#obstacles.get(keyOf('serving', component)),
      this.#obstacles.get(keyOf('assignments', null)),
    ].filter((obstacle) => obstacle !== undefined);
    const told = met.find((obstacle) => !isPlan(obstacle)) ?? met[0];
    if (told === undefined) return null;
    const since = this.#clock.now() - (this.#clock.monotonic() - told.at);
    return { code: told.code, detail: told.detail, since: Math.max(0, Math.floor(since)) };
  }
}

const keyOf = (part: Part, component: string | null): string => `${part} ${component ?? ''}`;
