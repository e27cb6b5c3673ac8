// The supervisor's side of a model process that misbehaves or cannot be started.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Engine } from '../../../../agent/inference/engine/engine.js';
import { faultCodeOf, testEngine, until } from '../../../support/inference-engines.js';
import { adder, childPath, fp32, install } from '../../../support/inference-releases.js';

const runtime = childPath.slice(0, -'host-child.js'.length);
const x = fp32('x', [1, 4], [1, 2, 3, 9]);
let root: string;
let engine: Engine | null;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'linnet-host-'));
  engine = null;
});

afterEach(async () => {
  await engine?.stop();
  rmSync(root, { recursive: true, force: true });
});

function engineOn(child: string): Engine {
  const limits = { hostRestartBackoffFirstMs: 20, requestDeadlineMs: 30_000, hostRunMs: 60_000 };
  engine = testEngine(root, { childPath: child, limits });
  return engine;
}

it('answer_that_does_not_decode_ends_its_process_and_the_next_one_is_started', async () => {
  // It echoes its first run, which is the warm-up, and answers later runs without any tensor.
  const child = join(root, 'empty-answers.mjs');
  writeFileSync(
    child,
    `
    import { writeSync } from 'node:fs';
    import * as ipc from '${runtime}ipc-frames.js';
    const { BlockingFrames, decodeTensors, encodeControl, encodeTensors, FrameKind, idOf } = ipc;
    const frames = new BlockingFrames(3, Number(process.argv[2]));
    frames.next();
    writeSync(3, encodeControl({ report: 'ready', rssBytes: 1, peakBytes: 1 }));
    let runs = 0;
    for (let frame = frames.next(); frame !== null; frame = frames.next()) {
      const tensors = runs++ === 0 ? decodeTensors(frame, [{ name: 'logits' }]) : [];
      for (const piece of encodeTensors(FrameKind.answer, idOf(frame), tensors, 65536))
        writeSync(3, piece);
    }
  `,
  );
  const ours = engineOn(child);
  await ours.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
  expect(await faultCodeOf(ours.infer({ inputs: [x] }))).toBe('host_died');
  expect(ours.evidence()).toMatchObject({ failed: 1, modelFaults: 2 });
  await until(() => ours.ready, 'the next process is up');
});

it('process_whose_program_is_missing_is_a_fault_of_the_installation', async () => {
  const ours = engineOn('no\0such');
  expect(await faultCodeOf(ours.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null))).toBe(
    'installation_incomplete',
  );
});

it('no_file_descriptors_left_is_a_failed_start_and_kills_no_process', () => {
  const script = join(root, 'full.mjs');
  writeFileSync(
    script,
    `
    import { closeSync, openSync } from 'node:fs';
    import { newHost } from '${runtime}host.js';
    import { limitsWith } from '${runtime}../inference-limits.js';
    import { realClock } from '${runtime}../../../shared/platform/clock.js';
    import { silentLog } from '${runtime}../../../shared/base/interfaces.js';
    const places = { childPath: '${childPath}', home: '${root}/home' };
    const common = { clock: realClock, log: silentLog, limits: limitsWith(), threads: 1 };
    const options = { ...places, ...common };
    const host = newHost(options, ${JSON.stringify(install(root, adder('1.0.0', [0, 0, 0, 0])))});
    const held = [];
    try {
      for (;;) held.push(openSync('/dev/null'));
    } catch {}
    const code = await host.start([]).then(
      () => 'no fault',
      (error) => error.code ?? String(error),
    );
    held.forEach((fd) => closeSync(fd));
    console.log(code);
  `,
  );
  const { stdout, stderr } = spawnSync(
    'sh',
    ['-c', 'ulimit -n 512; exec "$0" "$1"', process.execPath, script],
    {
      encoding: 'utf8',
    },
  );
  expect(stdout.trim(), stderr).toBe('host_start');
});
