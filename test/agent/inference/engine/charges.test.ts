// Which release a request that fails is charged to, or whether to none: what a trial counts decides
// what a device runs. With real model processes; deadlines ring when the test says so.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Engine, type Observation } from '../../../../agent/inference/engine/engine.js';
import type { Replica } from '../../../../agent/inference/model-process/replica.js';
import { limitsWith } from '../../../../agent/inference/inference-limits.js';
import { Trial } from '../../../../agent/inference/engine/shadow-comparison.js';
import { limits } from '../../../../shared/base/limits.js';
import { isFault } from '../../../../shared/base/fault-codes.js';
import { silentLog } from '../../../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../../../shared/platform/clock.js';
import { makeNode } from '../../../../firmware-tools/model/onnx/nodes.js';
import { ElementType, makeTensor } from '../../../../firmware-tools/model/onnx/tensors.js';
import {
  adder,
  childPath,
  fp32,
  install,
  modelOf,
  slow,
} from '../../../support/inference-releases.js';

const DEADLINE_MS = 54_321;
const SHORT_MS = 50_001;
let root: string;
let engine: Engine;
let observed: Observation[];
let skewMs: number;
let rings: { ms: number; ring: () => void }[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'linnet-charges-'));
  observed = [];
  rings = [];
  skewMs = 0;
  engine = new Engine({
    component: 'digits',
    childPath,
    home: join(root, 'home'),
    clock: {
      now: () => realClock.now(),
      monotonic: () => realClock.monotonic() + skewMs,
      after: (ms, ring) => {
        rings.push({ ms, ring });
        return realClock.after(ms, ring);
      },
    },
    random: realRandom,
    log: silentLog,
    limits: { requestDeadlineMs: DEADLINE_MS, hostRunMs: 60_000, hostDrainMs: 60_000 },
    onAnswer: (observation) => observed.push(observation),
  });
});

afterEach(async () => {
  await engine.stop();
  rmSync(root, { recursive: true, force: true });
});

/** The deadlines that end within `ms` have come. */
function pass(ms: number): void {
  skewMs += ms;
  for (const { ring } of rings.filter((each) => each.ms > SHORT_MS - 1000 && each.ms <= ms)) ring();
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no fault',
    (error: unknown) => (isFault(error) ? error.code : String(error)),
  );
const pid = (): number => engine.processes.find(({ role }) => role === 'serving')?.pid ?? 0;
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
  it('whose_turn_does_not_come_while_others_have_theirs_is_refused_as_busy_and_charged_to_nobody', async () => {
    await engine.serve(install(root, slow()), null);
    const quick = engine.infer({ inputs: [fp32('x', [1, 1], [2])] });
    const long = engine.infer({ inputs: [fp32('x', [1200, 1200], new Float32Array(1200 * 1200))] });
    const late = codeOf(engine.infer({ inputs: [fp32('x', [1, 1], [2])] }, SHORT_MS));
    await quick;
    pass(SHORT_MS + 1); // The long one is computing since a moment ago.
    expect(await late).toBe('busy');
    await long;
    expect(engine.evidence()).toMatchObject({ served: 2, failed: 0 });
    expect(observed.map(({ outcome }) => outcome)).toEqual(['served', 'refused', 'served']);
  });

  it('whose_turn_does_not_come_because_the_process_hangs_is_a_failure_of_its_release', async () => {
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    await engine.infer({ inputs: [x] });
    process.kill(pid(), 'SIGSTOP');
    const both = [codeOf(engine.infer({ inputs: [x] })), codeOf(engine.infer({ inputs: [x] }))];
    pass(DEADLINE_MS + 1);
    expect(await Promise.all(both)).toEqual(['deadline', 'deadline']);
    expect(engine.evidence()).toMatchObject({ served: 1, failed: 2 });
    process.kill(pid(), 'SIGCONT');
  });

  it('that_the_old_release_does_not_answer_in_time_is_not_charged_to_the_new_one', async () => {
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    const old = pid();
    process.kill(old, 'SIGSTOP');
    const stuck = codeOf(engine.infer({ inputs: [x] }));
    await engine.serve(install(root, adder('1.1.0', [1, 0, 0, 0])), null);
    pass(DEADLINE_MS + 1);
    expect(await stuck).toBe('deadline');
    expect(engine.evidence()).toMatchObject({ served: 0, failed: 0, modelFaults: 0 });
    expect(observed).toMatchObject([{ release: { version: '1.0.0' }, outcome: 'failed' }]);
    process.kill(old, 'SIGKILL');
  });

  it('for_an_output_that_the_next_release_does_not_give_is_refused_by_it', async () => {
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    expect(await codeOf(engine.infer({ inputs: [x], outputs: [{ name: 'scores' }] }))).toBe(
      'request_tensor',
    );
    const old = pid();
    process.kill(old, 'SIGSTOP');
    const first = engine.infer({ inputs: [x] });
    const queued = codeOf(engine.infer({ inputs: [x], outputs: [{ name: 'logits' }] }));
    await engine.serve(install(root, renamed('1.1.0')), null);
    expect(await queued).toBe('request_tensor');
    process.kill(old, 'SIGKILL');
    expect((await first).outputs[0]?.name).toBe('scores');
  });
});

describe('a comparison', () => {
  it('waits_for_a_moment_without_requests_and_where_there_is_none_is_made_once_in_a_while', () => {
    const installed = install(root, adder('1.0.0', [0, 0, 0, 0]));
    let now = 0;
    let idle = false;
    let runs = 0;
    const shadow = {
      installed,
      free: true,
      run: () => ((runs += 1), new Promise(() => {})),
    } as unknown as Replica;
    const trial = new Trial(installed.release, {
      clock: { ...realClock, monotonic: () => now },
      random: realRandom,
      limits: limitsWith(),
      shadowSample: 1,
      idle: () => idle,
      onCompared: () => {},
    });
    trial.attach(shadow);
    const pumped = (): number => {
      trial.offer([x], [fp32('logits', [1, 4], [1, 2, 3, 9])]);
      trial.pump();
      return runs;
    };
    expect(pumped()).toBe(0);
    idle = true;
    expect(pumped()).toBe(1);
    idle = false;
    now = limits.shadowWaitMaxMs - 1;
    expect(pumped()).toBe(1);
    now += 1;
    expect(pumped()).toBe(2);
    expect(pumped()).toBe(2);
  });
});
