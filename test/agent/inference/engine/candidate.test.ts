// A candidate that runs beside what serves and never serves itself, with real model processes.
import { afterEach, beforeEach, expect, it } from 'vitest';
import type {
  Engine,
  EngineOptions,
  Observation,
} from '../../../../agent/inference/engine/engine.js';
import { elementsOf } from '../../../../agent/inference/model/tensor.js';
import {
  defaultTrialPolicy,
  judgeTrial,
  type TrialVerdict,
} from '../../../../shared/statistics/trial-verdict.js';
import {
  faultCodeOf,
  isAlive,
  MovableClock,
  pidOf,
  testEngine,
  until,
} from '../../../support/inference-engines.js';
import { adder, fp32, install } from '../../../support/inference-releases.js';
import { tempFolder } from '../../../support/temp-folders.js';
import { seeded } from '../../../support/random.js';

let root: string;
let clock: MovableClock;
let engine: Engine;
let observed: Observation[];

beforeEach(() => {
  root = tempFolder();
  clock = new MovableClock();
  observed = [];
});
afterEach(() => engine.stop());

function engineWith(options: Partial<EngineOptions> = {}): void {
  engine = testEngine(root, {
    clock,
    onAnswer: (observation) => observed.push(observation),
    ...options,
  });
}

const release = (version: string, bias = [0, 0, 0, 0]) => install(root, adder(version, bias));
const evidence = () => ({ ...engine.shadowEvidence()!, replaces: true });
const x = [1, 2, 3, 9];
const pairsOf = (): number => evidence().comparisons[0]?.pairs ?? 0;

/** The answer of 1.0.0, which adds nothing, whatever runs beside it. */
async function ask(values = x): Promise<void> {
  const { outputs, release: by } = await engine.infer({ inputs: [fp32('x', [1, 4], values)] });
  expect([by.version, ...elementsOf(outputs[0]!)]).toEqual(['1.0.0', ...values]);
}

/** Requests of 1.0.0, one a second, each compared with the candidate, until there is a verdict. */
async function verdictOn(candidate: ReturnType<typeof release>): Promise<TrialVerdict> {
  const random = seeded(11);
  // One input in five is of class a where the bias of `a` is 5, and of class d where it is not.
  const next = async (): Promise<void> => {
    const [b, c] = [random(), random()];
    await ask(random() < 0.2 ? [0, b, c, 4].map(Math.fround) : [0, b, c, 6].map(Math.fround));
    clock.move(1000);
  };
  await engine.serve(release('1.0.0'), null);
  for (let i = 0; i < 40; i += 1) await next();
  await engine.shadow(candidate);
  for (let pairs = 1; ; pairs += 1) {
    await next();
    await until(() => pairsOf() === pairs, 'the pair is compared');
    // Run times of two processes on a busy machine are not this test's matter.
    const latency = { ...evidence().latency, ratios: [] };
    const verdict = judgeTrial({ ...evidence(), latency }, defaultTrialPolicy);
    if (verdict.verdict !== 'measuring' || pairs > 600) return verdict;
  }
}

/** Every request was answered, and none by the candidate. */
function expectOnlyOldServed(): void {
  expect(observed.every(({ outcome }) => outcome === 'served')).toBe(true);
  expect(new Set(observed.map(({ release: by }) => by.version))).toEqual(new Set(['1.0.0']));
}

it('an_identical_candidate_passes_and_has_answered_no_live_request', async () => {
  engineWith();
  expect(await verdictOn(release('1.1.0'))).toMatchObject({ verdict: 'pass' });
  const { served, failed, modelFaults, comparable, new: fresh, old } = evidence();
  expect({ failed, modelFaults, comparable }).toEqual({
    failed: 0,
    modelFaults: 0,
    comparable: true,
  });
  // The copies, and not the 40 requests before.
  expect(served).toBe(observed.length - 40);
  expect(fresh).toEqual(old);
  expectOnlyOldServed();
}, 60_000);

it('a_candidate_that_is_wrong_on_one_input_in_five_does_not_pass_and_nobody_saw_it', async () => {
  engineWith();
  const verdict = await verdictOn(release('1.1.0', [5, 0, 0, 0]));
  // As in a trial: by its classes or by its answers, whichever is certain first.
  expect(['fail', 'differs_more_than_declared']).toContain(verdict.verdict);
  expect(evidence().old?.classes).toEqual([0, 0, 0, pairsOf()]);
  expect(evidence().new?.classes[0]).toBeGreaterThan(0.1 * pairsOf());
  expectOnlyOldServed();
}, 60_000);

