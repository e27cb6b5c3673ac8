// The engine with real model processes: swaps under load, crashes, hangs, damaged models, probes,
// shadows, no orphans. Over 400 lines because each situation of the engine has its own test over
// one fixture.
import { spawn } from 'node:child_process';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Installed } from '../../../../agent/interfaces.js';
import type {
  Engine,
  EngineOptions,
  Observation,
} from '../../../../agent/inference/engine/engine.js';
import { elementsOf } from '../../../../agent/inference/model/tensor.js';
import { limits } from '../../../../shared/base/limits.js';
import {
  faultCodeOf,
  faultOf,
  isAlive,
  isComputing,
  MovableClock,
  pidOf,
  testEngine,
  until,
} from '../../../support/inference-engines.js';
import {
  adder,
  childPath,
  everyType,
  fp32,
  install,
  logarithm,
  slow,
} from '../../../support/inference-releases.js';

let root: string;
let engines: Engine[];
let observed: Observation[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'linnet-engine-'));
  engines = [];
  observed = [];
});

afterEach(async () => {
  await Promise.all(engines.map((engine) => engine.stop()));
  rmSync(root, { recursive: true, force: true });
});

function engineWith(options: Partial<EngineOptions> = {}): Engine {
  const engine = testEngine(root, {
    onAnswer: (observation) => observed.push(observation),
    ...options,
  });
  engines.push(engine);
  return engine;
}

const x = fp32('x', [1, 4], [1, 2, 3, 9]);
const big = fp32('x', [1200, 1200], new Float32Array(1200 * 1200));

describe('a swap', () => {
  it('swap_under_load_loses_no_request_and_no_answer_mixes_two_releases', async () => {
    const engine = engineWith();
    const releases = [adder('1.0.0', [100, 0, 0, 0]), adder('1.1.0', [0, 200, 0, 0])].map(
      (recipe) => install(root, recipe),
    );
    const [a, b] = releases as [Installed, Installed];
    const biasOf = new Map([
      [a.release.digest, [100, 0, 0, 0]],
      [b.release.digest, [0, 200, 0, 0]],
    ]);
    await engine.serve(a, null);
    let stop = false;
    const answeredBy = new Map<string, number>();
    const client = async (seed: number): Promise<void> => {
      for (let i = seed; !stop; i += 7) {
        const { outputs, release } = await engine.infer({
          inputs: [fp32('x', [1, 4], [i, i, i, i])],
        });
        const bias = biasOf.get(release.digest) as number[];
        expect([...elementsOf(outputs[0]!)]).toEqual(bias.map((value) => value + i));
        answeredBy.set(release.version, (answeredBy.get(release.version) ?? 0) + 1);
      }
    };
    const clients = [1, 2, 3, 4].map(client);
    for (let i = 0; i < 3; i += 1) {
      await engine.serve(b, a);
      await pause(30);
      await engine.serve(b, null);
      await engine.serve(a, null);
      await pause(30);
    }
    stop = true;
    await Promise.all(clients);
    expect([...answeredBy.keys()].sort()).toEqual(['1.0.0', '1.1.0']);
    expect(observed.every(({ outcome }) => outcome === 'served')).toBe(true);
    expect(observed.length).toBe([...answeredBy.values()].reduce((p, q) => p + q, 0));
  });

  it('replaced_release_runs_on_as_shadow_and_returning_to_it_starts_no_process', async () => {
    const engine = engineWith();
    const a = install(root, adder('1.0.0', [0, 0, 0, 0]));
    const b = install(root, adder('1.1.0', [100, 0, 0, 0]));
    await engine.serve(a, null);
    const first = pidOf(engine);
    await engine.serve(b, a);
    await engine.serve(b, a); // The same call again does nothing.
    const second = pidOf(engine);
    expect(pidOf(engine, 'shadow')).toBe(first);
    await engine.serve(a, null);
    expect(pidOf(engine)).toBe(first);
    expect((await engine.infer({ inputs: [x] })).release.version).toBe('1.0.0');
    await until(() => !isAlive(second), 'the process of the rolled-back release ends');
    expect(engine.processes).toHaveLength(1);
  });

  it('release_that_does_not_load_changes_nothing', async () => {
    const engine = engineWith();
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    const pid = pidOf(engine);
    const bad = install(root, {
      ...adder('1.1.0', [1, 1, 1, 1]),
      model: Buffer.from('this is not a model'),
    });
    expect(await faultCodeOf(engine.serve(bad, null))).toBe('model_not_onnx');
    expect(pidOf(engine)).toBe(pid);
    expect((await engine.infer({ inputs: [x] })).release.version).toBe('1.0.0');
  });

  it('request_that_names_a_version_is_answered_by_that_version_only', async () => {
    const engine = engineWith();
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    expect((await engine.infer({ inputs: [x], version: '1.0.0' })).release.version).toBe('1.0.0');
    expect(await faultOf(engine.infer({ inputs: [x], version: '2.0.0' }))).toMatchObject({
      code: 'model_unknown',
      detail: expect.stringContaining('1.0.0') as string,
    });
  });
});

