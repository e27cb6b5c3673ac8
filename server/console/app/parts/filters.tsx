// Filters of a list; they are part of the page's address, so that a filtered list can be linked.
import { setQuery } from '../router.js';

interface ChoiceProps {
  readonly name: string;
  readonly label: string;
  readonly value: string;
  readonly options: readonly (readonly [value: string, text: string])[];
}

export function Choice({ name, label, value, options }: ChoiceProps) {
  return (
    <label class="field inline">
      {label}
      <select value={value} onChange={(event) => setQuery({ [name]: event.currentTarget.value })}>
        <option value="">any</option>
        {options.map(([option, text]) => (
          <option key={option} value={option}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

interface SearchProps {
  readonly name: string;
  readonly label: string;
  readonly value: string;
}

/** Takes effect with Enter or when the field is left. */
export function Search({ name, label, value }: SearchProps) {
  return (
    <label class="field inline">
      {label}
      <input
        type="search"
        maxLength={64}
        value={value}
        onChange={(event) => setQuery({ [name]: event.currentTarget.value.trim() })}
      />
    </label>
  );
}
