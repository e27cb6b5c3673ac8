// `linnet rollout`: drafts, commands, lists and watches staged rollouts.
import { Option, type Command } from 'commander';
import { Fault } from '../../../shared/base/fault-codes.js';
import { realClock } from '../../../shared/platform/clock.js';
import { readArgumentFile } from '../../../shared/platform/setting-files.js';
import {
  GroupName,
  MemberPage,
  ROLLOUT_COMMANDS,
  RolloutDetail,
  RolloutPage,
  RolloutPreview,
  type RolloutCommand,
  type RolloutRequest,
} from '../../../shared/protocol/operator-api.js';
import { MEMBER_STATES, type RolloutState } from '../../../shared/protocol/states.js';
import { defaultTrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import { formOf, gather, wholeNumber } from '../arguments.js';
import { EXIT, table, type Output } from '../output.js';
import { connect, connectionOptions } from '../../fleet/fleet-client.js';
import { percentAsPermille } from './devices.js';
import { rolloutPath, shownRollout, withMembers } from '../../fleet/shown-rollout.js';
import {
  policyOf,
  releaseOf,
  requestOfSpec,
  shares,
  type PolicyOptions,
} from '../../fleet/rollout-spec.js';
import { defaults } from '../../../shared/protocol/default-policy.js';
import { counted } from '../../../shared/base/counted.js';
import { ago, refText, rolloutScreen } from '../fleet-text.js';
import { previewScreen } from '../rollout-preview-text.js';
import { watchRollout } from '../rollout-watch.js';

const groupNames = (text: string, before: string[] | undefined): string[] =>
  gather(formOf('--groups', GroupName)(text), before);

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
    .action(async (id: string, options: CommandOptions, command: Command) => {
      const { reason, acceptDifference } = options;
      const body = {
        ...(reason === undefined ? {} : { reason }),
        ...(acceptDifference === undefined ? {} : { acceptDifferencePermille: acceptDifference }),
      };
      const client = await connect(command);
      const path = `${rolloutPath(id)}/${name}`;
      const detail = await client.request('POST', path, RolloutDetail, body);
      const view = await withMembers(client, detail);
      out.result(view, () => rolloutScreen(view));
    });
}

interface CommandOptions {
  readonly reason?: string;
  readonly acceptDifference?: number;
}

interface CreateOptions extends PolicyOptions {
  readonly spec?: string;
  readonly groups?: string[];
  readonly dryRun?: boolean;
  readonly acceptDifference?: boolean;
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
    .option('--groups <groups...>', 'only devices of these groups take part', groupNames)
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
    .action(async (what: string | undefined, options: CreateOptions, command: Command) => {
      const body = requestOf(what, options, command);
      const client = await connect(command);
      if (options.dryRun === true) {
        const preview = await client.request('POST', '/rollouts/preview', RolloutPreview, body);
        out.result(preview, () => previewScreen(preview));
        return;
      }
      const view = await client.request('POST', '/rollouts', RolloutDetail, body);
      const { counts, policy } = view;
      const devices = counts.reduce((sum, count) => sum + count.devices, 0);
      out.progress(
        `drafted: ${refText(view.release)} to ${counted(devices, 'device')} in ` +
          `${counted(policy.waves.length, 'wave')}; start it with: linnet rollout start ${view.id}`,
      );
      for (const text of view.reasons) out.progress(text);
      out.result(view, () => view.id);
    });
}

function requestOf(
  what: string | undefined,
  options: CreateOptions,
  command: Command,
): RolloutRequest {
  const { spec, groups, acceptDifference } = options;
  const accepted = acceptDifference === undefined ? {} : { acceptDifference };
  if (spec !== undefined) return { ...specFile(spec, what, command), ...accepted };
  if (what === undefined)
    throw new Fault('usage', 'name the release as component@version, or give --spec');
  const selector = groups === undefined ? {} : { selector: { groups } };
  return { ...releaseOf(what), policy: policyOf(options), ...selector, ...accepted };
}

