// Which release serves, which one runs beside it as shadow (in a trial: the one that it replaced),
// and which one is a candidate that never serves. Promises: requests move to another release, or to
// a second process of the same one, only when that is warm; a release that does not load changes
// nothing; returning to a release that still runs as shadow starts no process; the processes of
// replaced releases drain in the background and have ended when stop() returns. The update machine
// decides which release serves; the engine runs the requests.
import type { Log, Random } from '../../../shared/base/interfaces.js';
import type { Fault } from '../../../shared/base/fault-codes.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import type { ColdStart, Installed } from '../../interfaces.js';
import type { HostOptions } from '../model-process/host.js';
import { Replica } from '../model-process/replica.js';

export interface RoutingOptions {
  readonly hosts: HostOptions;
  readonly random: Random;
  readonly log: Log;
  readonly listener: RoutingListener;
}

interface RoutingListener {
  /** Another release serves from now on. Called before its shadow is known. */
  onServing(replica: Replica): void;
  /** The replica to compare with; null when there is none any more. */
  onShadow(replica: Replica | null): void;
  /** The candidate to compare with what serves; null when there is none any more. */
  onCandidate(replica: Replica | null): void;
  /** A replica in use is up and idle. */
  onFree(replica: Replica): void;
  /** The process of a replica in use crashed, hung or did not restart. */
  onFault(replica: Replica, fault: Fault): void;
}

/** A process that runs now. */
export interface ReplicaStatus {
  readonly role: 'serving' | 'shadow' | 'candidate';
  readonly release: ReleaseRef;
  readonly pid: number | undefined;
  readonly up: boolean;
}

export class Routing {
  readonly #options: RoutingOptions;
  #serving: Replica | null = null;
  #shadow: Replica | null = null;
  #candidate: Replica | null = null;
  readonly #retiring = new Set<Promise<void>>();

  constructor(options: RoutingOptions) {
    this.#options = options;
  }

  get serving(): Replica | null {
    return this.#serving;
  }

  get candidate(): Replica | null {
    return this.#candidate;
  }

  get processes(): ReplicaStatus[] {
    const of = (role: ReplicaStatus['role'], replica: Replica | null): ReplicaStatus[] =>
      replica === null ? [] : [{ role, release: replica.ref, pid: replica.pid, up: replica.up }];
    return [
      ...of('serving', this.#serving),
      ...of('shadow', this.#shadow),
      ...of('candidate', this.#candidate),
    ];
  }

  /** As ModelRuntime.serve. The caller must wait for one call before the next. */
  async serve(current: Installed, shadow: Installed | null): Promise<void> {
    const old = this.#serving;
    if (old?.ref.digest !== current.release.digest) {
      const next = await this.#start(current);
      this.#endCandidate();
      this.#serving = next;
      this.#options.listener.onServing(next);
      // The replica that served becomes the shadow if `shadow` is its release; else it is drained.
      const previousShadow = this.#shadow === next ? null : this.#shadow;
      const replaced = [old, previousShadow].filter((replica) => replica !== null);
      this.#shadow =
        replaced.find((replica) => replica.ref.digest === shadow?.release.digest) ?? null;
      for (const replica of replaced) if (replica !== this.#shadow) this.#retire(replica);
    }
    this.#setShadow(shadow);
  }

  /** As ModelRuntime.shadow. The caller must wait for one call before the next. */
  async shadow(candidate: Installed | null): Promise<void> {
    if (candidate !== null && this.#candidate?.ref.digest === candidate.release.digest) return;
    this.#endCandidate();
    if (candidate === null) return;
    const next = this.#replica(candidate);
    await next.start();
    this.#candidate = next;
    this.#options.listener.onCandidate(next);
  }

  /** As ModelRuntime.restart. The caller must wait for one call before the next. */
  async restart(lacking: () => Promise<string | null>): Promise<ColdStart> {
    const serving = this.#serving;
    if (serving === null || !serving.up) return 'later';
    this.#setShadow(null);
    await Promise.all(this.#retiring);
    const none = await lacking();
    if (none !== null) return { none };
    const tookMs = await serving.restart();
    return tookMs === null ? 'later' : { tookMs };
  }

  #endCandidate(): void {
    if (this.#candidate === null) return;
    this.#options.listener.onCandidate(null);
    this.#retire(this.#candidate);
    this.#candidate = null;
  }

  /** Drains and ends every process. */
  async stop(): Promise<void> {
    this.#endCandidate();
    const ending = [this.#shadow, this.#serving];
    this.#serving = null;
    this.#shadow = null;
    this.#options.listener.onShadow(null);
    for (const replica of ending) if (replica !== null) this.#retire(replica);
    await Promise.all(this.#retiring);
  }

  /** A running replica of `current`: the shadow if it runs that release, else a new one. */
  async #start(current: Installed): Promise<Replica> {
    if (this.#shadow?.ref.digest === current.release.digest && this.#shadow.up) return this.#shadow;
    const next = this.#replica(current);
    try {
      await next.start();
    } catch (error) {
      this.#options.log.error(
        { release: next.ref, err: error },
        'the release does not load; the previous one goes on serving',
      );
      throw error;
    }
    return next;
  }

  #setShadow(shadow: Installed | null): void {
    const { listener } = this.#options;
    const digest = shadow?.release.digest;
    if (this.#shadow !== null && this.#shadow.ref.digest !== digest) {
      listener.onShadow(null);
      this.#retire(this.#shadow);
      this.#shadow = null;
    }
    if (shadow === null || digest === this.#serving?.ref.digest) return;
    if (this.#shadow === null) {
      this.#shadow = this.#replica(shadow);
      this.#shadow.startEventually();
    }
    listener.onShadow(this.#shadow);
  }

  #replica(installed: Installed): Replica {
    const { hosts, random, listener } = this.#options;
    const inUse = (replica: Replica) =>
      [this.#serving, this.#shadow, this.#candidate].includes(replica);
    return new Replica(installed, hosts, random, {
      onFree: (replica) => {
        if (inUse(replica)) listener.onFree(replica);
      },
      onFault: (replica, fault) => {
        if (inUse(replica)) listener.onFault(replica, fault);
      },
    });
  }

  #retire(replica: Replica): void {
    const done: Promise<void> = replica.stop().then(() => {
      this.#retiring.delete(done);
    });
    this.#retiring.add(done);
  }
}
