// Filters of a list; they are part of the page's address, so that a filtered list can be linked.
import { setQuery } from '../router.js';
import { isoTime, localTime } from '../text.js';

/** The filters that a page has, as its address says them. */
export const filtersIn = <Name extends string>(
  query: URLSearchParams,
  names: readonly Name[],
): Readonly<Record<Name, string>> =>
  Object.fromEntries(names.map((name) => [name, query.get(name) ?? ''])) as Record<Name, string>;

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

/** From a time on and before one, in the reader's own zone; `since` and `until` of the address. */
export function TimeRange({ since, until }: { since: string; until: string }) {
  return (
    <>
      <TimeLimit name="since" label="From" value={since} />
      <TimeLimit name="until" label="Until" value={until} />
    </>
  );
}

/** While a year is typed its first digits are one of long ago. */
const FIRST_YEAR = '1970';

function TimeLimit({ name, label, value }: SearchProps) {
  return (
    <label class="field inline">
      {label}
      <input
        type="datetime-local"
        value={localTime(value)}
        onChange={(event) => {
          const local = event.currentTarget.value;
          if (local === '' || local >= FIRST_YEAR) setQuery({ [name]: isoTime(local) });
        }}
      />
    </label>
  );
}
