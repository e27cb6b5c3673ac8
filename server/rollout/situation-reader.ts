// Reads what a decision about a rollout depends on: its row, its members, what their devices
// reported, which of the reported releases are published, the time, and the reception. The
// conductor, the devices' contacts and the operators' service decide on the same situation. Many
// members are read in pages, with a turn of the event loop after each.
import semver from 'semver';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Clock } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { turn } from '../../shared/platform/turn.js';
import type {
  DeviceFacts,
  MeasuredBlock,
  MemberKey,
  MemberRow,
  NumberedTake,
  RolloutRow,
  RolloutStore,
  Take,
} from '../interfaces.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import { dueBlocks } from './arms.js';
import type { Situation } from './situation.js';
import { seriesOf } from './strategies.js';
import type { Reception } from './reception.js';
import type { Contact } from './taking.js';
import { WholeSituation } from './whole-situation.js';

export interface SituationReaderOptions {
  readonly store: RolloutStore;
  readonly reception: Reception;
  readonly clock: Clock;
  /** The signed floor of a component; null: none. */
  readonly floorOf: (component: string) => string | null;
}

export interface OfDevices extends Pick<Contact, 'published' | 'now' | 'receptionSince'> {
  readonly facts: ReadonlyMap<string, DeviceFacts>;
}

export class SituationReader {
  readonly #options: SituationReaderOptions;

  constructor(options: SituationReaderOptions) {
    this.#options = options;
  }

  /** All of a rollout. Faults: not_found. */
  async read(id: string): Promise<Situation> {
    const rollout = await this.#options.store.rollout(id);
    if (rollout === null)
      throw new Fault(
        'not_found',
        `there is no rollout ${id}; \`linnet rollout list\` lists the rollouts`,
      );
    return this.together(await this.readAll(rollout), rollout, false);
  }

  /** All members. `onPage` is called with each page, in which the facts are complete. */
  async readAll(
    rollout: RolloutRow,
    onPage: (page: Situation) => void = () => {},
  ): Promise<WholeSituation> {
    const limit = limits.conductorPageRowsMaxCount;
    const whole = new WholeSituation(rollout);
    let after: MemberKey | null = null;
    for (;;) {
      const members: MemberRow[] = await this.#options.store.memberPage(
        rollout.id,
        {},
        { limit, after },
      );
      const page = await this.ofMembers(rollout, members);
      whole.put(page);
      onPage(page);
      const last = members.at(-1);
      if (last === undefined || members.length < limit) return whole;
      after = [last.wave, last.rank, last.device];
      await turn();
    }
  }

  /** What a decision on all of them depends on, now. `measure`: also the arms that are due. */
  async together(whole: WholeSituation, rollout: RolloutRow, measure: boolean): Promise<Situation> {
    if (whole.takes?.revision !== rollout.revision)
      whole.takes = { revision: rollout.revision, all: await this.#takes(seriesOf(rollout)) };
    return {
      ...(await this.ofMembers(rollout, [])),
      ...whole.all,
      takes: whole.takes.all,
      blocks: measure ? await this.#measured(rollout, whole.all.members) : [],
    };
  }

  /** What of a decision concerns these members only: without takes and comparisons. */
  async ofMembers(rollout: RolloutRow, members: readonly MemberRow[]): Promise<Situation> {
    const { store, reception, clock } = this.#options;
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
      takes: [],
      blocks: [],
      published,
      before: await this.#before(rollout),
      receptionSince: reception.since,
      now: clock.now(),
    };
  }

  async #takes(series: string): Promise<Take[]> {
    const limit = limits.conductorPageRowsMaxCount;
    const takes: NumberedTake[] = [];
    for (;;) {
      const page = await this.#options.store.takePage(series, takes.at(-1)?.seq ?? 0, limit);
      takes.push(...page);
      if (page.length < limit) return takes;
      await turn();
    }
  }

  async #before(rollout: RolloutRow): Promise<ReleaseRef | null> {
    const { store, floorOf } = this.#options;
    if (!rollout.undo || rollout.state !== 'reverting') return null;
    const before = await store.standingBefore(rollout);
    const floor = floorOf(rollout.release.component);
    return before !== null && floor !== null && semver.gte(before.version, floor) ? before : null;
  }

  async #measured(rollout: RolloutRow, members: readonly MemberRow[]): Promise<MeasuredBlock[]> {
    const { store, clock } = this.#options;
    const { component } = rollout.release;
    const measured: MeasuredBlock[] = [];
    for (const due of dueBlocks(rollout, members, clock.now())) {
      const { device, partners } = due;
      const a = [];
      for (const partner of partners) a.push(await store.measures(component, partner, due));
      measured.push({ device, b: await store.measures(component, device, due), a });
    }
    return measured;
  }

  /** What a decision about each of these devices depends on. */
  async ofDevices(
    { release: { component } }: RolloutRow,
    devices: readonly string[],
  ): Promise<OfDevices> {
    const { store, reception, clock } = this.#options;
    const facts = await store.facts(component, devices);
    return {
      facts,
      published: await this.#published(component, facts),
      receptionSince: reception.since,
      now: clock.now(),
    };
  }

  /**
   * Digests of published releases. A device may report that it runs anything; it can be assigned
   * only what was published.
   */
  async #published(
    component: string,
    facts: ReadonlyMap<string, DeviceFacts>,
  ): Promise<Set<string>> {
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
