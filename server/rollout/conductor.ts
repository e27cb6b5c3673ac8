// The conductor obeys plans: observe -> decide (plan.ts, pure) -> commit one step -> hint the
// devices -> ask again, until nothing changes. It keeps nothing in memory that matters: a crash
// anywhere, a commit that fails or a second conductor on the same store only means that the same
// step is planned again. Of two that plan from the same generation, one loses and reads again.
// Operators' commands are events of the same table, committed the same way. It leaves
// authentication and the audit log to whoever calls it, and proof to the director: a hint carries
// no authority.
import { limits } from '../../shared/base/limits.js';
import { Fault, reason } from '../../shared/base/fault-codes.js';
import type { Cancel, Clock, Log, Random } from '../../shared/base/interfaces.js';
import type {
  RolloutCommand,
  RolloutRequest,
  RolloutDetail,
} from '../../shared/protocol/operator-api.js';
import { hex } from '../../shared/base/bytes.js';
import type { ReleaseRef } from '../../shared/release/release-ref.js';
import type {
  AuditAction,
  MemberRow,
  PageRequest,
  RolloutKey,
  RolloutRow,
  RolloutService,
  RolloutStore,
  RolloutSummaryRow,
} from '../interfaces.js';
import { commanded } from './operator-commands.js';
import { promise } from './verdict.js';
import { Reception } from './reception.js';
import { plan, type Plan, type Situation } from './plan.js';
import { ACTIVE_STATES } from './transitions.js';
import { viewOf } from './rollout-view.js';
import { emptyWaves, placeInWaves, policyComplaints } from './waves.js';

export interface ConductorParts {
  readonly store: RolloutStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** "Look at your assignment now." May fail silently: devices look by themselves, only later. */
  readonly hint: (device: string) => void;
}

/**
 * Steps for one rollout in one pass; what is left is done in the next, so that none can hold up the
 * others.
 */
const STEPS_MAX = 50;
/** A command races with the conductor's own steps; each lost race is one of these. */
const COMMAND_TRIES_MAX = 20;

export class Conductor implements RolloutService {
  /** For whoever knows that devices cannot be heard. */
  readonly reception: Reception;
  readonly #parts: ConductorParts;
  #running = false;
  #busy = false;
  #wanted = false;
  #hinted = false;
  #pass: Promise<void> = Promise.resolve();
  #cancel: Cancel = () => {};

  constructor(parts: ConductorParts) {
    this.#parts = parts;
    this.reception = new Reception(parts.clock);
  }

  /**
   * A draft, its members in their waves. Faults: message_undecodable (policy), not_found (release),
   * conflict (no devices).
   */
  async create(request: RolloutRequest, audit: AuditAction): Promise<RolloutDetail> {
    const { actor } = audit;
    const { store, clock, random } = this.#parts;
    const { component, version, policy } = request;
    const complaints = policyComplaints(policy);
    if (complaints.length > 0)
      throw new Fault('message_undecodable', `rollout policy: ${complaints.join('; ')}`);
    const release = await store.release(component, version);
    if (release === null)
      throw new Fault('not_found', `release ${component} ${version} is not published`);
    const devices = await store.eligible(component, release.hardware, request.groups ?? null);
    const id = `ro-${hex(random.bytes(8))}`;
    const places = placeInWaves(id, devices, policy.waves);
    const empty = emptyWaves(places, policy.waves);
    if (empty.length > 0) throw new Fault('conflict', empty.join('; '));
    if (places.length === 0) {
      throw new Fault(
        'conflict',
        `no enrolled device carries ${component} on ${release.hardware.join(', ')}`,
      );
    }
    if (places.length > limits.rolloutDevicesMaxCount) {
      const most = limits.rolloutDevicesMaxCount;
      throw new Fault(
        'conflict',
        `${places.length} devices; a rollout takes at most ${most}: choose groups`,
      );
    }
    const now = clock.now();
    const members = places.map(({ device, wave }): MemberRow => ({
      rollout: id,
      device: device.id,
      name: device.name,
      group: device.group,
      hardware: device.hardware,
      wave,
      state: 'waiting',
      since: now,
      reasons: '',
      previous: null,
      mayRun: false,
      assignmentId: null,
      assignedAt: null,
      failed: false,
    }));
    const strata = new Set(members.map((member) => member.hardware)).size;
    await store.insertRollout(
      {
        id,
        release: release.ref,
        state: 'draft',
        wave: 0,
        reasons: [`made by ${actor}`, promise(members.length, strata, policy)],
        policy,
        createdAt: now,
        createdBy: actor,
        since: now,
        healthySince: null,
        approved: false,
        answeredAt: null,
        revision: 0,
      },
      members,
      [audit, created(audit, id, release.ref)],
    );
    return this.view(id);
  }

  /** Faults: not_found; conflict, with the present state and what is possible. */
  async command(
    id: string,
    command: RolloutCommand,
    audit: AuditAction,
    why?: string,
  ): Promise<RolloutDetail> {
    const { store, clock } = this.#parts;
    for (let tries = 0; tries < COMMAND_TRIES_MAX; tries++) {
      const situation = await this.#situation(id);
      if (command === 'start') await this.#onlyOne(situation.rollout);
      const changed = commanded(situation, command, audit.actor, why);
      if (
        await store.commit(
          { rollout: changed, members: [], assignments: [], audit: [audit] },
          clock.now(),
        )
      ) {
        this.wake();
        return this.view(id);
      }
    }
    throw new Fault(
      'conflict',
      `rollout ${id} changes faster than ${command} can be applied; try again`,
    );
  }

