// The conductor's loop: for each active rollout, read what changed, plan one step (plan.ts, pure),
// commit it, send hints to the devices, and plan again until nothing changes. It keeps nothing in
// memory that matters: after a crash, a failed commit, or beside a second conductor on the same
// store, the same step is planned again. Of two that plan from the same revision, one loses and
// reads again. A hint carries no authority: the director's signed metadata does.
//
// The cost of a pass follows from what happened, not from the size of the fleet. Members that
// changed, whose devices reported something, or whose time has come (looks.ts) are looked at, some
// at a time. All members are read only when they may decide something together (quiet.ts,
// known.ts), page by page, and otherwise once in limits.conductorWholeEveryMs.
import { limits } from '../../shared/base/limits.js';
import type { Cancel, Clock, Log } from '../../shared/base/interfaces.js';
import { HOUR_MS } from '../../shared/base/units.js';
import { turn } from '../../shared/platform/turn.js';
import type { MemberKey, RolloutRow, RolloutStore, SecurityEventSink } from '../interfaces.js';
import { assignBack, FORWARD } from './backward.js';
import { keyOf, Known, type Seen } from './known.js';
import { nextLook } from './looks.js';
import { watchStep, wholeStep } from './plan.js';
import { signsOf } from './quiet.js';
import type { Plan, Situation } from './situation.js';
import { isOffered, toAsk, type Taken } from './taking.js';
import type { Reception } from './reception.js';
import { reportStep } from './security-report.js';
import type { SituationReader } from './situation-reader.js';
import { seriesOf } from './strategies.js';
import { changeSince, updateAssignments } from './updates.js';
import { room, roomInAll } from './window.js';
import type { WholeSituation } from './whole-situation.js';

export interface ConductorOptions {
  readonly store: RolloutStore;
  readonly situations: SituationReader;
  readonly reception: Reception;
  readonly clock: Clock;
  readonly log: Log;
  readonly security: Pick<SecurityEventSink, 'report'>;
  /** Tells a device to read its assignment now. May fail silently: devices poll as well. */
  readonly hint: (device: string) => void;
}

export class Conductor {
  readonly #options: ConductorOptions;
  #isRunning = false;
  #isInPass = false;
  #isPassRequested = false;
  #hasRepeatedHints = false;
  readonly #known = new Map<string, Known>();
  /** When a device was told to ask for a rollout, by rollout and device. */
  readonly #asked = new Map<string, number>();
  #pass: Promise<void> = Promise.resolve();
  #cancel: Cancel = () => {};

  constructor(options: ConductorOptions) {
    this.#options = options;
  }

