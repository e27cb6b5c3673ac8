// Reads a release's golden probes from its folder. The file was verified when it was installed; it
// is hashed again and decoded against its schema all the same, because the disk may have changed.
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeJson } from '../../../shared/base/decode.js';
import { Fault, isFault, reason } from '../../../shared/base/fault-codes.js';
import { fileOf, Probes } from '../../../shared/release/model-manifest.js';
import { sha256 } from '../../../shared/base/bytes.js';
import type { Installed } from '../../interfaces.js';
import { guard } from './guard.js';
import { fromProbe, type Tensor } from './tensor.js';

export interface GoldenProbe {
  readonly id: string;
  /** In the manifest's order, checked by the guard like any request. */
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
}

/**
 * Faults: `file_length`, `file_digest`, `manifest_undecodable` (not a probes file, or not of this
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
      `${path} does not have the ${entry.length} bytes that the manifest names`,
    );
  if (sha256(bytes) !== entry.sha256)
    throw new Fault('file_digest', `${path} does not have the SHA-256 that the manifest names`);
  const file = decodeJson(
    Probes,
    bytes,
    `probes file of ${manifest.component}@${manifest.version}`,
    'manifest_undecodable',
  );
  if (file.probes.length !== manifest.probes.count) {
    throw new Fault(
      'manifest_undecodable',
      `the probes file has ${file.probes.length} probes, ` +
        `the manifest names ${manifest.probes.count}`,
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
          `${what} does not fit the inputs in the manifest: ${error.detail}`,
          {
            cause: error,
          },
        );
      }
      throw error;
    }
  });
}

/** At most `maxBytes` + 1 bytes: the extra byte reveals a longer file. */
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
