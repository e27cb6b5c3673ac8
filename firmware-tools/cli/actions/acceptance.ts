// `linnet acceptance build`: signs the set and says what it holds.
import { sha256 } from '../../../shared/base/bytes.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { limitPercent } from '../../../shared/statistics/share-text.js';
import { buildAcceptanceSet } from '../../release/acceptance.js';
import { readSigningKey, writeWhole } from '../../release/keys/key-files.js';
import { requireFiles } from '../arguments.js';
import type { Output } from '../output.js';

export async function build(
  out: Output,
  spec: string,
  options: { key: string; output: string },
): Promise<void> {
  await requireFiles(spec, options.key);
  const key = await readSigningKey(options.key);
  const { set, bytes } = await buildAcceptanceSet(spec, key);
  await writeWhole(options.output, bytes, { random: realRandom, overwrite: true });
  const { component, metric, least, samples } = set;
  const result = {
    file: options.output,
    component,
    metric,
    least,
    samples: samples.length,
    bytes: bytes.length,
    sha256: sha256(bytes),
    signedBy: key.keyId,
  };
  out.result(
    result,
    () =>
      `${options.output}  ${bytes.length} bytes\n  ${component}: ${metric} at least ` +
      `${limitPercent(least)} on ${samples.length} inputs\n  sha256      ${result.sha256}\n` +
      `  signed by   ${key.keyId}`,
  );
}
