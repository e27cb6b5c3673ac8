// Follows a rollout until it ends: a tree that is redrawn in place on a terminal, else one line a
// change, with --json one object a change. A server that restarts or cannot be reached for a while
// does not end it; a wrong token or an unknown rollout does.
import type { Clock } from '../../shared/base/interfaces.js';
import type { Fault } from '../../shared/base/fault-codes.js';
import type { RolloutState } from '../../shared/protocol/states.js';
import type { FleetClient } from '../fleet/fleet-client.js';
import { shownRollout, type ShownRollout } from '../fleet/shown-rollout.js';
import type { Output } from './output.js';
import { poll, type Turn } from './polling.js';
import { rolloutChanges } from './rollout-changes.js';
import { rolloutTree } from './rollout-tree.js';
import { lineOf, type Terminal } from './terminal.js';

const ENDED: readonly RolloutState[] = ['completed', 'reported', 'reverted', 'dropped'];

export interface WatchOptions {
  readonly client: Pick<FleetClient, 'request'>;
  readonly id: string;
  readonly out: Output;
  readonly clock: Clock;
  /** A rollout that is held ends the watch, too. */
  readonly untilHeld: boolean;
}

/** The last look. Fault: the server's refusal, or server_unreachable after many tries. */
export async function watchRollout(options: WatchOptions): Promise<ShownRollout> {
  const terminal = await options.out.terminal();
  const screen = terminal === null ? lineScreen(options) : treeScreen(terminal, options.clock);
  try {
    return await follow(options, screen);
  } finally {
    terminal?.done();
  }
}

interface Screen {
  show(view: ShownRollout): void;
  /** The server did not answer; the watch goes on. */
  retrying(fault: Fault): void;
}

function follow(
  { client, id, clock, untilHeld }: WatchOptions,
  screen: Screen,
): Promise<ShownRollout> {
  const look = async (): Promise<Turn<ShownRollout>> => {
    const view = await shownRollout(client, id);
    screen.show(view);
    const isOver = ENDED.includes(view.state) || (untilHeld && view.state === 'held');
    return isOver ? { result: view } : 'later';
  };
  return poll(look, { clock, onRetry: (fault) => screen.retrying(fault) });
}

function lineScreen({ out, clock }: WatchOptions): Screen {
  let last = null as ShownRollout | null;
  let isAway = false;
  return {
    show: (view) => {
      if (isAway) out.progress('the server answers again');
      isAway = false;
      if (JSON.stringify(view) !== JSON.stringify(last)) out.event(view);
      const time = new Date(clock.now()).toISOString().slice(0, 19);
      for (const line of rolloutChanges(last, view)) out.line(`${time}Z  ${line}`);
      last = view;
    },
    retrying: (fault) => {
      if (!isAway) out.progress(`${fault.detail}; will retry`);
      isAway = true;
    },
  };
}

function treeScreen(terminal: Terminal, clock: Clock): Screen {
  let last = null as ShownRollout | null;
  const draw = (note: string[]): void => {
    const tree = last === null ? [] : [rolloutTree(last, terminal, clock.now())];
    terminal.draw([...note, ...tree].join('\n'));
  };
  return {
    show: (view) => {
      last = view;
      draw([]);
    },
    retrying: (fault) =>
      draw([lineOf([[`retrying; as of the last answer: ${fault.detail}`, 'yellow']], terminal)]),
  };
}
