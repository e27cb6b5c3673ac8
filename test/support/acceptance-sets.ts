// Small acceptance sets for tests, signed at once.
import {
  ACCEPTANCE_PAYLOAD_TYPE,
  type AcceptanceSet,
} from '../../shared/release/acceptance-set.js';
import { utf8 } from '../../shared/base/bytes.js';
import type { ProbeTensor } from '../../shared/release/model-manifest.js';
import { acceptanceKey } from '../sim/release.js';
import { envelopeBytesNow, type SyncSigner } from '../sim/sync-signer.js';

export function floats(name: string, shape: number[], ...values: number[]): ProbeTensor {
  const { buffer } = Float32Array.from(values);
  return { name, datatype: 'FP32', shape, data: Buffer.from(buffer).toString('base64') };
}

/** Input x of two features and its label, each. */
export const accuracySet = (
  rows: readonly (readonly [number, number, string])[],
  change: Partial<AcceptanceSet> = {},
): AcceptanceSet =>
  ({
    format: 'linnet.acceptance/1',
    component: 'small',
    metric: 'accuracy',
    least: 0.9,
    samples: rows.map(([a, b, label]) => ({ inputs: [floats('x', [1, 2], a, b)], label })),
    ...change,
  }) as AcceptanceSet;

export const signedSet = (set: unknown, key: SyncSigner = acceptanceKey): Uint8Array =>
  envelopeBytesNow(ACCEPTANCE_PAYLOAD_TYPE, utf8(JSON.stringify(set)), [key]);
