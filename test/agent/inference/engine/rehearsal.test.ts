// The rehearsal with real model processes: a release that answers a device's own recent inputs
// wrong is found before it answers a request, and what serves is not disturbed.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Engine } from '../../../../agent/inference/engine/engine.js';
import type { Installed } from '../../../../agent/interfaces.js';
import { ModelHandler } from '../../../../agent/update/payload/model.js';
import type { Rehearsal } from '../../../../agent/update/payload/handler.js';
import { makeNode } from '../../../../firmware-tools/model/onnx/nodes.js';
import { ElementType, makeTensor } from '../../../../firmware-tools/model/onnx/tensors.js';
import { realRandom } from '../../../../shared/platform/clock.js';
import { blocksOf } from '../../../../shared/statistics/betting.js';
import {
  defaultTrialPolicy,
  judgeTrial,
  type TrialEvidence,
} from '../../../../shared/statistics/trial-verdict.js';
import { seeded } from '../../../support/random.js';
import {
  faultOf,
  MovableClock,
  pidOf,
  testEngine,
  until,
} from '../../../support/inference-engines.js';
import {
  adder,
  fp32,
  install,
  modelOf,
  type Recipe,
  convolution,
} from '../../../support/inference-releases.js';

let root: string;
let engine: Engine;
let clock: MovableClock;
let handler: ModelHandler;
let random: () => number;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'linnet-rehearsal-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const start = (more: Parameters<typeof testEngine>[1] = {}): void => {
  random = seeded(5);
  clock = new MovableClock();
  engine = testEngine(root, {
    clock,
    random: { ...realRandom, fraction: random },
    rehearsal: { maxMiB: 16, maxAgeHours: 24 },
    ...more,
  });
  const resources = { memoryAvailableBytes: () => Promise.resolve(1e11) };
  handler = new ModelHandler({ runtime: engine, resources });
};
beforeEach(() => start());
afterEach(() => engine.stop());

const release = (version: string, bias: number[] = [0, 0, 0, 0], more?: Partial<Recipe>) =>
  install(root, adder(version, bias, more));

/** Live requests, one every two minutes; each of four classes as often as the others. */
async function live(count: number, scale = 1): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    const values = Array.from({ length: 4 }, () => scale * random());
    await engine.infer({ inputs: [fp32('x', [1, 4], values)] });
    clock.move(120_000);
  }
}

/** What a device does: it serves `old`, has requests, and rehearses `fresh`. */
async function rehearsed(old: Installed, fresh: Installed, requests = 200): Promise<Rehearsal> {
  await engine.serve(old, null);
  await live(requests);
  return handler.rehearse(fresh, old, { policy: defaultTrialPolicy, rollback: false });
}

const evidence = (): TrialEvidence => ({ ...engine.evidence()!, replaces: true });

