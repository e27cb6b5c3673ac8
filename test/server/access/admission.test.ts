// Who is served and who is refused when more devices come than can be served; turns of the event
// loop and the clock are the test's.
import { describe, expect, it } from 'vitest';
import { Reconnect } from '../../../agent/platform/reconnect.js';
import { Admission, type Work } from '../../../server/access/admission.js';
import { isFault } from '../../../shared/base/fault-codes.js';
import { silentLog, type Log } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { seeded } from '../../support/random.js';
import { ManualClock } from '../../sim/manual-clock.js';

/** Work costs time only when it begins. */
function server(costMs: number, log: Log = silentLog) {
  const clock = new ManualClock();
  const nextTurn: (() => void)[] = [];
  const refusals: Work[] = [];
  const admission = new Admission({
    clock,
    log,
    inNextTurn: (fn) => void nextTurn.push(fn),
    onRefused: (work) => void refusals.push(work),
  });
  const began: string[] = [];
  const results: Promise<string>[] = [];
  const ask = (name: string, work: Work = 'login'): Promise<string> => {
    const result = admission.enter(work).then(
      () => {
        began.push(name);
        clock.pass(costMs);
        return 'served';
      },
      (error: unknown) => (isFault(error, 'overloaded') ? 'refused' : String(error)),
    );
    results.push(result);
    return result;
  };
  const turn = async (): Promise<void> => {
    for (const fn of nextTurn.splice(0)) {
      fn();
      // What begins runs up to its end before the next callback, as microtasks do.
      for (let hop = 0; hop < 5; hop += 1) await Promise.resolve();
    }
  };
  return { clock, admission, refusals, began, ask, turn, waits: () => nextTurn.length > 0 };
}
const names = (count: number): string[] => Array.from({ length: count }, (_, n) => `d${n}`);

describe('in one turn of the event loop', () => {
  it('as_many_begin_as_fit_into_the_slice_in_the_order_of_arrival', async () => {
    const { began, ask, turn } = server(limits.admissionSliceMs * 0.4);
    for (const name of names(10)) void ask(name);
    expect(began).toEqual([]);
    await turn();
    expect(began).toEqual(names(3));
    await turn();
    expect(began).toEqual(names(6));
  });

  it('one_begins_also_where_it_takes_longer_than_the_slice', async () => {
    const { began, ask, turn } = server(limits.admissionSliceMs * 100);
    for (const name of names(3)) void ask(name);
    for (const count of [1, 2, 3]) {
      await turn();
      expect(began).toHaveLength(count);
    }
  });

  it('no_more_begin_than_the_limit_however_cheap_they_are', async () => {
    const { began, ask, turn, waits } = server(0);
    for (const name of names(limits.admissionsPerTurnMaxCount + 1)) void ask(name);
    await turn();
    expect(began).toHaveLength(limits.admissionsPerTurnMaxCount);
    await turn();
    expect(began).toHaveLength(limits.admissionsPerTurnMaxCount + 1);
    expect(waits()).toBe(false);
  });
});

describe('a server that is behind', () => {
  it('refuses_logins_first_then_requests_and_says_when_to_come_back', async () => {
    const { clock, admission, ask, turn, refusals } = server(1);
    void ask('waits');
    clock.pass(limits.loginWaitMaxMs);
    expect([admission.isBehind('login'), admission.isBehind('request')]).toEqual([false, false]);
    clock.pass(1);
    expect([admission.isBehind('login'), admission.isBehind('request')]).toEqual([true, false]);
    expect(await ask('late')).toBe('refused');
    clock.pass(limits.deviceRequestWaitMaxMs - limits.loginWaitMaxMs);
    await expect(admission.enter('request')).rejects.toMatchObject({
      code: 'overloaded',
      retryAfterMs: limits.overloadRetryMs,
    });
    expect(refusals).toEqual(['login', 'request']);
    await turn();
    const again = ask('again');
    await turn();
    expect(await again).toBe('served');
  });

  it('refuses_when_too_many_wait_before_the_first_has_waited_long', async () => {
    const { ask } = server(1);
    for (const name of names(limits.admissionWaitingMaxCount)) void ask(name);
    expect(await ask('one more')).toBe('refused');
  });

  it('logs_the_begin_and_the_end_of_it_and_not_each_refusal', async () => {
    const lines: string[] = [];
    const add = (fields: object, message: string): void =>
      void lines.push(`${message} ${JSON.stringify(fields)}`);
    const { clock, ask, turn } = server(1, { ...silentLog, warn: add, info: add });
    void ask('waits');
    clock.pass(limits.loginWaitMaxMs + 1);
    for (const name of names(5)) await ask(name);
    await turn();
    expect(lines).toEqual([
      'devices are refused: the server is behind {"waiting":1}',
      'devices are served again as they come {"refused":5}',
    ]);
  });
});

describe('ten thousand devices that come back after a restart', () => {
  /** What a login and the first look at the metadata cost the server, and a refusal. */
  const COST_MS = 10;
  const REFUSAL_MS = 0.3;

  it('are_all_served_and_none_of_them_waits_much_longer_than_the_work_takes_seed_7', async () => {
    const devices = 10_000;
    const { clock, admission, turn, waits } = server(COST_MS);
    const startMs = clock.monotonic();
    const random = { bytes: () => new Uint8Array(0), fraction: seeded(7) };
    const due = new Map<number, Reconnect[]>();
    const dial = (reconnect: Reconnect, atMs: number): void => {
      const at = Math.floor(atMs);
      const others = due.get(at);
      if (others === undefined) due.set(at, [reconnect]);
      else others.push(reconnect);
    };
    for (let n = 0; n < devices; n += 1) {
      const reconnect = new Reconnect(random);
      const waitMs = reconnect.waitMs({ heldMs: limits.linkSettledMs, isRefused: false });
      dial(reconnect, startMs + waitMs);
    }
    const served: number[] = [];
    let refused = 0;
    let longestMs = 0;
    for (let at = startMs; served.length < devices; at += 1) {
      for (const reconnect of due.get(at) ?? []) {
        const since = clock.monotonic();
        admission.enter('login').then(
          () => {
            clock.pass(COST_MS);
            served.push(clock.monotonic());
            longestMs = Math.max(longestMs, clock.monotonic() - since);
          },
          () => {
            clock.pass(REFUSAL_MS);
            refused += 1;
            const busy = { heldMs: null, isRefused: false, isBusy: true };
            dial(reconnect, Math.max(at + 1, clock.monotonic() + reconnect.waitMs(busy)));
          },
        );
        for (let hop = 0; hop < 5; hop += 1) await Promise.resolve();
      }
      due.delete(at);
      while (waits() && clock.monotonic() <= at) await turn();
      if (clock.monotonic() < at) clock.pass(at - clock.monotonic());
    }
    const workMs = devices * COST_MS + refused * REFUSAL_MS;
    const lastMs = (served.at(-1) ?? 0) - startMs;
    console.log(
      `${(lastMs / 1000).toFixed(1)} s for ${(workMs / 1000).toFixed(1)} s of work, ` +
        `${refused} refusals, the longest wait ${longestMs.toFixed(0)} ms`,
    );
    expect(longestMs).toBeLessThan(limits.linkConnectMs / 2);
    expect(refused / devices).toBeLessThan(10);
    expect(lastMs).toBeLessThan(workMs + 2 * limits.linkBusyMaxMs);
  }, 120_000);
});
