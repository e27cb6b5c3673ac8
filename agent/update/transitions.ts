// The update machine of one component, whole: what each event leads to, and where a device that
// lost power in a state finds itself at the next start. A state is a fact that is true on disk; the
// work that leaves it is in updater.ts.
//
//   state       true on disk                                          the work that leaves it
//   idle        nothing is under way                                  look at what is wanted
//   assigned    an order was taken                                    fetch (resumes)
//   downloaded  every byte of the release is here, unproven           vet: proof (or fetch again), then policy
//   verified    proof and policy passed                               lay the spare slot out
//   staged      the spare slot holds the release                      probe it in a process of its own
//   probed      golden probes passed on this device                   write `active: spare`, which is the swap
//   swapped     the new release serves, on trial                      watch; confirm or go back
//   stranded    no slot proves; nothing is served                     take any order, also the one already done
import type { Table } from '../../shared/base/state-machine.js';
import type { UpdateState } from '../../shared/protocol/states.js';

export type UpdateEvent =
  | 'assigned' | 'fetched' | 'vetted' | 'laid_out' | 'probed' | 'swapped' | 'confirmed' | 'rolled_back'
  | 'refused' | 'spent' | 'superseded' | 'damaged' | 'unproven';

export const updateTransitions = {
  idle:       { boot: 'idle',       on: { assigned: 'assigned', unproven: 'stranded' } },
  assigned:   { boot: 'assigned',   on: { fetched: 'downloaded', refused: 'idle', spent: 'idle', superseded: 'idle', unproven: 'stranded' } },
  downloaded: { boot: 'downloaded', on: { vetted: 'verified', damaged: 'assigned', refused: 'idle', spent: 'idle', superseded: 'idle', unproven: 'stranded' } },
  verified:   { boot: 'downloaded', on: { laid_out: 'staged', refused: 'idle', spent: 'idle', superseded: 'idle', unproven: 'stranded' } },
  staged:     { boot: 'staged',     on: { probed: 'probed', refused: 'idle', spent: 'idle', superseded: 'idle', unproven: 'stranded' } },
  probed:     { boot: 'staged',     on: { swapped: 'swapped', refused: 'idle', spent: 'idle', superseded: 'idle', unproven: 'stranded' } },
  swapped:    { boot: 'swapped',    on: { confirmed: 'idle', rolled_back: 'idle', unproven: 'stranded' } },
  stranded:   { boot: 'stranded',   on: { assigned: 'assigned' } },
} as const satisfies Table<UpdateState, UpdateEvent>;
