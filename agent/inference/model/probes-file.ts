// Reads a release's golden probes from its folder: the verified file's bytes, hashed once more and
// decoded all the same.
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeJson } from '../../../shared/base/decode.js';
import { Fault, isFault, reason } from '../../../shared/base/fault-codes.js';
import { fileOf, Probes } from '../../../shared/release/manifest.js';
import { sha256 } from '../../../shared/base/bytes.js';
import type { Installed } from '../../interfaces.js';
import { guard } from './guard.js';
import { fromProbe, type Tensor } from './tensor.js';

export interface GoldenProbe {
  readonly id: string;
  /** In the manifest's order, guarded like any request. */
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/**
 * Faults: `file_length`, `file_digest`, `manifest_undecodable` (the file is not probes of this
 * model), `disk_failed`.
 */
export async function readProbes(installed: Installed, maxBytes: number): Promise<GoldenProbe[]> {
  const { manifest } = installed.release;
  const entry = fileOf(manifest, 'probes');
  const path = join(installed.folder, entry.name);
  const bytes = await readWhole(path, Math.min(entry.length, maxBytes));
  if (bytes.length !== entry.length)
    throw new Fault(
      'file_length',
      `${path} has not the ${entry.length} bytes that the manifest says`,
    );
  if (sha256(bytes) !== entry.sha256)
    throw new Fault('file_digest', `${path} does not have the SHA-256 that the manifest says`);
  const file = decodeJson(
    Probes,
    bytes,
    `probes file of ${manifest.component}@${manifest.version}`,
    'manifest_undecodable',
  );
  if (file.probes.length !== manifest.probes.count) {
    throw new Fault(
      'manifest_undecodable',
      `the probes file holds ${file.probes.length} probes, the manifest says ${manifest.probes.count}`,
    );
  }
  return file.probes.map((probe) => {
    const what = `probe ${probe.id}`;
    const outputs = probe.outputs.map((tensor) => fromProbe(tensor, what));
    try {
      return {
        id: probe.id,
        inputs: guard(
          manifest.inputs,
          probe.inputs.map((tensor) => fromProbe(tensor, what)),
          maxBytes,
        ),
        outputs,
      };
    } catch (error) {
      if (isFault(error, 'request_tensor', 'request_value', 'request_too_large')) {
        throw new Fault(
          'manifest_undecodable',
          `${what} is not what the manifest's model takes: ${error.detail}`,
          {
            cause: error,
          },
        );
      }
      throw error;
    }
  });
}

/** At most one byte more than `maxBytes`, so that a longer file shows. */
async function readWhole(path: string, maxBytes: number): Promise<Buffer> {
  try {
    const file = await open(path, 'r');
    try {
      const bytes = Buffer.allocUnsafeSlow(maxBytes + 1);
      let filled = 0;
      for (;;) {
        const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, null);
        filled += bytesRead;
        if (bytesRead === 0 || filled === bytes.length) return bytes.subarray(0, filled);
      }
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new Fault('disk_failed', `cannot read ${path}: ${reason(error)}`, { cause: error });
  }
}
