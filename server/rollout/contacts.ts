// A device asks what it should run: the moment in which it may take a release. The take and its
// assignment are committed, durably, before the device gets its answer. Taking is guarded by the
// rollout's revision, so that two devices that ask at once never share one place of the window.
// Devices that ask this server take turns, because each take changes the revision: of 200 that
// asked at once without turns, 83 lost all their tries. Another server or the conductor may still
// be first.
import { limits } from '../../shared/base/limits.js';
import type { Clock, Log } from '../../shared/base/interfaces.js';
import { KeyedMutex } from '../../shared/platform/mutex.js';
import { turn } from '../../shared/platform/turn.js';
import type { MemberRow, RolloutRow, RolloutStore, SecurityEventSink } from '../interfaces.js';
import { changeOf } from './forward.js';
import { alarm } from './halt.js';
import { waitingMember } from './members.js';
import { paused } from './pace.js';
import { reportStep } from './security-report.js';
import type { Plan } from './situation.js';
import { take } from './taking.js';
import { room } from './window.js';
import type { SituationReader } from './situation-reader.js';

export interface ContactsOptions {
  readonly store: RolloutStore;
  readonly situations: SituationReader;
  readonly clock: Clock;
  readonly log: Log;
  readonly security: Pick<SecurityEventSink, 'report'>;
}

/** What was learned of the device on its contact, without a take. */
const only = (rollout: RolloutRow, member: MemberRow | null): Plan | null =>
  member === null ? null : { rollout, members: [member], assignments: [] };

/** After all devices that a rollout was made with. */
const LATE_RANK = limits.rolloutDevicesMaxCount;

export class Contacts {
  readonly #options: ContactsOptions;
  /**
   * The revision at which a rollout had no room for a kind of hardware: until it changes, nobody
   * counts again. Bounded by the rollouts of this process's life.
   */
  readonly #fullAt = new Map<string, number>();
  readonly #turns = new KeyedMutex();

  constructor(options: ContactsOptions) {
    this.#options = options;
  }

  /** Never rejects: a rollout that cannot be read must not keep the device from its metadata. */
  async contact(device: string): Promise<void> {
    const { store, log } = this.#options;
    try {
      for (const rollout of await store.offersTo(device))
        await this.#turns.run(rollout, async () => {
          await this.#offer(rollout, device);
          // SQLite answers within the call: without this, everything else waits for all takes.
          await turn();
        });
    } catch (error) {
      log.error({ device, err: error }, 'cannot offer a release; the device will ask again');
    }
  }

  async #offer(id: string, device: string): Promise<void> {
    const { store, situations, clock, log } = this.#options;
    for (let tries = 0; tries < limits.takeTriesMaxCount; tries++) {
      const rollout = await store.rollout(id);
      if (rollout === null) return;
      const member = (await store.member(id, device)) ?? (await this.#lateMember(rollout, device));
      if (member === null) return;
      const full = `${id} ${member.hardware}`;
      if (this.#fullAt.get(full) === rollout.revision) return;
      const last = await this.#lastTake(rollout);
      if (paused(rollout.policy, last, clock.now()) !== null) return;
      const counts = await store.memberCounts(id);
      if (room(rollout, counts, member.hardware) === 0) {
        this.#fullAt.set(full, rollout.revision);
        return;
      }
      const seen = await situations.ofDevice(rollout, device);
      // Nobody watches the confirmed devices of a completed rollout: one may have lost the release.
      const now = changeOf(member, seen.facts, { ...seen, rollout });
      const step = take({
        ...seen,
        rollout,
        member: now ?? member,
        counts,
        lastTake: last,
        undecidedElsewhere: await store.undecidedElsewhere(id, device),
      });
      const change = step ?? only(rollout, now);
      if (change === null) return;
      if (!(await store.commit(change, clock.now()))) continue;
      const [taken] = change.members;
      log.info({ rollout: id, device: member.name, state: taken?.state }, taken?.reasons ?? '');
      if (taken?.failed === true) await this.#alarm(id);
      return;
    }
  }

  async #lastTake({ id, policy: { takesPerHour } }: RolloutRow): Promise<number | null> {
    return takesPerHour === undefined ? null : this.#options.store.lastTake(id, takesPerHour);
  }

  /** Nobody conducts a completed rollout whose devices are all decided: bad news is judged here. */
  async #alarm(id: string): Promise<void> {
    const { store, situations, clock, security } = this.#options;
    const situation = await situations.read(id);
    const step = situation.rollout.state === 'completed' ? alarm(situation) : null;
    if (step !== null && (await store.commit(step, clock.now())))
      reportStep(security, situation, step);
  }

  /** A device that came after the rollout was made, in its last wave. */
  async #lateMember(rollout: RolloutRow, device: string): Promise<MemberRow | null> {
    const { store, clock } = this.#options;
    const { component, version } = rollout.release;
    const release = await store.release(component, version);
    if (release === null) return null;
    const [found] = await store.eligible(component, release.hardware, rollout.selector, device);
    if (found === undefined) return null;
    const wave = rollout.policy.waves.length - 1;
    return waitingMember(rollout.id, { device: found, wave, rank: LATE_RANK }, clock.now());
  }
}
