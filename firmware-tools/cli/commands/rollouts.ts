// `linnet rollout`: from a draft to a fleet that runs it, or to the reason why it does not.
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { Type } from 'typebox';
import { Fault, isFault, reason } from '../../../shared/base/fault-codes.js';
import { sleep } from '../../../shared/base/interfaces.js';
import { realClock } from '../../../shared/platform/clock.js';
import {
  ROLLOUT_COMMANDS,
  RolloutView,
  type RolloutCommand,
  type RolloutPolicy,
} from '../../../shared/protocol/operator-api.js';
import type { RolloutState } from '../../../shared/protocol/states.js';
import { defaultTrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import { EXIT, table, type Output } from '../output.js';
import { connect, connectionOptions, type FleetClient } from '../../fleet/fleet-client.js';
import { wholeNumber } from './devices.js';
import {
  defaults,
  policyOf,
  policyOfToml,
  shares,
  type PolicyOptions,
} from '../../fleet/rollout-spec.js';
import { ago, refText, rolloutScreen } from '../fleet-text.js';

const at = (id: string): string => `/rollouts/${encodeURIComponent(id)}`;
const WATCH_EVERY_MS = 1000;
/** How long a watch puts up with a server that does not answer. */
const WATCH_TRIES_MAX = 30;

const ABOUT: Readonly<Record<RolloutCommand, string>> = {
  start: 'begin with the first wave',
  pause: 'hold it where it is',
  resume: 'go on after a pause or a hold',
  approve: 'let it go beyond the current wave, where the policy asks for a person',
  abort: 'take every touched device back to what it ran before',
  drop: 'throw a draft away',
};

export function registerRolloutCommands(program: Command, out: Output): void {
  const rollout = program
    .command('rollout')
    .description('staged rollouts')
    .addHelpText(
      'after',
      '\nExample:\n  $ id=$(linnet rollout create digits@1.1.0 --canary canary --then 50,100 --soak 60)\n  $ linnet rollout start $id\n  $ linnet rollout watch $id\n',
    );
  registerCreate(rollout, out);
  registerLooks(rollout, out);
  for (const name of ROLLOUT_COMMANDS) {
    connectionOptions(rollout.command(name))
      .description(ABOUT[name])
      .argument('<rollout>', 'id')
      .option('--reason <text>', "for the audit log and the rollout's history")
      .addHelpText('after', `\nExample:\n  $ linnet rollout ${name} ro-0123456789abcdef\n`)
      .action(async (id: string, options: { reason?: string }, command: Command) => {
        const view = await (
          await connect(command)
        ).request(
          'POST',
          `${at(id)}/${name}`,
          RolloutView,
          options.reason === undefined ? {} : { reason: options.reason },
        );
        out.result(view, () => rolloutScreen(view));
      });
  }
}

interface CreateOptions extends PolicyOptions {
  readonly policy?: string;
  readonly groups?: string[];
}

function registerCreate(rollout: Command, out: Output): void {
  connectionOptions(rollout.command('create'))
    .description('draft a rollout of a published release; prints its id')
    .argument('<component@version>')
    .option(
      '--policy <file>',
      'the whole policy as TOML (keys as in the API: waves, trial, ...; left out: the defaults below); excludes the options below',
    )
    .option('--groups <groups...>', 'only devices of these groups take part')
    .option('--canary <group>', 'the first wave is this group')
    .option(
      '--then <shares>',
      'then waves of these shares of all devices, in percent, earlier waves included',
      shares,
      [...defaults.then],
    )
    .option(
      '--soak <seconds>',
      'a wave stays healthy this long before the next begins',
      wholeNumber,
      defaults.soakSeconds,
    )
    .option('--approval', 'a person approves each step beyond a wave', false)
    .option(
      '--silent-after <seconds>',
      'a device silent for this long has failed',
      wholeNumber,
      defaults.silentAfterSeconds,
    )
    .option(
      '--deadline <seconds>',
      'a device not done after this long has failed',
      wholeNumber,
      defaults.deviceDeadlineSeconds,
    )
    .option(
      '--acceptable <permille>',
      'failure rate of devices that is fine',
      wholeNumber,
      defaults.acceptableFailurePermille,
    )
    .option(
      '--alarming <permille>',
      'failure rate that the halt test looks for',
      wholeNumber,
      defaults.alarmingFailurePermille,
    )
    .option(
      '--false-alarm <permille>',
      'chance that an acceptable release is halted',
      wholeNumber,
      defaults.falseAlarmPermille,
    )
    .option('--no-revert', 'on a halt, hold for a person instead of taking devices back')
    .option(
      '--trial-min <seconds>',
      "each device's trial lasts at least this long",
      wholeNumber,
      defaultTrialPolicy.minSeconds,
    )
    .option(
      '--trial-max <seconds>',
      '... and ends as unproven after this long',
      wholeNumber,
      defaultTrialPolicy.maxSeconds,
    )
    .option(
      '--trial-pairs <count>',
      'live inputs on which old and new model are compared first',
      wholeNumber,
      defaultTrialPolicy.minPairs,
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet rollout create digits@1.1.0 --canary canary --then 50,100 --soak 60\n',
    )
    .action(async (what: string, options: CreateOptions, command: Command) => {
      const [component, version, ...more] = what.split('@');
      if (component === undefined || version === undefined || version === '' || more.length > 0)
        throw new Fault('usage', `${what}: name the release as component@version`);
      const policy =
        options.policy === undefined
          ? policyOf(options)
          : await policyFile(options.policy, command);
      const body = {
        component,
        version,
        policy,
        ...(options.groups === undefined ? {} : { groups: options.groups }),
      };
      const view = await (await connect(command)).request('POST', '/rollouts', RolloutView, body);
      out.progress(
        `drafted: ${refText(view.release)} to ${view.members.length} device(s) in ${view.policy.waves.length} wave(s); begin with: linnet rollout start ${view.id}`,
      );
      out.result(view, () => view.id);
    });
}

async function policyFile(file: string, command: Command): Promise<RolloutPolicy> {
  const both = command.options.filter(
    (option) =>
      !['server', 'tokenFile', 'policy', 'groups'].includes(option.attributeName()) &&
      command.getOptionValueSource(option.attributeName()) === 'cli',
  );
  if (both.length > 0)
    throw new Fault(
      'usage',
      `--policy is the whole policy; leave out ${both.map((option) => option.long ?? option.flags).join(', ')}`,
    );
  try {
    return policyOfToml(await readFile(file, 'utf8'), file);
  } catch (error) {
    if (isFault(error)) throw error;
    throw new Fault('usage', `cannot read the policy ${file}: ${reason(error)}`, { cause: error });
  }
}

function registerLooks(rollout: Command, out: Output): void {
  connectionOptions(rollout.command('list'))
    .description('rollouts, the newest first')
    .addHelpText('after', '\nExample:\n  $ linnet rollout list\n')
    .action(async (_options: unknown, command: Command) => {
      const views = await (
        await connect(command)
      ).request('GET', '/rollouts', Type.Array(RolloutView));
      out.result(views, () =>
        views.length === 0
          ? 'no rollouts'
          : table([
              ['ID', 'RELEASE', 'STATE', 'WAVE', 'DEVICES', 'MADE', 'BY'],
              ...views.map((view) => [
                view.id,
                refText(view.release),
                view.state,
                `${view.wave + 1}/${view.policy.waves.length}`,
                String(view.members.length),
                ago(view.createdAt, Date.now()),
                view.createdBy,
              ]),
            ]),
      );
    });
  connectionOptions(rollout.command('show'))
    .description('one rollout: waves, devices, why, and what can be done')
    .argument('<rollout>', 'id')
    .addHelpText('after', '\nExample:\n  $ linnet rollout show ro-0123456789abcdef\n')
    .action(async (id: string, _options: unknown, command: Command) => {
      const view = await (await connect(command)).request('GET', at(id), RolloutView);
      out.result(view, () => rolloutScreen(view));
    });
  connectionOptions(rollout.command('watch'))
    .description(
      'progress until it settles; exit code 0 when completed, 6 when reverted, held or dropped',
    )
    .argument('<rollout>', 'id')
    .addHelpText('after', '\nExample:\n  $ linnet rollout watch ro-0123456789abcdef\n')
    .action(async (id: string, _options: unknown, command: Command) => {
      const view = await watch(await connect(command), id, out);
      process.exitCode = view.state === 'completed' ? EXIT.done : EXIT.badNews;
    });
}

const SETTLED: readonly RolloutState[] = ['completed', 'reverted', 'dropped', 'held'];

/**
 * Shows each change until the rollout settles. A server that is away for a moment (a restart) does
 * not end the watch.
 */
async function watch(client: FleetClient, id: string, out: Output): Promise<RolloutView> {
  let shown = '';
  let tries = 0;
  for (;;) {
    try {
      const view = await client.request('GET', at(id), RolloutView);
      tries = 0;
      const screen = rolloutScreen(view);
      if (screen !== shown) {
        out.event(view);
        out.line(`${shown === '' ? '' : '\n'}${screen}`);
        shown = screen;
      }
      if (SETTLED.includes(view.state)) return view;
    } catch (error) {
      if (!isFault(error, 'server_unreachable') || ++tries >= WATCH_TRIES_MAX) throw error;
      out.progress(`${error.detail}; trying again`);
    }
    await sleep(realClock, WATCH_EVERY_MS);
  }
}
