// The rehearsal of a candidate: a device's own recent inputs are answered by the release that
// serves and then by the candidate, each in a short-lived process of its own, so that what serves
// is not disturbed and at most one model more is in memory. Differences and blocks are the trial's
// (compared-outputs.ts, rehearsal-evidence.ts). Inputs are taken in random order, so that what does
// not fit into the time or the memory leaves a random part. An input that the old release does not
// answer says nothing; one that only the candidate does not answer is a difference of 1.
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import type { Random } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { RecentMap } from '../../../shared/base/recent-map.js';
import type { Release } from '../../../shared/release/manifest.js';
import {
  rehearsalEvidence,
  type RehearsedPair,
} from '../../../shared/statistics/rehearsal-evidence.js';
import type {
  ComparisonEvidence,
  TrialEvidence,
} from '../../../shared/statistics/trial-evidence.js';
import type { Installed, Rehearsed } from '../../interfaces.js';
import { isProcessEnd, newHost, type HostOptions } from '../model-process/host.js';
import { guard, nonFiniteAnswer } from '../model/guard.js';
import { inputSummary } from '../model/input-signature.js';
import { readProbes } from '../model/probes-file.js';
import type { Tensor } from '../model/tensor.js';
import { ComparedOutputs } from './compared-outputs.js';
import { InputRing, type InputRingOptions, type RingInput } from './input-ring.js';

const MIB = 1024 * 1024;

export type RehearsalSettings = Omit<InputRingOptions, 'random'>;

/** The recent inputs of one component, and what rehearsals on them found. In memory only. */
export class Rehearsals {
  readonly #options: { readonly hosts: HostOptions; readonly random: Random };
  readonly #ring: InputRing | null;
  readonly #answersMaxBytes: number;
  /** By candidate and the release that served: the same inputs are not used for them again. */
  readonly #found = new RecentMap<string, TrialEvidence>(limits.rehearsalsKeptMaxCount);
  #isCut = false;

  /** Without settings there is no rehearsal. */
  constructor(
    settings: RehearsalSettings | undefined,
    options: { readonly hosts: HostOptions; readonly random: Random },
  ) {
    this.#options = options;
    this.#ring = settings === undefined ? null : new InputRing({ ...settings, ...options });
    this.#answersMaxBytes = (settings?.maxMiB ?? 0) * MIB;
  }

  /** A live input that was answered. */
  add(seconds: number, inputs: readonly Tensor[]): void {
    this.#ring?.add(seconds, inputs);
  }

  /** As ModelRuntime.rehearse; `blockSeconds` is the length of a block of its live inputs. */
  async rehearse(
    candidate: Installed,
    current: Installed,
    blockSeconds: number | null,
  ): Promise<Rehearsed> {
    const ring = this.#ring;
    if (ring === null) return { none: 'it is not switched on for this component' };
    const key = keyOf(candidate.release, current.release);
    const known = this.#found.get(key);
    if (known !== undefined) return { evidence: known };
    const { hosts } = this.#options;
    const result = await rehearse({
      ...this.#options,
      candidate,
      current,
      inputs: ring.inputs(hosts.clock.monotonic() / 1000),
      blockSeconds,
      answersMaxBytes: this.#answersMaxBytes,
      isCut: () => this.#isCut,
    });
    if ('none' in result) return result;
    this.#found.set(key, result.evidence);
    return result;
  }

  /** What the rehearsal of `current` against `old` found; empty without one. */
  comparisonsOf(current: Release, old: Release): readonly ComparisonEvidence[] {
    return this.#found.get(keyOf(current, old))?.comparisons ?? [];
  }

  /** A rehearsal under way ends with what it has. */
  cut(): void {
    this.#isCut = true;
  }

  clear(): void {
    this.#ring?.clear();
  }
}

const keyOf = (candidate: Release, current: Release): string =>
  `${candidate.digest} ${current.digest}`;

interface RehearsalOptions {
  readonly candidate: Installed;
  /** The release that serves. */
  readonly current: Installed;
  readonly inputs: readonly RingInput[];
  /** Length of a block of time, of the live inputs; null where it is not known. */
  readonly blockSeconds: number | null;
  /** Bytes of answers that are kept at once. */
  readonly answersMaxBytes: number;
  readonly hosts: HostOptions;
  readonly random: Random;
  /** True once the agent stops: what is not answered by then is left out. */
  readonly isCut: () => boolean;
}

