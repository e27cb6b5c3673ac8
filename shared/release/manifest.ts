// What a release is: the manifest that names every file by SHA-256 and length, what the model takes
// and gives, golden probes with tolerances, the resources it may use, and where it came from.
// Signed as a DSSE envelope by a release key; the envelope is the TUF target. The manifest holds no
// time and no machine name, so the same input makes the same bytes.
import { fileNamesProblem } from './file-names.js';
import { Type, type Static } from 'typebox';
import { limits } from '../base/limits.js';
import { decodeJson } from '../base/decode.js';
import { Fault } from '../base/fault-codes.js';
import { Hex32, sha256 } from '../base/bytes.js';
import { openEnvelope } from '../trust/envelope.js';
import type { KeyRing } from '../trust/key-ring.js';

export const RELEASE_PAYLOAD_TYPE = 'application/vnd.linnet.release+json';

const strict = { additionalProperties: false } as const;
export const Component = Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,62}$' });
/** Semantic Versioning 2.0.0, without build metadata: two releases never differ in it alone. */
export const Version = Type.String({
  pattern: '^(0|[1-9]\\d{0,8})\\.(0|[1-9]\\d{0,8})\\.(0|[1-9]\\d{0,8})(-[0-9A-Za-z.-]{1,40})?$',
});
export const HardwareId = Type.String({ pattern: '^[a-z0-9][a-z0-9._-]{0,62}$' });
/** One path segment; so no manifest can name a file outside its slot. */
export const FileName = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,126}$' });

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
const Shape = Type.Array(Type.Integer({ minimum: -1, maximum: 2 ** 31 - 1 }), { maxItems: 8 });

export const TensorSpec = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200 }),
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

export const FileEntry = Type.Object(
  {
    name: FileName,
    role: Type.Enum(['model', 'probes', 'labels', 'other']),
    sha256: Hex32,
    length: Type.Integer({ minimum: 0, maximum: limits.releaseFileMaxBytes }),
  },
  strict,
);
export type FileEntry = Static<typeof FileEntry>;

/** How to read a class and its confidence from an output, for drift and shadow comparison. */
export const Classifier = Type.Object(
  {
    output: Type.String({ minLength: 1, maxLength: 200 }),
    /**
     * `logits` are softmaxed to get a confidence, `probabilities` are taken as they are. The last
     * axis is the class axis.
     */
    scale: Type.Enum(['logits', 'probabilities']),
    labels: Type.Array(Type.String({ maxLength: 100 }), { minItems: 2, maxItems: 1000 }),
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
      Type.Object({ name: Type.String({ maxLength: 200 }), sha256: Hex32 }, strict),
    ]),
    quantization: Type.Union([
      Type.Null(),
      Type.Record(Type.String({ maxLength: 100 }), Type.Unknown()),
    ]),
  },
  strict,
);
export type Lineage = Static<typeof Lineage>;

export const Manifest = Type.Object(
  {
    format: Type.Literal('linnet.release/1'),
    component: Component,
    version: Version,
    description: Type.String({ maxLength: 500 }),
    hardware: Type.Array(HardwareId, { minItems: 1, maxItems: 64 }),
    files: Type.Array(FileEntry, { minItems: 1, maxItems: limits.releaseFilesMaxCount }),
    inputs: Type.Array(TensorSpec, { minItems: 1, maxItems: 32 }),
    outputs: Type.Array(TensorSpec, { minItems: 1, maxItems: 32 }),
    classifier: Type.Union([Type.Null(), Classifier]),
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
        peakMemoryMiB: Type.Number({ exclusiveMinimum: 0, maximum: 1024 * 1024 }),
        p99LatencyMs: Type.Number({ exclusiveMinimum: 0, maximum: limits.hostRunMs }),
      },
      strict,
    ),
    lineage: Lineage,
  },
  strict,
);
export type Manifest = Static<typeof Manifest>;

