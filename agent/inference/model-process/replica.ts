// A replica: the supervised model process of one release. When the process dies, the next one is
// started, with backoff, until the replica is stopped. It runs one request at a time and reports
// when it is free. A planned restart replaces the process by a second, warm one while the first
// serves. Which request runs, and what happens to a request whose process died, is the
// engine's decision.
import { Fault } from '../../../shared/base/fault-codes.js';
import { backoff, type Random } from '../../../shared/base/interfaces.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import type { Installed } from '../../interfaces.js';
import { newHost, type Host, type HostOptions, type HostUsage } from './host.js';
import { readProbes } from '../model/probes-file.js';
import type { Tensor } from '../model/tensor.js';

export interface ReplicaListener {
  /** The process is up and idle: after a start, a restart and each memory report. */
  onFree(replica: Replica): void;
  /** A crash, a hang, or a failed restart. */
  onFault(replica: Replica, fault: Fault): void;
}

export class Replica {
  readonly installed: Installed;
  readonly ref: ReleaseRef;
  readonly #options: HostOptions;
  readonly #random: Random;
  readonly #listener: ReplicaListener;
  #host: Host | null = null;
  /** Starts in a planned restart. */
  #second: Host | null = null;
  /** The end of the process that the last planned restart replaced. */
  #drained: Promise<void> = Promise.resolve();
  #busy = false;
  #stopped = false;
  #tries = 0;
  #warmup: readonly Tensor[] | null = null;
  #restarting: Promise<void> = Promise.resolve();
  #wake: () => void = () => {};

  constructor(
    installed: Installed,
    options: HostOptions,
    random: Random,
    listener: ReplicaListener,
  ) {
    this.installed = installed;
    this.#options = options;
    this.#random = random;
    this.#listener = listener;
    const { component, version, digest } = installed.release;
    this.ref = { component, version, digest };
  }

  get pid(): number | undefined {
    return this.#host?.pid;
  }

  get up(): boolean {
    return this.#host?.ready === true;
  }

  get free(): boolean {
    return !this.#busy && this.up;
  }

  /** Tries one start. Faults: those of Host.start and readProbes. */
  async start(): Promise<void> {
    this.#warmup ??=
      (await readProbes(this.installed, this.#options.limits.probesFileMaxBytes))[0]?.inputs ?? [];
    const host = newHost(this.#options, this.installed);
    this.#host = host;
    await host.start(this.#warmup);
    host.onDeath = (fault) => this.#died(host, fault);
    if (this.#stopped) await host.stop();
    else this.#listener.onFree(this);
  }

  /**
   * The planned restart: a new process loads and warms the release while the present one serves,
   * takes over at once, and the present one ends after its current run. Returns how long the start
   * took in ms; null: not now, because no process is up. After a Fault (those of Host.start)
   * the present one serves on. The caller must wait for one call before the next.
   */
  async restart(): Promise<number | null> {
    await this.#drained;
    const first = this.#host;
    if (first === null || !first.ready) return null;
    const { clock, log } = this.#options;
    const since = clock.monotonic();
    const second = newHost(this.#options, this.installed);
    this.#second = second;
    try {
      await second.start(this.#warmup ?? []);
    } catch (error) {
      // The present process may have died meanwhile; see #died.
      if (this.#host === null) this.#restarting = this.#keepStarting(true);
      throw error;
    } finally {
      this.#second = null;
    }
    second.onDeath = (fault) => this.#died(second, fault);
    this.#host = second;
    this.#drained = first.stop();
    const tookMs = Math.round(clock.monotonic() - since);
    log.info({ release: this.ref, pid: this.pid, tookMs }, 'model process replaced as planned');
    if (this.free) this.#listener.onFree(this);
    return tookMs;
  }

  /** Starts in the background, with backoff, until up or stopped. Failures go to the listener. */
  startEventually(): void {
    this.#restarting = this.#keepStarting(false);
  }

  async run(inputs: readonly Tensor[]): Promise<Tensor[]> {
    const host = this.#host;
    if (host === null) throw new Fault('host_died', 'the model process is not running');
    this.#busy = true;
    try {
      const outputs = await host.run(inputs);
      this.#tries = 0;
      return outputs;
    } finally {
      this.#busy = false;
    }
  }

  /** Null during a run or a restart. */
  async memory(): Promise<HostUsage | null> {
    const host = this.#host;
    if (this.#busy || host?.ready !== true) return null;
    this.#busy = true;
    try {
      return await host.usage();
    } finally {
      this.#busy = false;
      if (this.free) this.#listener.onFree(this);
    }
  }

  /** Waits for the current run, then ends the process. It is not restarted. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await Promise.all([this.#host?.stop(), this.#second?.stop(), this.#drained]);
    await this.#restarting;
  }

  #died(host: Host, fault: Fault): void {
    if (this.#stopped) return;
    this.#options.log.error({ release: this.ref, err: fault }, 'model process died');
    const isReplaced = this.#host !== host;
    if (!isReplaced) this.#host = null;
    this.#listener.onFault(this, fault);
    // In a planned restart the next process is starting already.
    if (!isReplaced && this.#second === null) this.#restarting = this.#keepStarting(true);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  async #keepStarting(wait: boolean): Promise<void> {
    if (wait) await this.#backOff();
    while (!this.#stopped && !(await this.#startOnce())) await this.#backOff();
  }

  /** A stop ends the pause. */
  async #backOff(): Promise<void> {
    if (this.#stopped) return;
    const { hostRestartBackoffFirstMs, hostRestartBackoffMaxMs } = this.#options.limits;
    this.#tries += 1;
    await this.#pause(
      backoff(this.#tries, hostRestartBackoffFirstMs, hostRestartBackoffMaxMs, this.#random),
    );
  }

  /** False: the start failed, and the listener knows. */
  async #startOnce(): Promise<boolean> {
    const { log } = this.#options;
    try {
      await this.start();
      if (!this.#stopped)
        log.info({ release: this.ref, pid: this.pid, tries: this.#tries }, 'model process started');
      return true;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#host = null;
      log.error(
        { release: this.ref, err: error, tries: this.#tries },
        'model process did not start',
      );
      if (!this.#stopped) this.#listener.onFault(this, error);
      return false;
    }
  }
}
