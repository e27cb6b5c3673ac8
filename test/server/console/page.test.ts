// The script of the console in a sandbox with the few browser parts that its start needs: what it
// does when the server refuses it.
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { SCRIPT } from '../../../server/console/page.js';

interface Page {
  /** Paths that were asked for. */
  readonly asked: string[];
  /** Runs what waits for a timer; false when nothing does. */
  readonly tick: () => Promise<boolean>;
  readonly hidden: (id: string) => boolean | undefined;
  readonly status: () => string;
  readonly token: () => string | undefined;
}

/** The console with a token, at a server that answers everything with this status. */
async function open(status: number): Promise<Page> {
  const asked: string[] = [];
  const timers: (() => unknown)[] = [];
  const elements = new Map<string, Record<string, unknown>>();
  const stored = new Map([['linnet-operator-token', 'lnt_wrong']]);
  const byId = (id: string) => {
    const element = elements.get(id) ?? { addEventListener: () => {} };
    elements.set(id, element);
    return element;
  };
  const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
  runInNewContext(SCRIPT, {
    document: { getElementById: byId },
    sessionStorage: {
      getItem: (key: string) => stored.get(key) ?? null,
      setItem: (key: string, value: string) => stored.set(key, value),
      removeItem: (key: string) => stored.delete(key),
    },
    fetch: (path: string) => {
      asked.push(path);
      const body = { error: 'refused', code: 'x', todo: 'Sign in.' };
      return Promise.resolve({ ok: false, status, json: () => Promise.resolve(body) });
    },
    setTimeout: (turn: () => unknown) => timers.push(turn),
    clearTimeout: () => {},
  });
  await settle();
  return {
    asked,
    tick: async () => {
      const turn = timers.shift();
      turn?.();
      await settle();
      return turn !== undefined;
    },
    hidden: (id) => byId(id)['hidden'] as boolean | undefined,
    status: () => String(byId('status')['textContent']),
    token: () => stored.get('linnet-operator-token'),
  };
}

describe('the console', () => {
  it('stops_asking_when_its_token_is_refused_and_asks_for_another_one', async () => {
    const page = await open(401);
    const asked = page.asked.length;
    expect(asked).toBeGreaterThan(0);
    expect(await page.tick()).toBe(false);
    expect(page.asked).toHaveLength(asked);
    expect(page.hidden('login')).toBe(false);
    expect(page.hidden('fleet')).toBe(true);
    expect(page.status()).toBe('refused Sign in.');
    expect(page.token()).toBeUndefined();
  });

  it('goes_on_asking_while_the_server_fails', async () => {
    const page = await open(503);
    const asked = page.asked.length;
    expect(await page.tick()).toBe(true);
    expect(page.asked.length).toBeGreaterThan(asked);
    expect(page.token()).toBe('lnt_wrong');
  });
});
