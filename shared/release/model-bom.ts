// A bill of materials of a release as CycloneDX 1.6 (ML-BOM): the model with its files and digests,
// what it was trained on and made from, its inputs and outputs, and what the makers measured. It
// holds what the signed manifest says and nothing else: what the manifest does not name, such as
// licences or the training data beyond its digest, is not in it. The same release gives the same
// text. Pure.
import { declaredDifferences } from './expected-differences.js';
import type { Release } from './manifest.js';
import { fileOf, type Lineage, type ModelManifest, type TensorSpec } from './model-manifest.js';
import { lossOf } from './quantization-loss.js';

const sha256Hash = (content: string) => [{ alg: 'SHA-256', content }];
const property = (name: string, value: string | number) => ({
  name: `linnet:${name}`,
  value: String(value),
});

/** `time`: when it was published, ISO 8601. */
export function modelBom({ manifest, digest }: Release, time: string): object {
  const { component, version, description } = manifest;
  const ref = `${component}@${version}`;
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(digest)}`,
    version: 1,
    metadata: {
      timestamp: time,
      component: {
        type: 'machine-learning-model',
        'bom-ref': ref,
        name: component,
        version,
        ...(description === '' ? {} : { description }),
        hashes: sha256Hash(fileOf(manifest, 'model').sha256),
        ...ancestry(manifest.lineage),
        modelCard: modelCard(manifest),
        properties: [
          property('release:digest', digest),
          property('hardware', manifest.hardware.join(' ')),
          property('contract:peakMemoryMiB', manifest.contract.peakMemoryMiB),
          property('contract:p99LatencyMs', manifest.contract.p99LatencyMs),
        ],
      },
    },
    components: [
      ...manifest.files.map(({ name, role, sha256, length }) => ({
        type: 'file',
        'bom-ref': `${ref}/${name}`,
        name,
        hashes: sha256Hash(sha256),
        properties: [property('role', role), property('bytes', length)],
      })),
      {
        type: 'data',
        'bom-ref': `${ref}#training-data`,
        name: 'training data',
        hashes: sha256Hash(manifest.lineage.trainingDataSha256),
        data: [{ type: 'dataset', name: 'training data' }],
      },
    ],
    dependencies: [{ ref, dependsOn: manifest.files.map(({ name }) => `${ref}/${name}`) }],
  };
}

/** A UUID (version 8, RFC 9562) from the digest of the release: the same release, the same one. */
function uuidOf(digest: string): string {
  const variant = ((parseInt(digest.charAt(16), 16) & 3) | 8).toString(16);
  const parts = [
    digest.slice(0, 8),
    digest.slice(8, 12),
    `8${digest.slice(13, 16)}`,
    `${variant}${digest.slice(17, 20)}`,
    digest.slice(20, 32),
  ];
  return parts.join('-');
}

function ancestry({ baseModel, sourceCommit }: Lineage): object {
  const commits = sourceCommit === 'unknown' ? {} : { commits: [{ uid: sourceCommit }] };
  const ancestors =
    baseModel === null
      ? {}
      : {
          ancestors: [
            {
              type: 'machine-learning-model',
              name: baseModel.name,
              hashes: sha256Hash(baseModel.sha256),
            },
          ],
        };
  const pedigree = { ...ancestors, ...commits };
  return Object.keys(pedigree).length === 0 ? {} : { pedigree };
}

function modelCard(manifest: ModelManifest): object {
  const { component, version, inputs, outputs, classifier } = manifest;
  const format = ({ name, datatype, shape }: TensorSpec) => ({
    format: `${name}: ${datatype}[${shape.join(',')}]`,
  });
  const metrics = performanceMetrics(manifest);
  return {
    modelParameters: {
      ...(classifier === null ? {} : { task: 'classification' }),
      datasets: [{ ref: `${component}@${version}#training-data` }],
      inputs: inputs.map(format),
      outputs: outputs.map(format),
    },
    ...(metrics.length === 0 ? {} : { quantitativeAnalysis: { performanceMetrics: metrics } }),
  };
}

/** Values are text in CycloneDX. */
function performanceMetrics(manifest: ModelManifest): { type: string; value: string }[] {
  const loss = lossOf(manifest.lineage);
  const held = loss?.heldOut ?? null;
  const accuracy = held?.int8Accuracy ?? null;
  return [
    ...(accuracy === null ? [] : [{ type: 'accuracy on held-out data', value: `${accuracy}` }]),
    ...(held === null
      ? []
      : [{ type: 'agreement with fp32 on held-out data', value: `${held.agreement}` }]),
    ...(loss?.outputs ?? []).map(({ output, cosine }) => ({
      type: `cosine of output ${output} against fp32 on the calibration data`,
      value: `${cosine}`,
    })),
    ...declaredDifferences(manifest).map(({ output, version, mean }) => ({
      type: `mean difference of output ${output} from release ${version}`,
      value: `${mean}`,
    })),
  ];
}
