// A device asks what it should run: the moment in which it may take a release. The take and its
// assignment are committed, durably, before the device gets its answer. Taking is guarded by the
// rollout's revision, so that two devices that ask at once never share one place of the window.
// Devices that ask this server at once are answered together, with one reading of the rollout and
// one commit: each take changes the revision, so of 200 that asked for themselves, 83 lost all
// their tries. Another server or the conductor may still be first.
import { limits } from '../../shared/base/limits.js';
import type { Clock, Log } from '../../shared/base/interfaces.js';
import { Gatherer } from '../../shared/platform/gatherer.js';
import type {
  MemberCount,
  MemberRow,
  RolloutRow,
  RolloutStore,
  SecurityEventSink,
} from '../interfaces.js';
import { changeOf } from './forward.js';
import { alarm } from './halt.js';
import { waitingMember } from './members.js';
import { paused } from './pace.js';
import { reportStep } from './security-report.js';
import type { Plan } from './situation.js';
import { take, type Contact } from './taking.js';
import { room } from './window.js';
import type { SituationReader } from './situation-reader.js';

export interface ContactsOptions {
  readonly store: RolloutStore;
  readonly situations: SituationReader;
  readonly clock: Clock;
  readonly log: Log;
  readonly security: Pick<SecurityEventSink, 'report'>;
}

interface Asking {
  readonly device: string;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** What a device's contact changes: its take, or what was learned of it. */
interface Answer extends Plan {
  /** As it was in the store; null: it came after the rollout was made. */
  readonly before: MemberRow | null;
}

/** A device that asks, with what it is in the rollout. */
interface Place {
  readonly member: MemberRow;
  /** As it is in the store; null: it came after the rollout was made. */
  readonly before: MemberRow | null;
}

/** After all devices that a rollout was made with. */
const LATE_RANK = limits.rolloutDevicesMaxCount;

export class Contacts {
  readonly #options: ContactsOptions;
  /**
   * The revision at which a rollout had no room for a kind of hardware: until it changes, nobody
   * counts again. Bounded by the rollouts of this process's life.
   */
  readonly #fullAt = new Map<string, number>();
  /** Devices that wait for a rollout's answer, by its id. */
  readonly #asking = new Map<string, Gatherer<Asking>>();

  constructor(options: ContactsOptions) {
    this.#options = options;
  }

  /** Never rejects: a rollout that cannot be read must not keep the device from its metadata. */
  async contact(device: string): Promise<void> {
    const { store, log } = this.#options;
    try {
      for (const rollout of await store.offersTo(device)) await this.#ask(rollout, device);
    } catch (error) {
      log.error({ device, err: error }, 'cannot offer a release; the device will ask again');
    }
  }

