// The supervisor's side of a model process, when the process is not what it should be or cannot be
// had at all.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Engine } from '../../../../agent/inference/engine/engine.js';
import { isFault } from '../../../../shared/base/fault-codes.js';
import { silentLog } from '../../../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../../../shared/platform/clock.js';
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
  const home = join(root, 'home');
  engine = new Engine({
    component: 'digits',
    childPath: child,
    home,
    clock: realClock,
    random: realRandom,
    log: silentLog,
    limits,
  });
  return engine;
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no fault',
    (error: unknown) => (isFault(error) ? error.code : String(error)),
  );

it('answer_that_does_not_decode_ends_its_process_and_the_next_one_is_started', async () => {
  // Echoes its first run, which is the warm-up, and answers every later one without any tensor.
  const child = join(root, 'empty-answers.mjs');
  writeFileSync(
    child,
    `
    import { writeSync } from 'node:fs';
    import { BlockingFrames, decodeTensors, encodeControl, encodeTensors, FrameKind, idOf } from '${runtime}ipc-frames.js';
    const frames = new BlockingFrames(3, Number(process.argv[2]));
    frames.next();
    writeSync(3, encodeControl({ report: 'ready', rssBytes: 1, peakBytes: 1 }));
    let runs = 0;
    for (let frame = frames.next(); frame !== null; frame = frames.next()) {
      const tensors = runs++ === 0 ? decodeTensors(frame, [{ name: 'logits' }]) : [];
      for (const piece of encodeTensors(FrameKind.answer, idOf(frame), tensors, 65536)) writeSync(3, piece);
    }
  `,
  );
  const ours = engineOn(child);
  await ours.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null);
  expect(await codeOf(ours.infer({ inputs: [x] }))).toBe('host_died');
  expect(ours.evidence()).toMatchObject({ failed: 1, modelFaults: 2 });
  for (let i = 0; i < 3000 && !ours.ready; i += 1) await pause(10);
  expect(ours.ready).toBe(true);
});

it('process_that_the_system_refuses_at_once_is_a_failed_start', async () => {
  const ours = engineOn('no\0such');
  expect(await codeOf(ours.serve(install(root, adder('1.0.0', [0, 0, 0, 0])), null))).toBe(
    'host_start',
  );
});

it('no_file_descriptors_left_is_a_failed_start_and_kills_nobody', () => {
  const script = join(root, 'full.mjs');
  writeFileSync(
    script,
    `
    import { closeSync, openSync } from 'node:fs';
    import { ModelHost } from '${runtime}host.js';
    import { limitsWith } from '${runtime}../inference-limits.js';
    import { realClock } from '${runtime}../../../shared/platform/clock.js';
    import { silentLog } from '${runtime}../../../shared/base/interfaces.js';
    const options = { childPath: '${childPath}', home: '${root}/home', clock: realClock, log: silentLog, limits: limitsWith(), threads: 1 };
    const host = new ModelHost(options, ${JSON.stringify(install(root, adder('1.0.0', [0, 0, 0, 0])))});
    const held = [];
    try {
      for (;;) held.push(openSync('/dev/null'));
    } catch {}
    const code = await host.start([]).then(() => 'no fault', (error) => error.code ?? String(error));
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
