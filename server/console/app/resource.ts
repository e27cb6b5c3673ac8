// Hooks that read from the API and read again when the server says that something changed. What was
// read before is shown at once and stays while it is read again; a failed read leaves it as it is.
import type { Page } from '../../../shared/protocol/operator-api.js';
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { Failure, read, recall, type Read } from './api.js';
import { followNews, type News } from './live.js';
import type { List } from './reads.js';

/** Whether this news may change what is shown. */
export type Watch = (news: News) => boolean;

type Topic = Extract<News, { kind: 'change' }>['topic'];

/** Changes of these topics. */
export const topics =
  (...wanted: readonly Topic[]): Watch =>
  (news) =>
    news.kind === 'change' && wanted.includes(news.topic);

/** Changes of one thing. */
export const oneOf =
  (topic: Topic, id: string): Watch =>
  (news) =>
    news.kind === 'change' && news.topic === topic && (news.ids === null || news.ids.includes(id));

export const either =
  (...watches: readonly Watch[]): Watch =>
  (news) =>
    watches.some((watch) => watch(news));

/** What depends on the time, such as silence. */
export const beats: Watch = (news) => news.kind === 'beat';

export interface Resource<T> {
  readonly data: T | undefined;
  readonly failure: Failure | null;
  readonly reload: () => void;
}

/** Runs `action` now and whenever it is asked to; never twice at once, and once more if need be. */
function useReader(action: () => Promise<void>): () => void {
  /** `asked`: how often it was asked; it runs until the last one is answered. */
  const state = useRef({ running: false, asked: 0, action });
  state.current.action = action;
  return useCallback(() => {
    const now = state.current;
    now.asked += 1;
    if (now.running) return;
    now.running = true;
    void (async () => {
      for (let answered = 0; answered < now.asked;) {
        answered = now.asked;
        await now.action();
      }
      now.asked = 0;
      now.running = false;
    })();
  }, []);
}

function useNews(watch: Watch, reload: () => void): void {
  const latest = useRef(watch);
  latest.current = watch;
  useEffect(
    () =>
      followNews((news) => {
        if (news.kind === 'all' || latest.current(news)) reload();
      }),
    [reload],
  );
}

const failureOf = (error: unknown): Failure => {
  if (error instanceof Failure) return error;
  throw error;
};

export function useResource<T>(source: Read<T>, watch: Watch): Resource<T> {
  const { path } = source;
  const [state, setState] = useState<{ path: string; data?: T; failure: Failure | null }>({
    path,
    failure: null,
  });
  const wanted = useRef(path);
  wanted.current = path;
  const reload = useReader(async () => {
    const asked = wanted.current;
    try {
      const data = await read<T>({ path: asked });
      if (asked === wanted.current) setState({ path: asked, data, failure: null });
    } catch (error) {
      const failure = failureOf(error);
      if (asked === wanted.current) setState((before) => ({ ...before, path: asked, failure }));
    }
  });
  useEffect(reload, [path, reload]);
  useNews(watch, reload);
  const isSame = state.path === path;
  const data = (isSame ? state.data : undefined) ?? recall(source);
  return { data, failure: isSame ? state.failure : null, reload };
}

export interface Rows<T> {
  readonly items: readonly T[];
  /** Nothing was answered yet. */
  readonly loading: boolean;
  readonly hasMore: boolean;
  readonly failure: Failure | null;
  readonly more: () => void;
}

interface RowsState<T> {
  readonly key: string;
  readonly pages: readonly Page<T>[];
  readonly failure: Failure | null;
}

/**
 * A list, page by page. `key` names the list with its filters. `inView`: the indexes of the rows in
 * view; where it is given, a change reads only the pages of these rows again.
 */
export function useRows<T>(
  key: string,
  list: List<T>,
  watch: Watch,
  inView: () => readonly [number, number] = () => [0, Infinity],
): Rows<T> {
  const [state, setState] = useState<RowsState<T>>({ key, pages: [], failure: null });
  const wanted = useRef({ key, list, pages: 1, known: [] as readonly Page<T>[] });
  if (wanted.current.key !== key) wanted.current = { key, list, pages: 1, known: [] };
  wanted.current.list = list;
  const reload = useReader(async () => {
    const asked = wanted.current;
    const publish = (failure: Failure | null): void => {
      if (asked === wanted.current) setState({ key: asked.key, pages: asked.known, failure });
    };
    try {
      await readPages(asked, inView());
      publish(null);
    } catch (error) {
      publish(failureOf(error));
    }
  });
  useEffect(reload, [key, reload]);
  useNews(watch, reload);
  const pages = state.key === key ? state.pages : [];
  const more = useCallback(() => {
    const now = wanted.current;
    if (now.known.length < now.pages || now.known.at(-1)?.next === null) return;
    now.pages += 1;
    reload();
  }, [reload]);
  return {
    items: pages.flatMap(({ items }) => items),
    loading: pages.length === 0,
    hasMore: (pages.at(-1)?.next ?? null) !== null,
    failure: state.key === key ? state.failure : null,
    more,
  };
}

/** Reads the pages that are missing or in view; the others stay as they were read last. */
async function readPages<T>(
  asked: { readonly list: List<T>; readonly pages: number; known: readonly Page<T>[] },
  [first, last]: readonly [number, number],
): Promise<void> {
  const pages: Page<T>[] = [];
  let cursor: string | undefined;
  let start = 0;
  for (let index = 0; index < asked.pages; index++) {
    const known = asked.known[index];
    const end = start + (known?.items.length ?? 0);
    const isInView = known === undefined || (start <= last && end >= first);
    const page = isInView ? await read(asked.list(cursor)) : known;
    pages.push(page);
    start = end;
    if (page.next === null) break;
    cursor = page.next;
  }
  asked.known = pages;
}
