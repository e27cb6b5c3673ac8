// Which of several servers conducts the rollouts: the one that holds a lease in the database. It
// renews the lease several times before it would end; the others try as often, so that one of them
// holds it at most limits.leaseTakeoverMaxMs after a conductor was killed. What this server
// believes decides only whether it tries: every write of a conductor checks the lease in its
// transaction.
import { limits } from '../../shared/base/limits.js';
import type { Cancel, Clock, Log } from '../../shared/base/interfaces.js';
import type { Fence, LeaseStore } from '../interfaces.js';

export interface ConductorLeaseOptions {
  readonly store: LeaseStore;
  /** Unique to this process. */
  readonly holder: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly onGain: () => void;
  /** Resolves when nothing that the lease allowed is under way. */
  readonly onLoss: () => Promise<void>;
}

const NAME = 'conductor';

export class ConductorLease {
  readonly #options: ConductorLeaseOptions;
  #fence: Fence | null = null;
  #isRunning = false;
  #turn: Promise<void> = Promise.resolve();
  #cancelTurn: Cancel = () => {};
  #cancelEnd: Cancel = () => {};

  constructor(options: ConductorLeaseOptions) {
    this.#options = options;
  }

  /** The lease that this server holds; null when another one may hold it. */
  fence(): Fence | null {
    return this.#fence;
  }

  start(): void {
    this.#isRunning = true;
    this.#begin();
  }

  /** Gives the lease back, so that another server need not wait for its end. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    this.#cancelTurn();
    await this.#turn;
    const fence = this.#fence;
    if (fence === null) return;
    // What is under way may still be committed.
    await this.#options.onLoss();
    this.#cancelEnd();
    this.#fence = null;
    await this.#options.store.release(fence).catch((error: unknown) => {
      this.#options.log.warn({ err: error }, 'cannot give the lease back; it ends by itself');
    });
  }

  #begin(): void {
    this.#turn = this.#renew().then(() => {
      if (this.#isRunning)
        this.#cancelTurn = this.#options.clock.after(limits.leaseRenewMs, () => this.#begin());
    });
  }

  /** Never rejects. */
  async #renew(): Promise<void> {
    const { store, holder, clock, log } = this.#options;
    // Counted from before the question: the database's time began later.
    const askedAt = clock.monotonic();
    let fence: Fence | null;
    try {
      fence = await store.acquire(NAME, holder, limits.leaseMs);
    } catch (error) {
      log.warn({ err: error }, 'cannot ask for the lease of the conductor; asking again');
      return;
    }
    const leftMs = askedAt + limits.leaseMs - clock.monotonic();
    if (fence === null || leftMs <= 0 || fence.revision !== this.#fence?.revision) this.#lose();
    if (fence === null || leftMs <= 0) return;
    this.#cancelEnd();
    this.#cancelEnd = clock.after(leftMs, () => this.#lose());
    if (this.#fence !== null) return;
    this.#fence = fence;
    log.info({ lease: fence.revision }, 'this server conducts the rollouts');
    this.#options.onGain();
  }

  #lose(): void {
    this.#cancelEnd();
    if (this.#fence === null) return;
    this.#fence = null;
    this.#options.log.info({}, 'this server does not conduct the rollouts any more');
    void this.#options.onLoss();
  }
}
