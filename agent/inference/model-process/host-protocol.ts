// The control messages between a supervisor and its model process. Both ends are the same installed
// version of the agent, so plain types suffice: nothing here crosses a network.
import type { FaultCode } from '../../../shared/base/fault-codes.js';
import type { TensorSpec } from '../../../shared/release/model-manifest.js';

/** The first message to a model process. */
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

export type Control = LoadRequest | { readonly ask: 'usage' };

/** `id`: the run that failed; null for a failed load. Usage is of the whole process. */
export type HostReport =
  | {
      readonly report: 'ready' | 'usage';
      readonly rssBytes: number;
      readonly peakBytes: number;
      /** Of all its threads, since its start. */
      readonly cpuMs: number;
    }
  | {
      readonly report: 'fault';
      readonly id: number | null;
      readonly code: FaultCode;
      readonly detail: string;
    };
