// `npm start`: a whole fleet on one machine, and the product's promise shown on it by real
// processes (scenario.ts). This file owns the processes: it stops everything it started, also after
// an error or a signal. With --once it exits after the scenario: 0 when every check passed, 1 when
// any failed. Without, the fleet stays up until Ctrl-C. LINNET_DEMO_PORT is the first port.
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { isFault, systemCode } from '../../shared/base/fault-codes.js';
import { firstPort, type DemoFleet } from './demo-fleet.js';
import { leaveFolder, takeFolder } from './demo-folder.js';
import { Processes } from './processes.js';
import { REQUESTS_PER_SECOND, Scenario } from './scenario.js';

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));
const options = new Command('npm start --')
  .description('A whole fleet on this machine, with a good and a bad release.')
  .option('--once', 'end after the scenario: exit code 0 when every check passed', false)
  .option('--dir <folder>', "the fleet's files", join(PROJECT, '.linnet', 'demo'))
  .parse()
  .opts<{ readonly once: boolean; readonly dir: string }>();
const ROOT = resolve(options.dir);

const say = (text: string): void => console.log(text);

function nextSteps(fleet: DemoFleet): string {
  const token = relative(process.cwd(), fleet.tokenFile);
  return `
The fleet stays up until Ctrl-C. Its files are in ${relative(process.cwd(), ROOT)}.

  console      ${fleet.url}/console    (token: cat ${token})
  API          ${fleet.url}/openapi.json
  a device     http://127.0.0.1:${fleet.devices[0]?.port ?? 0}/v2

  export LINNET_SERVER=${fleet.url} LINNET_TOKEN=$(cat ${token})
  npx linnet device list
  npx linnet device show gate-1
  npx linnet rollout list
  npx linnet rollout show <ID>`;
}

/** The environment of the processes: without what could point them at another fleet. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const {
    LINNET_TOKEN: _token,
    LINNET_SERVER: _server,
    LINNET_CLAIM: _claim,
    ...env
  } = process.env;
  return env;
}

function summary({ checks, seconds }: Scenario): string {
  const failed = checks.filter(({ passed }) => !passed).length;
  const total =
    failed === 0
      ? `All ${checks.length} checks of the scenario passed`
      : `${failed} of ${checks.length} checks FAILED`;
  return `\n${total} (${seconds} s).`;
}

async function main(): Promise<number> {
  let first: number;
  try {
    first = firstPort(process.env);
    takeFolder(ROOT);
  } catch (error) {
    if (!isFault(error, 'conflict', 'config_invalid')) throw error;
    say(error.detail);
    return 1;
  }
  let died = null as string | null;
  let giveUp: (error: Error) => void = () => {};
  const death = new Promise<never>((_, reject) => {
    giveUp = reject;
  });
  death.catch(() => {}); // Raced below; a death after the scenario is counted by its check.
  const processes = new Processes({
    root: ROOT,
    env: cleanEnvironment(),
    say,
    onDeath: (what) => {
      died ??= what;
      giveUp(new Error(what));
    },
  });
  const scenario = new Scenario({ root: ROOT, firstPort: first, processes, say });
  const interrupted = new Promise<'interrupted'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => resolve('interrupted'));
    // Nobody reads any more (`npm start | head`): the fleet must not stay behind.
    process.stdout.on('error', (error) => {
      if (systemCode(error) !== 'EPIPE') throw error;
      resolve('interrupted');
    });
  });
  try {
    const fleet = await Promise.race([scenario.run(), interrupted, death]);
    if (fleet === 'interrupted') return 130;
    scenario.check({ what: 'no process died', passed: died === null });
    say(summary(scenario));
    if (!options.once) {
      for (const one of scenario.traffic) one.start(REQUESTS_PER_SECOND);
      say(nextSteps(fleet));
      await interrupted;
    }
    return scenario.checks.every(({ passed }) => passed) ? 0 : 1;
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    say(`\nThe scenario stopped: ${what}\n(logs in ${ROOT})`);
    return 1;
  } finally {
    // At the same time, so that the processes end even when a request hangs.
    const traffic = [...scenario.traffic, scenario.textTraffic];
    await Promise.all([processes.stop(), ...traffic.map((one) => one?.stop())]);
    leaveFolder(ROOT);
  }
}

process.exit(await main());
