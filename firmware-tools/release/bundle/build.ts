// Builds a release: spec and model in, signed bundle out. The same input gives the same bytes:
// time, machine and folder do not go in (golden answers are those of the processor that built it,
// within the declared tolerance of any other). The bundle is written whole: no file has its name
// until the last byte is on disk.
import { createReadStream } from 'node:fs';
import { limits } from '../../../shared/base/limits.js';
import { decode, parseJson } from '../../../shared/base/decode.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import {
  decodeManifest,
  Manifest,
  manifestBytes,
  releaseOf,
  RELEASE_PAYLOAD_TYPE,
  type Release,
} from '../../../shared/release/manifest.js';
import type { Lineage, ModelFile } from '../../../shared/release/model-manifest.js';
import { LOSS_KEY, lossInReport } from '../../../shared/release/quantization-loss.js';
import type { Random } from '../../../shared/base/interfaces.js';
import { sha256, utf8 } from '../../../shared/base/bytes.js';
import { signEnvelope } from '../../../shared/trust/envelope.js';
import type { KeyRing } from '../../../shared/trust/key-ring.js';
import type { Signer } from '../../../shared/trust/signer.js';
import { tempBeside, writeWhole } from '../../../shared/platform/durable-files.js';
import { fileDigest, RunningDigest, type Digest } from '../../../shared/platform/hashing.js';
import { asFault } from '../keys/key-files.js';
import { feedsOf } from '../../model/input-data/feeds.js';
import { decodeModel } from '../../model/onnx/model-file.js';
import { readInputFile, unreadable } from '../../model/input-data/input-file.js';
import { openModel } from '../../model/session.js';
import { readSpecInputs, recordGoldens, requireLabelEach, tensorSpec } from './golden.js';
import {
  measureDifferences,
  readBases,
  requireEnoughInputs,
  type Base,
} from './expected-differences.js';
import {
  headerBytes,
  indexBytes,
  indexOf,
  INDEX_NAME,
  paddingBytes,
  TRAILER_BYTES,
} from './layout.js';
import {
  DEFAULT_TOLERANCE,
  loadSpec,
  nameOf,
  PROBES_NAME,
  type LoadedSpec,
} from './bundle-spec.js';

/**
 * Where a file's bytes come from: memory, or a path that is read twice (to name it, to write it)
 * and must not change between.
 */
interface Source {
  readonly entry: ModelFile;
  readonly from: string | Uint8Array;
}

export interface Built {
  readonly release: Release;
  /** Length and SHA-256 of the whole bundle file. */
  readonly bytes: number;
  readonly sha256: string;
}

/** How the difference from older releases is measured. */
export interface ExpectOptions {
  /** Bundles of older releases, beside those that the spec names. */
  readonly against?: readonly string[];
  /** Who must have signed them; when left out, the key that signs the new one. */
  readonly ring?: KeyRing;
  /** Take a difference that was measured on few inputs. */
  readonly acceptDifference?: boolean;
}

/**
 * Replaces `outFile` when it exists. Faults of the older bundles: those of readBases and
 * measureDifferences, difference_not_accepted. Others: config_invalid (spec), data_undecodable
 * (probes), file_unreadable (a file that it names), model_not_onnx, model_tensors_differ,
 * manifest_undecodable (what the spec asks for makes no valid manifest), disk_full, disk_failed.
 */
export async function buildBundle(
  specFile: string,
  key: Signer,
  outFile: string,
  random: Random,
  { against = [], ring = ringOfKey(key), acceptDifference = false }: ExpectOptions = {},
): Promise<Built> {
  const loaded = loadSpec(specFile);
  const { spec, at } = loaded;
  const files = [...(spec.evaluation?.against ?? []).map(at), ...against];
  if (files.length > 0 && spec.evaluation === undefined)
    throw new Fault(
      'config_invalid',
      `release spec ${specFile}: it has no [evaluation] inputs to compare answers on`,
    );
  const bases = await readBases(files, spec.component, ring);
  const { manifest, sources } = await describe(loaded, bases);
  if (!acceptDifference) requireEnoughInputs(manifest);
  const payload = manifestBytes(
    decode(Manifest, manifest, `release spec ${specFile}`, 'manifest_undecodable'),
  );
  decodeManifest(payload);
  const envelope = utf8(
    `${JSON.stringify(await signEnvelope(RELEASE_PAYLOAD_TYPE, payload, [key]), null, 2)}\n`,
  );
  if (envelope.length > limits.manifestMaxBytes) {
    throw new Fault(
      'manifest_undecodable',
      `the signed manifest is ${envelope.length} bytes, the limit is ${limits.manifestMaxBytes}`,
    );
  }
  const digest = sha256(envelope);
  const written = await writeBundle(
    outFile,
    manifest,
    { bytes: envelope, sha256: digest },
    sources,
    random,
  );
  return { release: releaseOf(manifest, envelope), ...written };
}

