// Small genuine releases for tests of everything but the model itself: signed by a real key, files
// of a few bytes.
import {
  manifestBytes,
  RELEASE_PAYLOAD_TYPE,
  type Manifest,
} from '../../shared/release/manifest.js';
import { targetPath } from '../../shared/release/release-ref.js';
import { sha256, utf8 } from '../../shared/base/bytes.js';
import { envelopeBytesNow, syncSigner, type SyncSigner } from './sync-signer.js';
import type { KeyRing } from '../../shared/trust/key-ring.js';
import { defaultTrialPolicy, type TrialPolicy } from '../../shared/statistics/trial-verdict.js';
import type { Assignment } from '../../agent/update/record.js';

export const releaseKey: SyncSigner = syncSigner(new Uint8Array(32).fill(7));
export const ring: KeyRing = {
  keys: { [releaseKey.keyId]: releaseKey.publicKey },
  keyids: [releaseKey.keyId],
  threshold: 1,
};

export interface SimRelease {
  readonly manifest: Manifest;
  readonly envelope: Uint8Array;
  readonly digest: string;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

export function simRelease(
  version: string,
  options: { hardware?: string[]; body?: Uint8Array; component?: string } = {},
): SimRelease {
  const component = options.component ?? 'digits';
  const model = options.body ?? utf8(`model ${version} `.repeat(20));
  const probes = utf8(`probes ${version}`);
  const files = new Map([
    [sha256(model), model],
    [sha256(probes), probes],
  ]);
  const manifest: Manifest = {
    format: 'linnet.release/1',
    kind: 'model',
    component,
    version,
    description: 'a release for tests',
    hardware: options.hardware ?? ['sim'],
    files: [
      { name: 'model.onnx', role: 'model', sha256: sha256(model), length: model.length },
      { name: 'probes.json', role: 'probes', sha256: sha256(probes), length: probes.length },
    ],
    inputs: [{ name: 'image', datatype: 'FP32', shape: [-1, 1, 28, 28] }],
    outputs: [{ name: 'logits', datatype: 'FP32', shape: [-1, 10] }],
    classifier: {
      output: 'logits',
      scale: 'logits',
      labels: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'],
    },
    probes: { count: 1, tolerance: { absolute: 0.001, relative: 0 } },
    contract: { peakMemoryMiB: 100, p99LatencyMs: 50 },
    lineage: {
      trainingDataSha256: sha256('data'),
      sourceCommit: 'unknown',
      baseModel: null,
      quantization: null,
    },
  };
  const envelope = envelopeBytesNow(RELEASE_PAYLOAD_TYPE, manifestBytes(manifest), [releaseKey]);
  return { manifest, envelope, digest: sha256(envelope), files };
}

export function assignmentFor(
  release: SimRelease,
  assignmentId: number,
  options: { rollback?: boolean; trial?: Partial<TrialPolicy> } = {},
): Assignment {
  const { component, version } = release.manifest;
  return {
    component,
    version,
    path: targetPath(component, version),
    length: release.envelope.length,
    sha256: release.digest,
    rollout: `rollout-${assignmentId}`,
    assignmentId,
    rollback: options.rollback ?? false,
    trial: { ...defaultTrialPolicy, ...options.trial },
  };
}
