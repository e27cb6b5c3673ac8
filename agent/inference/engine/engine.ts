// Serves one component's model: admits requests or refuses them at once, gives each its deadline,
// runs them one after another in the serving release's process, flips to another release between
// two requests, and measures the trial. Promises: an admitted request is answered exactly once, by
// one release alone, or with a Fault by its deadline; a swap loses none; one whose process dies is
// run once more on the restarted one (inference is idempotent) and then given up; going back to a
// release whose process still runs as shadow takes no start. Which release serves is the update
// machine's word (serve); nothing here decides it. What counts as failed, for the trial: a request
// that the serving release should have answered and did not (process died or hung, non-finite
// answer, deadline missed, the model itself refused guarded tensors). Refusals by the guard and by
// a full queue, and a turn that did not come in time while others had theirs, are the traffic's.
import assert from 'node:assert/strict';
import { Fault, isFault, reason } from '../../../shared/base/fault-codes.js';
import type { Manifest } from '../../../shared/release/manifest.js';
import type { Cancel, Clock, Log, Random } from '../../../shared/base/interfaces.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import type { Installed, Measured, ModelRuntime, ProbeReport } from '../../interfaces.js';
import { classify, type Classified } from '../model/classify.js';
import { Replica } from '../model-process/replica.js';
import { checkOutputs, firstNonFinite, guard } from '../model/guard.js';
import type { HostMemory, HostOptions } from '../model-process/host.js';
import { limitsWith, type InferenceLimits } from '../inference-limits.js';
import { probeRelease } from '../model/probe.js';
import { Trial } from './shadow-comparison.js';
import type { Tensor } from '../model/tensor.js';

/**
 * One request as it ended, for telemetry. `classes`: one entry a row; null without a classifier or
 * an answer.
 */
export interface Observation {
  readonly release: ReleaseRef;
  readonly latencyMs: number;
  readonly outcome: 'served' | 'failed' | 'refused';
  readonly classes: readonly Classified[] | null;
  /** How many classes the release names; 0 without a classifier. */
  readonly labels: number;
}

export interface EngineOptions {
  readonly component: string;
  /** Path of the compiled host-child.js (host.ts: compiledChild). */
  readonly childPath: string;
  /** HOME of model processes: a folder inside the agent's data folder that nothing else uses. */
  readonly home: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Threads of one run; 1 by default. */
  readonly threads?: number;
  /** Share of live requests that are compared during a trial; 1 by default. */
  readonly shadowSample?: number;
  readonly limits?: Partial<InferenceLimits>;
  /** Must not throw. */
  readonly onAnswer?: (observation: Observation) => void;
}

export interface InferRequest {
  readonly inputs: readonly Tensor[];
  /** Only this version may answer; Fault `model_unknown` otherwise. */
  readonly version?: string | undefined;
  /**
   * Outputs that the answer must have; Fault `request_tensor` when the model does not give them.
   */
  readonly outputs?: readonly { readonly name: string }[] | undefined;
}

export interface InferAnswer {
  readonly outputs: readonly Tensor[];
  readonly release: ReleaseRef;
}

interface Job {
  inputs: readonly Tensor[];
  readonly wanted: InferRequest;
  /** The generation whose manifest the inputs were checked against. */
  guardedFor: Replica;
  /**
   * The generation that ran it last: what becomes of the request is that one's, whatever serves by
   * then.
   */
  ranOn: Replica | null;
  readonly admittedAt: number;
  readonly deadlineAt: number;
  attempts: number;
  done: boolean;
  readonly resolve: (answer: InferAnswer) => void;
  readonly reject: (fault: Fault) => void;
}

const TRIES = 2;

