// The limits of the inference room as one value. A constructor may narrow them, so that a test of a
// ten-second limit does not take ten seconds. Production code always uses shared/base/limits.ts.
import { limits } from '../../shared/base/limits.js';

type Named =
  | 'hostStartMs'
  | 'hostRunMs'
  | 'hostDrainMs'
  | 'hostFrameMaxBytes'
  | 'hostRestartBackoffFirstMs'
  | 'hostRestartBackoffMaxMs'
  | 'hostTermGraceMs'
  | 'requestMaxBytes'
  | 'requestBodiesMaxCount'
  | 'requestHeaderMaxBytes'
  | 'requestHeaderKeptMaxBytes'
  | 'jsonRequestMaxBytes'
  | 'requestTriesMaxCount'
  | 'requestDeadlineMs'
  | 'requestTransferMs'
  | 'connectionIdleMs'
  | 'connectionCheckMs'
  | 'connectionsMaxCount'
  | 'admissionQueueMaxCount'
  | 'shadowQueueMaxCount'
  | 'shadowWaitMaxMs'
  | 'probesFileMaxBytes'
  | 'probeRunsMaxCount'
  | 'probeRunsMinCount'
  | 'probeRunsMs'
  | 'rehearsalRunsMs';

export type InferenceLimits = { readonly [K in Named]: number };

export function limitsWith(narrower: Partial<InferenceLimits> = {}): InferenceLimits {
  return { ...limits, ...narrower };
}
