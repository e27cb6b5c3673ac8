// The payload handler for kind `model`: bridges the update machine to the inference engine.
// Admission is the memory contract, probing is the golden probes in a second process, activation
// flips requests to the new model with the old one in its shadow, and the trial is judged on the
// shadow comparison.
import { Fault } from '../../../shared/base/fault-codes.js';
import type { Release } from '../../../shared/release/manifest.js';
import { MODEL_KIND, type ModelManifest } from '../../../shared/release/model-manifest.js';
import { judgeRehearsal, judgeTrial } from '../../../shared/statistics/trial-verdict.js';
import type {
  ColdStart,
  Installed,
  Measured,
  ModelRuntime,
  Resources,
  Standing,
} from '../../interfaces.js';
import type {
  InstallContext,
  Observation,
  PayloadHandler,
  Rehearsal,
  RehearsalContext,
  ProbeContext,
  ShadowRun,
  TrialContext,
} from './handler.js';

const MIB = 1024 * 1024;

export interface ModelHandlerOptions {
  readonly runtime: ModelRuntime;
  readonly resources: Resources;
}

export class ModelHandler implements PayloadHandler<ModelManifest> {
  readonly manifestKind = MODEL_KIND;
  readonly shadow: ShadowRun<ModelManifest>;
  readonly #runtime: ModelRuntime;
  readonly #resources: Resources;

  constructor({ runtime, resources }: ModelHandlerOptions) {
    this.#runtime = runtime;
    this.#resources = resources;
    this.shadow = {
      start: (candidate) => runtime.shadow(candidate),
      observe: (trial) => Promise.resolve(judge(runtime.shadowEvidence(), trial)),
      end: () => runtime.shadow(null),
    };
  }

  /**
   * Old and new model run side by side during probes and trial, so the whole peak of the new one
   * must be free. A rollback is not refused for this: its release has run here. Fault:
   * contract_memory.
   */
  async admit(release: Release, { rollback }: InstallContext): Promise<void> {
    if (rollback) return;
    const { peakMemoryMiB } = release.manifest.contract;
    const available = await this.#resources.memoryAvailableBytes();
    if (available < peakMemoryMiB * MIB)
      throw new Fault(
        'contract_memory',
        `${release.component} ${release.version} may use ${peakMemoryMiB} MiB, ` +
          `${Math.floor(available / MIB)} MiB are available`,
      );
  }

  install(): Promise<void> {
    return Promise.resolve();
  }

  /**
   * For a rollback, right answers are enough: a device under load must not stay on a bad release
   * because the good one is slow today.
   */
  async probe(candidate: Installed, { rollback, acceptance }: ProbeContext): Promise<string> {
    const report = await this.#runtime.probe(candidate, acceptance);
    const code = report.code ?? 'probe_differs';
    const tolerated = rollback && (code === 'probe_slow' || code === 'probe_memory');
    if (!report.passed && !tolerated) throw new Fault(code, report.reasons);
    return report.reasons;
  }

  /** A rollback is not rehearsed: its release ran here before, and the way back is not delayed. */
  async rehearse(
    candidate: Installed,
    current: Installed | null,
    { policy, rollback }: RehearsalContext,
  ): Promise<Rehearsal> {
    const none = (why: string): Rehearsal => ({ differs: null, detail: `no rehearsal: ${why}` });
    if (rollback) return none('this is a way back to a release that ran here');
    if (current === null) return none('no release serves that it could be compared with');
    const peaks = [candidate, current].map(({ release }) => release.manifest.contract);
    const needed = Math.max(...peaks.map(({ peakMemoryMiB }) => peakMemoryMiB));
    const lacking = await this.#lacking(needed);
    if (lacking !== null) return none(lacking);
    const rehearsed = await this.#runtime.rehearse(candidate, current);
    if ('none' in rehearsed) return none(rehearsed.none);
    const { verdict, code, reasons } = judgeRehearsal(rehearsed.evidence, policy);
    const detail = reasons.join('; ');
    if (verdict === 'fail') throw new Fault(code ?? 'rehearsal_differs', detail);
    return { differs: code, detail: code === null ? `rehearsed: ${detail}` : detail };
  }

  activate(current: Installed, previous: Installed | null): Promise<void> {
    return this.#runtime.serve(current, previous);
  }

  observe(trial: TrialContext): Promise<Observation> {
    return Promise.resolve(judge(this.#runtime.evidence(), trial));
  }

  /** The release runs twice for a moment, which may be more than it and the previous one took. */
  coldStart({ release }: Installed): Promise<ColdStart> {
    const { peakMemoryMiB } = release.manifest.contract;
    return this.#runtime.restart(() => this.#lacking(peakMemoryMiB));
  }

  async #lacking(neededMiB: number): Promise<string | null> {
    const available = Math.floor((await this.#resources.memoryAvailableBytes()) / MIB);
    if (available >= neededMiB) return null;
    return `it may take ${neededMiB} MiB, ${available} MiB are available`;
  }

  standing(): Standing {
    return this.#runtime.standing();
  }

  deactivate(): Promise<void> {
    return this.#runtime.stop();
  }
}

function judge(
  measured: Measured | null,
  { policy, replaces, failedStarts }: TrialContext,
): Observation {
  if (measured === null) return { verdict: 'measuring', code: null, reasons: [], evidence: null };
  const evidence = { ...measured, replaces, modelFaults: measured.modelFaults + failedStarts };
  return { ...judgeTrial(evidence, policy), evidence };
}