export class Engine implements ModelRuntime {
  readonly #options: EngineOptions;
  readonly #limits: InferenceLimits;
  readonly #hosts: HostOptions;
  #serving: Replica | null = null;
  #shadow: Replica | null = null;
  #trial: Trial | null = null;
  /**
   * Waiting, in order of admission; `#running` is the one inside the serving process (or inside the
   * old one, draining).
   */
  #queue: Job[] = [];
  #running = new Set<Job>();
  #alarm: { cancel: Cancel; at: number } | null = null;
  /** When the serving release last answered anything, or began to serve (monotonic). */
  #answeredAt = 0;
  /** serve() and stop() one after another. */
  #turn: Promise<void> = Promise.resolve();
  #retiring = new Set<Promise<void>>();
  /** Set while stop() waits for the last admitted request. */
  #whenIdle: (() => void) | null = null;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#limits = limitsWith(options.limits);
    const { childPath, home, clock, log, threads = 1 } = options;
    this.#hosts = {
      childPath,
      home,
      clock,
      threads,
      limits: this.#limits,
      log: log.child({ component: options.component }),
    };
  }

  get component(): string {
    return this.#options.component;
  }

  /** What answers requests now; null before the first release and after stop. */
  get serving(): { readonly release: ReleaseRef; readonly manifest: Manifest } | null {
    return this.#serving === null
      ? null
      : { release: this.#serving.ref, manifest: this.#serving.installed.release.manifest };
  }

  /** True while the serving release's process is up. */
  get ready(): boolean {
    return this.#serving?.up === true;
  }

  /** Requests admitted and not answered yet, the running one included. */
  get waiting(): number {
    return this.#queue.length + this.#running.size;
  }

  // --- requests ---

  /**
   * Faults: `model_not_ready`, `model_unknown` (version), `busy`, those of guard(), `deadline`,
   * `host_died`, and `request_tensor` when the model itself refuses the tensors.
   */
  infer(
    request: InferRequest,
    deadlineMs: number = this.#limits.requestDeadlineMs,
  ): Promise<InferAnswer> {
    const replica = this.#serving;
    const now = this.#options.clock.monotonic();
    if (replica === null || this.#whenIdle !== null)
      return Promise.reject(
        new Fault('model_not_ready', `no release of ${this.component} is loaded yet`),
      );
    let inputs: readonly Tensor[];
    try {
      this.#checkWanted(replica, request);
      if (this.#queue.length >= this.#limits.admissionQueueMaxCount) {
        throw new Fault(
          'busy',
          `${this.#queue.length} requests of ${this.component} are waiting, which is the bound`,
        );
      }
      inputs = guard(
        replica.installed.release.manifest.inputs,
        request.inputs,
        this.#limits.requestMaxBytes,
      );
    } catch (error) {
      if (isFault(error)) this.#observe(replica, now, 'refused', null);
      return Promise.reject(error as Error);
    }
    return new Promise((resolve, reject) => {
      const job: Job = {
        inputs,
        wanted: request,
        guardedFor: replica,
        ranOn: null,
        admittedAt: now,
        deadlineAt: now + Math.min(deadlineMs, this.#limits.requestDeadlineMs),
        attempts: 0,
        done: false,
        resolve,
        reject,
      };
      this.#queue.push(job);
      this.#arm(job.deadlineAt);
      this.#pump();
    });
  }

  #checkWanted(replica: Replica, { version, outputs }: InferRequest): void {
    if (version !== undefined && version !== replica.ref.version)
      throw new Fault(
        'model_unknown',
        `${this.component} version ${version} is not served here; ${replica.ref.version} is`,
      );
    if (outputs !== undefined) checkOutputs(replica.installed.release.manifest.outputs, outputs);
  }

  /** Hands the next request to the serving process, if that is free. */
  #pump(): void {
    const replica = this.#serving;
    while (replica !== null && replica.free) {
      const job = this.#queue.shift();
      if (job === undefined) return;
      if (this.#fits(job, replica)) void this.#execute(job, replica);
    }
  }

  /**
   * A request that was admitted under another release is checked again by the one that will answer
   * it.
   */
  #fits(job: Job, replica: Replica): boolean {
    if (job.guardedFor === replica) return true;
    try {
      this.#checkWanted(replica, job.wanted);
      job.inputs = guard(
        replica.installed.release.manifest.inputs,
        job.inputs,
        this.#limits.requestMaxBytes,
      );
      job.guardedFor = replica;
      return true;
    } catch (error) {
      if (!isFault(error)) throw error;
      this.#refuse(job, replica, error, 'refused');
      return false;
    }
  }

  async #execute(job: Job, replica: Replica): Promise<void> {
    this.#running.add(job);
    job.attempts += 1;
    job.ranOn = replica;
    let outputs: Tensor[];
    try {
      outputs = await replica.run(job.inputs);
    } catch (error) {
      this.#running.delete(job);
      this.#runFailed(job, replica, error);
      this.#ran();
      return;
    }
    this.#running.delete(job);
    this.#heardFrom(replica);
    this.#answer(job, replica, outputs);
    this.#ran();
  }

  #ran(): void {
    this.#pump();
    this.#checkIdle();
    // After the microtasks in which the door writes the answer, so that the comparison never comes
    // first.
    process.nextTick(() => this.#trial?.pump());
  }

  #runFailed(job: Job, replica: Replica, error: unknown): void {
    if (!isFault(error)) throw error;
    if (error.code !== 'host_died') this.#heardFrom(replica);
    if (job.done) return;
    if (error.code === 'host_died' && job.attempts < TRIES && this.#serving !== null)
      this.#queue.unshift(job);
    else this.#refuse(job, replica, error, 'failed');
  }

  #heardFrom(replica: Replica): void {
    if (replica === this.#serving) this.#answeredAt = this.#options.clock.monotonic();
  }

  #answer(job: Job, replica: Replica, outputs: readonly Tensor[]): void {
    if (job.done) return; // Its deadline passed meanwhile, and the client was told.
    for (const output of outputs) {
      const bad = firstNonFinite(output);
      if (bad >= 0) {
        const fault = new Fault(
          'host_died',
          `the model answered NaN or infinity (output ${output.name}, element ${bad}); the answer is withheld`,
        );
        this.#refuse(job, replica, fault, 'failed');
        return;
      }
    }
    const { classifier } = replica.installed.release.manifest;
    const classes = classifier === null ? null : classify(classifier, outputs);
    job.done = true;
    job.resolve({ outputs, release: replica.ref });
    this.#observe(replica, job.admittedAt, 'served', classes);
    if (replica !== this.#serving) return;
    this.#trial?.countServed();
    this.#trial?.offer(job.inputs, outputs);
  }

  #refuse(job: Job, replica: Replica, fault: Fault, outcome: 'failed' | 'refused'): void {
    assert(!job.done, 'a request is answered once');
    job.done = true;
    job.reject(fault);
    this.#observe(replica, job.admittedAt, outcome, null);
    if (outcome === 'failed' && replica === this.#serving) this.#trial?.countFailed();
    this.#checkIdle();
  }

  #observe(
    replica: Replica,
    since: number,
    outcome: Observation['outcome'],
    classes: readonly Classified[] | null,
  ): void {
    const { onAnswer, clock } = this.#options;
    const labels = replica.installed.release.manifest.classifier?.labels.length ?? 0;
    onAnswer?.({
      release: replica.ref,
      latencyMs: clock.monotonic() - since,
      outcome,
      classes,
      labels,
    });
  }

  // --- deadlines: one alarm for the earliest, looked at again when it rings, instead of a timer a
  // request ---

  #arm(at: number): void {
    if (this.#alarm !== null) {
      if (this.#alarm.at <= at) return;
      this.#alarm.cancel();
    }
    const wait = Math.max(0, Math.ceil(at - this.#options.clock.monotonic()));
    this.#alarm = { at, cancel: this.#options.clock.after(wait, () => this.#ring()) };
  }

  #ring(): void {
    this.#alarm = null;
    const now = this.#options.clock.monotonic();
    let earliest = Infinity;
    for (const job of [...this.#running, ...this.#queue]) {
      if (job.done) continue;
      if (job.deadlineAt <= now) this.#expire(job);
      else earliest = Math.min(earliest, job.deadlineAt);
    }
    this.#queue = this.#queue.filter((job) => !job.done);
    this.#checkIdle();
    this.#trial?.pump();
    if (earliest < Infinity) this.#arm(earliest);
  }

  #expire(job: Job): void {
    const waited = `${Math.round(this.#options.clock.monotonic() - job.admittedAt)} ms`;
    const running = this.#running.has(job);
    if (job.ranOn === null) {
      const replica = this.#serving ?? job.guardedFor;
      // It never had its turn. With a process that answers others meanwhile, that is too much
      // traffic and no fault of the release.
      if (this.#answeredAt > job.admittedAt) {
        const crowd = new Fault(
          'busy',
          `waited ${waited} behind other requests of ${this.component} without having its turn`,
        );
        this.#refuse(job, replica, crowd, 'refused');
      } else
        this.#refuse(
          job,
          replica,
          new Fault('deadline', `not answered within ${waited}`),
          'failed',
        );
      return;
    }
    const fault = running
      ? new Fault('deadline', `not answered within ${waited}: the model is still computing`)
      : new Fault(
          'host_died',
          `the model process died during this request and was not back within ${waited}`,
        );
    this.#refuse(job, job.ranOn, fault, 'failed');
  }

  // --- what serves ---

  serve(current: Installed, shadow: Installed | null): Promise<void> {
    return this.#inTurn(() => this.#serve(current, shadow));
  }

  async #serve(current: Installed, shadow: Installed | null): Promise<void> {
    const old = this.#serving;
    if (old?.ref.digest !== current.release.digest) {
      const next = await this.#raise(current);
      this.#flip(next);
      // The release that served becomes the shadow when it is to be one, and is drained otherwise.
      const spare = this.#shadow === next ? null : this.#shadow;
      this.#shadow = null;
      const keep =
        [old, spare].find(
          (replica) => replica !== null && replica.ref.digest === shadow?.release.digest,
        ) ?? null;
      for (const replica of [old, spare])
        if (replica !== null && replica !== keep) this.#retire(replica);
      this.#shadow = keep;
    }
    this.#follow(shadow);
  }

  /** A process for `current`: the shadow's, when it runs that very release; else a new one. */
  async #raise(current: Installed): Promise<Replica> {
    if (this.#shadow?.ref.digest === current.release.digest && this.#shadow.up) return this.#shadow;
    const next = this.#replica(current);
    try {
      await next.start();
    } catch (error) {
      this.#hosts.log.error(
        { release: next.ref, why: reason(error) },
        'release does not load; what served goes on serving',
      );
      throw error;
    }
    return next;
  }

  #flip(next: Replica): void {
    this.#trial?.attach(null);
    this.#serving = next;
    this.#answeredAt = this.#options.clock.monotonic();
    this.#trial = new Trial(next.installed.release, {
      clock: this.#options.clock,
      random: this.#options.random,
      limits: this.#limits,
      shadowSample: this.#options.shadowSample ?? 1,
      idle: () => this.waiting === 0,
      onCompared: () => this.#pump(),
    });
    this.#hosts.log.info({ release: next.ref, pid: next.pid }, 'serving');
    this.#pump();
  }

  #follow(shadow: Installed | null): void {
    if (this.#shadow !== null && this.#shadow.ref.digest !== shadow?.release.digest) {
      this.#trial?.attach(null);
      this.#retire(this.#shadow);
      this.#shadow = null;
    }
    if (shadow === null || shadow.release.digest === this.#serving?.ref.digest) return;
    if (this.#shadow === null) {
      this.#shadow = this.#replica(shadow);
      this.#shadow.startEventually();
    }
    this.#trial?.attach(this.#shadow);
  }

  #replica(installed: Installed): Replica {
    return new Replica(installed, this.#hosts, this.#options.random, {
      onFree: (replica) => {
        if (replica === this.#serving) this.#pump();
        else if (replica === this.#shadow) this.#trial?.pump();
      },
      onFault: (replica) => {
        if (replica === this.#serving) this.#trial?.countFault();
      },
    });
  }

  /** Drains and ends a process in the background; stop() waits for it. */
  #retire(replica: Replica): void {
    const done: Promise<void> = replica.stop().then(() => {
      this.#retiring.delete(done);
    });
    this.#retiring.add(done);
  }

  stop(): Promise<void> {
    return this.#inTurn(() => this.#stop());
  }

  async #stop(): Promise<void> {
    const serving = this.#serving;
    // Admitted requests finish; one for which no process is up any more ends at its deadline at the
    // latest.
    if (serving !== null) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
        this.#checkIdle();
      });
    }
    this.#serving = null;
    this.#trial?.attach(null);
    this.#trial = null;
    if (this.#shadow !== null) this.#retire(this.#shadow);
    this.#shadow = null;
    if (serving !== null) this.#retire(serving);
    await Promise.all(this.#retiring);
    this.#alarm?.cancel();
    this.#alarm = null;
    this.#whenIdle = null;
  }

  #checkIdle(): void {
    if (this.#whenIdle === null || this.#queue.length > 0) return;
    for (const job of this.#running) if (!job.done) return;
    this.#whenIdle();
  }

  evidence(): Measured | null {
    return this.#trial?.evidence() ?? null;
  }

  /** The processes that run now, for the agent's own health report and for measurements. */
  get processes(): {
    role: 'serving' | 'shadow';
    release: ReleaseRef;
    pid: number | undefined;
    up: boolean;
  }[] {
    const of = (role: 'serving' | 'shadow', replica: Replica | null) =>
      replica === null ? [] : [{ role, release: replica.ref, pid: replica.pid, up: replica.up }];
    return [...of('serving', this.#serving), ...of('shadow', this.#shadow)];
  }

  /** Of the serving process; null when it is down or computing just now. */
  async memory(): Promise<HostMemory | null> {
    return (await this.#serving?.memory()) ?? null;
  }

  probe(candidate: Installed): Promise<ProbeReport> {
    return probeRelease(candidate, this.#hosts);
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const result = this.#turn.then(work);
    // The caller has the error; the next in turn does not care.
    this.#turn = result.catch(() => {});
    return result;
  }
}
