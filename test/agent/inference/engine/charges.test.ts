// Which release a failed request is charged to, or whether to none: what a trial counts decides
// which release a device runs. With real model processes; deadlines pass when the test says so.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Engine, Observation } from '../../../../agent/inference/engine/engine.js';
import {
  faultCodeOf,
  MovableClock,
  pidOf,
  testEngine,
} from '../../../support/inference-engines.js';
import { makeNode } from '../../../../firmware-tools/model/onnx/nodes.js';
import { ElementType, makeTensor } from '../../../../firmware-tools/model/onnx/tensors.js';
import { adder, fp32, install, modelOf, slow } from '../../../support/inference-releases.js';

const DEADLINE_MS = 54_321;
const SHORT_MS = 50_001;
let root: string;
let engine: Engine;
let observed: Observation[];
let clock: MovableClock;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'linnet-charges-'));
  observed = [];
  clock = new MovableClock();
  engine = testEngine(root, {
    clock,
    limits: { requestDeadlineMs: DEADLINE_MS, hostRunMs: 600_000, hostDrainMs: 600_000 },
    onAnswer: (observation) => observed.push(observation),
  });
});

afterEach(async () => {
  await engine.stop();
  rmSync(root, { recursive: true, force: true });
});

const x = fp32('x', [1, 4], [1, 2, 3, 9]);

/** As adder, with another name for its output. */
function renamed(version: string) {
  return adder(version, [0, 0, 0, 0], {
    model: modelOf(
      [makeNode('Add', 'add', ['x', 'bias'], ['scores'])],
      [['x', ElementType.float32, ['N', 4]]],
      [['scores', ElementType.float32, ['N', 4]]],
      [makeTensor('bias', [4], new Float32Array(4))],
    ),
    outputs: [{ name: 'scores', datatype: 'FP32', shape: [-1, 4] }],
    classifier: null,
    probes: [
      {
        inputs: [fp32('x', [1, 4], [1, 2, 3, 4])],
        outputs: [fp32('scores', [1, 4], [1, 2, 3, 4])],
      },
    ],
  });
}

describe('a request', () => {
  it('request_that_waits_in_vain_while_others_are_answered_is_busy_and_charged_to_no_release', async () => {
    await engine.serve(install(root, slow()), null);
    const quick = engine.infer({ inputs: [fp32('x', [1, 1], [2])] });
    const long = engine.infer({ inputs: [fp32('x', [1200, 1200], new Float32Array(1200 * 1200))] });
    const late = faultCodeOf(engine.infer({ inputs: [fp32('x', [1, 1], [2])] }, SHORT_MS));
    await quick;
    clock.move(SHORT_MS + 1); // The long request still computes; its own deadline is later.
    expect(await late).toBe('busy');
    await long;
    expect(engine.evidence()).toMatchObject({ served: 2, failed: 0 });
    expect(observed.map(({ outcome }) => outcome)).toEqual(['served', 'refused', 'served']);
  });

  it('request_that_waits_in_vain_because_the_process_hangs_is_charged_to_its_release', async () => {
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    await engine.infer({ inputs: [x] });
    process.kill(pidOf(engine), 'SIGSTOP');
    const both = [
      faultCodeOf(engine.infer({ inputs: [x] })),
      faultCodeOf(engine.infer({ inputs: [x] })),
    ];
    clock.move(DEADLINE_MS + 1);
    expect(await Promise.all(both)).toEqual(['deadline', 'deadline']);
    expect(engine.evidence()).toMatchObject({ served: 1, failed: 2 });
    process.kill(pidOf(engine), 'SIGCONT');
  });

  it('request_that_the_old_release_does_not_answer_in_time_is_not_charged_to_the_new_one', async () => {
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    const old = pidOf(engine);
    process.kill(old, 'SIGSTOP');
    const stuck = faultCodeOf(engine.infer({ inputs: [x] }));
    await engine.serve(install(root, adder('1.1.0', [1, 0, 0, 0])), null);
    clock.move(DEADLINE_MS + 1);
    expect(await stuck).toBe('deadline');
    expect(engine.evidence()).toMatchObject({ served: 0, failed: 0, modelFaults: 0 });
    expect(observed).toMatchObject([{ release: { version: '1.0.0' }, outcome: 'failed' }]);
    process.kill(old, 'SIGKILL');
  });

  it('request_for_an_output_that_the_next_release_lacks_is_refused_by_it', async () => {
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    expect(await faultCodeOf(engine.infer({ inputs: [x], outputs: [{ name: 'scores' }] }))).toBe(
      'request_tensor',
    );
    const old = pidOf(engine);
    process.kill(old, 'SIGSTOP');
    const first = engine.infer({ inputs: [x] });
    const queued = faultCodeOf(engine.infer({ inputs: [x], outputs: [{ name: 'logits' }] }));
    await engine.serve(install(root, renamed('1.1.0')), null);
    expect(await queued).toBe('request_tensor');
    process.kill(old, 'SIGKILL');
    expect((await first).outputs[0]?.name).toBe('scores');
  });
});
