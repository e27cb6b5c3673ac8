// Small genuine releases for tests of everything but the model itself: signed by a real key, files
// of a few bytes.
import {
  manifestBytes,
  RELEASE_PAYLOAD_TYPE,
  type Manifest,
} from '../../shared/release/manifest.js';
import type { ManifestHead } from '../../shared/release/manifest-head.js';
import { targetPath } from '../../shared/release/release-ref.js';
import { sha256, utf8 } from '../../shared/base/bytes.js';
import { envelopeBytesNow, syncSigner, type SyncSigner } from './sync-signer.js';
import type { KeyRing } from '../../shared/trust/key-ring.js';
import { defaultTrialPolicy, type TrialPolicy } from '../../shared/statistics/trial-verdict.js';
import type { Activation } from '../../shared/protocol/states.js';
import type { Assignment } from '../../agent/update/record.js';

export const releaseKey: SyncSigner = syncSigner(new Uint8Array(32).fill(7));
export const ring: KeyRing = {
  keys: { [releaseKey.keyId]: releaseKey.publicKey },
  keyids: [releaseKey.keyId],
  threshold: 1,
};

export const acceptanceKey: SyncSigner = syncSigner(new Uint8Array(32).fill(8));
export const acceptanceRing: KeyRing = {
  keys: { [acceptanceKey.keyId]: acceptanceKey.publicKey },
  keyids: [acceptanceKey.keyId],
  threshold: 1,
};

export interface SimRelease<M extends ManifestHead = Manifest> {
  readonly manifest: M;
  readonly envelope: Uint8Array;
  readonly digest: string;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

export type AnySimRelease = SimRelease<ManifestHead>;

export interface SimReleaseOptions {
  readonly hardware?: string[];
  readonly body?: Uint8Array;
  readonly component?: string;
  /** The model file may also be fetched as these bytes. */
  readonly encoded?: { readonly codec: string; readonly bytes: Uint8Array };
}

export function simRelease(version: string, options: SimReleaseOptions = {}): SimRelease {
  const { encoded } = options;
  const component = options.component ?? 'digits';
  const model = options.body ?? utf8(`model ${version} `.repeat(20));
  const probes = utf8(`probes ${version}`);
  const files = new Map([
    [sha256(model), model],
    [sha256(probes), probes],
    ...(encoded === undefined ? [] : [[sha256(encoded.bytes), encoded.bytes] as const]),
  ]);
  const encodings =
    encoded === undefined
      ? {}
      : {
          encodings: [
            {
              codec: encoded.codec,
              sha256: sha256(encoded.bytes),
              length: encoded.bytes.length,
            },
          ],
        };
  const manifest: Manifest = {
    format: 'linnet.release/1',
    kind: 'model',
    component,
    version,
    description: 'a release for tests',
    hardware: options.hardware ?? ['sim'],
    files: [
      {
        name: 'model.onnx',
        role: 'model',
        sha256: sha256(model),
        length: model.length,
        ...encodings,
      },
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
  return { manifest, files, ...simEnvelope(manifest) };
}

/** The envelope of a manifest, signed by the release key. */
export function simEnvelope(manifest: ManifestHead): { envelope: Uint8Array; digest: string } {
  const envelope = envelopeBytesNow(RELEASE_PAYLOAD_TYPE, manifestBytes(manifest), [releaseKey]);
  return { envelope, digest: sha256(envelope) };
}

export function assignmentFor(
  release: AnySimRelease,
  assignmentId: number,
  options: {
    rollback?: boolean;
    activation?: Activation;
    floor?: string;
    trial?: Partial<TrialPolicy>;
    acceptance?: Assignment['acceptance'];
  } = {},
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
    activation: options.activation ?? 'swap',
    floor: options.floor ?? null,
    acceptance: options.acceptance ?? null,
    trial: { ...defaultTrialPolicy, ...options.trial },
  };
}
