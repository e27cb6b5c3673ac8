// `linnet rollout`: drafts, commands, lists and watches staged rollouts.
import { Option, type Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import { limits } from '../../../shared/base/limits.js';
import {
  MEMBER_STATES,
  ROLLOUT_COMMANDS,
  ROLLOUT_LIST_STATES,
  type RolloutCommand,
} from '../../../shared/protocol/states.js';
import { defaultTrialPolicy } from '../../../shared/statistics/default-trial-policy.js';
import {
  connectionOptions,
  gather,
  pageOptions,
  percentAsPermille,
  shares,
  wholeNumber,
} from '../options.js';
import type { Output } from '../output.js';
import { defaults } from '../../../shared/protocol/default-policy.js';

const actions = () => import('../actions/rollouts.js');

const ABOUT: Readonly<Record<RolloutCommand, string>> = {
  start: 'begin with the first wave',
  pause: 'hold it in its current wave',
  resume: 'continue after a pause or a hold',
  approve: 'allow the step beyond the current wave, if the policy asks for approval',
  abort: 'roll every touched device back to what it ran before',
  undo: 'take a completed rollout back, through the same window',
  drop: 'discard a draft',
};

export function registerRolloutCommands(program: Command, out: Output): void {
  const rollout = program
    .command('rollout')
    .description('staged rollouts')
    .addHelpText(
      'after',
      '\nExample:\n' +
        '  $ id=$(linnet rollout create digits@1.1.0 --canary canary --then 50,100 --soak 60)\n' +
        '  $ linnet rollout start $id\n  $ linnet rollout watch $id\n',
    );
  registerCreate(rollout, out);
  registerReads(rollout, out);
  for (const name of ROLLOUT_COMMANDS) registerCommand(name, rollout, out);
}

function registerCommand(name: RolloutCommand, rollout: Command, out: Output): void {
  const described = connectionOptions(rollout.command(name))
    .description(ABOUT[name])
    .argument('<rollout>', 'id')
    .option('--reason <text>', "for the audit log and the rollout's history");
  if (name === 'resume')
    described.option(
      '--accept-difference <percent>',
      'devices went back because they differ more than declared: accept a mean difference of so ' +
        "much, at most the policy's cap; they take the release again",
      percentAsPermille,
    );
  described
    .addHelpText('after', `\nExample:\n  $ linnet rollout ${name} ro-0123456789abcdef\n`)
    .action(lazily(out, async () => (await actions()).commanding(name)));
}

function registerCreate(rollout: Command, out: Output): void {
  const create = connectionOptions(rollout.command('create'))
    .description('draft a rollout of a published release; prints its id')
    .argument('[component@version]', 'the release; may stand in the specification instead')
    .option(
      '--spec <file>',
      'the whole rollout as TOML or JSON (release, selector, and the policy with keys as in the ' +
        'API; defaults as below); excludes the options below',
    )
    .option('--groups <groups...>', 'only devices of these groups take part', gather)
    .option(
      '--accept-difference',
      "take a release that declares a larger difference than the policy's limit (the cap holds)",
    )
    .option('--dry-run', 'draft nothing; print the waves, the windows and the promise in numbers');
  waveOptions(create);
  haltOptions(create);
  create
    .addHelpText(
      'after',
      '\nExample:\n' +
        '  $ linnet rollout create digits@1.1.0 --canary canary --then 50,100 --soak 60\n' +
        '  $ linnet rollout create --spec rollout.toml --dry-run\n',
    )
    .action(lazily(out, async () => (await actions()).create));
}

function waveOptions(create: Command): void {
  create
    .option('--canary <group>', 'the first wave is this group')
    .option(
      '--then <shares>',
      'then waves of these shares of all devices, in percent, earlier waves included',
      shares,
      [...defaults.then],
    )
    .option(
      '--soak <seconds>',
      'how long a wave stays healthy before the next one begins',
      wholeNumber,
      defaults.soakSeconds,
    )
    .option('--approval', 'an operator approves each step beyond a wave', false);
}

function haltOptions(create: Command): void {
  create
    .option(
      '--silent-after <seconds>',
      'a device not heard for this long is silent: it holds its place',
      wholeNumber,
      defaults.silentAfterSeconds,
    )
    .option(
      '--deadline <seconds>',
      'a device not done after this long is no longer waited for',
      wholeNumber,
      defaults.deviceDeadlineSeconds,
    )
    .option(
      '--acceptable <permille>',
      'failure rate of devices that is acceptable',
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
    .option(
      '--window <devices>',
      'devices that may have it undecided at the beginning (default: 3, or 1 of fewer than 30); ' +
        'later, as many as are proven',
      wholeNumber,
    )
    .option('--no-revert', 'on a halt, hold the rollout instead of rolling devices back')
    .option(
      '--trial-min <seconds>',
      "each device's trial lasts at least this long",
      wholeNumber,
      defaultTrialPolicy.minSeconds,
    )
    .option(
      '--trial-max <seconds>',
      '... and stays unproven without enough evidence after this long',
      wholeNumber,
      defaultTrialPolicy.maxSeconds,
    )
    .option(
      '--trial-pairs <count>',
      'live inputs on which the old and the new model are compared at least',
      wholeNumber,
      defaultTrialPolicy.minPairs,
    );
}

function registerReads(rollout: Command, out: Output): void {
  registerList(rollout, out);
  connectionOptions(rollout.command('show'))
    .description('one rollout: waves, devices, reasons, and the possible commands')
    .argument('<rollout>', 'id')
    .addHelpText('after', '\nExample:\n  $ linnet rollout show ro-0123456789abcdef\n')
    .action(lazily(out, async () => (await actions()).show));
  registerMembers(rollout, out);
  connectionOptions(rollout.command('watch'))
    .description(
      'progress until it ends, live on a terminal, else a line a change; a pause does not end ' +
        'it; exit code 0 when completed, or reported (a shadow); 6 when reverted or dropped',
    )
    .argument('<rollout>', 'id')
    .option('--until-held', 'end with exit code 6, too, when it is held for a person or paused')
    .addHelpText('after', '\nExample:\n  $ linnet rollout watch ro-0123456789abcdef\n')
    .action(lazily(out, async () => (await actions()).watch));
}

function registerList(rollout: Command, out: Output): void {
  pageOptions(connectionOptions(rollout.command('list')))
    .description('rollouts, the newest first')
    .addOption(
      new Option(
        '--state <state>',
        'only in this state; active: rolling, held or reverting',
      ).choices(ROLLOUT_LIST_STATES),
    )
    .option('--component <name>', 'only of this component')
    .option('--group <group>', 'only those whose selector does not exclude this group')
    .option('--search <text>', 'only with this text in the id or in component@version')
    .addHelpText('after', '\nExample:\n  $ linnet rollout list --state active --component digits\n')
    .action(lazily(out, async () => (await actions()).list));
}

function registerMembers(rollout: Command, out: Output): void {
  pageOptions(connectionOptions(rollout.command('members')), limits.cliDevicesDefaultCount)
    .description('the devices of a rollout with their states and reasons, by wave')
    .argument('<rollout>', 'id')
    .option('--wave <number>', 'only this wave, from 1', wholeNumber)
    .addOption(new Option('--state <state>', 'only devices in this state').choices(MEMBER_STATES))
    .option('--failed', 'only devices on which the release failed, also those that are back')
    .addHelpText('after', '\nExample:\n  $ linnet rollout members ro-0123456789abcdef --failed\n')
    .action(lazily(out, async () => (await actions()).members));
}
