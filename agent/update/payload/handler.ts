// A payload handler is all that the update machine knows of a payload kind (model, and later agent,
// exec, image). The machine downloads and verifies files, lays slots out, writes the record and
// decides when; a handler says what a release of its kind needs, tries it, runs it and judges it.
// HandlerOfKind picks the handler by the `kind` of the signed manifest and is itself used like one.
import { Fault, type FaultCode } from '../../../shared/base/fault-codes.js';
import type { AcceptanceSet } from '../../../shared/release/acceptance-set.js';
import type { Release } from '../../../shared/release/manifest.js';
import type { ManifestHead, ManifestKind } from '../../../shared/release/manifest-head.js';
import type {
  TrialEvidence,
  TrialPolicy,
  TrialVerdict,
} from '../../../shared/statistics/trial-verdict.js';
import type { ColdStart, Installed, Standing } from '../../interfaces.js';

/** A release, and a release in a slot, of any payload kind. */
export type AnyRelease = Release<ManifestHead>;
export type AnyInstalled = Installed<ManifestHead>;

/**
 * Verifies the signatures of an envelope and decodes its manifest. Faults: signature_invalid,
 * manifest_undecodable, payload_unsupported (no handler takes this kind).
 */
export type OpenRelease = (envelope: Uint8Array) => AnyRelease;

export interface InstallContext {
  /** True for a signed rollback: this release ran here before, and must not be kept out lightly. */
  readonly rollback: boolean;
}

export interface RehearsalContext extends InstallContext {
  readonly policy: TrialPolicy;
}

export interface Rehearsal {
  /** Why a person must decide before the release serves; null: nothing was proven against it. */
  readonly differs: FaultCode | null;
  /** Sentences for an operator, with the arithmetic. */
  readonly detail: string;
}

export interface ProbeContext extends InstallContext {
  /** Verified; a release that does not reach it is refused (acceptance_failed). Null: none. */
  readonly acceptance: AcceptanceSet | null;
}

export interface TrialContext {
  readonly policy: TrialPolicy;
  /** True when there is a previous release that could serve again. */
  readonly replaces: boolean;
  /** Activations of the new release that failed in this trial, over restarts. */
  readonly failedStarts: number;
}

export interface Observation {
  readonly verdict: TrialVerdict['verdict'];
  /** As TrialVerdict.code. */
  readonly code: FaultCode | null;
  /** Sentences for an operator, with the arithmetic. */
  readonly reasons: readonly string[];
  /** What the server judges again; null when this kind gathers none. */
  readonly evidence: TrialEvidence | null;
}

/**
 * How a kind compares a candidate with what serves while only that one answers. What serves is not
 * disturbed, whatever becomes of the candidate.
 */
export interface ShadowRun<M extends ManifestHead> {
  /**
   * Runs `candidate` on copies of live requests. The same again changes nothing. Throws a Fault
   * when it does not start.
   */
  start(candidate: Installed<M>): Promise<void>;
  /** Judges the candidate against what serves. */
  observe(trial: TrialContext): Promise<Observation>;
  /** The candidate runs no longer. */
  end(): Promise<void>;
}

/** Every method may be cut by a power loss and is then called again. */
export interface PayloadHandler<M extends ManifestHead = ManifestHead> {
  /** The kind of manifest that it handles, and the schema of it. */
  readonly manifestKind: ManifestKind<M>;
  /**
   * Policy of this kind, before the spare slot is touched: memory, devices, licences. Throws a
   * refused Fault to keep the release out.
   */
  admit(release: Release<M>, context: InstallContext): Promise<void>;
  /** Completes the files in the spare slot (permissions, mounts); nothing to do for most kinds. */
  install(candidate: Installed<M>): Promise<void>;
  /**
   * Tries the verified candidate beside what runs. Resolves with one sentence of what was measured;
   * a refused Fault ends the update, a flaked one is tried again.
   */
  probe(candidate: Installed<M>, context: ProbeContext): Promise<string>;
  /**
   * Tries the probed candidate on what the device did lately with `current`, which runs; null:
   * nothing runs, or a release of another kind. Nothing is changed for what runs. A kind without
   * such a try says so in `detail`. A refused Fault ends the update.
   */
  rehearse(
    candidate: Installed<M>,
    current: Installed<M> | null,
    context: RehearsalContext,
  ): Promise<Rehearsal>;
  /**
   * Runs `current`, with `previous` kept beside it for comparison during a trial; null: alone. The
   * same arguments again change nothing. Throws a Fault when `current` does not start; what ran
   * before then keeps running.
   */
  activate(current: Installed<M>, previous: Installed<M> | null): Promise<void>;
  /** Judges the trial of what was activated last. */
  observe(trial: TrialContext): Promise<Observation>;
  /**
   * Starts `current`, which serves, once more beside itself, and lets that process serve. `none`
   * where a release of this kind has no process of its own. Throws a Fault when it does not start;
   * what runs keeps running.
   */
  coldStart(current: Installed<M>): Promise<ColdStart>;
  /** Null where a release of this kind cannot run beside another one that serves. */
  readonly shadow: ShadowRun<M> | null;
  /** How the active release does; asked for every second, so it must be cheap. */
  standing(): Standing;
  /** Runs nothing any more. */
  deactivate(): Promise<void>;
}