const ringOfKey = ({ keyId, publicKey }: Signer): KeyRing => ({
  keys: { [keyId]: publicKey },
  keyids: [keyId],
  threshold: 1,
});

async function describe(
  { spec, at }: LoadedSpec,
  bases: readonly Base[],
): Promise<{ manifest: Manifest; sources: Source[] }> {
  const model = readInputFile(at(spec.model));
  // Refuses weights outside the file, which ONNX Runtime would go and read.
  decodeModel(model, at(spec.model));
  const session = await openModel(model, { what: at(spec.model) });
  try {
    const unknown = Object.keys(spec.ranges ?? {}).filter(
      (name) => !session.inputs.some((input) => input.name === name),
    );
    if (unknown.length > 0)
      throw new Fault(
        'config_invalid',
        `[ranges] ${unknown.join(', ')}: the model takes ` +
          session.inputs.map((input) => input.name).join(', '),
      );
    const range = (name: string): { min: number; max: number } | undefined =>
      Object.hasOwn(spec.ranges ?? {}, name) ? spec.ranges?.[name] : undefined;
    // Before the model runs: a type that no release may have is not the probes' fault.
    const inputs = session.inputs.map((meta) => tensorSpec(meta, range(meta.name), spec.model));
    const outputs = session.outputs.map((meta) => tensorSpec(meta, undefined, spec.model));
    const probes = await recordGoldens(
      session,
      readSpecInputs(session, 'probes', spec.probes.inputs, at),
    );
    requireLabelEach(spec.classifier, session, probes);
    const sources = await gather({ spec, at }, model, utf8(`${JSON.stringify(probes)}\n`));
    const { absolute, relative } = { ...DEFAULT_TOLERANCE, ...spec.probes };
    const manifest: Manifest = {
      format: 'linnet.release/1',
      kind: 'model',
      component: spec.component,
      version: spec.version,
      description: spec.description ?? '',
      hardware: [...spec.hardware].sort(),
      files: sources.map(({ entry }) => entry),
      inputs,
      outputs,
      classifier: spec.classifier ?? null,
      ...(spec.comparisons === undefined ? {} : { comparisons: spec.comparisons }),
      probes: { count: probes.probes.length, tolerance: { absolute, relative } },
      contract: {
        peakMemoryMiB: spec.contract.peak_memory_mib,
        p99LatencyMs: spec.contract.p99_latency_ms,
      },
      lineage: await lineageOf({ spec, at }, sha256(model)),
    };
    if (spec.evaluation === undefined || bases.length === 0) return { manifest, sources };
    const arrays = readSpecInputs(session, 'evaluation', spec.evaluation.inputs, at);
    const feeds = feedsOf(session.inputs, arrays);
    manifest.expectedDifferences = await measureDifferences(manifest, session, bases, feeds);
    return { manifest, sources };
  } finally {
    await session.release();
  }
}

async function gather(
  { spec, at }: LoadedSpec,
  model: Uint8Array,
  probes: Uint8Array,
): Promise<Source[]> {
  const held = (name: string, role: ModelFile['role'], bytes: Uint8Array): Source => ({
    entry: { name, role, sha256: sha256(bytes), length: bytes.length },
    from: bytes,
  });
  const sources = [held(nameOf(spec.model), 'model', model), held(PROBES_NAME, 'probes', probes)];
  for (const file of spec.files ?? []) {
    const path = at(file.path);
    const found = await digestOf(path);
    sources.push({
      entry: { name: file.name ?? nameOf(file.path), role: file.role ?? 'other', ...found },
      from: path,
    });
  }
  return sources.sort((a, b) => (a.entry.name < b.entry.name ? -1 : 1));
}