  async view(id: string): Promise<RolloutDetail> {
    return viewOf(await this.#situation(id), await this.#parts.store.history(id));
  }

  page(page: PageRequest<RolloutKey>): Promise<RolloutSummaryRow[]> {
    return this.#parts.store.page(page);
  }

  /**
   * Looks at every active rollout now, for a person who waits; what devices say waits for the next
   * pass. Does nothing before start.
   */
  wake(): void {
    if (!this.#running) return;
    this.#wanted = true;
    if (!this.#busy) this.#schedule(0);
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.reception.again();
    this.wake();
  }

  /** Resolves when the pass under way, if any, has ended. */
  async stop(): Promise<void> {
    this.#running = false;
    this.#cancel();
    await this.#pass;
  }

  #schedule(ms: number): void {
    this.#cancel();
    this.#cancel = this.#parts.clock.after(ms, () => this.#begin());
  }

  /**
   * One pass at a time, each a while after the last one ended; a command during a pass gets another
   * one right after it.
   */
  #begin(): void {
    this.#busy = true;
    this.#wanted = false;
    this.#pass = this.pass().then(() => {
      this.#busy = false;
      if (this.#running) this.#schedule(this.#wanted ? 0 : limits.conductorEveryMs);
    });
  }

  /**
   * One look at every active rollout: each goes as far as it can now. One that fails is logged and
   * tried again next time.
   */
  async pass(): Promise<void> {
    const { store, log, hint } = this.#parts;
    // Also where there is nothing to conduct: whoever starts a rollout after an idle hour was
    // listening all along.
    this.reception.since();
    try {
      for (const row of await store.active()) {
        if (!this.#hinted) await this.#hintAgain(row, hint);
        await this.#conduct(row.id).catch((error: unknown) => {
          log.error(
            { rollout: row.id, error: reason(error) },
            'a rollout could not be conducted; the next pass tries again',
          );
        });
      }
      this.#hinted = true;
    } catch (error) {
      // The store may be unreachable for a while; the conductor must outlive that.
      log.error(
        { error: reason(error) },
        'the rollouts could not be read; the next pass tries again',
      );
    }
  }

  /** A server may have died between a commit and its hints. */
  async #hintAgain(row: RolloutRow, hint: (device: string) => void): Promise<void> {
    const members = await this.#parts.store.members(row.id);
    for (const member of members)
      if (member.state === 'assigned' || member.state === 'reverting') hint(member.device);
  }

  async #conduct(id: string): Promise<void> {
    const { store, clock, log, hint } = this.#parts;
    for (let steps = 0; steps < STEPS_MAX; steps++) {
      const situation = await this.#situation(id);
      const step = plan(situation);
      if (step === null) return;
      // Someone else wrote first: read again.
      if (!(await store.commit(step, clock.now()))) continue;
      this.#say(situation.rollout, step, log);
      for (const assignment of step.assignments) hint(assignment.device);
    }
  }

  #say(before: RolloutRow, { rollout, members, assignments }: Plan, log: Log): void {
    const { component, version } = rollout.release;
    const fields = { rollout: rollout.id, release: `${component} ${version}`, wave: rollout.wave };
    for (const member of members)
      log.info({ ...fields, device: member.name, state: member.state }, member.reasons);
    if (assignments.length > 0)
      log.info({ ...fields, devices: assignments.length }, 'orders given');
    const moved = before.state !== rollout.state || before.wave !== rollout.wave;
    if (moved) log.info({ ...fields, state: rollout.state }, rollout.reasons.join('; '));
  }

  async #situation(id: string): Promise<Situation> {
    const { store, clock } = this.#parts;
    const rollout = await store.rollout(id);
    if (rollout === null) throw new Fault('not_found', `there is no rollout ${id}`);
    const members = await store.members(id);
    const facts = await store.facts(
      rollout.release.component,
      members.map((member) => member.device),
    );
    const published = await this.#published(rollout.release.component, facts);
    return {
      rollout,
      members,
      facts,
      published,
      receptionSince: this.reception.since(),
      now: clock.now(),
    };
  }

  /** A device may claim to run anything; only what was published can be ordered back. */
  async #published(component: string, facts: Situation['facts']): Promise<Set<string>> {
    const claimed = new Map<string, string>();
    for (const { update, trial, standing } of facts.values()) {
      for (const ref of [update?.running, update?.previous, trial?.previous, standing?.release]) {
        if (ref?.component === component) claimed.set(ref.digest, ref.version);
      }
    }
    const versions = new Map<string, string | undefined>();
    for (const version of new Set(claimed.values())) {
      versions.set(version, (await this.#parts.store.release(component, version))?.ref.digest);
    }
    return new Set(
      [...claimed]
        .filter(([digest, version]) => versions.get(version) === digest)
        .map(([digest]) => digest),
    );
  }

  async #onlyOne(rollout: RolloutRow): Promise<void> {
    const { component } = rollout.release;
    const active = (await this.#parts.store.active()).filter((row) =>
      ACTIVE_STATES.includes(row.state),
    );
    const other = active.find(
      (row) => row.id !== rollout.id && row.release.component === component,
    );
    if (other === undefined) return;
    throw new Fault(
      'conflict',
      `rollout ${other.id} of ${other.release.component} ${other.release.version} is ${other.state}: ` +
        'one rollout of a component at a time; let it end or abort it first',
    );
  }
}

/** The request names the release; this entry also names the rollout and the release's digest. */
function created({ actor }: AuditAction, id: string, release: ReleaseRef): AuditAction {
  const { component, version, digest } = release;
  return {
    actor,
    action: 'rollout.created',
    subject: id,
    detail: `${component}@${version} ${digest}`,
  };
}