it('a_candidate_that_is_mostly_wrong_fails', async () => {
  engineWith();
  const verdict = await verdictOn(release('1.1.0', [9, 0, 0, 0]));
  expect(verdict).toMatchObject({ verdict: 'fail', code: 'trial_disagreement' });
  expectOnlyOldServed();
}, 60_000);

it('a_candidate_that_crashes_changes_no_answer_and_fails_at_its_third_fault', async () => {
  engineWith({ limits: { hostRestartBackoffFirstMs: 20 } });
  await engine.serve(release('1.0.0'), null);
  const serving = pidOf(engine);
  await engine.shadow(release('1.1.0'));
  for (let faults = 1; faults <= 3; faults += 1) {
    await until(() => engine.processes[1]?.up === true, 'the candidate is up');
    const asked = [1, 2, 3, 4].map(() => ask());
    process.kill(pidOf(engine, 'candidate'), 'SIGKILL');
    await Promise.all(asked);
    await until(() => evidence().modelFaults === faults, 'the crash is counted');
  }
  expect(judgeTrial(evidence(), defaultTrialPolicy)).toMatchObject({
    verdict: 'fail',
    code: 'trial_crashes',
  });
  expectOnlyOldServed();
  expect(pidOf(engine)).toBe(serving);
  expect(engine.standing()).toEqual({ conditions: [], crashLoop: null });
  expect(engine.evidence()).toMatchObject({ modelFaults: 0, failed: 0, served: 12 });
});

it('a_candidate_that_hangs_delays_no_answer_and_is_killed_and_counted', async () => {
  engineWith({ limits: { hostRunMs: 2000, hostRestartBackoffFirstMs: 20 } });
  await engine.serve(release('1.0.0'), null);
  await engine.shadow(release('1.1.0'));
  const hung = pidOf(engine, 'candidate');
  process.kill(hung, 'SIGSTOP');
  for (let i = 0; i < 50; i += 1) await ask();
  await until(() => evidence().modelFaults > 0, 'the hang is counted');
  await until(() => !isAlive(hung), 'the process that hung is gone');
  expectOnlyOldServed();
});

it('a_candidate_that_does_not_load_throws_and_what_serves_is_untouched', async () => {
  engineWith();
  await engine.serve(release('1.0.0'), null);
  const before = engine.processes;
  const bad = install(root, { ...adder('1.1.0', [0, 0, 0, 0]), model: Buffer.from('no model') });
  expect(await faultCodeOf(engine.shadow(bad))).toBe('model_not_onnx');
  expect(engine.processes).toEqual(before);
  expect(engine.shadowEvidence()).toBeNull();
  await ask();
});

it('the_same_candidate_again_changes_nothing_and_the_end_leaves_what_serves_alone', async () => {
  engineWith();
  await engine.serve(release('1.0.0'), null);
  const candidate = release('1.1.0');
  const serving = pidOf(engine);
  await engine.shadow(candidate);
  const pid = pidOf(engine, 'candidate');
  await engine.shadow(candidate);
  await engine.serve(release('1.0.0'), null);
  expect([pidOf(engine), pidOf(engine, 'candidate')]).toEqual([serving, pid]);
  await ask();
  await until(() => pairsOf() === 1, 'the pair is compared');
  await engine.shadow(null);
  await until(() => !isAlive(pid), 'the process of the candidate ends');
  expect(engine.processes).toMatchObject([{ role: 'serving', pid: serving, up: true }]);
  expect(engine.shadowEvidence()).toBeNull();
  await ask();
});

it('another_release_that_serves_and_the_end_of_the_engine_end_the_candidate', async () => {
  engineWith();
  await engine.serve(release('1.0.0'), null);
  await engine.shadow(release('1.1.0'));
  const first = pidOf(engine, 'candidate');
  await engine.serve(release('1.2.0'), null);
  await until(() => !isAlive(first), 'the process of the candidate ends');
  expect(engine.shadowEvidence()).toBeNull();
  await engine.shadow(release('1.1.0'));
  const second = pidOf(engine, 'candidate');
  await engine.stop();
  expect(isAlive(second)).toBe(false);
});
