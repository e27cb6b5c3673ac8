// The process of all agents of the fleet journey, started by agents.ts: `startAgent` of the product
// for each device, with an application that sends it digits. Models run in this process, except on
// the devices that have real model processes (in-process-host.ts says what the others lack).
import { readFileSync } from 'node:fs';
import { agentSettings } from '../../../agent/config.js';
import { startAgent, type Agent } from '../../../agent/main.js';
import { loadDigits } from '../../../firmware-tools/demo/digits/data.js';
import { digitTask, Traffic } from '../../../firmware-tools/demo/traffic.js';
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
}

const task = digitTask(loadDigits().test);
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
  running.set(spec.name, { agent, port, traffic });
  void traffic.startWhenReady(spec.perSecond);
}

async function stop(name: string): Promise<void> {
  const { agent, traffic } = of(name);
  await traffic.stop();
  past.push(countsOf(traffic));
  await agent.close();
  running.delete(name);
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
