// The update machine of one component: which event leads from which state to which, and the state
// in which a device continues after it lost power in a state (boot). A state is a fact that is true
// on disk. An event is named after the state or the end that it reports. The work that leaves a
// state is in steps/; driver.ts alone moves the machine.
//
//   state       true on disk                                the work that leaves it
//   idle        no update is under way                      look at the latest assignment
//   assigned    an assignment was accepted                  download (resumes)
//   downloaded  all bytes are here, not verified            verify every byte, then check policy
//   verified    bytes and policy were checked               lay out the spare slot
//   staged      the spare slot holds the release            probe it beside what serves
//   probed      the probes passed on this device            answer recent inputs beside what serves
//   rehearsed   nothing spoke against it there              write `active: spare`: the swap
//   shadowing   it answers copies of live requests          compare it with what serves
//   swapped     the new release serves, on trial            observe; confirm or roll back
//   stranded    no slot verifies; nothing is served         accept any assignment, even an old one
import type { Table } from '../../shared/base/state-machine.js';
import type { UpdateState } from '../../shared/protocol/states.js';

export type UpdateEvent =
  | 'assigned' | 'downloaded' | 'verified' | 'staged' | 'probed' | 'rehearsed'
  | 'swapped' | 'differs' | 'confirmed' | 'rolled_back' | 'shadowing' | 'shadowed'
  | 'refused' | 'spent' | 'superseded' | 'damaged' | 'unverified';

/** How every state between `assigned` and `shadowing` may end early. */
const end = { refused: 'idle', spent: 'idle', superseded: 'idle', unverified: 'stranded' } as const;

export const updateTransitions = {
  idle:       { boot: 'idle',       on: { assigned: 'assigned', unverified: 'stranded' } },
  assigned:   { boot: 'assigned',   on: { downloaded: 'downloaded', ...end } },
  downloaded: { boot: 'downloaded', on: { verified: 'verified', damaged: 'assigned', ...end } },
  verified:   { boot: 'downloaded', on: { staged: 'staged', ...end } },
  staged:     { boot: 'staged',     on: { probed: 'probed', ...end } },
  probed:     { boot: 'staged',     on: { rehearsed: 'rehearsed', differs: 'idle', ...end } },
  rehearsed:  { boot: 'staged',     on: { swapped: 'swapped', shadowing: 'shadowing', ...end } },
  shadowing:  { boot: 'staged',     on: { shadowed: 'idle', ...end } },
  swapped:    { boot: 'swapped',    on: { confirmed: 'idle', rolled_back: 'idle' } },
  stranded:   { boot: 'stranded',   on: { assigned: 'assigned' } },
} as const satisfies Table<UpdateState, UpdateEvent>;
