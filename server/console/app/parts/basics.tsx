// The small parts that every page is made of.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Failure } from '../api.js';
import type { Rows } from '../resource.js';
import { arrivals } from '../router.js';
import { ago, atTime, MARKS, toneOf, type Tone } from '../text.js';

/** The heading of a page; it gets the focus when one arrives. */
export function Heading({ title, children }: { title: string; children?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} - Linnet`;
  }, [title]);
  useEffect(() => {
    if (arrivals.get() > 0) heading.current?.focus();
  }, []);
  return (
    <div class="heading">
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      {children}
    </div>
  );
}

/** A part of a page, as a landmark with its own heading. */
export function Section({
  title,
  id,
  aside,
  children,
}: {
  title: string;
  id: string;
  aside?: ComponentChildren;
  children: ComponentChildren;
}) {
  return (
    <section aria-labelledby={id} class="card">
      <div class="heading">
        <h2 id={id}>{title}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}

export function State({ text, tone = toneOf(text) }: { text: string; tone?: Tone }) {
  return (
    <span class={`state ${tone}`}>
      <span aria-hidden="true">{MARKS[tone]}</span> {text.replaceAll('_', ' ')}
    </span>
  );
}

/** How long ago, with the exact time on demand; it moves on by itself. */
export function Ago({ at, none = 'never' }: { at: string | null; none?: string }) {
  const [, turn] = useState(0);
  useEffect(() => {
    const timer = window.setInterval(() => turn((count) => count + 1), 1000 * 10);
    return () => window.clearInterval(timer);
  }, []);
  if (at === null) return <span>{none}</span>;
  return (
    <time dateTime={at} title={atTime(at)}>
      {ago(at)}
    </time>
  );
}

/** A failed read: what is shown may be old. */
export function Trouble({ failure }: { failure: Failure | null }) {
  if (failure === null) return null;
  return (
    <p class="notice bad" role="alert">
      <strong>{failure.message}</strong> {failure.todo}
    </p>
  );
}

export function Loading() {
  return (
    <p class="quiet" role="status">
      Loading.
    </p>
  );
}

/** Pairs of a name and a value. */
export function Facts({ of }: { of: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {of.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => ComponentChildren;
}

interface TableProps<T> {
  readonly caption: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly rowKey: (row: T) => string | number;
  readonly none?: string;
}

/**
 * On a narrow screen each row is a block of lines, `title: cell`. The roles are said because a
 * browser may take them from a table that is not laid out as one.
 */
export function Table<T>({ caption, columns, rows, rowKey, none = 'None.' }: TableProps<T>) {
  if (rows.length === 0) return <p class="quiet">{none}</p>;
  return (
    <div class="scroll" role="group" aria-label={caption} tabIndex={0}>
      <table role="table">
        <caption class="hidden">{caption}</caption>
        <thead role="rowgroup">
          <tr role="row">
            {columns.map(({ title }) => (
              <th key={title} scope="col" role="columnheader">
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {rows.map((row) => (
            <tr key={rowKey(row)} role="row">
              {columns.map(({ title, cell }) => (
                <td key={title} role="cell" data-title={title}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function More({
  rows,
  what,
}: {
  rows: { hasMore: boolean; more: () => void };
  what: string;
}) {
  if (!rows.hasMore) return null;
  return (
    <button type="button" onClick={rows.more}>
      Show more {what}
    </button>
  );
}

interface RowsTableProps<T> extends Omit<TableProps<T>, 'rows'> {
  readonly rows: Rows<T>;
  /** What the rows are, in the plural. */
  readonly what: string;
}

/** What there is to say of a list in place of rows, or before them. */
export function ListState({ rows, none = 'None.' }: { rows: Rows<unknown>; none?: string }) {
  if (rows.failure !== null) return <Trouble failure={rows.failure} />;
  if (rows.loading) return <p class="quiet">Loading.</p>;
  if (rows.items.length > 0) return null;
  // A search looks at so many rows a page.
  const said = rows.hasMore ? 'None of those that were looked at.' : none;
  return <p class="quiet">{said}</p>;
}

/** A list of the API as a table: what went wrong, the rows so far, and a button for the next. */
export function RowsTable<T>({ rows, what, none = 'None.', ...table }: RowsTableProps<T>) {
  return (
    <>
      <ListState rows={rows} none={none} />
      {rows.items.length > 0 && <Table {...table} rows={rows.items} />}
      <More rows={rows} what={what} />
    </>
  );
}

interface Bar {
  readonly key: string;
  readonly name: ComponentChildren;
  readonly count: number;
  /** Beside the bar; the count itself when left out. */
  readonly text?: string;
  readonly tone?: Tone;
}

/** Bars of quantities; text says the same as the bars. `most`: the length of a whole bar. */
export function Bars({ of, label, most }: { of: readonly Bar[]; label: string; most?: number }) {
  const whole = most ?? Math.max(1e-9, ...of.map(({ count }) => count));
  if (of.length === 0) return <p class="quiet">None.</p>;
  return (
    <ul class="bars" aria-label={label}>
      {of.map(({ name, key, count, text, tone }) => (
        <li key={key}>
          <span class="bar-name">{name}</span>
          <svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
            <rect class={`fill ${tone ?? 'plain'}`} width={(100 * count) / whole} height="8" />
          </svg>
          <span class="bar-count">{text ?? count.toLocaleString('en')}</span>
        </li>
      ))}
    </ul>
  );
}
