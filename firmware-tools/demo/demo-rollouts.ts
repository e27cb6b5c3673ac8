// Rolls a release out and prints its progress, from what `linnet rollout watch --json` prints.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RolloutPolicy } from '../../shared/protocol/operator-api.js';
import type { ShownRollout } from '../fleet/shown-rollout.js';
import { defaultTrialPolicy } from '../../shared/statistics/trial-verdict.js';
import type { DemoFleet } from './demo-fleet.js';
import type { Processes } from './processes.js';

/** Short trials, because the demo's devices get 15 requests a second; the rest is realistic. */
const POLICY: RolloutPolicy = {
  waves: [
    { name: 'canary', group: 'canary', soakSeconds: 1, approval: false },
    { name: 'all', percent: 100, soakSeconds: 0, approval: false },
  ],
  trial: { ...defaultTrialPolicy, minSeconds: 2, maxSeconds: 90, minPairs: 60 },
  acceptableFailurePermille: 6,
  alarmingFailurePermille: 100,
  falseAlarmPermille: 50,
  startWindow: 3,
  kindWindow: 3,
  silentAfterSeconds: 30,
  deviceDeadlineSeconds: 120,
  autoRevert: true,
};

/** All devices at once. */
const AT_ONCE: RolloutPolicy = {
  ...POLICY,
  waves: [{ name: 'all', percent: 100, soakSeconds: 0, approval: false }],
  startWindow: 10,
  kindWindow: 10,
};

/** For a release that these devices proved before: no comparison is waited for. */
const AGAIN: RolloutPolicy = { ...AT_ONCE, trial: { ...POLICY.trial, minPairs: 0 } };

export interface Policies {
  readonly inWaves: string;
  readonly atOnce: string;
  readonly again: string;
}

export const writePolicies = (root: string): Policies => ({
  inWaves: writePolicy(root, 'policy', POLICY),
  atOnce: writePolicy(root, 'policy-at-once', AT_ONCE),
  again: writePolicy(root, 'policy-again', AGAIN),
});

function writePolicy(root: string, name: string, policy: RolloutPolicy): string {
  const toml = (table: object): string =>
    Object.entries(table)
      .map(([key, value]) => `${key} = ${JSON.stringify(value)}`)
      .join('\n');
  const { waves, trial, ...rest } = policy;
  const file = join(root, 'work', `${name}.toml`);
  const parts = [
    toml(rest),
    ...waves.map((wave) => `[[waves]]\n${toml(wave)}`),
    `[trial]\n${toml(trial)}`,
  ];
  writeFileSync(file, `${parts.join('\n\n')}\n`);
  return file;
}

export interface Operator {
  readonly processes: Processes;
  readonly fleet: DemoFleet;
  readonly say: (text: string) => void;
}

/** Creates and starts a rollout and follows it until it settles. */
export async function rollOut(
  release: string,
  policy: string,
  { processes, fleet, say }: Operator,
): Promise<ShownRollout> {
  const { id } = await processes.linnet<{ id: string }>([
    'rollout',
    'create',
    release,
    '--spec',
    policy,
    ...fleet.connection,
  ]);
  await processes.linnet(['rollout', 'start', id, ...fleet.connection]);
  return follow(id, { processes, fleet, say });
}

/** Takes a completed rollout back and follows it until it settles. */
export async function undo(id: string, operator: Operator): Promise<ShownRollout> {
  const { processes, fleet } = operator;
  await processes.linnet(['rollout', 'undo', id, ...fleet.connection]);
  return follow(id, operator);
}

async function follow(id: string, { processes, fleet, say }: Operator): Promise<ShownRollout> {
  say(`  $ linnet rollout watch ${id} --until-held`);
  let last = '';
  let view = null as ShownRollout | null;
  const watch = ['rollout', 'watch', id, '--until-held', ...fleet.connection];
  const code = await processes.follow(watch, (value) => {
    view = value as ShownRollout;
    const line = progressLine(view);
    if (line !== last) say(line);
    last = line;
  });
  if (view === null)
    throw new Error(`linnet rollout watch ${id} ended with exit code ${code} and printed nothing`);
  return view;
}

function progressLine(view: ShownRollout): string {
  const wave = view.policy.waves[view.wave]?.name ?? String(view.wave);
  const members = view.members.map((member) => `${member.name} ${member.state}`).join('  ');
  const { component } = view.release;
  return `    ${component.padEnd(6)} ${view.state.padEnd(9)} wave ${wave.padEnd(6)}  ${members}`;
}
