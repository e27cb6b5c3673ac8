// The payload kind `model`: what its manifest says beside the common head. An ONNX model, the
// tensors that it takes and gives, golden probes with tolerances, the resources that it may use,
// and where it came from. Also the format of the probes file. Pure; the agent's handler for it is
// agent/update/payload/model.ts.
import { Type, type Static } from 'typebox';
import { Hex32 } from '../base/hex-schemas.js';
import { Fault } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';
import { ComparisonKind } from '../statistics/trial-evidence.js';
import { fileEntry, manifestHead, strict, Version } from './manifest-head.js';
import type { ManifestKind } from './manifest-head.js';

/** Datatypes of the Open Inference Protocol that a release may declare. */
export const Datatype = Type.Enum([
  'BOOL',
  'UINT8',
  'INT8',
  'UINT16',
  'INT16',
  'INT32',
  'INT64',
  'FP32',
  'FP64',
]);
export type Datatype = Static<typeof Datatype>;

/** Shape: sizes per dimension, -1 where the model takes any. */
const Shape = Type.Array(Type.Integer({ minimum: -1, maximum: 2 ** 31 - 1 }), {
  maxItems: limits.tensorDimsMaxCount,
});

export const TensorSpec = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: limits.nameMaxChars }),
    datatype: Datatype,
    shape: Shape,
    /**
     * Values that the model was made for, inclusive; a request outside is refused. NaN and infinity
     * always are.
     */
    range: Type.Optional(Type.Object({ min: Type.Number(), max: Type.Number() }, strict)),
  },
  strict,
);
export type TensorSpec = Static<typeof TensorSpec>;

/** How to read a class and its confidence from an output, for drift and shadow comparison. */
export const Classifier = Type.Object(
  {
    output: Type.String({ minLength: 1, maxLength: limits.nameMaxChars }),
    /**
     * `logits` are softmaxed to get a confidence, `probabilities` are taken as they are. The last
     * axis is the class axis.
     */
    scale: Type.Enum(['logits', 'probabilities']),
    labels: Type.Array(Type.String({ maxLength: limits.labelMaxChars }), {
      minItems: 2,
      maxItems: limits.labelsMaxCount,
    }),
  },
  strict,
);
export type Classifier = Static<typeof Classifier>;

export const Lineage = Type.Object(
  {
    trainingDataSha256: Hex32,
    sourceCommit: Type.String({ pattern: '^([0-9a-f]{7,64}|unknown)$' }),
    baseModel: Type.Union([
      Type.Null(),
      Type.Object({ name: Type.String({ maxLength: limits.nameMaxChars }), sha256: Hex32 }, strict),
    ]),
    quantization: Type.Union([
      Type.Null(),
      Type.Record(Type.String({ maxLength: limits.labelMaxChars }), Type.Unknown()),
    ]),
  },
  strict,
);
export type Lineage = Static<typeof Lineage>;

const OutputName = Type.String({ minLength: 1, maxLength: 200 });

/**
 * How the answers of one output are compared with another release's, on live inputs. Each kind
 * gives a difference in [0, 1]: `class` other labels, `scores` and `value` relative distance,
 * `vector` cosine, `boxes` 1 - F1 of matched boxes, `sequence` edit distance, `none` nothing.
 * Outputs that a manifest does not name get a kind by comparisonsOf().
 */
export const Comparison = Type.Object(
  {
    output: OutputName,
    kind: ComparisonKind,
    /** Of `value`: a difference of this size counts as 1; without it, the values' own size. */
    scale: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
    /** Of `boxes`: boxes with a lower score are no boxes. */
    leastScore: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
  },
  strict,
);
export type Comparison = Static<typeof Comparison>;

/**
 * What the makers measured against one older release (`linnet bundle build --against`): sum of the
 * differences over `count` inputs.
 */
export const ExpectedDifference = Type.Object(
  {
    /** Digest and version of the older release. */
    base: Hex32,
    version: Version,
    /** SHA-256 over the inputs that both answered. */
    evaluationSha256: Hex32,
    outputs: Type.Array(
      Type.Object(
        {
          output: OutputName,
          sum: Type.Number({ minimum: 0 }),
          count: Type.Integer({ minimum: 1, maximum: 1_000_000_000 }),
        },
        strict,
      ),
      { maxItems: 32 },
    ),
  },
  strict,
);

export type ExpectedDifference = Static<typeof ExpectedDifference>;