describe('a model process', () => {
  it('model_with_a_changed_byte_or_another_length_or_other_tensors_is_refused', async () => {
    const engine = engineWith();
    const tampered = install(root, adder('1.0.1', [0, 0, 0, 0]));
    const path = join(tampered.folder, 'model.onnx');
    const bytes = readFileSync(path);
    bytes[bytes.length - 10]! ^= 1;
    writeFileSync(path, bytes);
    expect(await faultCodeOf(engine.serve(tampered, null))).toBe('file_digest');
    writeFileSync(path, Buffer.concat([bytes, Buffer.alloc(1)]));
    expect(await faultCodeOf(engine.serve(tampered, null))).toBe('file_length');
    const types = install(root, {
      ...adder('1.0.2', [0, 0, 0, 0]),
      outputs: [{ name: 'logits', datatype: 'INT32', shape: [-1, 4] }],
    });
    expect(await faultOf(engine.serve(types, null))).toMatchObject({
      code: 'model_tensors_differ',
      detail: expect.stringMatching(/FP32\[-1,4\].*INT32\[-1,4\]/) as string,
    });
    expect(engine.serving).toBeNull();
  });

  it('process_killed_during_a_request_the_restarted_one_answers_it', async () => {
    const engine = engineWith({
      limits: { hostRestartBackoffFirstMs: 20, requestDeadlineMs: 30_000, hostRunMs: 60_000 },
    });
    await engine.serve(install(root, slow()), null);
    const pid = pidOf(engine);
    const answer = engine.infer({ inputs: [big] });
    await until(() => isComputing(pid), 'the model computes');
    process.kill(pid, 'SIGKILL');
    expect((await answer).outputs[0]?.shape).toEqual([1200, 1200]);
    expect(pidOf(engine)).not.toBe(pid);
    expect(engine.evidence()).toMatchObject({ modelFaults: 1, served: 1, failed: 0 });
  });

  it('request_whose_process_dies_twice_is_refused_and_the_next_one_is_served', async () => {
    const engine = engineWith({
      limits: { hostRestartBackoffFirstMs: 20, requestDeadlineMs: 30_000, hostRunMs: 60_000 },
    });
    await engine.serve(install(root, slow()), null);
    const answer = faultOf(engine.infer({ inputs: [big] }));
    const first = pidOf(engine);
    process.kill(first, 'SIGKILL');
    await until(() => engine.ready && pidOf(engine) !== first, 'the process is back');
    process.kill(pidOf(engine), 'SIGKILL');
    expect((await answer).code).toBe('host_died');
    await until(() => engine.ready, 'the process is back again');
    expect(engine.standing().conditions).toMatchObject([{ code: 'crashes', count: 2 }]);
    expect((await engine.infer({ inputs: [fp32('x', [1, 1], [2])] })).outputs[0]?.shape).toEqual([
      1, 1,
    ]);
    expect(engine.evidence()).toMatchObject({ modelFaults: 2, failed: 1 });
  });

  it('process_that_hangs_is_killed_at_its_limit_and_replaced', async () => {
    const engine = engineWith({
      limits: { hostRunMs: 300, requestDeadlineMs: 20_000, hostRestartBackoffFirstMs: 20 },
    });
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    const pid = pidOf(engine);
    process.kill(pid, 'SIGSTOP');
    const { outputs } = await engine.infer({ inputs: [x] });
    expect([...elementsOf(outputs[0]!)]).toEqual([1, 2, 3, 9]);
    expect(isAlive(pid)).toBe(false);
    expect(engine.evidence()?.modelFaults).toBe(1);
  });

  it('process_that_hangs_while_it_starts_is_killed_at_its_limit', async () => {
    const engine = engineWith({ limits: { hostStartMs: 1 } });
    expect(
      await faultOf(engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null)),
    ).toMatchObject({
      code: 'host_start',
      detail: expect.stringContaining('1 ms') as string,
    });
  });

  it('process_that_does_not_drain_is_killed', async () => {
    const engine = engineWith({ limits: { hostDrainMs: 50 } });
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    const pid = pidOf(engine);
    process.kill(pid, 'SIGSTOP');
    await engine.stop();
    expect(isAlive(pid)).toBe(false);
  });

  it('supervisor_killed_its_model_processes_end_even_during_a_run', async () => {
    const script = join(root, 'supervisor.mjs');
    const dist = childPath.slice(0, -'agent/inference/model-process/host-child.js'.length);
    const quick = install(root, adder('1.0.0', [0, 0, 0, 0]));
    const long = install(root, slow('1.0.0', { component: 'slow' }));
    writeFileSync(
      script,
      `
      import { Engine } from '${dist}agent/inference/engine/engine.js';
      import { realClock, realRandom } from '${dist}shared/platform/clock.js';
      import { silentLog } from '${dist}shared/base/interfaces.js';
      const common = { clock: realClock, random: realRandom, log: silentLog };
      const places = { childPath: '${childPath}', home: '${root}/home' };
      const engine = (component) => new Engine({ component, ...places, ...common });
      const a = engine('digits'), b = engine('slow');
      await a.serve(${JSON.stringify(quick)}, null);
      await b.serve(${JSON.stringify(long)}, null);
      const side = 3000;
      const data = new Uint8Array(side * side * 4);
      const input = { name: 'x', datatype: 'FP32', shape: [side, side], data };
      b.infer({ inputs: [input] }).catch(() => {});
      console.log(JSON.stringify([...a.processes, ...b.processes].map((entry) => entry.pid)));
    `,
    );
    const supervisor = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pids = await new Promise<number[]>((resolve) =>
      supervisor.stdout.once('data', (line: Buffer) =>
        resolve(JSON.parse(line.toString()) as number[]),
      ),
    );
    expect(pids.every(isAlive)).toBe(true);
    supervisor.kill('SIGKILL');
    await until(() => !pids.some(isAlive), 'model processes end after their supervisor');
  });

  it('process_gets_a_minimal_environment_and_writes_no_telemetry_of_onnx_runtime', async () => {
    const engine = engineWith();
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    for (let i = 0; i < 50; i += 1) await engine.infer({ inputs: [x] });
    const pid = pidOf(engine);
    const home = join(root, 'home');
    const env = readFileSync(`/proc/${pid}/environ`, 'latin1')
      .split('\0')
      .filter((line) => line !== '')
      .map((line) => line.split('='));
    expect(Object.fromEntries(env)).toMatchObject({
      ORT_DISABLE_TELEMETRY: '1',
      HOME: home,
      XDG_CACHE_HOME: home,
    });
    expect(env.map(([name]) => name).sort()).toEqual([
      'HOME',
      'MALLOC_ARENA_MAX',
      'MALLOC_MMAP_THRESHOLD_',
      'ORT_DISABLE_TELEMETRY',
      'PATH',
      'TMPDIR',
      'XDG_CACHE_HOME',
      'XDG_CONFIG_HOME',
      'XDG_DATA_HOME',
    ]);
    const open = readdirSync(`/proc/${pid}/fd`)
      .map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
      .filter((path) => path.startsWith('/') && !path.startsWith('/dev/'));
    expect(open).toEqual([]);
    await engine.stop();
    expect(readdirSync(home)).toEqual([]);
  });

  it('every_datatype_passes_unchanged', async () => {
    const engine = engineWith();
    const release = install(root, everyType());
    await engine.serve(release, null);
    const inputs = release.release.manifest.inputs.map(({ name, datatype, shape }) => {
      const data = new Uint8Array(readProbeBytes(release, name));
      data.fill(1);
      return { name, datatype, shape, data };
    });
    const { outputs } = await engine.infer({ inputs });
    for (const [i, output] of outputs.entries()) {
      expect(output.datatype).toBe(inputs[i]?.datatype);
      expect(Buffer.compare(output.data, inputs[i]!.data)).toBe(0);
    }
  });
});