  #ask(id: string, device: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const asking = this.#asking.get(id) ?? this.#gatherer(id);
      this.#asking.set(id, asking);
      asking.add({ device, resolve, reject });
    });
  }

  #gatherer(id: string): Gatherer<Asking> {
    return new Gatherer({
      maxCount: limits.takesTogetherMaxCount,
      work: (group) => this.#answerAll(id, group),
      onIdle: () => this.#asking.delete(id),
    });
  }

  /** Never rejects. */
  async #answerAll(id: string, group: readonly Asking[]): Promise<void> {
    try {
      await this.#offer(
        id,
        group.map(({ device }) => device),
      );
      for (const { resolve } of group) resolve();
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
  }

  async #offer(id: string, devices: readonly string[]): Promise<void> {
    const { store, clock, log } = this.#options;
    for (let tries = 0; tries < limits.takeTriesMaxCount; tries++) {
      const rollout = await store.rollout(id);
      if (rollout === null) return;
      const answers = await this.#answers(rollout, devices);
      if (answers.length === 0) return;
      const members = answers.flatMap((answer) => answer.members);
      const change: Plan = {
        rollout,
        members,
        assignments: answers.flatMap(({ assignments }) => assignments),
        takes: answers.flatMap(({ takes }) => takes ?? []),
      };
      if (!(await store.commit(change, clock.now()))) continue;
      for (const { name, state, reasons } of members)
        log.info({ rollout: id, device: name, state }, reasons);
      if (members.some(({ failed }) => failed)) await this.#alarm(id);
      // Where the pace counts each take, only the first of them was answered.
      const rest = devices.slice(devices.indexOf(members.at(-1)?.device ?? '') + 1);
      if (isPaced(rollout) && rest.length > 0) await this.#offer(id, rest);
      return;
    }
  }

  /** In the order in which they ask; each is counted before the next one is answered. */
  async #answers(rollout: RolloutRow, devices: readonly string[]): Promise<Answer[]> {
    const { store, situations, clock } = this.#options;
    const lastTake = await this.#lastTake(rollout);
    if (paused(rollout.policy, lastTake, clock.now()) !== null) return [];
    const asking = await this.#places(rollout, devices);
    if (asking.length === 0) return [];
    const ids = asking.map(({ member }) => member.device);
    const seen = await situations.ofDevices(rollout, ids);
    const undecidedElsewhere = await store.undecidedElsewhere(rollout.id, ids);
    let counts: readonly MemberCount[] = await store.memberCounts(rollout.id);
    const answers: Answer[] = [];
    for (const { member, before } of asking) {
      if (this.#isFull(rollout, counts, member)) continue;
      const step = answerTo({
        ...{ ...seen, facts: seen.facts.get(member.device) },
        ...{ rollout, member, counts, lastTake },
        isUndecidedElsewhere: undecidedElsewhere.has(member.device),
      });
      if (step === null) continue;
      answers.push({ ...step, before });
      if (isPaced(rollout)) break;
      counts = recounted(counts, { ...step, before });
    }
    return answers;
  }

  /** Of the devices that may find room, in their order. */
  async #places(rollout: RolloutRow, devices: readonly string[]): Promise<Place[]> {
    const members = await this.#options.store.membersOf(rollout.id, devices);
    const known = new Map(members.map((member) => [member.device, member]));
    const found: Place[] = [];
    for (const device of devices) {
      const before = known.get(device) ?? null;
      const member = before ?? (await this.#lateMember(rollout, device));
      if (member !== null && this.#fullAt.get(fullKey(rollout, member)) !== rollout.revision)
        found.push({ member, before });
    }
    return found;
  }

  #isFull(rollout: RolloutRow, counts: readonly MemberCount[], member: MemberRow): boolean {
    const isFull = room(rollout, counts, member.hardware) === 0;
    if (isFull) this.#fullAt.set(fullKey(rollout, member), rollout.revision);
    return isFull;
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

const fullKey = ({ id }: RolloutRow, { hardware }: MemberRow): string => `${id} ${hardware}`;

/** Its take, or what was learned of it; null: nothing changes. */
function answerTo(contact: Contact): Plan | null {
  const { rollout, member, facts } = contact;
  // Nobody watches the confirmed devices of a completed rollout: one may have lost the release.
  const now = changeOf(member, facts, contact);
  const step = take({ ...contact, member: now ?? member });
  if (step !== null) return step;
  return now === null ? null : { rollout, members: [now], assignments: [] };
}

const isPaced = ({ policy }: RolloutRow): boolean => policy.takesPerHour !== undefined;

/** The counts after an answer, before it is committed. */
function recounted(counts: readonly MemberCount[], { before, members }: Answer): MemberCount[] {
  const changed = counts.map((one) =>
    before !== null && isOf(one, before) ? { ...one, count: one.count - 1 } : one,
  );
  for (const { wave, hardware, state, proven } of members)
    changed.push({ wave, hardware, state, proven, count: 1 });
  return changed.filter(({ count }) => count > 0);
}

const isOf = (count: MemberCount, member: MemberRow): boolean =>
  count.wave === member.wave &&
  count.hardware === member.hardware &&
  count.state === member.state &&
  count.proven === member.proven;
