// A planned restart of what serves, with real model processes: no request fails or waits for it.
import {
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
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
import { adder, childPath, fp32, install, slow } from '../../../support/inference-releases.js';
import { tempFolder } from '../../../support/temp-folders.js';

let root: string;
let engine: Engine;
let observed: Observation[];

beforeEach(() => {
  root = tempFolder();
  observed = [];
});
afterEach(() => engine.stop());

function engineWith(options: Partial<EngineOptions> = {}): void {
  engine = testEngine(root, {
    onAnswer: (observation) => observed.push(observation),
    ...options,
  });
}

const release = (version: string) => install(root, adder(version, [100, 0, 0, 0]));
const room = (): Promise<null> => Promise.resolve(null);
const restart = () => engine.restart(room);
const pairs = (): number => engine.evidence()?.comparisons[0]?.pairs ?? 0;

async function ask(value: number): Promise<void> {
  const { outputs } = await engine.infer({
    inputs: [fp32('x', [1, 4], [value, value, value, value])],
  });
  expect([...elementsOf(outputs[0]!)]).toEqual([value + 100, value, value, value]);
}

/** All that run, known to the engine or not. */
const modelProcesses = (): string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/cwd`) === join(root, 'home');
    } catch {
      return false;
    }
  });

/** Changes a byte of the model on disk; returns what repairs it. */
function damage({ folder }: Installed): () => void {
  const path = join(folder, 'model.onnx');
  const bytes = readFileSync(path);
  const other = Buffer.from(bytes);
  other[other.length - 10]! ^= 1;
  writeFileSync(path, other);
  return () => writeFileSync(path, bytes);
}

it('requests_during_it_are_all_answered_by_the_first_process_or_the_second', async () => {
  engineWith();
  await engine.serve(release('1.0.0'), null);
  let over = false;
  let answered = 0;
  const client = async (first: number): Promise<void> => {
    for (let i = first; !over; i += 4) {
      await ask(i);
      answered += 1;
    }
  };
  const clients = [1, 2, 3, 4].map(client);
  const pids = [pidOf(engine)];
  const duringStart: number[] = [];
  for (let i = 0; i < 3; i += 1) {
    const before = answered;
    expect(await restart()).toEqual({ tookMs: expect.any(Number) as number });
    duringStart.push(answered - before);
    pids.push(pidOf(engine));
  }
  over = true;
  await Promise.all(clients);
  expect(new Set(pids).size).toBe(4);
  expect(duringStart.every((count) => count > 0)).toBe(true);
  expect(observed.every(({ outcome }) => outcome === 'served')).toBe(true);
  expect(observed).toHaveLength(answered);
  expect(engine.evidence()).toMatchObject({ served: answered, failed: 0, modelFaults: 0 });
  expect(engine.standing()).toEqual({ conditions: [], crashLoop: null });
  await until(() => modelProcesses().length === 1, 'the replaced ones have ended');
  expect(modelProcesses()).toEqual([String(pidOf(engine))]);
}, 60_000);

it('a_run_under_way_ends_on_the_first_process_which_then_ends', async () => {
  engineWith({
    limits: { requestDeadlineMs: 100_000, hostRunMs: 100_000, hostDrainMs: 100_000 },
  });
  await engine.serve(install(root, slow()), null);
  const first = pidOf(engine);
  const answer = engine.infer({
    inputs: [fp32('x', [1500, 1500], new Float32Array(1500 * 1500))],
  });
  await until(() => isComputing(first), 'the model computes');
  await restart();
  expect((await answer).outputs[0]?.shape).toEqual([1500, 1500]);
  expect((await engine.infer({ inputs: [fp32('x', [1, 1], [2])] })).outputs[0]?.shape).toEqual([
    1, 1,
  ]);
  await until(() => !isAlive(first), 'the first process has ended');
  expect(engine.evidence()).toMatchObject({ served: 2, failed: 0, modelFaults: 0 });
}, 60_000);

it('the_shadow_ends_before_it_and_measurements_go_on', async () => {
  engineWith();
  const [old, fresh] = [release('1.0.0'), release('1.1.0')];
  await engine.serve(old, null);
  await engine.serve(fresh, old);
  const shadow = pidOf(engine, 'shadow');
  for (let i = 1; i <= 5; i += 1) {
    await ask(i);
    await until(() => pairs() === i, 'the pair is compared');
  }
  const { seconds } = engine.evidence()!;
  const start = engine.restart(() => {
    expect(isAlive(shadow)).toBe(false);
    expect(modelProcesses()).toHaveLength(1);
    return room();
  });
  expect(await start).toHaveProperty('tookMs');
  expect(engine.processes.map(({ role }) => role)).toEqual(['serving']);
  await ask(6);
  expect(engine.evidence()).toMatchObject({ served: 6, comparable: true, modelFaults: 0 });
  expect(engine.evidence()?.seconds).toBeGreaterThan(seconds);
  expect(pairs()).toBe(5);
  await engine.serve(fresh, old);
  await until(() => engine.processes[1]?.up === true, 'the shadow is back');
  await ask(7);
  await until(() => pairs() === 6, 'the comparison goes on');
}, 60_000);

it('a_release_whose_second_start_fails_serves_on_from_its_first_process', async () => {
  engineWith();
  const installed = release('1.0.0');
  await engine.serve(installed, null);
  const first = pidOf(engine);
  const repair = damage(installed);
  expect(await faultCodeOf(restart())).toBe('file_digest');
  await ask(1);
  expect(pidOf(engine)).toBe(first);
  expect(engine.evidence()).toMatchObject({ served: 1, failed: 0, modelFaults: 0 });
  repair();
  expect(await restart()).toHaveProperty('tookMs');
  await ask(2);
}, 60_000);

it('a_second_start_that_hangs_ends_at_the_limit_of_starts', async () => {
  const clock = new MovableClock();
  const child = join(root, 'child.mjs');
  symlinkSync(childPath, child);
  engineWith({ clock, childPath: child });
  await engine.serve(release('1.0.0'), null);
  const first = pidOf(engine);
  rmSync(child);
  writeFileSync(child, 'setInterval(() => {}, 1000);\n');
  const failed = faultOf(restart());
  await until(() => clock.pendingMs.some((ms) => ms > limits.hostStartMs - 5000), 'it starts');
  clock.move(limits.hostStartMs);
  expect(await failed).toMatchObject({ code: 'host_start' });
  await ask(1);
  expect(pidOf(engine)).toBe(first);
}, 60_000);

it('a_first_process_that_dies_meanwhile_is_a_fault_and_the_second_answers', async () => {
  engineWith({ limits: { hostRestartBackoffFirstMs: 1, hostRestartBackoffMaxMs: 1 } });
  await engine.serve(release('1.0.0'), null);
  const first = pidOf(engine);
  const start = restart();
  await Promise.resolve();
  process.kill(first, 'SIGKILL');
  await ask(1);
  expect(await start).toHaveProperty('tookMs');
  expect(pidOf(engine)).not.toBe(first);
  expect(engine.evidence()).toMatchObject({ served: 1, failed: 0, modelFaults: 1 });
  expect(modelProcesses()).toEqual([String(pidOf(engine))]);
}, 60_000);

it('both_processes_that_fail_are_followed_by_another', async () => {
  engineWith({ limits: { hostRestartBackoffFirstMs: 20 } });
  const installed = release('1.0.0');
  await engine.serve(installed, null);
  const repair = damage(installed);
  const failed = faultCodeOf(restart());
  process.kill(pidOf(engine), 'SIGKILL');
  expect(await failed).toBe('file_digest');
  repair();
  await until(() => engine.ready, 'the release is up again');
  await ask(1);
}, 60_000);

it('there_is_none_while_the_process_is_down_or_without_room_for_a_second_one', async () => {
  engineWith({ limits: { hostRestartBackoffFirstMs: 600_000, hostRestartBackoffMaxMs: 600_000 } });
  await engine.serve(release('1.0.0'), null);
  const first = pidOf(engine);
  expect(await engine.restart(() => Promise.resolve('it is too large'))).toEqual({
    none: 'it is too large',
  });
  expect(pidOf(engine)).toBe(first);
  process.kill(first, 'SIGKILL');
  await until(() => !engine.ready, 'the process is down');
  expect(await restart()).toBe('later');
}, 60_000);
