// Building releases from real ONNX models: the same bytes each time, goldens that are the model's
// own answers, and every mistake in a spec named.
import { create } from '@bufbuild/protobuf';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bundleFile, readBundle } from '../../../firmware-tools/release/bundle/read.js';
import { encodeNpy } from '../../../firmware-tools/model/input-data/npy.js';
import { decodeModel, encodeModel } from '../../../firmware-tools/model/onnx/model-file.js';
import { makeNode } from '../../../firmware-tools/model/onnx/nodes.js';
import {
  TensorProtoSchema,
  TensorProto_DataLocation,
} from '../../../firmware-tools/model/onnx/onnx_pb.js';
import { ElementType, makeValue } from '../../../firmware-tools/model/onnx/tensors.js';
import { onnxModel } from '../../support/onnx-models.js';
import { decodeJson } from '../../../shared/base/decode.js';
import type { FaultCode } from '../../../shared/base/fault-codes.js';
import { Probes } from '../../../shared/release/model-manifest.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { refused } from '../../support/metadata-device.js';
import { tempFolder } from '../../support/temp-folders.js';
import {
  build,
  labelsFile,
  otherKey,
  releaseKey,
  ringOf,
  smallModel,
  smallSpec,
  writeSpec,
} from '../../support/release-builder.js';
import { lossOf } from '../../../shared/release/quantization-loss.js';
import { loss } from '../../support/quantization-losses.js';

test('the_same_input_makes_the_same_bytes_in_another_folder_at_another_time', async () => {
  const [one, two] = [tempFolder(), tempFolder()];
  const first = await build(one, writeSpec(one), 'a.bundle');
  const spec = writeSpec(two);
  for (const name of readdirSync(two)) utimesSync(join(two, name), 1, 1);
  const second = await build(two, spec, 'b.bundle');
  expect(second).toEqual(first);
  expect(readFileSync(join(one, 'a.bundle')).equals(readFileSync(join(two, 'b.bundle')))).toBe(
    true,
  );
  expect(sha256(readFileSync(join(one, 'a.bundle')))).toBe(first.sha256);
  expect((await build(two, spec, 'b.bundle', otherKey)).sha256).not.toBe(first.sha256);
});

test('the_goldens_are_the_models_answers_to_the_given_inputs', async () => {
  const folder = tempFolder();
  const built = await build(folder, writeSpec(folder), 'small.bundle');
  const view = await readBundle(join(folder, 'small.bundle'), ringOf(releaseKey));
  const chunks: Uint8Array[] = [];
  for await (const chunk of bundleFile(view, 'probes.json')) chunks.push(chunk);
  const { probes } = decodeJson(Probes, Buffer.concat(chunks), 'probes');
  const floats = (data: string | undefined): number[] => {
    const bytes = Buffer.from(data ?? '', 'base64');
    return Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4));
  };
  expect(
    probes.map((probe) => [floats(probe.inputs[0]?.data), floats(probe.outputs[0]?.data)]),
  ).toEqual([
    [
      [0, 1],
      [0.5, 0.5],
    ],
    [
      [2, 3],
      [2.5, 2.5],
    ],
    [
      [-1, 0.25],
      [-0.5, -0.25],
    ],
  ]);
  expect(built.release.manifest).toMatchObject({
    inputs: [{ name: 'x', datatype: 'FP32', shape: [-1, 2], range: { min: -10, max: 10 } }],
    outputs: [{ name: 'logits', datatype: 'FP32', shape: [-1, 2] }],
    hardware: ['arm64', 'sim-x86'],
    probes: { count: 3 },
    lineage: { sourceCommit: 'unknown', baseModel: null, quantization: null },
  });
});

