// The difference that a release declares, measured at build on real models: exact sums, what it
// means for a trial, what is refused, and which bytes are parsed.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, test, vi } from 'vitest';
import { Command } from 'commander';
import { registerBundleCommands } from '../../../firmware-tools/cli/commands/bundle.js';
import { makeOutput } from '../../../firmware-tools/cli/output.js';
import { encodeNpy } from '../../../firmware-tools/model/input-data/npy.js';
import type * as ModelFiles from '../../../firmware-tools/model/onnx/model-file.js';
import type * as Sessions from '../../../firmware-tools/model/session.js';
import { buildBundle, type ExpectOptions } from '../../../firmware-tools/release/bundle/build.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { declaredPermille } from '../../../shared/release/comparisons.js';
import type { Manifest } from '../../../shared/release/manifest.js';
import type { Signer } from '../../../shared/trust/signer.js';
import { trialUnderTraffic } from '../../sim/trial-traffic.js';
import { refused } from '../../support/metadata-device.js';
import { tempFolder } from '../../support/temp-folders.js';
import {
  otherKey,
  releaseKey,
  ringOf,
  smallModel,
  smallSpec,
  writeSpec,
} from '../../support/release-builder.js';

/** What reached ONNX Runtime or the decoder of ONNX files, by name. */
const parsed = vi.hoisted((): string[] => []);
vi.mock('../../../firmware-tools/model/session.js', async (importOriginal) => {
  const real = await importOriginal<typeof Sessions>();
  const openModel: typeof real.openModel = (model, options) => {
    parsed.push(options?.what ?? '');
    return real.openModel(model, options);
  };
  return { ...real, openModel };
});
vi.mock('../../../firmware-tools/model/onnx/model-file.js', async (importOriginal) => {
  const real = await importOriginal<typeof ModelFiles>();
  const decodeModel: typeof real.decodeModel = (bytes, what) => {
    parsed.push(what);
    return real.decodeModel(bytes, what);
  };
  return { ...real, decodeModel };
});

let folder: string;
beforeEach(() => {
  folder = tempFolder();
  parsed.length = 0;
});

const EVALUATION = '[evaluation]\ninputs = "evaluation.npy"';
/** Adds 0.1 to the first logit: inputs whose second one leads by less get the other class. */
const better = smallModel([0.1, 0]);

/** `different` of `count` inputs get another class from `better` than from an unbiased model. */
function inputs(different: number, count: number): Float32Array {
  const lead = (i: number): number => (i < different ? 0.05 : 1) + i * 1e-6;
  return Float32Array.from({ length: 2 * count }, (_, at) =>
    at % 2 === 0 ? 0 : lead((at - 1) / 2),
  );
}

function specIn(name: string, spec: string, model: Uint8Array, data = inputs(75, 500)): string {
  const path = join(folder, name);
  const file = writeSpec(path, spec, model);
  const shape = [data.length / 2, 2];
  writeFileSync(join(path, 'evaluation.npy'), encodeNpy({ dtype: 'f4', shape, data }));
  return file;
}

async function bundle(spec: string, model = smallModel([0, 0]), key: Signer = releaseKey) {
  const name = `base-${spec.length}-${key.keyId.slice(0, 8)}.bundle`;
  const file = join(folder, name);
  const { release } = await buildBundle(specIn('base', spec, model), key, file, realRandom);
  return { file, digest: release.digest };
}

const base = () => bundle(smallSpec('1.0.0'));

function fresh(against: string[], more: ExpectOptions = {}, data?: Float32Array) {
  const spec = specIn('fresh', smallSpec('1.1.0', EVALUATION), better, data);
  const out = join(folder, 'fresh.bundle');
  return buildBundle(spec, releaseKey, out, realRandom, { against, ...more });
}

describe('the_measured_difference', () => {
  it('is_signed_with_its_sum_count_and_base', async () => {
    const { file, digest } = await base();
    const { release } = await fresh([file]);
    expect(release.manifest.expectedDifferences).toEqual([
      {
        base: digest,
        version: '1.0.0',
        evaluationSha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
        outputs: [{ output: 'logits', sum: 75, count: 500 }],
      },
    ]);
  });

  it('of_the_same_model_is_zero_with_a_limit_of_its_uncertainty', async () => {
    const { file, digest } = await bundle(smallSpec('1.0.0'), better);
    const { manifest } = (await fresh([file])).release;
    expect(manifest.expectedDifferences).toMatchObject([{ outputs: [{ sum: 0, count: 500 }] }]);
    // 1 - 0.05^(1/500) = 0.6 %, and the margin of 3 points.
    expect(declaredPermille(manifest, { digest }, 'logits')).toBe(6 + 30);
  });

  it('is_measured_from_each_base_and_once_from_one_that_is_named_twice', async () => {
    const [one, two] = [await base(), await bundle(`${smallSpec('0.9.0')}\n# older`, better)];
    const { manifest } = (await fresh([one.file, two.file, one.file])).release;
    const sums = manifest.expectedDifferences?.map(({ version, outputs }) => [
      version,
      outputs[0]?.sum,
    ]);
    expect(sums).toEqual([
      ['1.0.0', 75],
      ['0.9.0', 0],
    ]);
  });

  it('compares_labels_by_name_where_the_base_has_them_in_another_order', async () => {
    const turned = smallSpec('1.0.0').replace('["no", "yes"]', '["yes", "no"]');
    const { file } = await bundle(turned);
    const { manifest } = (await fresh([file])).release;
    expect(manifest.expectedDifferences?.[0]?.outputs).toEqual([
      { output: 'logits', sum: 425, count: 500 },
    ]);
  });

  it('follows_the_declared_comparison', async () => {
    const { file } = await base();
    const declared = '[[comparisons]]\noutput = "logits"\nkind = "value"\nscale = 1';
    const spec = specIn('fresh', smallSpec('1.1.0', `${declared}\n${EVALUATION}`), better);
    const { release } = await buildBundle(spec, releaseKey, join(folder, 'x'), realRandom, {
      against: [file],
    });
    expect(release.manifest.comparisons).toEqual([{ output: 'logits', kind: 'value', scale: 1 }]);
    // Half of the elements differ by 0.1.
    const [measured] = release.manifest.expectedDifferences?.[0]?.outputs ?? [];
    expect(measured?.sum).toBeCloseTo(0.05 * 500, 4);
  });

  it('may_be_asked_for_in_the_spec_with_paths_of_its_folder', async () => {
    const { file } = await base();
    mkdirSync(join(folder, 'fresh'));
    const asked = `${EVALUATION}\nagainst = ["../${file.split('/').at(-1) ?? ''}"]`;
    const spec = specIn('fresh', smallSpec('1.1.0', asked), better);
    const { release } = await buildBundle(spec, releaseKey, join(folder, 'x'), realRandom);
    expect(release.manifest.expectedDifferences).toHaveLength(1);
  });
});