const HEALTHY: Standing = { conditions: [], crashLoop: null };

export class HandlerOfKind implements Omit<PayloadHandler, 'manifestKind' | 'shadow'> {
  readonly manifestKinds: readonly ManifestKind[];
  readonly #handlers: readonly PayloadHandler[];
  #active: PayloadHandler | null = null;
  #shadow: ShadowRun<ManifestHead> | null = null;

  constructor(handlers: readonly PayloadHandler[]) {
    this.#handlers = handlers;
    this.manifestKinds = handlers.map(({ manifestKind }) => manifestKind);
  }

  async admit(release: AnyRelease, context: InstallContext): Promise<void> {
    await this.#of(release).admit(release, context);
  }

  async install(candidate: AnyInstalled): Promise<void> {
    await this.#of(candidate.release).install(candidate);
  }

  async probe(candidate: AnyInstalled, context: ProbeContext): Promise<string> {
    return this.#of(candidate.release).probe(candidate, context);
  }

  rehearse(
    candidate: AnyInstalled,
    current: AnyInstalled | null,
    context: RehearsalContext,
  ): Promise<Rehearsal> {
    const handler = this.#of(candidate.release);
    const comparable = current !== null && this.#of(current.release) === handler;
    return handler.rehearse(candidate, comparable ? current : null, context);
  }

  /** A previous release of another kind cannot run beside `current`: it ends once that one runs. */
  async activate(current: AnyInstalled, previous: AnyInstalled | null): Promise<void> {
    const handler = this.#of(current.release);
    const comparable = previous !== null && this.#of(previous.release) === handler;
    await handler.activate(current, comparable ? previous : null);
    const before = this.#active;
    this.#active = handler;
    if (before !== null && before !== handler) await before.deactivate();
  }

  async observe(trial: TrialContext): Promise<Observation> {
    if (this.#active === null) throw new Error('nothing is active');
    return this.#active.observe(trial);
  }

  async coldStart(current: AnyInstalled): Promise<ColdStart> {
    return this.#of(current.release).coldStart(current);
  }

  /** True while a release is active. */
  get serves(): boolean {
    return this.#active !== null;
  }

  /** Fault shadow_needs_serving: `candidate` cannot be compared with `current`, which serves. */
  admitShadow(candidate: AnyRelease, current: AnyInstalled | null): void {
    this.#shadowOf(candidate, current);
  }

  /** Faults: shadow_needs_serving, those of ShadowRun.start. */
  async startShadow(candidate: AnyInstalled, current: AnyInstalled | null): Promise<void> {
    const shadow = this.#shadowOf(candidate.release, current);
    this.#shadow = shadow;
    await shadow.start(candidate);
  }

  async observeShadow(trial: TrialContext): Promise<Observation> {
    if (this.#shadow === null) throw new Error('no candidate runs');
    return this.#shadow.observe(trial);
  }

  /** Ends the candidate of startShadow; cheap when there is none. */
  async endShadow(): Promise<void> {
    const before = this.#shadow;
    this.#shadow = null;
    await before?.end();
  }

  #shadowOf(candidate: AnyRelease, current: AnyInstalled | null): ShadowRun<ManifestHead> {
    const handler = this.#of(candidate);
    const { kind } = candidate.manifest;
    const cannot = (why: string): Fault =>
      new Fault('shadow_needs_serving', `${candidate.component} ${candidate.version}: ${why}`);
    if (handler.shadow === null)
      throw cannot(`releases of kind ${kind} cannot run beside what serves`);
    if (current === null) throw cannot('no release serves that verifies from disk');
    if (this.#of(current.release) !== handler)
      throw cannot(
        `it is of kind ${kind}; what serves is of kind ${current.release.manifest.kind}`,
      );
    return handler.shadow;
  }

  standing(): Standing {
    return this.#active?.standing() ?? HEALTHY;
  }

  async deactivate(): Promise<void> {
    const before = this.#active;
    this.#active = null;
    await before?.deactivate();
  }

  #of({ manifest }: AnyRelease): PayloadHandler {
    const found = this.#handlers.find(({ manifestKind }) => manifestKind.kind === manifest.kind);
    if (found === undefined)
      throw new Error(`no handler of kind ${manifest.kind}: see OpenRelease`);
    return found;
  }
}
