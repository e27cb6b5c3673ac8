// Names that the files of one release may not have together: at the builder and on the device.
import { expect, it } from 'vitest';
import { isFault } from '../../../shared/base/fault-codes.js';
import { fileNamesProblem } from '../../../shared/release/file-names.js';
import { decodeManifest, manifestBytes } from '../../../shared/release/manifest.js';
import { simRelease } from '../../sim/release.js';

it.each([
  [['model.onnx', 'labels.txt'], null],
  [[], null],
  [['release.dsse.jso', 'release.dsse.json5'], null],
  [['model.onnx', 'model.onnx'], "include 'model.onnx' twice: rename one"],
  [
    ['Model.onnx', 'labels.txt', 'model.onnx'],
    "include 'Model.onnx' and 'model.onnx', which differ in case only: rename one",
  ],
  [
    ['a', 'release.dsse.json'],
    "include 'release.dsse.json', the name of the signed manifest: rename the file",
  ],
  [
    ['RELEASE.dsse.JSON'],
    "include 'RELEASE.dsse.JSON', the name of the signed manifest: rename the file",
  ],
])('names_%j', (names, problem) => {
  expect(fileNamesProblem(names)).toBe(problem);
});

it.each([
  ['release.dsse.json', 'the name of the signed manifest'],
  ['Model.onnx', 'differ in case only'],
  ['model.onnx', 'twice'],
])('a_manifest_with_a_file_named_%s_is_refused', (name, problem) => {
  const { manifest } = simRelease('1.0.0');
  const file = { name, role: 'other' as const, sha256: 'ab'.repeat(32), length: 1 };
  const bytes = manifestBytes({ ...manifest, files: [...manifest.files, file] });
  expect(() => decodeManifest(bytes)).toThrow(problem);
  try {
    decodeManifest(bytes);
  } catch (error) {
    expect(isFault(error, 'manifest_undecodable')).toBe(true);
  }
});
