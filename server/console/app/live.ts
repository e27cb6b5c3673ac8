// What changes on the server, told by its stream GET /events. While the stream is open nothing is
// polled. When it ends it is opened again after a growing wait, and then everything that is in view
// is read again, because changes may have been missed.
import type { Change } from '../../../shared/protocol/operator-api.js';
import { ask, Failure } from './api.js';
import { readEvents } from './event-stream.js';
import { limits } from './limits.js';
import { token } from './session.js';
import { signal } from './signal.js';

export type Connection = 'connecting' | 'live' | 'lost';
export const connection = signal<Connection>('connecting');

/** `beat`: time has passed on the server. `all`: anything may have changed. */
export type News = { readonly kind: 'beat' | 'all' } | ({ readonly kind: 'change' } & Change);
type Listener = (news: News) => void;
const listeners = new Set<Listener>();

/** Returns what ends it. */
export function followNews(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const tell = (news: News): void => {
  for (const listener of [...listeners]) listener(news);
};

let current: AbortController | null = null;
let waitMs: number = limits.reconnectFirstMs;
let timer: number | undefined;

/** Opens the stream while somebody is signed in. */
export function startLive(): void {
  token.follow(connect);
  addEventListener('online', connect);
  connect();
}

function connect(): void {
  window.clearTimeout(timer);
  current?.abort();
  current = null;
  if (token.get() === null) return;
  const attempt = new AbortController();
  current = attempt;
  void follow(attempt).finally(() => {
    if (current !== attempt || token.get() === null) return;
    connection.set('lost');
    timer = window.setTimeout(connect, waitMs);
    waitMs = Math.min(waitMs * 2, limits.reconnectMaxMs);
  });
}

async function follow(attempt: AbortController): Promise<void> {
  let silent: number | undefined;
  const heard = (): void => {
    window.clearTimeout(silent);
    silent = window.setTimeout(() => attempt.abort(), limits.streamSilentMs);
  };
  heard();
  try {
    const { body } = await ask('/events', { signal: attempt.signal });
    if (body === null) return;
    await readEvents(body, ({ event, data }) => {
      heard();
      if (event === 'hello') {
        waitMs = limits.reconnectFirstMs;
        connection.set('live');
        tell({ kind: 'all' });
      } else if (event === 'beat') tell({ kind: 'beat' });
      else for (const change of JSON.parse(data) as Change[]) tell({ kind: 'change', ...change });
    });
  } catch (error) {
    // The server or the line is gone, or the stream was aborted here: `connect` tries again.
    if (!(error instanceof Failure || error instanceof TypeError || attempt.signal.aborted))
      throw error;
  } finally {
    window.clearTimeout(silent);
  }
}