test('a_bundle_is_an_ordinary_tar_file', async () => {
  const folder = tempFolder();
  const long = `${'long-name-'.repeat(12)}x`;
  await build(
    folder,
    writeSpec(folder, smallSpec('1.0.0', `${labelsFile}\nname = "${long}"`)),
    'small.bundle',
  );
  const listed = execFileSync('tar', ['-tf', join(folder, 'small.bundle')], { encoding: 'utf8' })
    .trim()
    .split('\n');
  expect(listed).toEqual([
    'bundle.json',
    'release.dsse.json',
    `files/${long}`,
    'files/probes.json',
    'files/small.onnx',
  ]);
  expect(
    execFileSync('tar', ['-xOf', join(folder, 'small.bundle'), `files/${long}`], {
      encoding: 'utf8',
    }),
  ).toBe('no\nyes\n');
  expect((await readBundle(join(folder, 'small.bundle'), ringOf(releaseKey))).verified).toBe(true);
});

test('lineage_takes_the_base_model_by_file_and_settings_from_a_report_about_this_model', async () => {
  const folder = tempFolder();
  const base = smallModel([1, 1]);
  const lineage =
    'base_model = { name = "fp32", file = "base.onnx" }\nquantization = "report.json"\n';
  const spec = writeSpec(folder, smallSpec('1.0.0') + lineage);
  writeFileSync(join(folder, 'base.onnx'), base);
  const report = (sha: string, fp32: string): void => {
    writeFileSync(
      join(folder, 'report.json'),
      JSON.stringify({
        sha256: sha,
        settings: { format: 'QDQ', fp32Sha256: fp32 },
        latencyMs: 1.5,
      }),
    );
  };
  report(sha256(smallModel()), sha256(base));
  expect((await build(folder, spec, 'q.bundle')).release.manifest.lineage).toMatchObject({
    baseModel: { name: 'fp32', sha256: sha256(base) },
    quantization: { format: 'QDQ', fp32Sha256: sha256(base) },
  });
  const measured = loss();
  writeFileSync(
    join(folder, 'report.json'),
    JSON.stringify({
      settings: { format: 'QDQ' },
      report: { ...measured, calibrationFidelity: measured.outputs },
      comparison: measured.heldOut,
    }),
  );
  const built = await build(folder, spec, 'q.bundle');
  expect(lossOf(built.release.manifest.lineage)).toEqual(measured);
  report(sha256('another model'), sha256(base));
  await refused(build(folder, spec, 'q.bundle'), 'config_invalid');
  report(sha256(smallModel()), sha256('another base'));
  await refused(build(folder, spec, 'q.bundle'), 'config_invalid');
});

/** The small model, its bias in a file beside it. */
function externalModel(): Uint8Array {
  const model = decodeModel(smallModel(), 'small');
  model.graph.initializer = [
    create(TensorProtoSchema, {
      name: 'bias',
      dims: [2n],
      dataType: ElementType.float32,
      dataLocation: TensorProto_DataLocation.EXTERNAL,
      externalData: [{ key: 'location', value: 'bias.bin' }],
    }),
  ];
  return encodeModel(model);
}

/** logits = x, of any size: only its answers tell how many classes there are. */
function unsizedModel(): Uint8Array {
  return onnxModel({
    nodes: [makeNode('Identity', 'same', ['x'], ['logits'])],
    inputs: [makeValue('x', ElementType.float32, ['N', 'C'])],
    outputs: [makeValue('logits', ElementType.float32, ['N', 'C'])],
  });
}

