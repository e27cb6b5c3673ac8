// The conductor's loop: for each active rollout, read the situation, plan one step (plan.ts, pure),
// commit it, send hints to the devices, and plan again until nothing changes. It keeps nothing in
// memory that matters: after a crash, a failed commit, or beside a second conductor on the same
// store, the same step is planned again. Of two that plan from the same revision, one loses and
// reads again. A hint carries no authority: the director's signed metadata does.
import { limits } from '../../shared/base/limits.js';
import type { Cancel, Clock, Log } from '../../shared/base/interfaces.js';
import type { RolloutRow, RolloutStore, SecurityEventSink } from '../interfaces.js';
import { plan } from './plan.js';
import type { Plan, Situation } from './situation.js';
import { toAsk } from './taking.js';
import type { Reception } from './reception.js';
import { reportStep } from './security-report.js';
import type { SituationReader } from './situation-reader.js';

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
      for (const row of await store.active()) {
        if (!this.#hasRepeatedHints) await this.#repeatHints(row);
        await this.#conduct(row.id).catch((error: unknown) => {
          log.error(
            { rollout: row.id, err: error },
            'cannot conduct the rollout; the next pass tries again',
          );
        });
      }
      this.#hasRepeatedHints = true;
    } catch (error) {
      // The store may be out of reach for a while.
      log.error({ err: error }, 'cannot read the rollouts; the next pass tries again');
    }
  }

  /** After a start: the server may have stopped between a commit and its hints. */
  async #repeatHints(row: RolloutRow): Promise<void> {
    const { store, hint } = this.#options;
    for (const member of await store.members(row.id))
      if (member.state === 'taken' || member.state === 'reverting') hint(member.device);
  }

  async #conduct(id: string): Promise<void> {
    const { store, situations, clock, hint, security } = this.#options;
    for (let steps = 0; steps < limits.rolloutStepsMaxCount; steps++) {
      const situation = await situations.read(id, true);
      const step = plan(situation);
      if (step === null) {
        this.#ask(situation);
        return;
      }
      // False: another writer was first. Read again.
      if (!(await store.commit(step, clock.now()))) continue;
      this.#logStep(situation.rollout, step);
      reportStep(security, situation, step);
      for (const { device } of step.go === true ? step.members : step.assignments) hint(device);
    }
  }

  /**
   * Devices for which the window has room are told to ask now, instead of at their next poll. One
   * that does not is told again after a pause.
   */
  #ask(situation: Situation): void {
    const { clock, hint } = this.#options;
    const now = clock.monotonic();
    for (const [key, at] of this.#asked)
      if (now - at >= limits.hintPauseMs) this.#asked.delete(key);
    for (const device of toAsk(situation)) {
      const key = `${situation.rollout.id} ${device}`;
      if (this.#asked.has(key)) continue;
      this.#asked.set(key, now);
      hint(device);
    }
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