function waveOptions(create: Command): void {
  create
    .option('--canary <group>', 'the first wave is this group', formOf('--canary', GroupName))
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

function specFile(file: string, what: string | undefined, command: Command): RolloutRequest {
  const both = command.options.filter(
    (option) =>
      !['server', 'tokenFile', 'profile', 'spec', 'dryRun', 'acceptDifference'].includes(
        option.attributeName(),
      ) && command.getOptionValueSource(option.attributeName()) === 'cli',
  );
  if (both.length > 0) {
    const names = both.map((option) => option.long ?? option.flags);
    throw new Fault('usage', `--spec is the whole rollout; leave out ${names.join(', ')}`);
  }
  const text = readArgumentFile('the specification', file).toString('utf8');
  return requestOfSpec(text, file, what);
}

function registerReads(rollout: Command, out: Output): void {
  connectionOptions(rollout.command('list'))
    .description('rollouts, the newest first')
    .addHelpText('after', '\nExample:\n  $ linnet rollout list\n')
    .action(async (_options: unknown, command: Command) => {
      const views = await (await connect(command)).list('/rollouts', RolloutPage);
      out.result(views, () =>
        views.length === 0
          ? 'no rollouts'
          : table([
              ['ID', 'RELEASE', 'STATE', 'WAVE', 'DEVICES', 'CREATED', 'BY'],
              ...views.map((view) => [
                view.id,
                refText(view.release),
                view.state,
                `${view.wave + 1}/${view.waves}`,
                String(view.devices),
                ago(view.createdAt, Date.now()),
                view.createdBy,
              ]),
            ]),
      );
    });
  connectionOptions(rollout.command('show'))
    .description('one rollout: waves, devices, reasons, and the possible commands')
    .argument('<rollout>', 'id')
    .addHelpText('after', '\nExample:\n  $ linnet rollout show ro-0123456789abcdef\n')
    .action(async (id: string, _options: unknown, command: Command) => {
      const view = await shownRollout(await connect(command), id);
      out.result(view, () => rolloutScreen(view));
    });
  registerMembers(rollout, out);
  connectionOptions(rollout.command('watch'))
    .description(
      'progress until it ends, live on a terminal, else a line a change; a pause does not end ' +
        'it; exit code 0 when completed, or reported (a shadow); 6 when reverted or dropped',
    )
    .argument('<rollout>', 'id')
    .option('--until-held', 'end with exit code 6, too, when it is held for a person or paused')
    .addHelpText('after', '\nExample:\n  $ linnet rollout watch ro-0123456789abcdef\n')
    .action(async (id: string, options: { untilHeld?: true }, command: Command) => {
      const view = await watchRollout({
        client: await connect(command),
        id,
        out,
        clock: realClock,
        untilHeld: options.untilHeld === true,
      });
      process.exitCode = GOOD.includes(view.state) ? EXIT.done : EXIT.badNews;
    });
}

interface MemberOptions {
  readonly wave?: number;
  readonly state?: string;
}

function registerMembers(rollout: Command, out: Output): void {
  connectionOptions(rollout.command('members'))
    .description('all devices of a rollout with their states and reasons')
    .argument('<rollout>', 'id')
    .option('--wave <number>', 'only this wave, from 1', wholeNumber)
    .addOption(new Option('--state <state>', 'only devices in this state').choices(MEMBER_STATES))
    .addHelpText(
      'after',
      '\nExample:\n  $ linnet rollout members ro-0123456789abcdef --state failed\n',
    )
    .action(async (id: string, { wave, state }: MemberOptions, command: Command) => {
      const query = new URLSearchParams({
        ...(wave === undefined ? {} : { wave: String(wave - 1) }),
        ...(state === undefined ? {} : { state }),
      });
      const path = `${rolloutPath(id)}/members?${query.toString()}`;
      const members = await (await connect(command)).list(path, MemberPage);
      out.result(members, () =>
        members.length === 0
          ? 'no devices'
          : table([
              ['WAVE', 'DEVICE', 'GROUP', 'STATE', 'REASONS'],
              ...members.map((member) => [
                String(member.wave + 1),
                member.name,
                member.group,
                member.state,
                member.reasons,
              ]),
            ]),
      );
    });
}

const GOOD: readonly RolloutState[] = ['completed', 'reported'];
