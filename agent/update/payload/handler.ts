// A payload handler is all that the update machine knows of a payload kind (model, and later agent,
// exec, image). The machine downloads and verifies files, lays slots out, writes the record and
// decides when; a handler says what a release of its kind needs, tries it, runs it and judges it.
// HandlerOfKind picks the handler by the `kind` of the signed manifest and is itself used like one.
import { Fault, type FaultCode } from '../../../shared/base/fault-codes.js';
import type { Release } from '../../../shared/release/manifest.js';
import type { TrialEvidence, TrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import type { Installed } from '../../interfaces.js';

export interface InstallContext {
  /** True for a signed rollback: this release ran here before, and must not be kept out lightly. */
  readonly rollback: boolean;
}

export interface TrialContext {
  readonly policy: TrialPolicy;
  /** True when there is a previous release that could serve again. */
  readonly replaces: boolean;
  /** Activations of the new release that failed in this trial, over restarts. */
  readonly failedStarts: number;
}

export interface Observation {
  readonly verdict: 'pass' | 'fail' | 'measuring';
  /** With `fail`: why. */
  readonly code: FaultCode | null;
  /** Sentences for an operator, with the arithmetic. */
  readonly reasons: readonly string[];
  /** What the server judges again; null when this kind gathers none. */
  readonly evidence: TrialEvidence | null;
}

/** Every method may be cut by a power loss and is then called again. */
export interface PayloadHandler {
  /** The `kind` of the manifests that it handles. */
  readonly kind: string;
  /**
   * Policy of this kind, before the spare slot is touched: memory, devices, licences. Throws a
   * refused Fault to keep the release out.
   */
  admit(release: Release, context: InstallContext): Promise<void>;
  /** Completes the files in the spare slot (permissions, mounts); nothing to do for most kinds. */
  install(candidate: Installed): Promise<void>;
  /**
   * Tries the verified candidate beside what runs. Resolves with one sentence of what was measured;
   * a refused Fault ends the update, a flaked one is tried again.
   */
  probe(candidate: Installed, context: InstallContext): Promise<string>;
  /**
   * Runs `current`, with `previous` kept beside it for comparison during a trial; null: alone. The
   * same arguments again change nothing. Throws a Fault when `current` does not start; what ran
   * before then keeps running.
   */
  activate(current: Installed, previous: Installed | null): Promise<void>;
  /** Judges the trial of what was activated last. */
  observe(trial: TrialContext): Promise<Observation>;
  /** Runs nothing any more. */
  deactivate(): Promise<void>;
}

export class HandlerOfKind implements Omit<PayloadHandler, 'kind'> {
  readonly #handlers: ReadonlyMap<string, PayloadHandler>;
  #active: PayloadHandler | null = null;

  constructor(handlers: readonly PayloadHandler[]) {
    this.#handlers = new Map(handlers.map((handler) => [handler.kind, handler]));
  }

  /** Fault payload_unsupported when no handler takes releases of this kind. */
  requireKind(release: Release): void {
    this.#of(release);
  }

  async admit(release: Release, context: InstallContext): Promise<void> {
    await this.#of(release).admit(release, context);
  }

  async install(candidate: Installed): Promise<void> {
    await this.#of(candidate.release).install(candidate);
  }

  async probe(candidate: Installed, context: InstallContext): Promise<string> {
    return this.#of(candidate.release).probe(candidate, context);
  }

  /** A previous release of another kind cannot run beside `current`: it ends once that one runs. */
  async activate(current: Installed, previous: Installed | null): Promise<void> {
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

  async deactivate(): Promise<void> {
    const before = this.#active;
    this.#active = null;
    await before?.deactivate();
  }

  #of({ component, version, manifest }: Release): PayloadHandler {
    const { kind } = manifest;
    const handler = this.#handlers.get(kind);
    if (handler !== undefined) return handler;
    const known = [...this.#handlers.keys()].join(', ');
    throw new Fault(
      'payload_unsupported',
      `${component} ${version} is of kind ${kind}; this component takes ${known}`,
    );
  }
}