async function lineageOf({ spec, at }: LoadedSpec, modelSha256: string): Promise<Lineage> {
  const { lineage } = spec;
  const base = lineage.base_model;
  const baseModel =
    base === undefined
      ? null
      : {
          name: base.name,
          sha256: 'file' in base ? (await digestOf(at(base.file))).sha256 : base.sha256,
        };
  const quantization =
    lineage.quantization === undefined
      ? null
      : await quantizationOf(at(lineage.quantization), modelSha256, baseModel?.sha256 ?? null);
  return {
    trainingDataSha256: lineage.training_data_sha256,
    sourceCommit: lineage.source_commit ?? 'unknown',
    baseModel,
    quantization,
  };
}

/** A value of a report as a message shows it: anything may stand where a digest belongs. */
const shown = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value);

/** The settings of a quantizer's report, which must be about this model, and what it measured. */
async function quantizationOf(
  file: string,
  modelSha256: string,
  baseSha256: string | null,
): Promise<Record<string, unknown>> {
  const report = parseJson(readInputFile(file), `quantization report ${file}`, 'config_invalid');
  if (typeof report !== 'object' || report === null || Array.isArray(report))
    throw new Fault('config_invalid', `quantization report ${file} is not a JSON object`);
  const { sha256: ofModel, settings } = report as { sha256?: unknown; settings?: unknown };
  if (ofModel !== undefined && ofModel !== modelSha256) {
    throw new Fault(
      'config_invalid',
      `quantization report ${file} is of the model ${shown(ofModel)}, the spec's ` +
        `model is ${modelSha256}`,
    );
  }
  const taken = (typeof settings === 'object' && settings !== null ? settings : report) as Record<
    string,
    unknown
  >;
  if (
    baseSha256 !== null &&
    taken['fp32Sha256'] !== undefined &&
    taken['fp32Sha256'] !== baseSha256
  ) {
    throw new Fault(
      'config_invalid',
      `quantization report ${file} is of the base model ` +
        `${shown(taken['fp32Sha256'])}, base_model is ${baseSha256}`,
    );
  }
  const measured = lossInReport(report as Record<string, unknown>);
  return measured === null ? taken : { ...taken, [LOSS_KEY]: measured };
}

async function writeBundle(
  outFile: string,
  manifest: Manifest,
  envelope: { bytes: Uint8Array; sha256: string },
  sources: readonly Source[],
  random: Random,
): Promise<{ bytes: number; sha256: string }> {
  const digest = new RunningDigest();
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of bundleChunks(manifest, envelope, sources)) {
      digest.update(chunk);
      yield chunk;
    }
  };
  try {
    await writeWhole(outFile, counted(), { temp: tempBeside(outFile, random) });
  } catch (error) {
    throw asFault(error, outFile);
  }
  const { sha256, length } = digest.end();
  return { bytes: length, sha256 };
}

/** The bytes of a bundle: index, envelope and files as tar entries, then the trailer. */
async function* bundleChunks(
  manifest: Manifest,
  envelope: { bytes: Uint8Array; sha256: string },
  sources: readonly Source[],
): AsyncGenerator<Uint8Array> {
  const entry = async function* (
    name: string,
    length: number,
    chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    yield headerBytes(name, length);
    yield* chunks;
    yield new Uint8Array(paddingBytes(length));
  };
  const { bytes, sha256 } = envelope;
  const index = indexBytes(indexOf(manifest, { length: bytes.length, sha256 }));
  yield* entry(INDEX_NAME, index.length, [index]);
  yield* entry('release.dsse.json', bytes.length, [bytes]);
  for (const source of sources)
    yield* entry(`files/${source.entry.name}`, source.entry.length, unchanged(source));
  yield new Uint8Array(TRAILER_BYTES);
}

/** A source's bytes, which must still be those that the manifest names. */
async function* unchanged({ entry, from }: Source): AsyncIterable<Uint8Array> {
  if (typeof from !== 'string') {
    yield from;
    return;
  }
  const digest = new RunningDigest();
  for await (const chunk of createReadStream(from) as AsyncIterable<Uint8Array>) {
    digest.update(chunk);
    yield chunk;
  }
  const { sha256, length } = digest.end();
  if (length !== entry.length || sha256 !== entry.sha256)
    throw new Fault('file_digest', `${from} changed while the bundle was built`);
}

async function digestOf(path: string): Promise<Digest> {
  try {
    return await fileDigest(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}
