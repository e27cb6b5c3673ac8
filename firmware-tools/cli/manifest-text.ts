// What a release is, as text: for `linnet bundle inspect` from its file, for `linnet release show`
// from the server.
import { declaredDifferences, differenceText } from '../../shared/release/expected-differences.js';
import type { Manifest } from '../../shared/release/manifest.js';
import type { TensorSpec } from '../../shared/release/model-manifest.js';
import { table } from './output.js';

export function manifestText(manifest: Manifest): string {
  const tensors = (specs: readonly TensorSpec[]): string =>
    specs.map(({ name, datatype, shape }) => `${name} ${datatype}[${shape.join(',')}]`).join(', ');
  const { component, version, description, classifier, lineage, contract, probes } = manifest;
  const { absolute, relative } = probes.tolerance;
  const classes =
    classifier === null
      ? 'none'
      : `${classifier.labels.length} classes from ${classifier.output} (${classifier.scale})`;
  const from = [
    `data ${lineage.trainingDataSha256.slice(0, 16)}`,
    `source ${lineage.sourceCommit}`,
    `base ${lineage.baseModel?.name ?? 'none'}`,
    lineage.quantization === null ? 'not quantized' : 'quantized',
  ];
  return [
    `  component   ${component} ${version}${description === '' ? '' : `: ${description}`}`,
    `  hardware    ${manifest.hardware.join(', ')}`,
    `  inputs      ${tensors(manifest.inputs)}`,
    `  outputs     ${tensors(manifest.outputs)}`,
    `  classifier  ${classes}`,
    `  probes      ${probes.count}, within ${absolute} + ${relative} x |golden|`,
    `  contract    ${contract.peakMemoryMiB} MiB, p99 ${contract.p99LatencyMs} ms`,
    `  lineage     ${from.join(', ')}`,
    ...declaredDifferences(manifest).map((declared) => `  expected    ${differenceText(declared)}`),
  ].join('\n');
}

export const filesTable = ({ files }: Manifest): string =>
  table([
    ['file', 'role', 'bytes', 'sha256'],
    ...files.map((entry) => [entry.name, entry.role, String(entry.length), entry.sha256]),
  ]);
