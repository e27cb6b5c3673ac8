// One release kept running: a model process, and after an unasked death the next one, with backoff,
// until stopped. It runs one request at a time and says when it is free. It decides nothing about
// requests: who runs what, and what to do with a request whose process died, is the engine's.
import { Fault, reason } from '../../../shared/base/fault-codes.js';
import { backoff, type Random } from '../../../shared/base/interfaces.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import type { Installed } from '../../interfaces.js';
import { ModelHost, type HostMemory, type HostOptions } from './host.js';
import { readProbes } from '../model/probes-file.js';
import type { Tensor } from '../model/tensor.js';

export interface ReplicaListener {
  /** The process is up and idle: after a (re)start and after each run. */
  onFree(replica: Replica): void;
  /** A crash, a hang, or a failed restart. */
  onFault(replica: Replica, fault: Fault): void;
}

export class Replica {
  readonly installed: Installed;
  readonly ref: ReleaseRef;
  #host: ModelHost | null = null;
  #busy = false;
  #stopped = false;
  #tries = 0;
  #warmup: readonly Tensor[] | null = null;
  #restarting: Promise<void> = Promise.resolve();
  #wake: () => void = () => {};

  constructor(
    installed: Installed,
    private readonly options: HostOptions,
    private readonly random: Random,
    private readonly listener: ReplicaListener,
  ) {
    this.installed = installed;
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

  /** The first start: one try. Faults as ModelHost.start and readProbes. */
  async start(): Promise<void> {
    this.#warmup ??=
      (await readProbes(this.installed, this.options.limits.probesFileMaxBytes))[0]?.inputs ?? [];
    const host = new ModelHost(this.options, this.installed);
    this.#host = host;
    await host.start(this.#warmup);
    host.onDeath = (fault) => this.#died(host, fault);
    if (this.#stopped) await host.stop();
    else this.listener.onFree(this);
  }

  /**
   * Starts in the background, again and again with backoff, until it is up or stopped. Each failure
   * is told to the listener.
   */
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

  /** Null while a run or a restart is under way. */
  async memory(): Promise<HostMemory | null> {
    if (!this.free || this.#host === null) return null;
    this.#busy = true;
    try {
      return await this.#host.memory();
    } finally {
      this.#busy = false;
      if (this.free) this.listener.onFree(this);
    }
  }

  /** A run under way finishes, then the process ends. No restart follows. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#host?.stop();
    await this.#restarting;
  }

  #died(host: ModelHost, fault: Fault): void {
    if (this.#stopped || this.#host !== host) return;
    this.#host = null;
    this.options.log.error({ release: this.ref, why: fault.detail }, 'model process died');
    this.listener.onFault(this, fault);
    this.#restarting = this.#keepStarting(true);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.options.clock.after(ms, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  async #keepStarting(wait: boolean): Promise<void> {
    const { log, limits } = this.options;
    for (let pause = wait; !this.#stopped; pause = true) {
      if (pause) {
        this.#tries += 1;
        await this.#pause(
          backoff(
            this.#tries,
            limits.hostRestartBackoffFirstMs,
            limits.hostRestartBackoffMaxMs,
            this.random,
          ),
        );
        if (this.#stopped) return;
      }
      try {
        await this.start();
        if (!this.#stopped)
          log.info(
            { release: this.ref, pid: this.pid, tries: this.#tries },
            'model process started',
          );
        return;
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        this.#host = null;
        log.error(
          { release: this.ref, why: reason(error), tries: this.#tries },
          'model process did not start',
        );
        if (!this.#stopped) this.listener.onFault(this, error);
      }
    }
  }
}
