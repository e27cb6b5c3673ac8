// The waves of a new rollout: one part of the form each, to add and to remove.
import type { Wave } from '../../../../shared/protocol/operator-api.js';
import { useRef, useState } from 'preact/hooks';
import { announce } from '../parts/announcer.js';
import { Checkbox, Field, Options } from '../parts/fields.js';
import { audienceOf, impliedName, waveField, type Audience } from './rollout-request.js';

interface WaveFieldsProps {
  readonly waves: readonly Wave[];
  readonly groups: readonly string[];
}

/** What a wave that is added begins with: all devices that earlier waves left. */
const ADDED: Wave = { name: '100%', percent: 100, soakSeconds: 0, approval: false };

export function WaveFields({ waves, groups }: WaveFieldsProps) {
  const [rows, setRows] = useState(() => waves.map((wave, key) => ({ key, wave })));
  const addButton = useRef<HTMLButtonElement>(null);
  const add = (): void => {
    setRows([...rows, { key: Math.max(-1, ...rows.map(({ key }) => key)) + 1, wave: ADDED }]);
    announce(`Wave ${rows.length + 1} is added`);
  };
  const remove = (key: number, number: number): void => {
    setRows(rows.filter((row) => row.key !== key));
    announce(`Wave ${number} is removed`);
    // The button that had the focus is gone.
    addButton.current?.focus();
  };
  return (
    <fieldset>
      <legend>Waves</legend>
      <p class="quiet">Shares and numbers include earlier waves.</p>
      <input type="hidden" name="waves" value={rows.map(({ key }) => key).join(',')} />
      {rows.map(({ key, wave }, index) => (
        <fieldset key={key}>
          <legend>Wave {index + 1}</legend>
          <OneWave id={key} wave={wave} groups={groups} />
          {rows.length > 1 && (
            <button type="button" onClick={() => remove(key, index + 1)}>
              Remove wave {index + 1}
            </button>
          )}
        </fieldset>
      ))}
      <button type="button" ref={addButton} onClick={add}>
        Add a wave
      </button>
    </fieldset>
  );
}

const AUDIENCES: readonly (readonly [Audience, string])[] = [
  ['percent', 'a share of all devices'],
  ['count', 'a number of devices'],
  ['group', 'a group'],
];

function OneWave({ id, wave, groups }: { id: number; wave: Wave; groups: readonly string[] }) {
  const [audience, setAudience] = useState<Audience>(audienceOf(wave));
  const number = (name: string, value: number | undefined, min: number, max?: number) => (
    <input
      type="number"
      name={waveField(id, name)}
      min={min}
      max={max}
      required={name !== 'minProven'}
      defaultValue={value === undefined ? '' : String(value)}
    />
  );
  const known = wave.group === undefined ? groups : [...new Set([wave.group, ...groups])];
  return (
    <div class="fields">
      <Field text="It is for">
        <select
          name={waveField(id, 'audience')}
          value={audience}
          onChange={(event) => setAudience(event.currentTarget.value as Audience)}
        >
          <Options of={AUDIENCES} />
        </select>
      </Field>
      {audience === 'percent' && (
        <Field text="Share, percent">{number('percent', wave.percent ?? 100, 1, 100)}</Field>
      )}
      {audience === 'count' && <Field text="Devices">{number('count', wave.count ?? 1, 1)}</Field>}
      {audience === 'group' && (
        <Field text="Group">
          <select name={waveField(id, 'group')} required>
            {known.map((name) => (
              <option key={name} value={name} selected={name === wave.group}>
                {name}
              </option>
            ))}
          </select>
        </Field>
      )}
      <Field text="Soak: seconds a device must stay healthy before it counts">
        {number('soak', wave.soakSeconds, 0)}
      </Field>
      <Field text="Proven devices at which the next wave may begin (empty: half of the wave)">
        {number('minProven', wave.minProven, 1)}
      </Field>
      <Field text="Name (empty: what it is for)">
        <input
          name={waveField(id, 'name')}
          maxLength={64}
          defaultValue={wave.name === impliedName(wave) ? '' : wave.name}
        />
      </Field>
      <Checkbox name={waveField(id, 'approval')} checked={wave.approval}>
        The step beyond it needs an approval
      </Checkbox>
    </div>
  );
}