describe('refused, and no file is left', () => {
  const npy = (shape: number[], length: number): Uint8Array =>
    encodeNpy({ dtype: 'f4', shape, data: new Float32Array(length) });
  const mistakes: [string, FaultCode, (folder: string) => string][] = [
    ['not TOML', 'config_invalid', () => 'component = '],
    ['an unknown key', 'config_invalid', () => smallSpec('1.0.0', 'colour = "red"')],
    ['a version that is none', 'config_invalid', () => smallSpec('1.0')],
    ['a missing model', 'file_unreadable', () => smallSpec().replace('small.onnx', 'none.onnx')],
    [
      'a model that is not ONNX',
      'model_not_onnx',
      () => smallSpec().replace('small.onnx', 'labels.txt'),
    ],
    [
      'a model whose weights lie outside the file',
      'model_not_onnx',
      (folder: string) => {
        writeFileSync(join(folder, 'small.onnx'), externalModel());
        writeFileSync(join(folder, 'bias.bin'), new Uint8Array(8));
        return smallSpec();
      },
    ],
    [
      'a classifier over an output that is not there',
      'manifest_undecodable',
      () => smallSpec().replace('output = "logits"', 'output = "scores"'),
    ],
    [
      'more labels than the model has classes',
      'config_invalid',
      () => smallSpec().replace('labels = ["no", "yes"]', 'labels = ["no", "yes", "perhaps"]'),
    ],
    [
      'fewer labels than a model of no fixed size answers with',
      'config_invalid',
      (folder: string) => {
        writeFileSync(join(folder, 'small.onnx'), unsizedModel());
        writeFileSync(join(folder, 'probes.npy'), npy([2, 3], 6));
        return smallSpec();
      },
    ],
    [
      'a range of an input that is not there',
      'config_invalid',
      () => smallSpec().replace('[ranges.x]', '[ranges.y]'),
    ],
    [
      'two files of one name',
      'config_invalid',
      () => smallSpec('1.0.0', `${labelsFile}\n[[files]]\npath = "labels.txt"`),
    ],
    [
      'two files whose names differ in case only',
      'config_invalid',
      () => smallSpec('1.0.0', `${labelsFile}\nname = "Small.onnx"`),
    ],
    [
      'a file with the name of the signed manifest',
      'config_invalid',
      () => smallSpec('1.0.0', `${labelsFile}\nname = "release.dsse.json"`),
    ],
    [
      'a file with the name of the golden probes',
      'config_invalid',
      () => smallSpec('1.0.0', `${labelsFile}\nname = "probes.json"`),
    ],
    [
      'a file that climbs out of its name',
      'config_invalid',
      () => smallSpec('1.0.0', `${labelsFile}\nname = "../labels.txt"`),
    ],
    [
      'probes of another shape',
      'data_mismatch',
      (folder: string) => {
        writeFileSync(join(folder, 'probes.npy'), npy([2, 3], 6));
        return smallSpec();
      },
    ],
    [
      'too many probes',
      'data_mismatch',
      (folder: string) => {
        writeFileSync(join(folder, 'probes.npy'), npy([65, 2], 130));
        return smallSpec();
      },
    ],
    [
      'a model that answers NaN',
      'model_unsupported',
      (folder: string) => {
        writeFileSync(join(folder, 'small.onnx'), smallModel([NaN, 0]));
        return smallSpec();
      },
    ],
  ];
  test.each(mistakes.map(([name, ...rest]) => [name.replaceAll(' ', '_'), ...rest] as const))(
    '%s',
    async (_name, code, make) => {
      const folder = tempFolder();
      const spec = writeSpec(folder);
      writeFileSync(spec, make(folder));
      await refused(build(folder, spec, 'x.bundle'), code);
      expect(existsSync(join(folder, 'x.bundle'))).toBe(false);
      expect(readdirSync(folder).filter((name) => name.includes('.tmp'))).toEqual([]);
    },
  );

  test('a_place_that_cannot_be_written_is_a_failure_of_the_disk', async () => {
    const folder = tempFolder();
    const spec = writeSpec(folder);
    await refused(build(folder, spec, 'labels.txt/x.bundle'), 'disk_failed');
    await refused(build(folder, spec, '.'), 'disk_failed');
    expect(readdirSync(folder).filter((name) => name.includes('.tmp'))).toEqual([]);
  });

  test('every_mistake_of_a_spec_is_named_at_once', async () => {
    const folder = tempFolder();
    const spec = writeSpec(
      folder,
      smallSpec('one')
        .replace('"small"', '"Small!"')
        .replace('peak_memory_mib = 100', 'peak_memory_mib = 0'),
    );
    const { detail } = await refused(build(folder, spec, 'x.bundle'), 'config_invalid');
    for (const path of ['/component', '/version', '/contract/peak_memory_mib'])
      expect(detail).toContain(path);
  });
});