const readProbeBytes = (installed: Installed, name: string): Buffer => {
  const file = JSON.parse(readFileSync(join(installed.folder, 'probes.json'), 'utf8')) as {
    probes: { inputs: { name: string; data: string }[] }[];
  };
  return Buffer.from(
    file.probes[0]?.inputs.find((input) => input.name === name)?.data ?? '',
    'base64',
  );
};

describe('admission', () => {
  it('full_queue_refuses_at_once_and_admitted_requests_are_answered', async () => {
    const engine = engineWith({
      limits: { admissionQueueMaxCount: 2, requestDeadlineMs: 60_000, hostRunMs: 60_000 },
    });
    await engine.serve(install(root, slow()), null);
    const admitted = [1, 2, 3].map(() => engine.infer({ inputs: [big] }));
    expect(await faultCodeOf(engine.infer({ inputs: [big] }))).toBe('busy');
    expect((await Promise.all(admitted)).map(({ outputs }) => outputs[0]?.shape)).toEqual([
      [1200, 1200],
      [1200, 1200],
      [1200, 1200],
    ]);
    expect(observed.map(({ outcome }) => outcome).sort()).toEqual([
      'refused',
      'served',
      'served',
      'served',
    ]);
  });

  it('requests_at_their_deadline_are_refused_and_the_next_one_is_served', async () => {
    const clock = new MovableClock();
    const engine = engineWith({
      clock,
      limits: { requestDeadlineMs: 50_000, hostRunMs: 600_000, hostDrainMs: 600_000 },
    });
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    const pid = pidOf(engine);
    process.kill(pid, 'SIGSTOP');
    const running = faultOf(engine.infer({ inputs: [x] }, 20_000));
    const waiting = faultOf(engine.infer({ inputs: [x] }, 21_000));
    const patient = engine.infer({ inputs: [x] });
    clock.move(20_500);
    expect(await running).toMatchObject({
      code: 'deadline',
      detail: expect.stringMatching(/within 2\d{4} ms: the model is still computing$/) as string,
    });
    expect(observed).toHaveLength(1);
    clock.move(1_000);
    expect(await waiting).toMatchObject({
      code: 'deadline',
      detail: expect.stringMatching(/within 2\d{4} ms$/) as string,
    });
    process.kill(pid, 'SIGCONT');
    expect([...elementsOf((await patient).outputs[0]!)]).toEqual([1, 2, 3, 9]);
    expect(pidOf(engine)).toBe(pid);
    expect(engine.waiting).toBe(0);
    expect(engine.evidence()).toMatchObject({ served: 1, failed: 2, modelFaults: 0 });
  });

  it('answer_that_is_nan_is_withheld_and_counted_as_failed', async () => {
    const engine = engineWith();
    await engine.serve(install(root, logarithm()), null);
    expect(await faultOf(engine.infer({ inputs: [fp32('x', [2], [1, -1])] }))).toMatchObject({
      code: 'model_run_failed',
      detail: expect.stringContaining('NaN') as string,
    });
    expect((await engine.infer({ inputs: [fp32('x', [2], [1, 1])] })).outputs).toHaveLength(1);
    expect(engine.evidence()).toMatchObject({ served: 1, failed: 1, modelFaults: 0 });
  });

  it('engine_without_a_release_refuses_before_the_first_one_and_after_stop', async () => {
    const engine = engineWith();
    expect(await faultCodeOf(engine.infer({ inputs: [x] }))).toBe('model_not_ready');
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    const pid = pidOf(engine);
    const last = engine.infer({ inputs: [x] });
    const stopped = engine.stop();
    expect((await last).release.version).toBe('1.0.0');
    await stopped;
    expect(await faultCodeOf(engine.infer({ inputs: [x] }))).toBe('model_not_ready');
    expect(isAlive(pid)).toBe(false);
    expect(engine.evidence()).toBeNull();
  });
});

