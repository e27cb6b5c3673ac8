// The bill of materials of a release: what the manifest says, and nothing else.
import { describe, expect, it } from 'vitest';
import { releaseOf } from '../../../shared/release/manifest.js';
import { modelBom } from '../../../shared/release/model-bom.js';
import { LOSS_KEY } from '../../../shared/release/quantization-loss.js';
import { simRelease } from '../../sim/release.js';
import { loss } from '../../support/quantization-losses.js';

const TIME = '2026-03-01T00:00:00.000Z';
const { manifest, envelope } = simRelease('1.1.0');
const base = { name: 'digits fp32', sha256: 'b'.repeat(64) };
const rich = {
  ...manifest,
  lineage: {
    ...manifest.lineage,
    sourceCommit: 'abcdef0',
    baseModel: base,
    quantization: { [LOSS_KEY]: loss() },
  },
};
const bomOf = (of = manifest): string => JSON.stringify(modelBom(releaseOf(of, envelope), TIME));

interface Bom {
  readonly serialNumber: string;
  readonly metadata: { readonly component: Record<string, unknown> };
  readonly components: readonly Record<string, unknown>[];
}
const parsed = (of = manifest): Bom => JSON.parse(bomOf(of)) as Bom;

describe('the_bill_of_materials_of_a_release', () => {
  it('names_the_model_and_each_file_with_its_digest_and_the_training_data', () => {
    const { metadata, components } = parsed();
    const [model, probes] = manifest.files;
    expect(metadata.component).toMatchObject({
      type: 'machine-learning-model',
      name: 'digits',
      version: '1.1.0',
      hashes: [{ alg: 'SHA-256', content: model!.sha256 }],
    });
    expect(components).toMatchObject([
      { type: 'file', name: 'model.onnx', hashes: [{ content: model!.sha256 }] },
      { type: 'file', name: 'probes.json', hashes: [{ content: probes!.sha256 }] },
      { type: 'data', hashes: [{ content: manifest.lineage.trainingDataSha256 }] },
    ]);
  });

  it('has_ancestors_commits_and_metrics_only_where_the_manifest_has_them', () => {
    expect(bomOf()).not.toMatch(/pedigree|quantitativeAnalysis/);
    expect(parsed(rich).metadata.component).toMatchObject({
      pedigree: {
        ancestors: [{ name: 'digits fp32', hashes: [{ content: base.sha256 }] }],
        commits: [{ uid: 'abcdef0' }],
      },
    });
    expect(bomOf(rich)).toContain('{"type":"accuracy on held-out data","value":"0.958"}');
  });

  it('is_the_same_text_for_the_same_release_and_its_serial_number_is_a_uuid', () => {
    expect(bomOf(rich)).toBe(bomOf(rich));
    expect(parsed().serialNumber).toMatch(
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
  });
});