export const ModelManifest = Type.Object(
  {
    ...manifestHead,
    kind: Type.Literal('model'),
    files: Type.Array(fileEntry(Type.Enum(['model', 'probes', 'labels', 'other'])), {
      minItems: 1,
      maxItems: limits.releaseFilesMaxCount,
    }),
    inputs: Type.Array(TensorSpec, { minItems: 1, maxItems: limits.modelTensorsMaxCount }),
    outputs: Type.Array(TensorSpec, { minItems: 1, maxItems: limits.modelTensorsMaxCount }),
    classifier: Type.Union([Type.Null(), Classifier]),
    comparisons: Type.Optional(Type.Array(Comparison, { maxItems: 32 })),
    expectedDifferences: Type.Optional(
      Type.Array(ExpectedDifference, { maxItems: limits.releaseBasesMaxCount }),
    ),
    probes: Type.Object(
      {
        count: Type.Integer({ minimum: 1, maximum: limits.probesMaxCount }),
        /** |got - golden| <= absolute + relative * |golden|, element by element. */
        tolerance: Type.Object(
          { absolute: Type.Number({ minimum: 0 }), relative: Type.Number({ minimum: 0 }) },
          strict,
        ),
      },
      strict,
    ),
    contract: Type.Object(
      {
        peakMemoryMiB: Type.Number({ exclusiveMinimum: 0, maximum: limits.peakMemoryMaxMib }),
        p99LatencyMs: Type.Number({ exclusiveMinimum: 0, maximum: limits.hostRunMs }),
      },
      strict,
    ),
    lineage: Lineage,
  },
  strict,
);
export type ModelManifest = Static<typeof ModelManifest>;
export type ModelFile = ModelManifest['files'][number];

/**
 * The file of role `probes`: inputs and recorded outputs, tensors as base64 of little-endian
 * row-major bytes.
 */
export const ProbeTensor = Type.Object(
  {
    name: Type.String({ maxLength: limits.nameMaxChars }),
    datatype: Datatype,
    shape: Shape,
    data: Type.String(),
  },
  strict,
);
export const Probes = Type.Object(
  {
    format: Type.Literal('linnet.probes/1'),
    probes: Type.Array(
      Type.Object(
        {
          id: Type.String({ maxLength: limits.labelMaxChars }),
          inputs: Type.Array(ProbeTensor, { minItems: 1, maxItems: limits.modelTensorsMaxCount }),
          outputs: Type.Array(ProbeTensor, { minItems: 1, maxItems: limits.modelTensorsMaxCount }),
        },
        strict,
      ),
      { minItems: 1, maxItems: limits.probesMaxCount },
    ),
  },
  strict,
);
export type Probes = Static<typeof Probes>;
export type ProbeTensor = Static<typeof ProbeTensor>;

/** Bytes per element; BOOL is one byte, as in the binary tensor extension. */
export const ELEMENT_BYTES: Readonly<Record<Datatype, number>> = {
  BOOL: 1,
  UINT8: 1,
  INT8: 1,
  UINT16: 2,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  FP32: 4,
  FP64: 8,
};

/** The only file of a role that must be present exactly once. Fault manifest_undecodable. */
export function fileOf(
  manifest: Pick<ModelManifest, 'files'>,
  role: 'model' | 'probes',
): ModelFile {
  const found = manifest.files.filter((file) => file.role === role);
  const [only] = found;
  if (only === undefined || found.length !== 1)
    throw new Fault(
      'manifest_undecodable',
      `manifest must name one file of role ${role}, names ${found.length}`,
    );
  return only;
}

/**
 * What the schema cannot say: one model, one probes file of a bounded size, a classifier that
 * exists.
 */
function checkModel(manifest: ModelManifest): void {
  fileOf(manifest, 'model');
  const probes = fileOf(manifest, 'probes');
  if (probes.length > limits.probesFileMaxBytes)
    throw new Fault(
      'manifest_undecodable',
      `probes file is ${probes.length} bytes, the limit is ${limits.probesFileMaxBytes}`,
    );
  const { classifier, outputs } = manifest;
  if (classifier !== null && !outputs.some((output) => output.name === classifier.output))
    throw new Fault(
      'manifest_undecodable',
      `classifier reads output ${classifier.output}, which the manifest does not declare`,
    );
  checkComparisons(manifest);
  checkExpectedDifferences(manifest);
}

function checkComparisons({ comparisons = [], classifier, outputs }: ModelManifest): void {
  const names = comparisons.map(({ output }) => output);
  const unknown = names.find((name) => !outputs.some((output) => output.name === name));
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  const classless = comparisons.find(
    ({ kind, output }) => kind === 'class' && output !== classifier?.output,
  );
  const problem =
    unknown !== undefined
      ? `output ${unknown} is compared, which the manifest does not declare`
      : twice !== undefined
        ? `output ${twice} is compared twice`
        : classless !== undefined
          ? `output ${classless.output} is compared by class, but the classifier does not read it`
          : null;
  if (problem !== null) throw new Fault('manifest_undecodable', problem);
}

function checkExpectedDifferences({ expectedDifferences = [], outputs }: ModelManifest): void {
  const bases = expectedDifferences.map(({ base }) => base);
  const twice = bases.find((base, i) => bases.indexOf(base) !== i);
  const wrong = expectedDifferences
    .flatMap((one) => one.outputs)
    .find(({ output, sum, count }) => sum > count || !outputs.some(({ name }) => name === output));
  if (twice !== undefined)
    throw new Fault('manifest_undecodable', `it expects a difference from ${twice} twice`);
  if (wrong !== undefined)
    throw new Fault(
      'manifest_undecodable',
      `it expects a difference of ${wrong.sum} in ${wrong.count} answers of ${wrong.output}`,
    );
}

export const MODEL_KIND: ManifestKind<ModelManifest> = {
  kind: 'model',
  schema: ModelManifest,
  check: checkModel,
};