describe('a probe', () => {
  it('good_candidate_passes_with_its_figures_and_the_serving_release_is_untouched', async () => {
    const engine = engineWith();
    await engine.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
    const before = engine.processes;
    const report = await engine.probe(install(root, adder('1.1.0', [1, 0, 0, 0])), null);
    expect(report).toMatchObject({ passed: true, code: null });
    expect(report.p99LatencyMs).toBeGreaterThan(0);
    expect(report.peakMemoryMiB).toBeGreaterThan(20);
    expect(engine.processes).toEqual(before);
  });

  it.each([
    [
      'another_answer_than_recorded',
      { probes: [{ inputs: [x], outputs: [fp32('logits', [1, 4], [1, 2, 3, 10])] }] },
      'probe_differs',
      /element 3/,
    ],
    [
      'more_latency_than_the_contract',
      { contract: { p99LatencyMs: 0.000_001 } },
      'probe_slow',
      /p99 latency/,
    ],
    ['more_memory_than_the_contract', { contract: { peakMemoryMiB: 5 } }, 'probe_memory', /MiB/],
    [
      'a_file_that_is_no_model',
      { model: Buffer.from('nonsense') },
      'model_not_onnx',
      /cannot load/,
    ],
  ] as const)('candidate_with_%s_fails', async (_, more, code, reasons) => {
    const engine = engineWith();
    const report = await engine.probe(
      install(root, { ...adder('1.0.0', [0, 0, 0, 0]), ...(more as object) }),
      null,
    );
    expect(report.passed).toBe(false);
    expect(report.code).toBe(code);
    expect(report.reasons).toMatch(reasons);
  });

  it('candidate_with_probes_of_another_model_fails', async () => {
    const engine = engineWith();
    const release = install(
      root,
      adder('1.0.0', [0, 0, 0, 0], {
        probes: [
          { inputs: [fp32('z', [1], [1])], outputs: [fp32('logits', [1, 4], [1, 2, 3, 4])] },
        ],
      }),
    );
    expect(await engine.probe(release, null)).toMatchObject({
      passed: false,
      code: 'manifest_undecodable',
    });
  });
});