describe('a release in rehearsal', () => {
  it('wrong_is_refused_and_has_answered_no_live_request', async () => {
    const seen: string[] = [];
    await engine.stop();
    start({ onAnswer: ({ release: { version } }) => seen.push(version) });
    const old = release('1.0.0');
    await engine.serve(old, null);
    const pid = pidOf(engine);
    const fault = await faultOf(rehearsed(old, release('1.2.0', [0, 0, 0, 9])));
    expect(fault).toMatchObject({ code: 'rehearsal_differs', kind: 'refused' });
    expect(fault.detail).toMatch(
      /answers of logits differ by 7\d(\.\d)? % on \d{3} of its own recent inputs \(\d+ % to \d+ %,/,
    );
    expect(fault.detail).toMatch(/more than 20 % has failed.*it has answered no live request$/);
    // What serves is the same process as before, and nothing else is left.
    expect(engine.processes).toMatchObject([{ role: 'serving', pid, up: true }]);
    expect(new Set(seen)).toEqual(new Set(['1.0.0']));
  });

  it('equal_passes_and_its_pairs_count_in_the_trial', async () => {
    const [old, fresh] = [release('1.0.0'), release('1.1.0')];
    const { differs, detail } = await rehearsed(old, fresh);
    expect(differs).toBeNull();
    expect(detail).toMatch(
      /^rehearsed: answers of logits differ by 0 % on \d{3} of its own recent/,
    );
    await engine.serve(fresh, old);
    const [before] = evidence().comparisons;
    expect(before?.pairs).toBeGreaterThanOrEqual(100);
    expect(before?.rehearsed).toEqual({ pairs: before?.pairs, blocks: blocksOf(before!.blocks) });
    // The rehearsal says nothing about errors, latency and crashes.
    expect(evidence()).toMatchObject({ served: 0, failed: 0, look: null, modelFaults: 0 });
    expect(evidence()).toMatchObject({ latency: { ratios: [], slow: { counts: [] } } });
    await live(1);
    await until(() => evidence().comparisons[0]!.pairs > before!.pairs, 'a live pair');
    const { reasons } = judgeTrial(evidence(), defaultTrialPolicy);
    expect(reasons.join()).toMatch(/on 1 live inputs and \d{3} of its own recent ones in/);
  });

  it('within_its_declared_difference_passes_and_above_it_waits_for_a_person', async () => {
    const old = release('1.0.0');
    // Changes some 15 % of the classes.
    const fresh = release('1.3.0', [0, 0, 0, 0.2]);
    await engine.serve(old, null);
    await live(200);
    const rehearse = (declared: boolean, policy = defaultTrialPolicy): Promise<Rehearsal> => {
      const outputs = [{ output: 'logits', sum: 400, count: 2000 }];
      const expectedDifferences = [
        {
          base: old.release.digest,
          version: old.release.version,
          evaluationSha256: '0'.repeat(64),
          outputs,
        },
      ];
      const manifest = {
        ...fresh.release.manifest,
        ...(declared ? { expectedDifferences } : {}),
      };
      const digest = `${declared ? 'a' : 'b'}${fresh.release.digest.slice(1)}`;
      const candidate = { ...fresh, release: { ...fresh.release, digest, manifest } };
      return handler.rehearse(candidate, old, { policy, rollback: false });
    };
    const cap = { ...defaultTrialPolicy, differenceCapPermille: 400 };
    expect((await rehearse(true, cap)).differs).toBeNull();
    const strict = { ...cap, differenceLimitPermille: 20 };
    const { differs, detail } = await rehearse(false, strict);
    expect(differs).toBe('trial_differs');
    expect(detail).toMatch(/the limit is 2 %.*up to 40 % is for a person to decide/);
    expect(detail).toMatch(/it has answered no live request$/);
  });

  it('that_hangs_on_the_inputs_is_refused', async () => {
    await engine.stop();
    start({ limits: { hostRunMs: 1000 } });
    const old = release('1.0.0', [0, 0, 0, 0], { classifier: null });
    await engine.serve(old, null);
    await live(40, 10_000);
    const context = { policy: defaultTrialPolicy, rollback: false };
    const fault = await faultOf(handler.rehearse(endless('1.4.0'), old, context));
    expect(fault).toMatchObject({ code: 'rehearsal_crashes', kind: 'refused' });
    expect(fault.detail).toMatch(
      /input 1 of \d+ of the device's own recent ones: .*no live request/,
    );
    expect(engine.processes).toHaveLength(1);
  });
});

/** Answers its input, after a product of square matrices whose size is the largest element. */
function endless(version: string): Installed {
  const products = Array.from({ length: 8 }, (_, i) => `p${i}`);
  const nodes = [
    makeNode('ReduceMax', 'largest', ['x'], ['largest'], { keepdims: 0 }),
    makeNode('Cast', 'whole', ['largest'], ['whole'], { to: ElementType.int64 }),
    makeNode('Reshape', 'size', ['whole', 'one'], ['size']),
    makeNode('Concat', 'shape', ['size', 'size'], ['shape'], { axis: 0 }),
    makeNode('ConstantOfShape', 'p0', ['shape'], ['p0']),
    ...products.slice(1).map((name, i) => makeNode('MatMul', name, [`p${i}`, 'p0'], [name])),
    makeNode('ReduceMean', 'mean', [products.at(-1) ?? ''], ['mean'], { keepdims: 0 }),
    makeNode('Add', 'add', ['x', 'mean'], ['logits']),
  ];
  const model = modelOf(
    nodes,
    [['x', ElementType.float32, ['N', 4]]],
    [['logits', ElementType.float32, ['N', 4]]],
    [makeTensor('one', [1], BigInt64Array.from([1n]))],
  );
  return release(version, [0, 0, 0, 0], { model, classifier: null });
}

describe('a rehearsal', () => {
  const context = { policy: defaultTrialPolicy, rollback: false };
  const none = (detail: string): Rehearsal => ({
    differs: null,
    detail: `no rehearsal: ${detail}`,
  });

  it('uses_an_input_once_for_a_release', async () => {
    const [old, fresh] = [release('1.0.0'), release('1.1.0')];
    const first = await rehearsed(old, fresh, 40);
    expect(first.detail).toContain('on 40 of its own recent inputs');
    await live(20);
    expect(await handler.rehearse(fresh, old, context)).toEqual(first);
    // Another release may use them, and those that came since.
    const other = await handler.rehearse(release('1.1.1'), old, context);
    expect(other.detail).toContain('on 60 of its own recent inputs');
  });

  it('is_off_without_a_setting_and_says_so', async () => {
    await engine.stop();
    start({ rehearsal: undefined });
    const { detail } = await rehearsed(release('1.0.0'), release('1.2.0', [0, 0, 0, 9]), 40);
    expect(detail).toBe('no rehearsal: it is not switched on for this component');
  });

  it('needs_enough_inputs_which_are_gone_after_a_stop', async () => {
    const [old, wrong] = [release('1.0.0'), release('1.2.0', [0, 0, 0, 9])];
    expect(await rehearsed(old, wrong, 19)).toEqual(none('19 recent inputs are kept, it takes 20'));
    await live(30);
    await engine.stop();
    expect(await rehearsed(old, wrong, 0)).toEqual(none('0 recent inputs are kept, it takes 20'));
  });

  it('compares_no_sequences_and_no_other_inputs_or_labels', async () => {
    const comparisons = [{ output: 'logits', kind: 'sequence' as const }];
    const old = release('1.0.0');
    const fresh = release('1.1.0');
    const { release: of } = fresh;
    const manifest = { ...of.manifest, comparisons };
    const sequences = { ...fresh, release: { ...of, digest: 'a'.repeat(64), manifest } };
    expect(await rehearsed(old, sequences, 30)).toEqual(
      none('outputs that are sequences may depend on the inputs before'),
    );
    const classifier = { output: 'logits', scale: 'logits' as const, labels: ['p', 'q', 'r', 's'] };
    const other = release('1.2.0', [0, 0, 0, 0], { classifier });
    expect(await handler.rehearse(other, old, context)).toEqual(
      none('no output can be compared with the release that serves'),
    );
  });

  it('counts_an_input_that_only_the_new_release_does_not_take_as_a_difference', async () => {
    const old = release('1.0.0');
    const range = { min: 5, max: 9 };
    const inputs = [{ name: 'x', datatype: 'FP32' as const, shape: [-1, 4], range }];
    const probe = {
      inputs: [fp32('x', [1, 4], [5, 6, 7, 8])],
      outputs: [fp32('logits', [1, 4], [5, 6, 7, 8])],
    };
    const narrow = release('1.1.0', [0, 0, 0, 0], { inputs, probes: [probe] });
    const fault = await faultOf(rehearsed(old, narrow, 60));
    expect(fault.detail).toContain('differ by 100 % on 60 of its own recent inputs');
  });

  it('is_not_refused_where_the_release_that_serves_fails_beside_itself', async () => {
    const old = release('1.0.0');
    await engine.serve(old, null);
    await live(30);
    rmSync(join(old.folder, 'probes.json'));
    const { differs, detail } = await handler.rehearse(release('1.1.0'), old, context);
    expect(differs).toBeNull();
    expect(detail).toMatch(
      /^no rehearsal: a second process of 1.0.0, which serves, failed: .*probes/,
    );
  });

  it('of_a_release_that_does_not_load_is_refused', async () => {
    const [old, fresh] = [release('1.0.0'), release('1.1.0')];
    writeFileSync(join(fresh.folder, 'model.onnx'), 'x');
    expect((await faultOf(rehearsed(old, fresh, 30))).code).toBe('file_length');
  });

  it('ends_in_time_and_when_the_agent_stops', async () => {
    await engine.stop();
    start({ limits: { rehearsalRunsMs: 0 } });
    const late = none('fewer than 20 recent inputs were answered in the time for it');
    expect(await rehearsed(release('1.0.0'), release('1.1.0'), 30)).toEqual(late);
    await engine.stop();
    start();
    engine.cutRehearsal();
    expect(await rehearsed(release('1.0.0'), release('1.1.0'), 30)).toEqual(late);
  });
});

describe('inputs of changing sizes', () => {
  const wave = (file: string, version: string) => convolution(root, file, version);

  it('are_rehearsed', async () => {
    const old = wave('dyn_dim.onnx', '1.0.0');
    await engine.serve(old, null);
    for (let i = 0; i < 60; i += 1) {
      const time = 6 + Math.floor(random() * 20);
      const values = Float32Array.from({ length: 3 * time }, () => random() * 2 - 1);
      await engine.infer({ inputs: [fp32('x', [1, 3, time], values)] });
      clock.move(1000);
    }
    const fresh = wave('dyn_dim_b.onnx', '1.1.0');
    const context = { policy: defaultTrialPolicy, rollback: false };
    const { differs, detail } = await handler.rehearse(fresh, old, context);
    expect(differs).toBeNull();
    expect(detail).toMatch(/answers of y differ by \d(\.\d)? % on 60 of its own recent inputs/);
  });
});
