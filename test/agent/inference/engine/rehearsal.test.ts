// The rehearsal with real model processes: a release that answers a device's own recent inputs
// wrong is found before it answers a request, and what serves is not disturbed.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
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
import { adder, fp32, install, modelOf, type Recipe } from '../../../support/inference-releases.js';

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
      const expectedDifferences = [{ base: old.release.digest, outputs }];
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

describe('inputs of changing sizes', () => {
  const wave = (file: string, version: string): Installed =>
    install(root, {
      version,
      component: 'waves',
      model: readFileSync(new URL(`../../../fixtures/onnx/${file}`, import.meta.url)),
      inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 3, -1] }],
      outputs: [{ name: 'y', datatype: 'FP32', shape: [-1, 2, -1] }],
      probes: [
        {
          inputs: [fp32('x', [1, 3, 8], new Float32Array(24))],
          outputs: [fp32('y', [1, 2, 8], new Float32Array(16))],
        },
      ],
    });

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