/**
 * Faults: `rehearsal_crashes`; those of ModelHost.start for the candidate (`host_start` and
 * `installation_incomplete` may go away).
 */
async function rehearse(options: RehearsalOptions): Promise<Rehearsed> {
  const { candidate, current, inputs } = options;
  const { trialBlocksMinCount: enough } = limits;
  const compared = new ComparedOutputs(candidate.release, current.release);
  if (compared.comparisons.length === 0)
    return { none: 'no output can be compared with the release that serves' };
  if (compared.comparisons.some(({ kind }) => kind === 'sequence'))
    return { none: 'outputs that are sequences may depend on the inputs before' };
  if (inputs.length < enough)
    return { none: `${inputs.length} recent inputs are kept, it takes ${enough}` };
  const old = await answersOfCurrent(options);
  if (typeof old === 'string')
    return { none: `a second process of ${current.release.version}, which serves, failed: ${old}` };
  const pairs = old.length < enough ? [] : await compareCandidate(options, compared, old);
  if (pairs.length < enough)
    return { none: `fewer than ${enough} recent inputs were answered in the time for it` };
  return { evidence: rehearsalEvidence(pairs, compared.declared, options.blockSeconds) };
}

interface Answered {
  readonly input: RingInput;
  readonly old: readonly Tensor[];
}

/** What the release that serves answers, in random order; or why it could not. */
async function answersOfCurrent(options: RehearsalOptions): Promise<Answered[] | string> {
  const answers: Answered[] = [];
  let bytes = 0;
  try {
    await withHost(options, options.current, async (answer) => {
      for (const input of shuffled(options.inputs, options.random)) {
        const old = await answer(input);
        if (old === undefined || bytes > options.answersMaxBytes) return;
        if (old === null) continue;
        for (const { data } of old) bytes += data.byteLength;
        answers.push({ input, old });
      }
    });
  } catch (error) {
    // It does not start or dies a second time beside itself: not the candidate's fault.
    if (!isFault(error)) throw error;
    return error.message;
  }
  return answers;
}

async function compareCandidate(
  options: RehearsalOptions,
  compared: ComparedOutputs,
  answers: readonly Answered[],
): Promise<RehearsedPair[]> {
  const { component, version } = options.candidate.release;
  const done: RehearsedPair[] = [];
  try {
    await withHost(options, options.candidate, async (answer) => {
      for (const { input, old } of answers) {
        const fresh = await answer(input);
        if (fresh === undefined) return;
        const differences = fresh === null ? null : compared.differences(fresh, old);
        done.push({ seconds: input.seconds, summary: inputSummary(input.inputs), differences });
      }
    });
  } catch (error) {
    if (!isFault(error) || !isProcessEnd(error)) throw error;
    const at = `input ${done.length + 1} of ${answers.length}`;
    throw new Fault(
      'rehearsal_crashes',
      `${component} ${version} on ${at} of the device's own recent ones: ${error.detail}; ` +
        'it has answered no live request',
      { cause: error },
    );
  }
  return done;
}

/** Null: the model gives no answer to this input. Undefined: the time is over. */
type Answer = (input: RingInput) => Promise<Tensor[] | null | undefined>;

async function withHost(
  { hosts, isCut }: RehearsalOptions,
  installed: Installed,
  work: (answer: Answer) => Promise<void>,
): Promise<void> {
  const host = newHost(hosts, installed);
  const { clock } = hosts;
  const { probesFileMaxBytes, rehearsalRunsMs, requestMaxBytes } = hosts.limits;
  try {
    const [probe] = await readProbes(installed, probesFileMaxBytes);
    await host.start(probe?.inputs ?? []);
    const until = clock.monotonic() + rehearsalRunsMs;
    await work(async ({ inputs }) => {
      if (isCut() || clock.monotonic() >= until) return undefined;
      try {
        const { manifest } = installed.release;
        const outputs = await host.run(guard(manifest.inputs, inputs, requestMaxBytes));
        return nonFiniteAnswer(outputs) === null ? outputs : null;
      } catch (error) {
        if (!isFault(error) || isProcessEnd(error)) throw error;
        return null;
      }
    });
  } finally {
    await host.stop();
  }
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, place: random.fraction() }))
    .sort((one, other) => one.place - other.place)
    .map(({ item }) => item);
}
