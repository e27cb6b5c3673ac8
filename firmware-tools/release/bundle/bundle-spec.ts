// The release spec: the TOML file that says what goes into a release. It is decoded whole, with
// every complaint at once; paths are relative to the spec's own folder. What can be read from the
// model itself (tensors) or measured (goldens) is not here.
import { basename, dirname, resolve } from 'node:path';
import { parse as parseToml } from 'smol-toml';
import { Type, type Static } from 'typebox';
import { limits } from '../../../shared/base/limits.js';
import { decode } from '../../../shared/base/decode.js';
import { Fault, reason } from '../../../shared/base/fault-codes.js';
import { Component, FileName, HardwareId, Version } from '../../../shared/release/manifest-head.js';
import { Classifier, Comparison } from '../../../shared/release/model-manifest.js';
import { fileNamesProblem } from '../../../shared/release/file-names.js';
import { Hex32 } from '../../../shared/base/hex-schemas.js';
import { readInputFile } from '../../model/input-data/input-file.js';

const strict = { additionalProperties: false } as const;
const Path = Type.String({ minLength: 1, maxLength: limits.filePathMaxChars });
const Name = Type.String({ minLength: 1, maxLength: limits.nameMaxChars });

const Spec = Type.Object(
  {
    component: Component,
    version: Version,
    description: Type.Optional(Type.String({ maxLength: limits.descriptionMaxChars })),
    hardware: Type.Array(HardwareId, {
      minItems: 1,
      maxItems: limits.hardwareMaxCount,
      uniqueItems: true,
    }),
    model: Path,
    files: Type.Optional(
      Type.Array(
        Type.Object(
          {
            path: Path,
            role: Type.Optional(Type.Enum(['labels', 'other'])),
            name: Type.Optional(FileName),
          },
          strict,
        ),
        { maxItems: limits.releaseFilesMaxCount - 2 },
      ),
    ),
    classifier: Type.Optional(Classifier),
    /** How answers are compared with another release's, for outputs that need another way. */
    comparisons: Type.Optional(Type.Array(Comparison, { maxItems: limits.modelTensorsMaxCount })),
    /** Values that each input was made for, by the input's name. */
    ranges: Type.Optional(
      Type.Record(Name, Type.Object({ min: Type.Number(), max: Type.Number() }, strict)),
    ),
    probes: Type.Object(
      {
        inputs: Type.Union([Path, Type.Record(Name, Path)]),
        absolute: Type.Optional(Type.Number({ minimum: 0 })),
        relative: Type.Optional(Type.Number({ minimum: 0 })),
      },
      strict,
    ),
    /** What the difference from older releases is measured on. */
    evaluation: Type.Optional(
      Type.Object(
        {
          inputs: Type.Union([Path, Type.Record(Name, Path)]),
          /** Bundles of older releases. */
          against: Type.Optional(Type.Array(Path, { maxItems: limits.releaseBasesMaxCount })),
        },
        strict,
      ),
    ),
    contract: Type.Object(
      {
        peak_memory_mib: Type.Number({ exclusiveMinimum: 0, maximum: limits.peakMemoryMaxMib }),
        p99_latency_ms: Type.Number({ exclusiveMinimum: 0, maximum: limits.hostRunMs }),
      },
      strict,
    ),
    lineage: Type.Object(
      {
        training_data_sha256: Hex32,
        source_commit: Type.Optional(Type.String({ pattern: '^([0-9a-f]{7,64}|unknown)$' })),
        base_model: Type.Optional(
          Type.Union([
            Type.Object({ name: Name, file: Path }, strict),
            Type.Object({ name: Name, sha256: Hex32 }, strict),
          ]),
        ),
        quantization: Type.Optional(Path),
      },
      strict,
    ),
  },
  strict,
);
type Spec = Static<typeof Spec>;

/** The recorded golden probes, as a file of the release. */
export const PROBES_NAME = 'probes.json';

/** What `linnet bundle build` takes when the spec says nothing. */
export const DEFAULT_TOLERANCE = { absolute: 1e-3, relative: 1e-3 } as const;

export interface LoadedSpec {
  readonly spec: Spec;
  /** Absolute path of a path in the spec. */
  readonly at: (path: string) => string;
}

/** Faults: file_unreadable, config_invalid (not TOML, or mistakes: all of them). */
export function loadSpec(file: string): LoadedSpec {
  const text = Buffer.from(readInputFile(file)).toString('utf8');
  let value: unknown;
  try {
    value = parseToml(text);
  } catch (error) {
    throw new Fault('config_invalid', `release spec ${file}: ${reason(error)}`, { cause: error });
  }
  const spec = decode(Spec, value, `release spec ${file}`, 'config_invalid');
  const problem = fileNamesProblem(releaseNames(spec));
  if (problem !== null)
    throw new Fault('config_invalid', `release spec ${file}: the files of the release ${problem}`);
  const folder = dirname(resolve(file));
  return { spec, at: (path) => resolve(folder, path) };
}

/** The name that a file gets in the release: the last segment of its path. */
export function nameOf(path: string): string {
  return decode(FileName, basename(path), `file name of ${path}`, 'config_invalid');
}

/** Every file name that the release will have. */
function releaseNames({ model, files = [] }: Spec): string[] {
  return [nameOf(model), PROBES_NAME, ...files.map(({ name, path }) => name ?? nameOf(path))];
}
