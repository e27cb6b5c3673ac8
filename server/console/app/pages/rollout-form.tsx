// The form of a new rollout: what and to which devices, how it comes to them, its waves, when it
// stops and how fast it goes. It begins with a policy: the default one, or that of another rollout.
import type { RolloutPolicy, Selector } from '../../../../shared/protocol/operator-api.js';
import { useState } from 'preact/hooks';
import { limits } from '../limits.js';
import { Checkbox, Details, Field, Options, Several } from '../parts/fields.js';
import { lists, reads } from '../reads.js';
import { topics, useResource, useRows } from '../resource.js';
import { labelTexts, LAST_MINUTE, localTime } from '../text.js';
import {
  armFields,
  paceFields,
  shown,
  stopFields,
  trialFields,
  trialLimitFields,
  type NumberField,
} from './rollout-fields.js';
import { ARM_PREFIX, ARMS, METRICS, TRIAL_PREFIX, type Strategy } from './rollout-request.js';
import { WaveFields } from './rollout-wave-fields.js';

/** What the form begins with. */
export interface Start {
  /** `component@version`; empty: the newest. */
  readonly release: string;
  readonly policy: RolloutPolicy;
  readonly selector: Selector;
}

export function RolloutFields({ start }: { start: Start }) {
  const [strategy, setStrategy] = useState<Strategy>(start.policy.strategy ?? 'canary');
  const groups = useRows('all groups', lists.groups(limits.optionsMaxCount), topics('devices'));
  const names = groups.items.map(({ name }) => name);
  return (
    <>
      <What start={start} groups={names} />
      <How policy={start.policy} strategy={strategy} onStrategy={setStrategy} />
      <WaveFields waves={start.policy.waves} groups={names} />
      <WhenItStops policy={start.policy} />
      <Pace policy={start.policy} />
    </>
  );
}

const distinct = (texts: readonly string[]): string[] => [...new Set(texts)];

function What({ start, groups }: { start: Start; groups: readonly string[] }) {
  const wanted = lists.releases({}, limits.optionsMaxCount);
  const releases = useRows('all releases', wanted, topics('releases'));
  const hardware = useResource(reads.fleet(), topics('devices')).data?.hardware ?? [];
  const { selector } = start;
  const refs = distinct([
    ...releases.items.map(({ component, version }) => `${component}@${version}`),
    ...(start.release === '' ? [] : [start.release]),
  ]);
  return (
    <fieldset>
      <legend>What and to which devices</legend>
      <Field text="Release">
        <select name="release" required>
          {refs.map((ref) => (
            <option key={ref} value={ref} selected={ref === start.release}>
              {ref.replace('@', ' ')}
            </option>
          ))}
        </select>
      </Field>
      <Several
        name="groups"
        text="Only devices of these groups (none chosen: all)"
        options={groups}
        chosen={selector.groups ?? []}
      />
      <Several
        name="hardware"
        text="Only devices of this hardware (none chosen: all)"
        options={hardware.map((row) => row.hardware)}
        chosen={selector.hardware ?? []}
      />
      <Field text="Only devices with labels (key=value, each on a line of its own)">
        <textarea
          name="labels"
          rows={2}
          defaultValue={labelTexts(selector.labels ?? {}).join('\n')}
        />
      </Field>
      <Checkbox name="acceptDifference">
        Take a release that declares a larger difference than the limit; the cap holds
      </Checkbox>
    </fieldset>
  );
}

interface HowProps {
  readonly policy: RolloutPolicy;
  readonly strategy: Strategy;
  readonly onStrategy: (strategy: Strategy) => void;
}

const STRATEGIES: readonly (readonly [Strategy, string])[] = [
  ['canary', 'canary: each device that takes it serves it'],
  ['blue-green', 'blue-green: all prepare it, one go lets them swap'],
  ['ab', 'A/B: a share of the devices serves it and is compared'],
  ['shadow', 'shadow: no device serves it; answers are compared'],
];

function How({ policy, strategy, onStrategy }: HowProps) {
  return (
    <fieldset>
      <legend>How it comes to them</legend>
      <Field text="Strategy">
        <select
          name="strategy"
          value={strategy}
          onChange={(event) => onStrategy(event.currentTarget.value as Strategy)}
        >
          <Options of={STRATEGIES} />
        </select>
      </Field>
      {strategy === 'blue-green' && (
        <AskOrAuto
          name="go"
          text="When all waves are ready"
          value={policy.blueGreen?.go ?? 'ask'}
          ask="a person gives the go"
          auto="the server gives the go"
        />
      )}
      {strategy === 'ab' && <ArmFields ab={policy.ab} />}
    </fieldset>
  );
}

