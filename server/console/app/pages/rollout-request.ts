// The form of a new rollout as the request of the API, and back: what a policy is in the form.
// Fields are read by their names; those of a wave have its key before them, such as `wave-2-soak`.
import type {
  ArmMetric,
  ArmsPolicy,
  RolloutPolicy,
  RolloutRequest,
  Selector,
  Wave,
} from '../../../../shared/protocol/operator-api.js';
import { isoTime, labelsIn } from '../text.js';
import {
  armFields,
  numbersOf,
  paceFields,
  stopFields,
  trialFields,
  trialLimitFields,
} from './rollout-fields.js';

export type Strategy = NonNullable<RolloutPolicy['strategy']>;

export const METRICS: Readonly<Record<ArmMetric, string>> = {
  failed: 'failed requests',
  refused: 'refused inputs',
  p50: 'median latency',
  p99: '99 % latency',
  conditions: 'conditions of the release',
  security: 'security events',
};

/** Whom a wave is for. */
export type Audience = 'percent' | 'count' | 'group';
export const audienceOf = (wave: Wave): Audience =>
  wave.group !== undefined ? 'group' : wave.count !== undefined ? 'count' : 'percent';

export const TRIAL_PREFIX = 'trial-';
export const ARM_PREFIX = 'arm-';

/** What A/B begins with: half of the devices, an hour each. */
export const ARMS: ArmsPolicy = {
  sharePercent: 50,
  observeSeconds: 3600,
  metrics: ['failed', 'p99'],
  falseWinnerPermille: 50,
  winner: 'ask',
};
export const waveField = (key: number, name: string): string => `wave-${key}-${name}`;

/** What the form reads of FormData. */
export type Filled = Pick<FormData, 'get' | 'getAll'>;

/** `base`: the policy that the form began with; it has what the form does not ask for. */
export function requestOf(form: Filled, base: RolloutPolicy): RolloutRequest {
  const given = (name: string): string => textOf(form.get(name));
  const isChecked = (name: string): boolean => given(name) === 'yes';
  const [component = '', version = ''] = given('release').split('@');
  return {
    component,
    version,
    policy: {
      ...without(base),
      ...strategyOf(given, isChecked),
      waves: wavesOf(given, isChecked),
      ...numbersOf(stopFields, given),
      ...numbersOf(paceFields, given),
      trial: {
        ...base.trial,
        ...numbersOf(trialFields, given, TRIAL_PREFIX),
        ...numbersOf(trialLimitFields, given, TRIAL_PREFIX),
      },
      autoRevert: isChecked('autoRevert'),
      ...timesOf(given),
    },
    selector: selectorOf(form, given),
    ...(isChecked('acceptDifference') ? { acceptDifference: true } : {}),
  };
}

type Given = (name: string) => string;
type IsChecked = (name: string) => boolean;
const textOf = (value: ReturnType<FormData['get']>): string =>
  typeof value === 'string' ? value.trim() : '';

const parts = (text: string): string[] =>
  text
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');

/** Without what the form gives or leaves out. */
function without(base: RolloutPolicy): RolloutPolicy {
  const rest = { ...base };
  delete rest.strategy;
  delete rest.ab;
  delete rest.blueGreen;
  delete rest.hours;
  delete rest.deadline;
  delete rest.takesPerHour;
  delete rest.startWindow;
  delete rest.kindWindow;
  return rest;
}

function strategyOf(given: Given, isChecked: IsChecked): Partial<RolloutPolicy> {
  const strategy = given('strategy') as Strategy;
  switch (strategy) {
    case 'blue-green':
      return { strategy, blueGreen: { go: given('go') === 'auto' ? 'auto' : 'ask' } };
    case 'ab':
      return {
        strategy,
        ab: {
          ...ARMS,
          ...numbersOf(armFields, given, ARM_PREFIX),
          metrics: (Object.keys(METRICS) as ArmMetric[]).filter((one) =>
            isChecked(`${ARM_PREFIX}${one}`),
          ),
          winner: given(`${ARM_PREFIX}winner`) === 'auto' ? 'auto' : 'ask',
        },
      };
    case 'shadow':
      return { strategy };
    case 'canary':
      return {};
  }
}

function wavesOf(given: Given, isChecked: IsChecked): Wave[] {
  return parts(given('waves')).map((text) => {
    const of = (name: string): string => given(waveField(Number(text), name));
    const minProven = of('minProven');
    const audience = audienceFrom(of);
    return {
      name: of('name') || impliedName(audience),
      ...audience,
      soakSeconds: Number(of('soak')),
      ...(minProven === '' ? {} : { minProven: Number(minProven) }),
      approval: isChecked(waveField(Number(text), 'approval')),
    };
  });
}

function audienceFrom(of: Given): Pick<Wave, Audience> {
  const audience = of('audience') as Audience;
  return audience === 'group'
    ? { group: of('group') }
    : audience === 'count'
      ? { count: Number(of('count')) }
      : { percent: Number(of('percent')) };
}

/** The name of a wave that was given none. */
export const impliedName = ({ group, count, percent }: Pick<Wave, Audience>): string =>
  group ?? (count === undefined ? `${percent}%` : String(count));

function timesOf(given: Given): Partial<RolloutPolicy> {
  const windows = parts(given('hours'));
  const deadline = given('deadline');
  return {
    ...(windows.length === 0 ? {} : { hours: { windows, zone: given('zone') } }),
    ...(deadline === '' ? {} : { deadline: isoTime(deadline) }),
  };
}

function selectorOf(form: Filled, given: Given): Selector {
  const groups = form.getAll('groups').map(textOf);
  const hardware = form.getAll('hardware').map(textOf);
  const labels = labelsIn(given('labels'));
  return {
    ...(groups.length === 0 ? {} : { groups }),
    ...(hardware.length === 0 ? {} : { hardware }),
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
  };
}
