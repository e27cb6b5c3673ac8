// Filters of a list; they are part of the page's address, so that a filtered list can be linked.
import type { RefObject } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { setQuery } from '../router.js';
import { isoTime, LAST_MINUTE, localTime } from '../text.js';
import { Field, Options, type Choices } from './fields.js';

/** The filters that a page has, as its address says them. */
export const filtersIn = <Name extends string>(
  query: URLSearchParams,
  names: readonly Name[],
): Readonly<Record<Name, string>> =>
  Object.fromEntries(names.map((name) => [name, query.get(name) ?? ''])) as Record<Name, string>;

export const isFiltered = (filters: Readonly<Record<string, string>>): boolean =>
  Object.values(filters).some((value) => value !== '');

interface ChoiceProps {
  readonly name: string;
  readonly label: string;
  readonly value: string;
  readonly options: Choices;
}

export function Choice({ name, label, value, options }: ChoiceProps) {
  return (
    <Field text={label} inline>
      <select value={value} onChange={(event) => setQuery({ [name]: event.currentTarget.value })}>
        <option value="">any</option>
        <Options of={options} />
      </select>
    </Field>
  );
}

/** Shows a value of the address; what is being typed is not replaced before that changes. */
function useField(value: string): RefObject<HTMLInputElement | null> {
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => {
    if (field.current !== null && field.current.value !== value) field.current.value = value;
  }, [value]);
  return field;
}

interface SearchProps {
  readonly name: string;
  readonly label: string;
  readonly value: string;
}

/** Takes effect with Enter or when the field is left. */
export function Search({ name, label, value }: SearchProps) {
  const field = useField(value);
  return (
    <Field text={label} inline>
      <input
        ref={field}
        type="search"
        maxLength={64}
        onChange={(event) => setQuery({ [name]: event.currentTarget.value.trim() })}
      />
    </Field>
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
  const field = useField(localTime(value));
  return (
    <Field text={label} inline>
      <input
        ref={field}
        type="datetime-local"
        max={LAST_MINUTE}
        onChange={(event) => {
          const local = event.currentTarget.value;
          if (local === '' || local >= FIRST_YEAR) setQuery({ [name]: isoTime(local) });
        }}
      />
    </Field>
  );
}