const pairsOf = (engine: Engine): number => engine.evidence()?.comparisons[0]?.pairs ?? 0;

describe('a trial', () => {
  const INPUTS = {
    // Old: row one is d (9), row two a (7). New (a + 5): d, a; and for [1,2,3,4] old d, new a.
    twoRows: fp32('x', [2, 4], [1, 2, 3, 9, 7, 0, 0, 0]),
    oneRow: fp32('x', [1, 4], [1, 2, 3, 4]),
  };

  it('answers_are_compared_on_the_same_live_inputs', async () => {
    const engine = engineWith();
    const old = install(root, adder('1.0.0', [0, 0, 0, 0]));
    const fresh = install(root, adder('1.1.0', [5, 0, 0, 0]));
    await engine.serve(old, null);
    await engine.serve(fresh, old);
    for (let i = 0; i < 20; i += 1) {
      await engine.infer({ inputs: [INPUTS.twoRows] });
      await engine.infer({ inputs: [INPUTS.oneRow] });
      await until(() => pairsOf(engine) === 2 * (i + 1), 'the pairs are compared');
    }
    const evidence = engine.evidence()!;
    expect(evidence).toMatchObject({
      served: 40,
      failed: 0,
      modelFaults: 0,
      comparisons: [{ output: 'logits', kind: 'class', pairs: 40 }],
      comparable: true,
    });
    expect(evidence.old?.classes).toEqual([20, 0, 0, 40]);
    expect(evidence.new?.classes).toEqual([40, 0, 0, 20]);
    expect(evidence.new?.confidence.reduce((p, q) => p + q, 0)).toBe(60);
    expect(evidence.fuse.pairs.reduce((p, q) => p + q, 0)).toBe(40);
    // Half of the pairs agree (the two rows of the first input both do).
    expect(evidence.fuse.pairs[20]).toBe(20);
  });

  it('shadow_killed_serving_continues_and_comparing_resumes_when_it_is_back', async () => {
    const engine = engineWith({ limits: { hostRestartBackoffFirstMs: 20 } });
    const old = install(root, adder('1.0.0', [0, 0, 0, 0]));
    const fresh = install(root, adder('1.1.0', [5, 0, 0, 0]));
    // As after a restart of the agent during a trial: both processes are new.
    await engine.serve(fresh, old);
    await until(
      () => engine.processes.some(({ role, up }) => role === 'shadow' && up),
      'the shadow is up',
    );
    const shadow = pidOf(engine, 'shadow');
    process.kill(shadow, 'SIGKILL');
    await until(() => !isAlive(shadow), 'the shadow is gone');
    expect((await engine.infer({ inputs: [x] })).release.version).toBe('1.1.0');
    for (let i = 0; i < 2000 && pairsOf(engine) === 0; i += 1) {
      await engine.infer({ inputs: [x] });
      await pause(10);
    }
    expect(pairsOf(engine)).toBeGreaterThan(0);
    expect(engine.evidence()).toMatchObject({ modelFaults: 0, failed: 0 });
  });

  it('stuck_shadow_delays_no_answer_and_pairs_are_dropped', async () => {
    const engine = engineWith();
    const old = install(root, adder('1.0.0', [0, 0, 0, 0]));
    const fresh = install(root, adder('1.1.0', [5, 0, 0, 0]));
    await engine.serve(old, null);
    await engine.serve(fresh, old);
    const shadow = pidOf(engine, 'shadow');
    process.kill(shadow, 'SIGSTOP');
    for (let i = 0; i < 50; i += 1) await engine.infer({ inputs: [x] });
    expect(engine.evidence()).toMatchObject({ served: 50, comparisons: [{ pairs: 0 }] });
    process.kill(shadow, 'SIGCONT');
    await until(
      () => pairsOf(engine) >= limits.shadowQueueMaxCount,
      'the pairs in the limited queue are compared',
    );
  });
});
