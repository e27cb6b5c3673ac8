// Paths below /console and the pages that they name. Every view has a path of its own, filters
// are in its query, and Back and Forward work. After a navigation the heading of the new page has
// the focus, so that a screen reader says where one is.
import type { ComponentChildren } from 'preact';
import { signal } from './signal.js';

const BASE = '/console';

export interface Place {
  /** Below /console, without slash at either end: `rollouts/ro-12`. */
  readonly path: string;
  readonly query: URLSearchParams;
}

const here = (): Place => ({
  path: location.pathname.slice(BASE.length).replace(/^\/+|\/+$/g, ''),
  query: new URLSearchParams(location.search),
});

export const place = signal<Place>(here());
/** Counts navigations to another page. */
export const arrivals = signal(0);

addEventListener('popstate', () => {
  const before = place.get().path;
  place.set(here());
  if (place.get().path !== before) arrivals.set(arrivals.get() + 1);
});

/** `to`: path and query below /console. */
export function navigate(to: string): void {
  history.pushState(null, '', hrefOf(to));
  place.set(here());
  scrollTo(0, 0);
  arrivals.set(arrivals.get() + 1);
}

/** Another filter of the same page: no new entry of the history, and the focus stays. */
export function setQuery(change: Readonly<Record<string, string>>): void {
  const { query } = here();
  for (const [name, value] of Object.entries(change))
    if (value === '') query.delete(name);
    else query.set(name, value);
  const text = query.toString();
  history.replaceState(null, '', text === '' ? location.pathname : `${location.pathname}?${text}`);
  place.set(here());
}

const hrefOf = (to: string): string => (to === '' ? BASE : `${BASE}/${to}`);

interface LinkProps {
  readonly to: string;
  readonly class?: string;
  readonly current?: boolean;
  readonly label?: string;
  readonly children: ComponentChildren;
}

export function Link({ to, current, label, children, ...rest }: LinkProps) {
  const onClick = (event: MouseEvent): void => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(to);
  };
  return (
    <a
      {...rest}
      href={hrefOf(to)}
      onClick={onClick}
      aria-current={current === true ? 'page' : undefined}
      aria-label={label}
    >
      {children}
    </a>
  );
}
