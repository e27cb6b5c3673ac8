// A rollout from a specification file (TOML or JSON) or from command-line options, with the
// defaults that --help lists. Every mistake of a file is reported at once, before the server is
// asked.
import { parse as parseToml, TomlError } from 'smol-toml';
import { Type } from 'typebox';
import { complaints, decode } from '../../shared/base/decode.js';
import { Fault, reason } from '../../shared/base/fault-codes.js';
import {
  RolloutPolicy,
  Selector,
  type RolloutRequest,
  type Wave,
} from '../../shared/protocol/operator-api.js';
import { defaults } from '../../shared/protocol/default-policy.js';
import { Component, Version } from '../../shared/release/manifest-head.js';
import { policyComplaints } from '../../shared/protocol/policy-complaints.js';
import { defaultTrialPolicy, type TrialPolicy } from '../../shared/statistics/trial-verdict.js';

export interface PolicyOptions {
  readonly canary?: string;
  readonly then: readonly number[];
  readonly soak: number;
  readonly approval: boolean;
  readonly silentAfter: number;
  readonly deadline: number;
  readonly acceptable: number;
  readonly alarming: number;
  readonly falseAlarm: number;
  readonly window?: number;
  readonly revert: boolean;
  readonly trialMin: number;
  readonly trialMax: number;
  readonly trialPairs: number;
}

/**
 * Waves: the canary group (when named), then growing shares of all devices. Fault usage lists every
 * mistake.
 */
export function policyOf(options: PolicyOptions): RolloutPolicy {
  const waves: Wave[] =
    options.canary === undefined
      ? []
      : [
          {
            name: 'canary',
            group: options.canary,
            soakSeconds: options.soak,
            approval: options.approval,
          },
        ];
  options.then.forEach((percent, index) => {
    const last = index === options.then.length - 1;
    waves.push({
      name: `${percent}%`,
      percent,
      soakSeconds: last ? 0 : options.soak,
      approval: options.approval && !last,
    });
  });
  const trial: TrialPolicy = {
    ...defaultTrialPolicy,
    minSeconds: options.trialMin,
    maxSeconds: options.trialMax,
    minPairs: options.trialPairs,
  };
  return decode(
    RolloutPolicy,
    {
      waves,
      trial,
      acceptableFailurePermille: options.acceptable,
      alarmingFailurePermille: options.alarming,
      falseAlarmPermille: options.falseAlarm,
      ...(options.window === undefined ? {} : { startWindow: options.window }),
      silentAfterSeconds: options.silentAfter,
      deviceDeadlineSeconds: options.deadline,
      autoRevert: options.revert,
    },
    'rollout policy',
    'usage',
  );
}

/** A whole rollout in one file: what, to which devices, and how. Its policy has the API's keys. */
const RolloutSpec = Type.Object(
  {
    /** `component@version`; may be left out where the command names it. */
    release: Type.Optional(Type.String()),
    selector: Type.Optional(Selector),
    ...RolloutPolicy.properties,
  },
  { additionalProperties: false },
);

/**
 * The request of a specification file, TOML or (`.json`) JSON. What is left out, also within waves
 * and [trial], takes the default. `named`: the release that the command names. Fault usage lists
 * every mistake.
 */
export function requestOfSpec(text: string, file: string, named?: string): RolloutRequest {
  const given = file.endsWith('.json') ? jsonOf(text, file) : tomlOf(text, file);
  const { soakSeconds: _soak, then: _then, ...base } = defaults;
  const waves = Array.isArray(given['waves']) ? given['waves'].map(waveOf) : given['waves'];
  const trial = isTable(given['trial'])
    ? { ...defaultTrialPolicy, ...given['trial'] }
    : (given['trial'] ?? defaultTrialPolicy);
  const ab = isTable(given['ab'])
    ? { falseWinnerPermille: defaults.falseAlarmPermille, winner: 'ask', ...given['ab'] }
    : given['ab'];
  const filled = {
    ...base,
    ...(given['strategy'] === 'blue-green' ? { blueGreen: { go: 'ask' } } : {}),
    ...given,
    waves,
    trial,
    ...(ab === undefined ? {} : { ab }),
  };
  const { release, selector, ...policy } = decode(RolloutSpec, filled, file, 'usage');
  const found = policyComplaints(policy);
  if (named !== undefined && release !== undefined && named !== release)
    found.push(`release is ${release}, the command names ${named}`);
  const what = named ?? release;
  if (what === undefined) found.push('release is missing, and the command names none');
  if (what === undefined || found.length > 0)
    throw new Fault('usage', `${file}: ${found.join('; ')}`);
  return { ...releaseOf(what), policy, ...(selector === undefined ? {} : { selector }) };
}

function waveOf(wave: unknown): unknown {
  if (!isTable(wave)) return wave;
  const { group, percent, count } = wave;
  const name =
    typeof group === 'string'
      ? group
      : typeof percent === 'number'
        ? `${percent}%`
        : typeof count === 'number'
          ? `${count} devices`
          : undefined;
  return {
    ...(name === undefined ? {} : { name }),
    soakSeconds: defaults.soakSeconds,
    approval: false,
    ...wave,
  };
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function tomlOf(text: string, file: string): Record<string, unknown> {
  try {
    // Dates become text, as in JSON.
    return JSON.parse(JSON.stringify(parseToml(text))) as Record<string, unknown>;
  } catch (error) {
    const line = error instanceof TomlError ? `, line ${error.line}` : '';
    throw new Fault('usage', `${file}${line} is not TOML: ${reason(error)}`, { cause: error });
  }
}

function jsonOf(text: string, file: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const at = /at position (\d+)/.exec(reason(error))?.[1];
    const line = at === undefined ? '' : `, line ${text.slice(0, Number(at)).split('\n').length}`;
    throw new Fault('usage', `${file}${line} is not JSON: ${reason(error)}`, { cause: error });
  }
  if (!isTable(value)) throw new Fault('usage', `${file} is not a JSON object`);
  return value;
}

/** Fault usage when it is not `component@version`. */
export function releaseOf(what: string): { component: string; version: string } {
  const [component, version, ...more] = what.split('@');
  if (component === undefined || version === undefined || version === '' || more.length > 0)
    throw new Fault('usage', `${what}: name the release as component@version`);
  const found = [
    ...complaints(Component, component).map((text) => `the component ${text.slice(3)}`),
    ...complaints(Version, version).map((text) => `the version ${text.slice(3)}`),
  ];
  if (found.length > 0) throw new Fault('usage', `${what}: ${found.join('; ')}`);
  return { component, version };
}