function ArmFields({ ab = ARMS }: { ab?: RolloutPolicy['ab'] }) {
  return (
    <>
      <Numbers fields={armFields} prefix={ARM_PREFIX} value={(name) => ab[name]} />
      <fieldset>
        <legend>The arms are compared on</legend>
        {Object.entries(METRICS).map(([metric, text]) => (
          <Checkbox
            key={metric}
            name={`${ARM_PREFIX}${metric}`}
            checked={ab.metrics.some((one) => one === metric)}
          >
            {text}
          </Checkbox>
        ))}
      </fieldset>
      <AskOrAuto
        name={`${ARM_PREFIX}winner`}
        text="When there is a winner"
        value={ab.winner}
        ask="a person accepts it"
        auto="B is given to all, or rolled back"
      />
    </>
  );
}

interface AskOrAutoProps {
  readonly name: string;
  readonly text: string;
  readonly value: 'ask' | 'auto';
  readonly ask: string;
  readonly auto: string;
}

function AskOrAuto({ name, text, value, ask, auto }: AskOrAutoProps) {
  return (
    <Field text={text}>
      <select name={name}>
        <option value="ask" selected={value === 'ask'}>
          {ask}
        </option>
        <option value="auto" selected={value === 'auto'}>
          {auto}
        </option>
      </select>
    </Field>
  );
}

function WhenItStops({ policy }: { policy: RolloutPolicy }) {
  return (
    <fieldset>
      <legend>When it stops</legend>
      <Numbers fields={stopFields} value={(name) => policy[name]} />
      <Numbers fields={trialFields} prefix={TRIAL_PREFIX} value={(name) => policy.trial[name]} />
      <Checkbox name="autoRevert" checked={policy.autoRevert}>
        On a halt, roll every touched device back at once
      </Checkbox>
      <Details title="Limits of the trial on each device">
        <Numbers
          fields={trialLimitFields}
          prefix={TRIAL_PREFIX}
          value={(name) => policy.trial[name]}
        />
      </Details>
    </fieldset>
  );
}

function Pace({ policy }: { policy: RolloutPolicy }) {
  const zone = policy.hours?.zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  return (
    <fieldset>
      <legend>When and how fast</legend>
      <Details title="Hours, pace and deadline" open={hasPace(policy)}>
        <Field text="Only within hours such as 22:00-05:00, separated by commas (empty: always)">
          <input
            name="hours"
            maxLength={200}
            pattern="[0-9:, \-]*"
            defaultValue={policy.hours?.windows.join(', ') ?? ''}
          />
        </Field>
        <Field text="Time zone of these hours">
          <input name="zone" maxLength={64} required defaultValue={zone} />
        </Field>
        <Numbers fields={paceFields} value={(name) => policy[name]} optional />
        <Field text="Held for a person when it is not completed by (your time)">
          <input
            type="datetime-local"
            name="deadline"
            max={LAST_MINUTE}
            defaultValue={localTime(policy.deadline ?? '')}
          />
        </Field>
      </Details>
    </fieldset>
  );
}

const hasPace = (policy: RolloutPolicy): boolean =>
  policy.hours !== undefined ||
  policy.deadline !== undefined ||
  paceFields.some(({ name }) => policy[name] !== undefined);

interface NumbersProps<Name extends string> {
  readonly fields: readonly NumberField<Name>[];
  readonly value: (name: Name) => number | undefined;
  readonly prefix?: string;
  readonly optional?: boolean;
}

function Numbers<Name extends string>({
  fields,
  value,
  prefix = '',
  optional = false,
}: NumbersProps<Name>) {
  return (
    <div class="fields">
      {fields.map((field) => {
        const number = value(field.name);
        return (
          <Field key={field.name} text={optional ? `${field.text} (empty: default)` : field.text}>
            <input
              type="number"
              name={`${prefix}${field.name}`}
              min={field.min}
              max={field.max}
              step={1 / field.scale}
              required={!optional}
              defaultValue={number === undefined ? '' : shown(field, number)}
            />
          </Field>
        );
      })}
    </div>
  );
}
