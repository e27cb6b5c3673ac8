// The trial of a model that is no classifier, with real model processes: weights changed by 2 % are
// not sent back under live traffic, another model is.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Installed } from '../../../../agent/interfaces.js';
import {
  defaultTrialPolicy,
  judgeTrial,
  type TrialVerdict,
} from '../../../../shared/statistics/trial-verdict.js';
import { seeded } from '../../../support/random.js';
import { MovableClock, testEngine, until } from '../../../support/inference-engines.js';
import { convolution, fp32 } from '../../../support/inference-releases.js';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'linnet-unclassified-'));
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const release = (file: string, version: string) => convolution(root, file, version);

/** Requests of changing lengths, one a second, each compared, until there is a verdict. */
async function trialOf(old: Installed, fresh: Installed): Promise<TrialVerdict> {
  const clock = new MovableClock();
  const engine = testEngine(root, { component: 'waves', clock });
  const random = seeded(11);
  const ask = async (): Promise<void> => {
    const time = 6 + Math.floor(random() * 20);
    const wave = Float32Array.from({ length: 3 * time }, () => random() * 2 - 1);
    await engine.infer({ inputs: [fp32('x', [1, 3, time], wave)] });
    clock.move(1000);
  };
  try {
    await engine.serve(old, null);
    for (let i = 0; i < 40; i += 1) await ask();
    await engine.serve(fresh, old);
    for (let pairs = 1; ; pairs += 1) {
      await ask();
      const evidence = () => ({ ...engine.evidence()!, replaces: true });
      await until(() => evidence().comparisons[0]?.pairs === pairs, 'the pair is compared');
      // Run times of two processes on a busy machine are not this test's matter.
      const latency = { ...evidence().latency, ratios: [] };
      const verdict = judgeTrial({ ...evidence(), latency }, defaultTrialPolicy);
      if (verdict.verdict !== 'measuring' || pairs > 400) return verdict;
    }
  } finally {
    await engine.stop();
  }
}

it('weights_changed_by_2_percent_pass', { timeout: 60_000 }, async () => {
  const verdict = await trialOf(
    release('dyn_dim.onnx', '1.0.0'),
    release('dyn_dim_b.onnx', '1.1.0'),
  );
  expect(verdict).toMatchObject({ verdict: 'pass' });
  expect(verdict.reasons.join('\n')).toMatch(
    /answers of y differ by \d(\.\d)? % on \d+ live inputs/,
  );
});

it('an_identical_model_passes', { timeout: 60_000 }, async () => {
  const old = release('dyn_dim.onnx', '1.0.0');
  expect((await trialOf(old, release('dyn_dim.onnx', '1.0.1'))).verdict).toBe('pass');
});
