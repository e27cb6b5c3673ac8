// Memory of a whole real agent (`linnet agent`) at rest, without a model process and with one:
// resident and proportional set size from /proc. The baseline is a bare `node` that does nothing,
// measured in the same run.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  AgentProcess,
  allEnrolled,
  firstInstall,
  LINNET,
  freePorts,
  publishDigits,
  settled,
  startRollout,
} from '../support/journey-devices.js';
import { startFleet } from '../support/fleet-server.js';
import { print, type BenchResult, type BenchRow } from './inference.js';

const REST_MS = 8_000;
/** The advice of docs/devices.md for small devices: a semi-space of 1 MiB instead of 16 in V8. */
const SMALL_HEAP = '--max-semi-space-size=1';

interface Memory {
  readonly rss: number;
  readonly pss: number;
}

function memory(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  const of = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(rollup)?.[1] ?? 0) / 1024;
  return { rss: of('Rss'), pss: of('Pss') };
}

function childOf(pid: number): number {
  return Number(
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ')[0] ?? 0,
  );
}

/**
 * Measures one agent enrolled and idle, then with its first release. `options`: its Node options.
 */
async function measure(
  options: string,
): Promise<{ alone: Memory; withModel: Memory; model: Memory }> {
  const fleet = await startFleet();
  const [port = 0] = await freePorts(1);
  const agent = await AgentProcess.make(fleet, 'bench', port);
  try {
    await publishDigits(fleet, '1.0.0');
    agent.start(LINNET, [], { NODE_OPTIONS: options });
    await allEnrolled(fleet, 1);
    await pause(REST_MS);
    const pid = agent.child?.pid ?? 0;
    const alone = memory(pid);
    await settled(fleet, await startRollout(fleet, '1.0.0', firstInstall));
    await pause(REST_MS);
    return { alone, withModel: memory(pid), model: memory(childOf(pid)) };
  } finally {
    await agent.stop();
    await fleet.close();
  }
}

export async function run(): Promise<BenchResult> {
  const bare = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
  const rows: BenchRow[] = [];
  const unit = 'MiB';
  for (const [name, options] of [
    ['default options', ''],
    [SMALL_HEAP, SMALL_HEAP],
  ] as const) {
    const { alone, withModel, model } = await measure(options);
    rows.push({ what: `agent alone (${name}): RSS`, value: alone.rss, unit });
    rows.push({ what: `agent alone (${name}): PSS`, value: alone.pss, unit });
    rows.push({
      what: `agent and digit model process (${name}): PSS`,
      value: withModel.pss + model.pss,
      unit,
    });
  }
  rows.unshift({ what: 'bare node: RSS', value: memory(bare.pid ?? 0).rss, unit });
  bare.kill();
  return { name: 'Idle memory of a real agent, without and with a model process', rows };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) print(await run());
