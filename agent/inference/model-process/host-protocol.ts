// What a supervisor and its model process say to each other in control frames. Both ends are the
// same installed version of the agent, so these are plain types; nothing of them crosses a machine.
import type { FaultCode } from '../../../shared/base/fault-codes.js';
import type { TensorSpec } from '../../../shared/release/model-manifest.js';

/** The first frame to a model process. */
export interface LoadRequest {
  readonly ask: 'load';
  readonly path: string;
  readonly sha256: string;
  readonly length: number;
  readonly inputs: readonly Pick<TensorSpec, 'name' | 'datatype' | 'shape'>[];
  readonly outputs: readonly Pick<TensorSpec, 'name' | 'datatype' | 'shape'>[];
  readonly threads: number;
  readonly frameMaxBytes: number;
}

export type Control = LoadRequest | { readonly ask: 'memory' };

/** `id`: the run that the fault answers; null for a failed load. Memory is of the whole process. */
export type HostReport =
  | { readonly report: 'ready' | 'memory'; readonly rssBytes: number; readonly peakBytes: number }
  | {
      readonly report: 'fault';
      readonly id: number | null;
      readonly code: FaultCode;
      readonly detail: string;
    };
