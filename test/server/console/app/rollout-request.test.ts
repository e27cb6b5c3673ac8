// The form of a new rollout against the schema of the API: what it says becomes a request that the
// server takes, and a policy that goes in comes out again.
import { describe, expect, it } from 'vitest';
import { Value } from 'typebox/value';
import { policyComplaints } from '../../../../shared/protocol/policy-complaints.js';
import { defaultPolicy } from '../../../../shared/protocol/default-policy.js';
import {
  ArmsPolicy,
  RolloutPolicy,
  RolloutRequest,
  type Wave,
} from '../../../../shared/protocol/operator-api.js';
import { TrialPolicy } from '../../../../shared/statistics/trial-evidence.js';
import {
  armFields,
  paceFields,
  shown,
  stopFields,
  trialFields,
  trialLimitFields,
  type NumberField,
} from '../../../../server/console/app/pages/rollout-fields.js';
import {
  audienceOf,
  impliedName,
  requestOf,
  TRIAL_PREFIX,
  waveField,
} from '../../../../server/console/app/pages/rollout-request.js';
import { localTime } from '../../../../server/console/app/text.js';

/** The form as the page fills it from a policy. */
function filled(policy: RolloutPolicy, more: Readonly<Record<string, string>> = {}): FormData {
  const form = new FormData();
  form.set('release', 'digits@1.2.0');
  form.set('labels', '');
  form.set('strategy', policy.strategy ?? 'canary');
  for (const field of stopFields) form.set(field.name, shown(field, policy[field.name]));
  for (const field of paceFields) {
    const value = policy[field.name];
    form.set(field.name, value === undefined ? '' : shown(field, value));
  }
  for (const field of [...trialFields, ...trialLimitFields])
    form.set(`${TRIAL_PREFIX}${field.name}`, shown(field, policy.trial[field.name]));
  if (policy.autoRevert) form.set('autoRevert', 'yes');
  form.set('hours', policy.hours?.windows.join(', ') ?? '');
  form.set('zone', policy.hours?.zone ?? 'Europe/Berlin');
  form.set('deadline', localTime(policy.deadline ?? ''));
  form.set('waves', policy.waves.map((_, key) => key).join(','));
  policy.waves.forEach((wave, key) => fillWave(form, wave, key));
  for (const [name, value] of Object.entries(more)) form.set(name, value);
  return form;
}

function fillWave(form: FormData, wave: Wave, key: number): void {
  const set = (name: string, value: string | number): void =>
    form.set(waveField(key, name), String(value));
  const audience = audienceOf(wave);
  set('audience', audience);
  set(audience, wave[audience] ?? '');
  set('name', wave.name === impliedName(wave) ? '' : wave.name);
  set('soak', wave.soakSeconds);
  set('minProven', wave.minProven ?? '');
  if (wave.approval) set('approval', 'yes');
}

