// Serves one component's model: admits requests or refuses them at once, gives each its deadline,
// runs them one after another in the serving replica, and measures the trial. Promises: an admitted
// request is answered exactly once, by one release alone, or refused with a Fault by its deadline;
// a swap loses no request; a request whose process dies is run once more on the restarted process
// (inference is idempotent) and then refused. For the trial, a request has failed when the serving
// release should have answered it and did not: its process died or hung, its answer was not finite,
// the model failed on checked tensors, or the deadline passed. Not counted as failed: refusals by
// the guard or by a full queue, and requests that waited in vain while others were answered.
// Swapping is routing.ts, admission is admission.ts, comparing is shadow-comparison.ts, watching
// after the trial is condition-watch.ts. Over 400 lines because the life of a request,
// with all its ends, is read in one place.
import assert from 'node:assert/strict';
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import type { Clock, Log, Random } from '../../../shared/base/interfaces.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import type { AcceptanceSet } from '../../../shared/release/acceptance-set.js';
import type { Manifest, Release } from '../../../shared/release/manifest.js';
import type {
  ColdStart,
  Installed,
  Measured,
  ModelRuntime,
  ProbeReport,
  Rehearsed,
  Standing,
} from '../../interfaces.js';
import { limitsWith, type InferenceLimits } from '../inference-limits.js';
import {
  isProcessEnd,
  type HostOptions,
  type HostUsage,
  type NewHost,
} from '../model-process/host.js';
import { residentBytes } from '../model-process/process-memory.js';
import type { Replica } from '../model-process/replica.js';
import { classify, type Classified } from '../model/classify.js';
import { nonFiniteAnswer } from '../model/guard.js';
import { probeRelease } from '../model/probe.js';
import type { Tensor } from '../model/tensor.js';
import { admit, type InferAnswer, type InferRequest } from './admission.js';
import { ConditionWatch } from './condition-watch.js';
import { DeadlineAlarm } from './deadline-alarm.js';
import { Rehearsals, type RehearsalSettings } from './rehearsal.js';
import { Routing, type ReplicaStatus } from './routing.js';
import { ServingHistory, type BeforeSwap } from './serving-history.js';
import { Trial, type TrialOptions } from './shadow-comparison.js';

/** How one request ended, for telemetry. */
export interface Observation {
  readonly release: ReleaseRef;
  readonly latencyMs: number;
  readonly outcome: 'served' | 'failed' | 'refused';
  /** One entry per row; null without a classifier or an answer. */
  readonly classes: readonly Classified[] | null;
  /** Number of the release's classes; 0 without a classifier. */
  readonly labels: number;
}

export interface EngineOptions {
  readonly component: string;
  /** Path of the compiled host-child.js (spawn-child.ts: compiledChild). */
  readonly childPath: string;
  /** HOME of model processes: a folder inside the agent's data folder that nothing else uses. */
  readonly home: string;
  /** Makes what runs a model: a process of its own when left out. */
  readonly newHost?: NewHost | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Threads of one run; 1 by default. */
  readonly threads?: number;
  /** Share of live requests that are compared during a trial; 1 by default. */
  readonly shadowSample?: number;
  readonly limits?: Partial<InferenceLimits>;
  /** Keeps recent inputs for the rehearsal of the next release; none when left out. */
  readonly rehearsal?: RehearsalSettings | undefined;
  /** Must not throw. */
  readonly onAnswer?: (observation: Observation) => void;
}

interface Job {
  inputs: readonly Tensor[];
  readonly request: InferRequest;
  /** The replica whose manifest the inputs were checked against. */
  admittedBy: Replica;
  /** The replica that ran it last. A failure is charged to that one, whatever serves by then. */
  ranOn: Replica | null;
  readonly admittedAt: number;
  readonly deadlineAt: number;
  tries: number;
  done: boolean;
  readonly resolve: (answer: InferAnswer) => void;
  readonly reject: (fault: Fault) => void;
}

