// A state machine is one table that fits a screen: for each state, the events it takes and the
// state each leads to, and where a device finds itself when it boots in that state. An event that
// the table does not list is a bug.
import assert from 'node:assert/strict';

export interface Row<S extends string, E extends string> {
  readonly on: Readonly<Partial<Record<E, S>>>;
  readonly boot: S;
}
export type Table<S extends string, E extends string> = Readonly<Record<S, Row<S, E>>>;

export class ImpossibleTransition extends Error {
  override readonly name = 'ImpossibleTransition';
  constructor(
    readonly state: string,
    readonly event: string,
  ) {
    super(`state ${state} has no event ${event}`);
  }
}

/** The state that `event` leads to; throws ImpossibleTransition where the table has none. */
export function next<S extends string, E extends string>(
  table: Table<S, E>,
  state: S,
  event: E,
): S {
  const to = table[state].on[event];
  if (to === undefined) throw new ImpossibleTransition(state, event);
  return to;
}

export function boot<S extends string, E extends string>(table: Table<S, E>, state: S): S {
  assert(Object.hasOwn(table, state), `unknown state ${state}`);
  return table[state].boot;
}