describe('the form of a new rollout', () => {
  it('gives_the_default_policy_back_when_nothing_is_changed', () => {
    const policy = defaultPolicy();
    expect(requestOf(filled(policy), policy)).toEqual({
      component: 'digits',
      version: '1.2.0',
      policy,
      selector: {},
    });
  });

  it('gives_back_hours_pace_deadline_windows_and_every_kind_of_wave_of_another_rollout', () => {
    const policy: RolloutPolicy = {
      ...defaultPolicy(),
      waves: [
        { name: 'canary', group: 'canary', soakSeconds: 60, minProven: 2, approval: true },
        { name: '20', count: 20, soakSeconds: 5, approval: false },
        { name: 'everybody', percent: 100, soakSeconds: 0, approval: false },
      ],
      takesPerHour: 40,
      startWindow: 2,
      kindWindow: 3,
      hours: { windows: ['22:00-05:00', '12:00-13:00'], zone: 'America/New_York' },
      deadline: '2027-01-31T18:00:00.000Z',
    };
    const request = requestOf(filled(policy), policy);
    expect(request.policy).toEqual(policy);
    expect(Value.Check(RolloutRequest, request)).toBe(true);
  });

  it('leaves_out_what_was_emptied', () => {
    const policy: RolloutPolicy = {
      ...defaultPolicy(),
      takesPerHour: 40,
      hours: { windows: ['22:00-05:00'], zone: 'UTC' },
      deadline: '2027-01-31T18:00:00.000Z',
    };
    const form = filled(policy, { takesPerHour: '', hours: ' ', deadline: '' });
    expect(requestOf(form, policy).policy).toEqual(defaultPolicy());
  });

  it.each([
    ['blue-green', { go: 'auto' }, { blueGreen: { go: 'auto' } }],
    [
      'ab',
      {
        'arm-sharePercent': '30',
        'arm-observeSeconds': '600',
        'arm-p50': 'yes',
        'arm-security': 'yes',
        'arm-falseWinnerPermille': '2.5',
        'arm-winner': 'auto',
      },
      {
        ab: {
          sharePercent: 30,
          observeSeconds: 600,
          metrics: ['p50', 'security'],
          falseWinnerPermille: 25,
          winner: 'auto',
        },
      },
    ],
    ['shadow', {}, {}],
  ] as const)('a_%s_has_what_its_fields_say', (strategy, fields, expected) => {
    const policy = defaultPolicy();
    const request = requestOf(filled({ ...policy, strategy }, fields), policy);
    expect(request.policy).toEqual({ ...policy, strategy, ...expected });
    expect(Value.Check(RolloutRequest, request)).toBe(true);
    expect(policyComplaints(request.policy)).toEqual([]);
  });

  it('selects_groups_hardware_and_labels', () => {
    const policy = defaultPolicy();
    const form = filled(policy, {
      labels: 'site=north\r\n note=a,b=c \n',
      acceptDifference: 'yes',
    });
    form.append('groups', 'canary');
    form.append('groups', 'fleet');
    form.append('hardware', 'rpi5');
    expect(requestOf(form, policy)).toMatchObject({
      selector: {
        groups: ['canary', 'fleet'],
        hardware: ['rpi5'],
        labels: { site: 'north', note: 'a,b=c' },
      },
      acceptDifference: true,
    });
  });

  interface Range {
    readonly minimum: number;
    readonly maximum: number;
  }
  const rangeOf = ({ scale, min, max }: NumberField): Range => ({
    minimum: Math.round(min * scale),
    maximum: Math.round(max * scale),
  });
  const rangeIn = (properties: object, name: string): Range => {
    const { minimum, maximum } = (properties as Record<string, Range>)[name] ?? {};
    if (minimum === undefined || maximum === undefined) throw new Error(`${name} has no range`);
    return { minimum, maximum };
  };

  it.each([...stopFields, ...paceFields].map((field) => [field.name, field] as const))(
    'asks_for_%s_within_the_range_of_the_schema',
    (name, field) => {
      expect(rangeOf(field)).toEqual(rangeIn(RolloutPolicy.properties, name));
    },
  );

  it.each(armFields.map((field) => [field.name, field] as const))(
    'asks_for_%s_of_the_arms_within_the_range_of_the_schema',
    (name, field) => {
      expect(rangeOf(field)).toEqual(rangeIn(ArmsPolicy.properties, name));
    },
  );

  it.each([...trialFields, ...trialLimitFields].map((field) => [field.name, field] as const))(
    'asks_for_%s_of_a_trial_within_the_range_of_the_schema',
    (name, field) => {
      expect(rangeOf(field)).toEqual(rangeIn(TrialPolicy.properties, name));
    },
  );

  it('asks_for_every_number_of_a_trial', () => {
    const asked = [...trialFields, ...trialLimitFields].map(({ name }): string => name);
    expect(asked.sort()).toEqual(
      Object.keys(TrialPolicy.properties)
        .filter((name) => name !== 'acceptedDifferencePermille')
        .sort(),
    );
  });
});
