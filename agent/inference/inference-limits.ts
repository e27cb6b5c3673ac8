// The bounds that the runtime obeys, as one value that may be narrowed by constructor, so that a
// test of a ten-second bound need not take ten seconds. Production code never passes anything else
// than shared/bounds.ts.
import { limits } from '../../shared/base/limits.js';

type Named =
  | 'hostStartMs'
  | 'hostRunMs'
  | 'hostDrainMs'
  | 'hostFrameMaxBytes'
  | 'hostRestartBackoffFirstMs'
  | 'hostRestartBackoffMaxMs'
  | 'requestMaxBytes'
  | 'requestHeaderMaxBytes'
  | 'jsonRequestMaxBytes'
  | 'requestDeadlineMs'
  | 'requestTransferMs'
  | 'connectionCheckMs'
  | 'connectionsMaxCount'
  | 'admissionQueueMaxCount'
  | 'shadowQueueMaxCount'
  | 'shadowWaitMaxMs'
  | 'probesFileMaxBytes';

export type InferenceLimits = { readonly [K in Named]: number };

export function limitsWith(narrower: Partial<InferenceLimits> = {}): InferenceLimits {
  return { ...limits, ...narrower };
}
