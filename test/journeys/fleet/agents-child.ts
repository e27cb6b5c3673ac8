// A process with some agents of the fleet journey, started by agents.ts: the product's `startAgent`
// for each device, with an application that sends it digits. Models run in this process, except on
// the devices that have real model processes (in-process-host.ts says what the others lack).
import { readFileSync } from 'node:fs';
import { agentSettings } from '../../../agent/config.js';
import { startAgent, type Agent } from '../../../agent/main.js';
import { digitTask, Traffic, type DigitSet } from '../../../firmware-tools/demo/traffic.js';
import { realClock, realRandom } from '../../../shared/platform/clock.js';
import { stderrLog } from '../../../shared/platform/logger.js';
import type { Answer, AppCounts, Ask, DeviceSpec } from './agents.js';
import { InProcessHost } from './in-process-host.js';

/** Starts that run at the same time, so that the first agents are not starved by the last. */
const STARTS_AT_A_TIME = 5;

interface Running {
  readonly agent: Agent;
  readonly port: number;
  readonly traffic: Traffic;
  readonly busyPerSecond: number;
  /** Requests a second now; 0 until the device serves its first release. */
  perSecond: number;
}

/** Requests a second of an application that is not busy. */
const QUIET_PER_SECOND = 2;
const PIXELS = 28 * 28;

/** What agents.ts wrote down: pixels and label of each digit. */
function decodeInputs(bytes: Buffer): DigitSet {
  const size = PIXELS * Float32Array.BYTES_PER_ELEMENT + 1;
  const starts = Array.from({ length: bytes.length / size }, (_, at) => at * size);
  return {
    images: starts.map(
      (at) => new Float32Array(new Uint8Array(bytes.subarray(at, at + size - 1)).buffer),
    ),
    labels: Uint8Array.from(starts, (at) => bytes[at + size - 1] ?? 0),
  };
}

const task = digitTask(decodeInputs(readFileSync(process.argv[2] ?? '')));
const log = stderrLog('warn');
const running = new Map<string, Running>();
/** Of applications that were stopped. */
const past: AppCounts[] = [];

async function start(spec: DeviceSpec): Promise<void> {
  const settings = agentSettings(readFileSync(spec.config, 'utf8'), {});
  const agent = await startAgent(settings, {
    clock: realClock,
    random: realRandom,
    log,
    ...(spec.hasModelProcess
      ? {}
      : { newHost: (_options, installed) => new InProcessHost(installed) }),
  });
  agent.running.catch((error: unknown) => {
    log.error({ err: error, name: spec.name }, 'an agent ended with a bug');
    process.exit(1);
  });
  const port = Number(new URL(agent.api[0] ?? '').port);
  const traffic = new Traffic({ port, task, first: spec.firstInput });
  const { busyPerSecond } = spec;
  const one: Running = { agent, port, traffic, busyPerSecond, perSecond: 0 };
  running.set(spec.name, one);
  void traffic.startWhenReady(QUIET_PER_SECOND).then(() => {
    one.perSecond = QUIET_PER_SECOND;
  });
}

async function stop(name: string): Promise<void> {
  const { agent, traffic } = of(name);
  await traffic.stop();
  past.push(countsOf(traffic));
  await agent.close();
  running.delete(name);
}

async function setBusy(names: ReadonlySet<string>): Promise<void> {
  for (const [name, one] of running) {
    const perSecond = names.has(name) ? one.busyPerSecond : QUIET_PER_SECOND;
    if (one.perSecond === 0 || one.perSecond === perSecond) continue;
    one.perSecond = perSecond;
    await one.traffic.stop();
    one.traffic.start(perSecond);
  }
}

function of(name: string): Running {
  const found = running.get(name);
  if (found === undefined) throw new Error(`no agent ${name} runs`);
  return found;
}

const countsOf = ({ counts }: Traffic): AppCounts => ({
  sent: counts.sent,
  lost: counts.lost,
  byRelease: Object.fromEntries(counts.byRelease),
  complaints: counts.complaints,
});

/** The version that the inference API of a device names; null while it serves nothing. */
async function serving(name: string): Promise<string | null> {
  const answer = await fetch(`http://127.0.0.1:${of(name).port}/v2/models/digits`);
  if (!answer.ok) return null;
  return ((await answer.json()) as { versions?: string[] }).versions?.[0] ?? null;
}

async function answer(ask: Ask): Promise<unknown> {
  switch (ask.what) {
    case 'start': {
      const left = [...ask.specs];
      const worker = async (): Promise<void> => {
        for (let spec = left.shift(); spec !== undefined; spec = left.shift()) await start(spec);
      };
      await Promise.all(Array.from({ length: STARTS_AT_A_TIME }, worker));
      return null;
    }
    case 'stop':
      await Promise.all(ask.names.map(stop));
      return null;
    case 'busy':
      await setBusy(new Set(ask.names));
      return null;
    case 'serving':
      return Promise.all(ask.names.map(serving));
    case 'counts':
      return [...past, ...[...running.values()].map(({ traffic }) => countsOf(traffic))];
  }
}

process.on('message', (ask: Ask) => {
  answer(ask).then(
    (value) => process.send?.({ id: ask.id, value } satisfies Answer),
    (error: unknown) =>
      process.send?.({ id: ask.id, failed: String(error), value: null } satisfies Answer),
  );
});
// The parent has ended: nobody needs these devices any more.
process.once('disconnect', () => process.exit(0));
process.send?.({ id: 0, value: null } satisfies Answer);