describe('an_honest_improvement_of_15_percent', () => {
  const verdicts = (manifest: Manifest, digest: string, differenceCapPermille: number) =>
    [1, 2, 3, 4].map((seed) => {
      const declared = declaredPermille(manifest, { digest }, 'logits');
      const traffic = { perHour: 10_000, differing: 0.15, declaredPermille: declared };
      const policy = { differenceCapPermille };
      return trialUnderTraffic({ seed, ...traffic, policy }).verdict.verdict;
    });

  it('passes_its_trial_when_it_was_measured_and_is_within_the_cap', async () => {
    const { file, digest } = await base();
    const { manifest } = (await fresh([file])).release;
    expect(verdicts(manifest, digest, 400)).toEqual(new Array(4).fill('pass'));
  });

  it('is_for_a_person_when_it_was_not_measured', async () => {
    const { digest } = await base();
    const { manifest } = (await fresh([])).release;
    expect(manifest.expectedDifferences).toBeUndefined();
    expect(verdicts(manifest, digest, 400)).toEqual(
      new Array(4).fill('differs_more_than_declared'),
    );
  });

  it('fails_beyond_the_cap_whatever_it_declares', async () => {
    const { file, digest } = await base();
    const { manifest } = (await fresh([file])).release;
    expect(verdicts(manifest, digest, 60)).toEqual(new Array(4).fill('fail'));
  });
});

describe('too_few_inputs', () => {
  it('a_difference_of_100_inputs_is_refused_without_the_flag_and_taken_with_it', async () => {
    const { file } = await base();
    const { detail } = await refused(fresh([file], {}, inputs(15, 100)), 'difference_not_accepted');
    expect(detail).toMatch(
      /^answers of logits differ from 1\.0\.0 by 15 % \(n 100; limit 25\.2 %\): fewer than 300 /,
    );
    const { release } = await fresh([file], { acceptDifference: true }, inputs(15, 100));
    expect(release.manifest.expectedDifferences?.[0]?.outputs).toMatchObject([{ count: 100 }]);
  });

  it('an_input_that_is_given_many_times_counts_once', async () => {
    const { file } = await base();
    const ten = inputs(1, 10);
    const repeated = Float32Array.from({ length: 40 * ten.length }, (_, i) => ten[i % 20]!);
    const fault = await refused(fresh([file], {}, repeated), 'difference_not_accepted');
    expect(fault.detail).toContain('(n 10;');
  });
});

describe('a_base_that_is_refused', () => {
  test('with_a_wrong_signature_never_reaches_the_parser', async () => {
    const { file } = await bundle(smallSpec('1.0.0'), smallModel([0, 0]), otherKey);
    parsed.length = 0;
    expect((await refused(fresh([file]), 'signature_invalid')).detail).toContain(file);
    expect(parsed).toEqual([]);
    const { release } = await fresh([file], { ring: ringOf(otherKey) });
    expect(release.manifest.expectedDifferences).toHaveLength(1);
    expect(parsed.filter((what) => what.startsWith(file))).toHaveLength(2);
  });

  test('of_another_component_or_with_other_labels_or_without_inputs_to_answer', async () => {
    const other = await bundle(smallSpec('1.0.0').replace('"small"', '"large"'));
    expect((await refused(fresh([other.file]), 'config_invalid')).detail).toContain('large 1.0.0');
    const labels = await bundle(smallSpec('1.0.0').replace('"yes"', '"perhaps"'));
    expect((await refused(fresh([labels.file]), 'data_mismatch')).detail).toContain('other labels');
    const { file } = await base();
    const spec = specIn('fresh', smallSpec('1.1.0'), better);
    const against = [file];
    const built = buildBundle(spec, releaseKey, join(folder, 'x'), realRandom, { against });
    expect((await refused(built, 'config_invalid')).detail).toContain('no [evaluation] inputs');
  });
});

test('a_shown_bundle_says_how_far_it_differs', async () => {
  const { file } = await base();
  await fresh([file]);
  let text = '';
  const take = (more: string): void => {
    text += more;
  };
  const program = new Command('linnet').exitOverride();
  registerBundleCommands(program, makeOutput(false, { out: take, err: take }));
  const args = ['bundle', 'inspect', join(folder, 'fresh.bundle')];
  await program.parseAsync(args, { from: 'user' });
  expect(text).toContain('answers of logits differ from 1.0.0 by 15 % (n 500; limit 20.9 %)');
});
