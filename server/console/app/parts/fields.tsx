// Fields of forms, each inside its label.
import type { ComponentChildren } from 'preact';

interface FieldProps {
  readonly text: string;
  /** Beside others. */
  readonly inline?: boolean;
  readonly children: ComponentChildren;
}

export function Field({ text, inline = false, children }: FieldProps) {
  return (
    <label class={inline ? 'field inline' : 'field'}>
      {text}
      {children}
    </label>
  );
}

export type Choices = readonly (readonly [value: string, text: string])[];

/** Of a list in which one row is chosen. */
export function Options({ of }: { of: Choices }) {
  return (
    <>
      {of.map(([value, text]) => (
        <option key={value} value={value}>
          {text}
        </option>
      ))}
    </>
  );
}

interface CheckboxProps {
  readonly name: string;
  readonly checked?: boolean;
  readonly children: ComponentChildren;
}

export function Checkbox({ name, checked = false, children }: CheckboxProps) {
  return (
    <label class="field">
      <input type="checkbox" name={name} value="yes" defaultChecked={checked} />
      {children}
    </label>
  );
}

interface SeveralProps {
  readonly name: string;
  readonly text: string;
  readonly options: readonly string[];
  readonly chosen: readonly string[];
}

/** A list in which any number of rows is chosen. */
export function Several({ name, text, options, chosen }: SeveralProps) {
  const all = [...new Set([...options, ...chosen])];
  return (
    <Field text={text}>
      <select name={name} multiple size={Math.min(4, Math.max(2, all.length))}>
        {all.map((one) => (
          <option key={one} value={one} selected={chosen.includes(one)}>
            {one}
          </option>
        ))}
      </select>
    </Field>
  );
}

interface DetailsProps {
  readonly title: string;
  readonly open?: boolean;
  readonly children: ComponentChildren;
}

/** Fields that most people leave as they are. It opens where the browser finds a wrong value. */
export function Details({ title, open = false, children }: DetailsProps) {
  return (
    <details
      open={open}
      onInvalidCapture={(event) => {
        event.currentTarget.open = true;
      }}
    >
      <summary>{title}</summary>
      {children}
    </details>
  );
}