  /**
   * Starts the next pass now, because an operator waits for it; reports of devices wait for the
   * next regular pass. Does nothing before `start`.
   */
  wake(): void {
    if (!this.#isRunning) return;
    this.#isPassRequested = true;
    if (!this.#isInPass) this.#schedule(0);
  }

  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    // Another server may have conducted meanwhile.
    this.#known.clear();
    this.#options.reception.restart();
    this.wake();
  }

  /** Resolves when the present pass, if any, has ended. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    this.#cancel();
    await this.#pass;
  }

  #schedule(ms: number): void {
    this.#cancel();
    this.#cancel = this.#options.clock.after(ms, () => this.#begin());
  }

  /** One pass at a time; a request during a pass starts another one directly after it. */
  #begin(): void {
    this.#isInPass = true;
    this.#isPassRequested = false;
    this.#pass = this.pass().then(() => {
      this.#isInPass = false;
      if (this.#isRunning) this.#schedule(this.#isPassRequested ? 0 : limits.conductorEveryMs);
    });
  }

  /**
   * Takes every active rollout as far as it can go now. One that fails is logged, and the next pass
   * tries it again. Never rejects.
   */
  async pass(): Promise<void> {
    const { store, reception, log } = this.#options;
    // Also without an active rollout: the server hears devices while nothing is rolled out.
    reception.observe();
    try {
      const rows = await store.active();
      const due = new Set(await store.dueRollouts(this.#options.clock.now()));
      for (const row of rows) {
        if (!this.#hasRepeatedHints) await this.#repeatHints(row);
        if (!due.delete(row.id) && !this.#isStale(row)) continue;
        await this.#conduct(row).catch((error: unknown) => {
          log.error(
            { rollout: row.id, err: error },
            'cannot conduct the rollout; the next pass tries again',
          );
        });
      }
      this.#hasRepeatedHints = true;
      await this.#forget(rows, due);
    } catch (error) {
      // The store may be out of reach for a while.
      log.error({ err: error }, 'cannot read the rollouts; the next pass tries again');
    }
  }

  #isStale(row: RolloutRow): boolean {
    const { reception, clock } = this.#options;
    return this.#known.get(row.id)?.isStale(row, reception.since, clock.now()) ?? true;
  }

  /** What ended, and members of it that changed last. */
  async #forget(active: readonly RolloutRow[], due: ReadonlySet<string>): Promise<void> {
    const ids = new Set(active.map(({ id }) => id));
    for (const id of this.#known.keys()) if (!ids.has(id)) this.#known.delete(id);
    for (const id of due)
      await this.#options.store.forgetLooks(id, limits.conductorPageRowsMaxCount);
  }

  /** After a start: the server may have stopped between a commit and its hints. */
  async #repeatHints({ id }: RolloutRow): Promise<void> {
    const { store, hint } = this.#options;
    const limit = limits.conductorPageRowsMaxCount;
    for (const state of ['taken', 'reverting'] as const) {
      let after: MemberKey | null = null;
      do {
        const members = await store.memberPage(id, { state }, { limit, after });
        for (const { device } of members) hint(device);
        const last = members.at(-1);
        after =
          last === undefined || members.length < limit ? null : [last.wave, last.rank, last.device];
        if (after !== null) await turn();
      } while (after !== null);
    }
  }

  async #conduct(first: RolloutRow): Promise<void> {
    const { store, situations } = this.#options;
    const known = this.#known.get(first.id) ?? new Known();
    this.#known.set(first.id, known);
    let whole: WholeSituation | null = null;
    /** Devices in which a reading of all found something that nobody had told. */
    const found: string[] = [];
    for (let steps = 0; steps < limits.rolloutStepsMaxCount; steps++) {
      const row = steps === 0 ? first : await store.rollout(first.id);
      if (row === null) return;
      if (whole !== null && keyOf(whole.rollout) !== keyOf(row)) whole = null;
      if (await this.#updateAssignments(row, known)) continue;
      if (await this.#watch(row, known, whole, found)) continue;
      if (await this.#assignBack(row)) continue;
      const seen = await this.#see(row);
      if (whole === null) {
        if (known.needsWhole(seen)) {
          if (known.mayRead(seen, this.#options.clock.monotonic())) {
            whole = await this.#readWhole(seen, known, found);
            continue;
          }
        } else known.noteDone(seen);
        await this.#ask(seen, known);
        return;
      }
      const situation = await situations.together(whole, row, true);
      if (situation.members.length > limits.conductorPageRowsMaxCount) await turn();
      const step = wholeStep(situation);
      if (step === null) {
        known.noteWhole(seen, whole.signs);
        known.noteDone(seen);
        await this.#ask(seen, known);
        return;
      }
      await this.#commit(situation, step);
    }
  }

  /** Looks at some of the members that are to be looked at. False: there were none. */
  async #watch(
    row: RolloutRow,
    known: Known,
    whole: WholeSituation | null,
    found: string[],
  ): Promise<boolean> {
    const { store, situations, clock } = this.#options;
    const limit = limits.conductorPageRowsMaxCount;
    const looks = await store.due(row.id, clock.now(), limit);
    const devices = new Set([
      ...looks.map(({ device }) => device),
      ...found.splice(0, limit - looks.length),
    ]);
    if (devices.size === 0) return false;
    const members = await store.membersOf(row.id, [...devices]);
    const situation = await situations.ofMembers(row, members);
    whole?.put(situation);
    const step = watchStep(situation);
    if (step !== null) {
      await this.#commit(situation, step);
      return true;
    }
    const signs = signsOf(situation, members);
    known.isPooled ||= signs.isPooled;
    known.isTroubled ||= signs.isTroubled;
    const byDevice = new Map(members.map((member) => [member.device, member]));
    await store.looked(
      row.id,
      looks.map(({ device, mark }) => {
        const member = byDevice.get(device);
        const report = situation.facts.get(device);
        const at = member === undefined ? null : nextLook(member, report, row, situation);
        return { device, mark, at };
      }),
    );
    if (looks.length < limit && found.length === 0) return false;
    await turn();
    return true;
  }

  /** Some of the assignments that lag behind the rollout. False: none is left. */
  async #updateAssignments(row: RolloutRow, known: Known): Promise<boolean> {
    const change = changeSince(row);
    if (change === null || change === known.updated) return false;
    const { store, clock } = this.#options;
    const limit = limits.conductorPageRowsMaxCount;
    const after = known.updating?.change === change ? known.updating.upTo : null;
    const members = await store.lagging(row, { limit, after });
    const last = members.at(-1);
    if (last !== undefined) {
      if (!(await this.#write(row, updateAssignments(row, members, clock.now())))) return true;
      known.updating = { change, upTo: last.device };
    }
    if (members.length < limit) known.updated = change;
    return last !== undefined;
  }

  /** Some of the devices that have the release, where all go back at once. False: none is left. */
  async #assignBack(row: RolloutRow): Promise<boolean> {
    if (row.state !== 'reverting' || row.undo) return false;
    const { store, situations } = this.#options;
    const left = await store.assigned(row.id, FORWARD, limits.conductorPageRowsMaxCount);
    if (left.length === 0) return false;
    const situation = await situations.ofMembers(row, left);
    const step = assignBack(situation);
    if (step === null) return false;
    await this.#commit(situation, step);
    return true;
  }

  async #see(rollout: RolloutRow): Promise<Seen> {
    const { store, reception, clock } = this.#options;
    return {
      rollout,
      counts: await store.memberCounts(rollout.id),
      ...(await store.takeSigns(seriesOf(rollout))),
      receptionSince: reception.since,
      now: clock.now(),
    };
  }

  async #readWhole(seen: Seen, known: Known, found: string[]): Promise<WholeSituation> {
    const { situations, clock } = this.#options;
    const from = clock.monotonic();
    const whole = await situations.readAll(seen.rollout, (page) => {
      found.push(...(watchStep(page)?.members ?? []).map(({ device }) => device));
    });
    known.noteRead(seen, from, clock.monotonic());
    return whole;
  }

  async #commit(situation: Situation, step: Plan): Promise<void> {
    if (await this.#write(situation.rollout, step))
      reportStep(this.#options.security, situation, step);
  }

  /** False: another writer was first, and everything is read again. */
  async #write(before: RolloutRow, step: Plan): Promise<boolean> {
    const { store, clock, hint } = this.#options;
    if (step.members.length * 4 > limits.conductorPageRowsMaxCount) await turn();
    if (!(await store.commit(step, clock.now()))) return false;
    this.#logStep(before, step);
    for (const { device } of step.assignments) hint(device);
    for (const device of step.updated ?? []) hint(device);
    return true;
  }

  /**
   * Devices for which the window has room are told to ask now, instead of at their next poll. One
   * that does not is told again after a pause.
   */
  async #ask(seen: Seen, known: Known): Promise<void> {
    const { clock, hint } = this.#options;
    const now = clock.monotonic();
    for (const [key, at] of this.#asked)
      if (now - at >= limits.hintPauseMs) this.#asked.delete(key);
    for (const device of await this.#candidates(seen, known)) {
      const key = `${seen.rollout.id} ${device}`;
      if (this.#asked.has(key)) continue;
      this.#asked.set(key, now);
      hint(device);
    }
  }

  /** A bounded search; the next pass goes on with it. */
  async #candidates({ rollout, counts, now }: Seen, known: Known): Promise<string[]> {
    const { store, situations } = this.#options;
    const wave = rollout.state === 'rolling' ? rollout.wave : limits.wavesMaxCount;
    const waiting = counts.filter((one) => one.state === 'waiting' && one.wave <= wave);
    const hardware = [...new Set(waiting.map((one) => one.hardware))].filter(
      (kind) => room(rollout, counts, kind) > 0,
    );
    known.askAt = Infinity;
    if (!isOffered(rollout) || hardware.length === 0) return [];
    known.askAt = now + limits.hintPauseMs;
    const taken = await this.#taken(rollout, counts, now);
    const free = roomInAll(rollout, counts);
    let limit = Math.min(limits.conductorPageRowsMaxCount, limits.conductorAskRowsMinCount + free);
    const found: string[] = [];
    for (let pages = 0; pages < limits.conductorAskPagesMaxCount; pages++) {
      const page = await store.inTurn(
        rollout.id,
        { wave, hardware },
        { limit, after: known.askAfter },
      );
      found.push(...toAsk(await situations.ofMembers(rollout, page), taken));
      const last = page.at(-1);
      const isEnd = last === undefined || page.length < limit || found.length >= free;
      known.askAfter = isEnd ? null : [last.wave, last.rank, last.device];
      if (isEnd) return found.slice(0, free);
      limit = Math.min(limits.conductorPageRowsMaxCount, 2 * limit);
      await turn();
    }
    known.askAt = now;
    return found.slice(0, free);
  }

  async #taken({ id, policy }: RolloutRow, counts: Taken['counts'], now: number): Promise<Taken> {
    const { store } = this.#options;
    const { takesPerHour } = policy;
    if (takesPerHour === undefined) return { counts, lastTake: null, recentTakes: 0 };
    return {
      counts,
      lastTake: await store.lastTake(id, takesPerHour),
      recentTakes: await store.takesSince(id, now - HOUR_MS),
    };
  }

  #logStep(before: RolloutRow, { rollout, members, assignments }: Plan): void {
    const { log } = this.#options;
    const { component, version } = rollout.release;
    const fields = { rollout: rollout.id, release: `${component} ${version}`, wave: rollout.wave };
    for (const member of members)
      log.info({ ...fields, device: member.name, state: member.state }, member.reasons);
    if (assignments.length > 0)
      log.info({ ...fields, devices: assignments.length }, 'assigned devices');
    const moved = before.state !== rollout.state || before.wave !== rollout.wave;
    if (moved) log.info({ ...fields, state: rollout.state }, rollout.reasons.join('; '));
  }
}
