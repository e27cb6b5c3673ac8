// `linnet rollout`: the requests of each command, and what it prints of the answers.
import type { Command } from 'commander';
import { Fault } from '../../../shared/base/fault-codes.js';
import { realClock } from '../../../shared/platform/clock.js';
import { readArgumentFile } from '../../../shared/platform/setting-files.js';
import {
  GroupName,
  MemberPage,
  RolloutDetail,
  RolloutPage,
  RolloutPreview,
  rolloutQuery,
  type RolloutRequest,
} from '../../../shared/protocol/operator-api.js';
import type { RolloutCommand, RolloutState } from '../../../shared/protocol/states.js';
import { requireForm } from '../arguments.js';
import { EXIT, listText, type Output } from '../output.js';
import { connect } from '../../fleet/fleet-client.js';
import { rolloutPath, shownRollout, withMembers } from '../../fleet/shown-rollout.js';
import {
  policyOf,
  releaseOf,
  requestOfSpec,
  type PolicyOptions,
} from '../../fleet/rollout-spec.js';
import { counted } from '../../../shared/base/counted.js';
import { ago, refText, rolloutScreen } from '../fleet-text.js';
import { previewScreen } from '../rollout-preview-text.js';
import { watchRollout } from '../rollout-watch.js';
import { filtered, pageOf, type Filters, type PageOptions } from './pages.js';

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
  for (const group of groups ?? []) requireForm('--groups', GroupName, group);
  requireForm('--canary', GroupName, options.canary);
  const selector = groups === undefined ? {} : { selector: { groups } };
  return { ...releaseOf(what), policy: policyOf(options), ...selector, ...accepted };
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

interface MemberOptions extends PageOptions {
  readonly wave?: number;
  readonly state?: string;
  readonly failed?: true;
}

const GOOD: readonly RolloutState[] = ['completed', 'reported'];

export const commanding =
  (name: RolloutCommand) =>
  async (out: Output, id: string, options: CommandOptions, command: Command): Promise<void> => {
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
  };

export async function create(
  out: Output,
  what: string | undefined,
  options: CreateOptions,
  command: Command,
): Promise<void> {
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
}

export async function list(
  out: Output,
  options: PageOptions & Filters,
  command: Command,
): Promise<void> {
  const path = filtered('/rollouts', rolloutQuery, options);
  const views = await pageOf(await connect(command), path, RolloutPage, options, out);
  out.result(views, () =>
    listText(
      path.includes('?') ? 'no rollout fits' : 'no rollouts',
      ['ID', 'RELEASE', 'STATE', 'WAVE', 'DEVICES', 'CREATED', 'BY'],
      views.map((view) => [
        view.id,
        refText(view.release),
        view.state,
        `${view.wave + 1}/${view.waves}`,
        String(view.devices),
        ago(view.createdAt, Date.now()),
        view.createdBy,
      ]),
    ),
  );
}

export async function show(
  out: Output,
  id: string,
  _options: unknown,
  command: Command,
): Promise<void> {
  const view = await shownRollout(await connect(command), id);
  out.result(view, () => rolloutScreen(view));
}

export async function watch(
  out: Output,
  id: string,
  options: { untilHeld?: true },
  command: Command,
): Promise<void> {
  const view = await watchRollout({
    client: await connect(command),
    id,
    out,
    clock: realClock,
    untilHeld: options.untilHeld === true,
  });
  process.exitCode = GOOD.includes(view.state) ? EXIT.done : EXIT.badNews;
}

export async function members(
  out: Output,
  id: string,
  { wave, state, failed, ...page }: MemberOptions,
  command: Command,
): Promise<void> {
  const query = new URLSearchParams({
    ...(wave === undefined ? {} : { wave: String(wave - 1) }),
    ...(state === undefined ? {} : { state }),
    ...(failed === true ? { failed: 'true' } : {}),
  });
  const path = `${rolloutPath(id)}/members?${query.toString()}`;
  const members = await pageOf(await connect(command), path, MemberPage, page, out);
  out.result(members, () =>
    listText(
      'no devices',
      ['WAVE', 'DEVICE', 'GROUP', 'STATE', 'REASONS'],
      members.map((member) => [
        String(member.wave + 1),
        member.name,
        member.group,
        member.state,
        member.reasons,
      ]),
    ),
  );
}