/**
 * The file of role `probes`: inputs and recorded outputs, tensors as base64 of little-endian
 * row-major bytes.
 */
export const ProbeTensor = Type.Object(
  { name: Type.String({ maxLength: 200 }), datatype: Datatype, shape: Shape, data: Type.String() },
  strict,
);
export const Probes = Type.Object(
  {
    format: Type.Literal('linnet.probes/1'),
    probes: Type.Array(
      Type.Object(
        {
          id: Type.String({ maxLength: 100 }),
          inputs: Type.Array(ProbeTensor, { minItems: 1, maxItems: 32 }),
          outputs: Type.Array(ProbeTensor, { minItems: 1, maxItems: 32 }),
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

/**
 * A release by name; `digest` is the SHA-256 of its envelope, which is what answers and reports
 * carry.
 */
export interface ReleaseId {
  readonly component: string;
  readonly version: string;
  readonly digest: string;
}

/** The path of a release in the image repository's targets. */
export function targetPath(component: string, version: string): string {
  return `${component}/${version}/release.dsse.json`;
}

/** The one file of a role that must stand exactly once. */
export function fileOf(manifest: Manifest, role: 'model' | 'probes'): FileEntry {
  const found = manifest.files.filter((file) => file.role === role);
  const [only] = found;
  if (only === undefined || found.length !== 1)
    throw new Fault(
      'manifest_undecodable',
      `manifest must name one file of role ${role}, names ${found.length}`,
    );
  return only;
}

export function totalLength(manifest: Manifest): number {
  return manifest.files.reduce((sum, file) => sum + file.length, 0);
}

/**
 * Decodes manifest bytes and checks what the schema cannot say. Signature not included: see
 * openRelease.
 */
export function decodeManifest(bytes: Uint8Array): Manifest {
  const manifest = decodeJson(Manifest, bytes, 'release manifest', 'manifest_undecodable');
  fileOf(manifest, 'model');
  const probes = fileOf(manifest, 'probes');
  if (probes.length > limits.probesFileMaxBytes)
    throw new Fault(
      'manifest_undecodable',
      `probes file is ${probes.length} bytes, bound is ${limits.probesFileMaxBytes}`,
    );
  const problem = fileNamesProblem(manifest.files.map(({ name }) => name));
  if (problem !== null)
    throw new Fault('manifest_undecodable', `the files of the release ${problem}`);
  if (totalLength(manifest) > limits.releaseTotalMaxBytes)
    throw new Fault(
      'manifest_undecodable',
      `files are ${totalLength(manifest)} bytes together, bound is ${limits.releaseTotalMaxBytes}`,
    );
  if (
    manifest.classifier !== null &&
    !manifest.outputs.some((output) => output.name === manifest.classifier?.output)
  ) {
    throw new Fault(
      'manifest_undecodable',
      `classifier reads output ${manifest.classifier.output}, which the manifest does not declare`,
    );
  }
  return manifest;
}

export interface Release extends ReleaseId {
  readonly manifest: Manifest;
}

/**
 * A release from its envelope's bytes: signature first, then schema. The proof that every start
 * repeats.
 */
export function openRelease(envelope: Uint8Array, ring: KeyRing): Release {
  if (envelope.length > limits.manifestMaxBytes)
    throw new Fault(
      'manifest_undecodable',
      `envelope is ${envelope.length} bytes, bound is ${limits.manifestMaxBytes}`,
    );
  const manifest = decodeManifest(openEnvelope(envelope, RELEASE_PAYLOAD_TYPE, ring));
  return {
    component: manifest.component,
    version: manifest.version,
    digest: sha256(envelope),
    manifest,
  };
}

export function manifestBytes(manifest: Manifest): Uint8Array {
  // Canonical JSON has no floats in the OLPC form, so the manifest is written as JSON with sorted
  // keys instead.
  return new TextEncoder().encode(JSON.stringify(sorted(manifest), null, 2) + '\n');
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}
