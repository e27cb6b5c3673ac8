// The step of each state.
import type { UpdateState } from '../../../shared/protocol/states.js';
import { assigned } from './assigned.js';
import { downloaded, verified } from './install.js';
import { idle, stranded } from './rest.js';
import type { Step } from './step.js';
import { probed, rehearsed, staged } from './swap.js';
import { shadowing } from './shadow.js';
import { swapped } from './trial.js';

export const steps: { readonly [S in UpdateState]: Step<S> } = {
  idle,
  assigned,
  downloaded,
  verified,
  staged,
  probed,
  rehearsed,
  shadowing,
  swapped,
  stranded,
};
