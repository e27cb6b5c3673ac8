// Is the supervisor responsive while a model computes? Measures the event-loop delay of engine and
// API (one process) at rest, and while a text detector of about 100 ms a run answers one request
// after another; and the memory of that supervisor process without and with a model process. The
// supervisor is a process of its own, so that the bench itself is not measured.
import { fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Installed } from '../../agent/interfaces.js';
import { InferenceServer } from '../../agent/inference/api/inference-server.js';
import { Engine } from '../../agent/inference/engine/engine.js';
import { silentLog } from '../../shared/base/interfaces.js';
import { realClock, realRandom } from '../../shared/platform/clock.js';
import { childPath } from '../support/inference-releases.js';
import {
  detector,
  digits,
  installSubject,
  median,
  openDirect,
  print,
  RawClient,
  type BenchResult,
  type BenchRow,
  type Subject,
} from './inference.js';

const RESOLUTION_MS = 1;
const MIB = 1024 * 1024;

interface Report {
  readonly delayP50Ms: number;
  readonly delayP99Ms: number;
  readonly delayMaxMs: number;
  readonly idleBytes: number;
  readonly modelIdleBytes: number;
}

/** PSS: private pages plus a share of the pages that other processes map too. */
function proportionalBytes(pid: number | 'self'): number {
  return (
    Number(
      /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0,
    ) * 1024
  );
}

/** The supervisor: reports when it listens, measures on `start`, reports the result on `report`. */
async function supervisor(root: string, installed: Installed): Promise<void> {
  const component = installed.release.component;
  const engine = new Engine({
    component,
    childPath,
    home: join(root, 'home'),
    clock: realClock,
    random: realRandom,
    log: silentLog,
  });
  const unix = join(root, `${component}.sock`);
  const inferenceServer = new InferenceServer({
    engines: new Map([[component, engine]]),
    clock: realClock,
    log: silentLog,
    version: '0',
    unix,
  });
  await inferenceServer.listen();
  await pause(500);
  const idleBytes = proportionalBytes('self');
  await engine.serve(installed, null);
  await pause(500);
  const modelIdleBytes = proportionalBytes(engine.processes[0]?.pid ?? 'self');
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  process.on('message', (command) => {
    if (command === 'start') {
      delay.reset();
      delay.enable();
      return;
    }
    delay.disable();
    // The histogram holds the whole interval between two ticks of its timer; the delay is the part
    // beyond the timer's own interval.
    const over = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
    process.send?.({
      delayP50Ms: over(delay.percentile(50)),
      delayP99Ms: over(delay.percentile(99)),
      delayMaxMs: over(delay.max),
      idleBytes,
      modelIdleBytes,
    } satisfies Report);
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.({ unix });
}

async function measure(
  root: string,
  subject: Subject,
  seconds: number,
  load: boolean,
): Promise<{ report: Report; runMs: number }> {
  const installed = await installSubject(root, subject);
  const child = fork(fileURLToPath(import.meta.url), [
    'supervisor',
    root,
    JSON.stringify(installed),
  ]);
  const next = () =>
    new Promise<unknown>((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', (code) => reject(new Error(`the supervisor ended with ${code}`)));
    });
  const { unix } = (await next()) as { unix: string };
  const client = await RawClient.open({ path: unix }, subject, (await openDirect(subject)).data);
  await client.run();
  child.send('start');
  const times: number[] = [];
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end) {
    const from = performance.now();
    if (load) await client.run();
    else await pause(100);
    times.push(performance.now() - from);
  }
  const report = next();
  child.send('report');
  const result = { report: (await report) as Report, runMs: median(times) };
  client.close();
  child.disconnect();
  return result;
}

export async function run(): Promise<BenchResult> {
  const root = mkdtempSync(join(tmpdir(), 'linnet-bench-'));
  try {
    const rest = await measure(root, await digits(root), 5, false);
    const busy = await measure(root, detector(640), 10, true);
    const rows: BenchRow[] = [
      {
        what: 'one run of the text detector at 640x640 through the API: p50',
        value: busy.runMs,
        unit: 'ms',
      },
      {
        what: "supervisor's event-loop delay at rest: p99",
        value: rest.report.delayP99Ms,
        unit: 'ms',
      },
      {
        what: "supervisor's event-loop delay while that model runs: p50",
        value: busy.report.delayP50Ms,
        unit: 'ms',
      },
      {
        what: "supervisor's event-loop delay while that model runs: p99",
        value: busy.report.delayP99Ms,
        unit: 'ms',
        aim: '<= 5 ms',
      },
      {
        what: "supervisor's event-loop delay while that model runs: max",
        value: busy.report.delayMaxMs,
        unit: 'ms',
      },
      {
        what: 'idle memory (PSS) of engine and API, no model process',
        value: rest.report.idleBytes / MIB,
        unit: 'MiB',
      },
      {
        what: "idle memory (PSS) of the digit model's process",
        value: rest.report.modelIdleBytes / MIB,
        unit: 'MiB',
      },
    ];
    return { name: 'The supervisor while a model runs', rows };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [, , role, root, installed] = process.argv;
  if (role === 'supervisor' && root !== undefined && installed !== undefined)
    await supervisor(root, JSON.parse(installed) as Installed);
  else print(await run());
}
