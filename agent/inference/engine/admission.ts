// Decides whether a release may answer a request: the version that the request names, the outputs
// that it asks for, and the guard's checks of its tensors. Pure. A request is admitted once by the
// release that serves when it arrives, and checked again by the release that runs it, when another
// one serves by then.
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import type { Release } from '../../../shared/release/manifest.js';
import { checkOutputs, guard } from '../model/guard.js';
import type { Tensor } from '../model/tensor.js';

export interface InferRequest {
  readonly inputs: readonly Tensor[];
  /** Only this version may answer; Fault `model_unknown` otherwise. */
  readonly version?: string | undefined;
  /**
   * Outputs that the answer must have; Fault `request_tensor` when the model does not have them.
   */
  readonly outputs?: readonly { readonly name: string }[] | undefined;
}

export interface InferAnswer {
  readonly outputs: readonly Tensor[];
  readonly release: ReleaseRef;
}

/**
 * The inputs in the manifest's order, or the Fault that refuses the request: `model_unknown`, and
 * those of checkOutputs() and guard().
 */
export function admit(
  release: Release,
  { inputs, version, outputs }: InferRequest,
  maxBytes: number,
): readonly Tensor[] | Fault {
  const { component, manifest } = release;
  if (version !== undefined && version !== release.version)
    return new Fault(
      'model_unknown',
      `${component} version ${version} is not served here; served: ${release.version}`,
    );
  try {
    if (outputs !== undefined) checkOutputs(manifest.outputs, outputs);
    return guard(manifest.inputs, inputs, maxBytes);
  } catch (error) {
    if (isFault(error)) return error;
    throw error;
  }
}