export class Engine implements ModelRuntime {
  readonly #options: EngineOptions;
  readonly #limits: InferenceLimits;
  readonly #hosts: HostOptions;
  readonly #routing: Routing;
  readonly #alarm: DeadlineAlarm;
  #trial: Trial | null = null;
  /** The candidate that never serves, judged against what serves. */
  #shadowing: Trial | null = null;
  #watch: ConditionWatch | null = null;
  readonly #history = new ServingHistory();
  readonly #rehearsals: Rehearsals;
  /** Waiting, in order of admission. */
  #queue: Job[] = [];
  /** In the serving process, or in a replaced one that drains. */
  readonly #running = new Set<Job>();
  /** When the serving release last answered anything, or began to serve (monotonic). */
  #answeredAt = 0;
  /** The end of the last serve() or stop(): they run one after another. */
  #lastChange: Promise<void> = Promise.resolve();
  /** Set while stop() waits for the last admitted request. */
  #whenIdle: (() => void) | null = null;
  /** One function for all requests. */
  readonly #compareNext = (): void => this.#compare();

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#limits = limitsWith(options.limits);
    const { childPath, home, newHost, clock, random, component, threads = 1 } = options;
    const log = options.log.child({ component });
    this.#hosts = { childPath, home, newHost, clock, threads, limits: this.#limits, log };
    this.#rehearsals = new Rehearsals(options.rehearsal, { hosts: this.#hosts, random });
    this.#alarm = new DeadlineAlarm(clock, () => this.#expireDue());
    this.#routing = new Routing({
      hosts: this.#hosts,
      random,
      log,
      listener: {
        onServing: (replica) => this.#startTrial(replica),
        onShadow: (replica) => this.#trial?.attach(replica),
        onCandidate: (replica) => this.#startShadowing(replica),
        onFree: (replica) => {
          if (this.#isServing(replica)) this.#pump();
          else this.#compare();
        },
        onFault: (replica, fault) => this.#countFault(replica, fault),
      },
    });
  }

  get component(): string {
    return this.#options.component;
  }

  /** The release that answers requests now; null before the first one and after stop. */
  get serving(): { readonly release: ReleaseRef; readonly manifest: Manifest } | null {
    const { serving } = this.#routing;
    if (serving === null) return null;
    return { release: serving.ref, manifest: serving.installed.release.manifest };
  }

  /** True while the serving release's process is up. */
  get ready(): boolean {
    return this.#routing.serving?.up === true;
  }

  /** Number of admitted requests that are not answered yet, running ones included. */
  get waiting(): number {
    return this.#queue.length + this.#running.size;
  }

  #isServing(replica: Replica): boolean {
    return replica === this.#routing.serving;
  }

  #countFault(replica: Replica, fault: Fault): void {
    // What the installation lacks is no fault of the release.
    if (fault.code === 'installation_incomplete') return;
    if (replica === this.#routing.candidate) this.#shadowing?.countFault();
    if (!this.#isServing(replica)) return;
    this.#trial?.countFault();
    this.#watch?.countFault(fault);
  }

  #compare(): void {
    this.#trial?.pump();
    this.#shadowing?.pump();
  }

  // --- requests ---

  /**
   * Faults: `model_not_ready`, `busy`, those of admit(), `deadline`, `host_died`, `host_hung`,
   * `model_run_failed`.
   */
  infer(
    request: InferRequest,
    deadlineMs: number = this.#limits.requestDeadlineMs,
  ): Promise<InferAnswer> {
    const replica = this.#routing.serving;
    const now = this.#options.clock.monotonic();
    if (replica === null || this.#whenIdle !== null)
      return Promise.reject(
        new Fault('model_not_ready', `no release of ${this.component} is loaded yet`),
      );
    const inputs = this.#admit(request, replica);
    if (inputs instanceof Fault) {
      this.#observe(replica, now, 'refused', null);
      return Promise.reject(inputs);
    }
    return new Promise((resolve, reject) => {
      const job: Job = {
        inputs,
        request,
        admittedBy: replica,
        ranOn: null,
        admittedAt: now,
        deadlineAt: now + Math.min(deadlineMs, this.#limits.requestDeadlineMs),
        tries: 0,
        done: false,
        resolve,
        reject,
      };
      this.#queue.push(job);
      this.#alarm.arm(job.deadlineAt);
      this.#pump();
    });
  }

  #admit(request: InferRequest, replica: Replica): readonly Tensor[] | Fault {
    const { admissionQueueMaxCount, requestMaxBytes } = this.#limits;
    if (this.#queue.length >= admissionQueueMaxCount)
      return new Fault(
        'busy',
        `${this.#queue.length} requests of ${this.component} are waiting, which is the limit`,
      );
    return admit(replica.installed.release, request, requestMaxBytes);
  }

  /** Gives the next request to the serving process if that is free. */
  #pump(): void {
    const replica = this.#routing.serving;
    while (replica?.free === true) {
      const job = this.#queue.shift();
      if (job === undefined) return;
      if (this.#isAdmittedBy(job, replica)) void this.#run(job, replica);
    }
  }

  /** A request that another release admitted is checked again by the one that will answer it. */
  #isAdmittedBy(job: Job, replica: Replica): boolean {
    if (job.admittedBy === replica) return true;
    const request = { ...job.request, inputs: job.inputs };
    const inputs = admit(replica.installed.release, request, this.#limits.requestMaxBytes);
    if (inputs instanceof Fault) {
      this.#refuse(job, replica, inputs, 'refused');
      return false;
    }
    job.inputs = inputs;
    job.admittedBy = replica;
    return true;
  }

  async #run(job: Job, replica: Replica): Promise<void> {
    this.#running.add(job);
    job.tries += 1;
    job.ranOn = replica;
    const since = this.#options.clock.monotonic();
    try {
      const outputs = await replica.run(job.inputs);
      this.#running.delete(job);
      this.#noteAnswer(replica);
      this.#answer(job, replica, outputs, this.#options.clock.monotonic() - since);
    } catch (error) {
      this.#running.delete(job);
      if (!isFault(error)) throw error;
      if (!isProcessEnd(error)) this.#noteAnswer(replica);
      this.#runFailed(job, replica, error);
    }
    this.#pump();
    this.#checkIdle();
    // After the microtasks in which the API writes the answer, so that the answer is sent first.
    process.nextTick(this.#compareNext);
  }

  #noteAnswer(replica: Replica): void {
    if (this.#isServing(replica)) this.#answeredAt = this.#options.clock.monotonic();
  }

  #runFailed(job: Job, replica: Replica, fault: Fault): void {
    if (job.done) return;
    const again =
      isProcessEnd(fault) &&
      job.tries < this.#limits.requestTriesMaxCount &&
      this.#routing.serving !== null;
    if (again) this.#queue.unshift(job);
    else this.#refuse(job, replica, fault, 'failed');
  }

  #answer(job: Job, replica: Replica, outputs: readonly Tensor[], runMs: number): void {
    if (job.done) return; // Its deadline passed, and the client got that answer.
    const fault = nonFiniteAnswer(outputs);
    if (fault !== null) {
      if (this.#isServing(replica)) this.#watch?.countWithheld();
      this.#refuse(job, replica, fault, 'failed');
      return;
    }
    const { classifier } = replica.installed.release.manifest;
    const classes = classifier === null ? null : classify(classifier, outputs);
    job.done = true;
    job.resolve({ outputs, release: replica.ref });
    this.#observe(replica, job.admittedAt, 'served', classes);
    if (!this.#isServing(replica)) return;
    this.#watch?.countServed();
    const now = this.#options.clock.monotonic();
    this.#history.served(now, runMs);
    this.#rehearsals.add(now / 1000, job.inputs);
    const score = classes?.[0]?.confidence ?? null;
    this.#trial?.served(job.inputs, outputs, { runMs, score });
    this.#shadowing?.served(job.inputs, outputs, { runMs, score });
  }

  #refuse(job: Job, replica: Replica, fault: Fault, outcome: 'failed' | 'refused'): void {
    assert(!job.done, 'a request is answered once');
    job.done = true;
    job.reject(fault);
    this.#observe(replica, job.admittedAt, outcome, null);
    if (outcome === 'failed' && this.#isServing(replica)) {
      this.#watch?.countFailed();
      this.#history.failed(this.#options.clock.monotonic());
      this.#trial?.failed(job.inputs);
      this.#shadowing?.failed(job.inputs);
    }
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
    const latencyMs = clock.monotonic() - since;
    onAnswer?.({ release: replica.ref, latencyMs, outcome, classes, labels });
  }

  // --- deadlines ---

  #expireDue(): void {
    const now = this.#options.clock.monotonic();
    let earliest = Infinity;
    for (const job of [...this.#running, ...this.#queue]) {
      if (job.done) continue;
      if (job.deadlineAt <= now) this.#expire(job);
      else earliest = Math.min(earliest, job.deadlineAt);
    }
    this.#queue = this.#queue.filter((job) => !job.done);
    this.#checkIdle();
    this.#compare();
    if (earliest < Infinity) this.#alarm.arm(earliest);
  }

  #expire(job: Job): void {
    const waited = `${Math.round(this.#options.clock.monotonic() - job.admittedAt)} ms`;
    if (job.ranOn === null) {
      const replica = this.#routing.serving ?? job.admittedBy;
      // It never ran. If the process answered others meanwhile, there is too much traffic, which is
      // not the release's fault.
      if (this.#answeredAt > job.admittedAt) {
        const reasons = `waited ${waited} behind other requests of ${this.component}`;
        this.#refuse(job, replica, new Fault('busy', reasons), 'refused');
      } else {
        const fault = new Fault('deadline', `not answered within ${waited}`);
        this.#refuse(job, replica, fault, 'failed');
      }
      return;
    }
    const fault = this.#running.has(job)
      ? new Fault('deadline', `not answered within ${waited}: the model is still computing`)
      : new Fault(
          'host_died',
          `the model process died during this request and was not restarted within ${waited}`,
        );
    this.#refuse(job, job.ranOn, fault, 'failed');
  }

  // --- releases ---

  serve(current: Installed, shadow: Installed | null): Promise<void> {
    return this.#oneAfterAnother(() => this.#routing.serve(current, shadow));
  }

  shadow(candidate: Installed | null): Promise<void> {
    return this.#oneAfterAnother(() => this.#routing.shadow(candidate));
  }

  restart(lacking: () => Promise<string | null>): Promise<ColdStart> {
    return this.#oneAfterAnother(async () => {
      const trial = this.#trial;
      trial?.disturb(true);
      try {
        return await this.#routing.restart(lacking);
      } finally {
        trial?.disturb(false);
      }
    });
  }

  #startShadowing(candidate: Replica | null): void {
    this.#shadowing?.attach(null);
    this.#shadowing = null;
    const { serving } = this.#routing;
    if (candidate === null || serving === null) return;
    const { release } = candidate.installed;
    this.#shadowing = this.#newTrial(serving, release, 'shadow', this.#history.soFar(release));
    this.#shadowing.attach(candidate);
    this.#hosts.log.info({ release: candidate.ref, pid: candidate.pid }, 'shadowing');
  }

  #newTrial(
    serving: Replica,
    judged: Release,
    isNew: TrialOptions['isNew'],
    before: BeforeSwap,
  ): Trial {
    const { clock, random, shadowSample = 1 } = this.#options;
    return new Trial(serving, {
      isNew,
      clock,
      random,
      limits: this.#limits,
      shadowSample,
      rehearsedWith: (old) => this.#rehearsals.comparisonsOf(judged, old),
      ...before,
      isIdle: () => this.waiting === 0,
      onCompared: () => this.#pump(),
    });
  }

  #startTrial(replica: Replica): void {
    const { clock } = this.#options;
    const { release } = replica.installed;
    this.#trial?.attach(null);
    this.#watch = new ConditionWatch({
      clock,
      peakMemoryMiB: release.manifest.contract.peakMemoryMiB,
      residentBytes: async () => (replica.pid === undefined ? null : residentBytes(replica.pid)),
    });
    this.#answeredAt = clock.monotonic();
    this.#trial = this.#newTrial(replica, release, 'serving', this.#history.beforeSwap(release));
    this.#hosts.log.info({ release: replica.ref, pid: replica.pid }, 'serving');
    this.#pump();
  }

  stop(): Promise<void> {
    return this.#oneAfterAnother(() => this.#stop());
  }

  async #stop(): Promise<void> {
    // Admitted requests finish. Without a running process each ends at its deadline at the latest.
    if (this.#routing.serving !== null) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
        this.#checkIdle();
      });
    }
    const ended = this.#routing.stop();
    this.#trial = null;
    this.#watch = null;
    this.#rehearsals.clear();
    await ended;
    this.#alarm.cancel();
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

  shadowEvidence(): Measured | null {
    return this.#shadowing?.evidence() ?? null;
  }

  standing(): Standing {
    const watch = this.#watch;
    return { conditions: watch?.conditions() ?? [], crashLoop: watch?.crashLoop() ?? null };
  }

  /** The processes that run now, for health reports and measurements. */
  get processes(): ReplicaStatus[] {
    return this.#routing.processes;
  }

  /** Of the serving process; null while it is down or computing. */
  async memory(): Promise<HostUsage | null> {
    return (await this.#routing.serving?.memory()) ?? null;
  }

  probe(candidate: Installed, acceptance: AcceptanceSet | null): Promise<ProbeReport> {
    return probeRelease(candidate, acceptance, this.#hosts);
  }

  rehearse(candidate: Installed, current: Installed): Promise<Rehearsed> {
    return this.#rehearsals.rehearse(candidate, current, this.#history.blockSeconds());
  }

  /** The agent stops: a rehearsal under way does not hold it up. */
  cutRehearsal(): void {
    this.#rehearsals.cut();
  }

  #oneAfterAnother<T>(change: () => Promise<T>): Promise<T> {
    const result = this.#lastChange.then(change);
    // The caller gets the error; the next change starts all the same.
    this.#lastChange = result.then(
      () => {},
      () => {},
    );
    return result;
  }
}
