// Reads everything that a decision about one rollout depends on: its row, its members, what their
// devices reported, which of the reported releases are published, the time, and the reception. The
// conductor and the operators' service decide on the same situation.
import { Fault } from '../../shared/base/fault-codes.js';
import type { Clock } from '../../shared/base/interfaces.js';
import type { RolloutStore } from '../interfaces.js';
import type { Situation } from './plan.js';
import type { Reception } from './reception.js';

export interface SituationsOptions {
  readonly store: RolloutStore;
  readonly reception: Reception;
  readonly clock: Clock;
}

export class Situations {
  readonly #options: SituationsOptions;

  constructor(options: SituationsOptions) {
    this.#options = options;
  }

  /** Faults: not_found. */
  async read(id: string): Promise<Situation> {
    const { store, reception, clock } = this.#options;
    const rollout = await store.rollout(id);
    if (rollout === null) throw new Fault('not_found', `there is no rollout ${id}`);
    const members = await store.members(id);
    const { component } = rollout.release;
    const facts = await store.facts(
      component,
      members.map((member) => member.device),
    );
    const published = await this.#published(component, facts);
    reception.observe();
    return {
      rollout,
      members,
      facts,
      published,
      receptionSince: reception.since,
      now: clock.now(),
    };
  }

  /**
   * Digests of published releases. A device may report that it runs anything; it can be assigned
   * only what was published.
   */
  async #published(component: string, facts: Situation['facts']): Promise<Set<string>> {
    const reported = new Map<string, string>();
    for (const { update, trial, standing } of facts.values()) {
      for (const ref of [update?.running, update?.previous, trial?.previous, standing?.release]) {
        if (ref?.component === component) reported.set(ref.digest, ref.version);
      }
    }
    const digests = new Map<string, string | undefined>();
    for (const version of new Set(reported.values())) {
      const release = await this.#options.store.release(component, version);
      digests.set(version, release?.ref.digest);
    }
    return new Set(
      [...reported]
        .filter(([digest, version]) => digests.get(version) === digest)
        .map(([digest]) => digest),
    );
  }
}
