// Static int8 quantization of an ONNX model: QDQ, per-channel symmetric int8 weights, asymmetric
// uint8 activations, int32 biases, MinMax calibration on real inputs. Promises: the same model and
// inputs give the same bytes; operators that are not chosen stay float and exact; the prepared
// graph was compared with the original on a calibration input; and ONNX Runtime's own optimised
// graph was read back, so that a Conv, Gemm or MatMul that did not become an int8 kernel is named
// in the report. A model in which nothing can be quantized is Fault model_unquantizable with every
// candidate node and why. Algorithm: onnxruntime/python/tools/quantization (quantize_static); the
// parts are in quantizer/.
import { createHash } from 'node:crypto';
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import { Wiring, decodeModel, encodeModel } from '../onnx.js';
import type { GraphProto } from '../onnx.js';
import { calibrate } from './calibrate.js';
import { JOINED_OPS, isCandidate, planQuantization } from './quantize-plan.js';
import type { FloatNode, Plan } from './quantize-plan.js';
import { optimizedGraph, prepare } from './prepare.js';
import type { Model } from './prepare.js';
import { writeQdq } from './rewrite.js';
import { openModel, runtimeVersion } from '../session.js';
import type { Answers, Feeds, TensorData } from '../session.js';

export interface QuantizeOptions {
  /** Names the model in messages. */
  what?: string;
  /**
   * Operator types between int8 values that become int8 too (default: Add, Mul, Concat,
   * AveragePool, GlobalAveragePool).
   */
  joined?: readonly string[];
  /** Names of nodes to leave float. */
  exclude?: readonly string[];
  /** One weight scale per output channel (default) or per tensor. */
  perChannel?: boolean;
  /**
   * 7-bit weights (default): x86 without VNNI adds pairs of u8 x s8 products in 16 bits, which
   * saturate with 8-bit weights, so that one model would answer differently on different devices of
   * a fleet. Turn off where every device has VNNI or is arm64.
   */
  reduceRange?: boolean;
}

/** What goes into a release's lineage: enough to make the same bytes again. A plain JSON object. */
export interface QuantizationSettings {
  tool: 'linnet-quantizer/1';
  /** Prepared the graph; together with the rest, the same bytes come out again. */
  runtime: string;
  format: 'QDQ';
  calibration: 'MinMax';
  activations: 'uint8 asymmetric';
  weights: 'int8 symmetric per-channel' | 'int8 symmetric per-tensor';
  biases: 'int32';
  reduceRange: boolean;
  joined: string[];
  exclude: string[];
  fp32Sha256: string;
  calibrationInputs: number;
  /** As digestOfFeeds makes it. */
  calibrationSha256: string;
}

export interface QuantizeReport {
  opsetBefore: number;
  opsetAfter: number;
  quantizedNodes: { node: string; op: string }[];
  /** Conv, Gemm and MatMul left in float on purpose. */
  floatNodes: FloatNode[];
  /** Relu and Clip nodes that vanished into their producer's range. */
  foldedNodes: number;
  /**
   * Conv, Gemm and MatMul that were quantized but that ONNX Runtime still computes in float:
   * slower, not wrong.
   */
  unfusedNodes: { node: string; op: string }[];
  /** Operators that ONNX Runtime runs after its own fusion, by count. */
  fusedOps: Record<string, number>;
  fp32Bytes: number;
  int8Bytes: number;
}

export interface Quantized {
  bytes: Uint8Array;
  settings: QuantizationSettings;
  report: QuantizeReport;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** SHA-256 (hex) over every tensor: name, dims, then its bytes, inputs in their order. */
export function digestOfFeeds(feeds: Feeds[]): string {
  const hash = createHash('sha256');
  for (const feed of feeds) {
    for (const name of Object.keys(feed).sort()) {
      const { data, dims } = feed[name]!;
      const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
      hash.update(`${name}[${dims.join(',')}]\n`).update(bytes);
    }
  }
  return hash.digest('hex');
}

function largestDifference(
  a: TensorData,
  b: TensorData,
): { difference: number; magnitude: number } {
  let difference = 0,
    magnitude = 0;
  for (let i = 0; i < a.length; i++) {
    const x = Number(a[i]),
      y = Number(b[i]);
    if (Number.isNaN(x) && Number.isNaN(y)) continue;
    difference = Math.max(
      difference,
      Number.isNaN(x - y) && x !== y ? Infinity : x === y ? 0 : Math.abs(x - y),
    );
    magnitude = Math.max(magnitude, Math.abs(x));
  }
  return { difference, magnitude };
}

const PREPARED_RELATIVE_TOLERANCE = 1e-3;

async function answersOf(bytes: Uint8Array, feed: Feeds, what: string): Promise<Answers> {
  const session = await openModel(bytes, { what });
  try {
    return await session.run(feed);
  } finally {
    await session.release();
  }
}

/** The operator-set bump is ours; a mistake in it must not become a wrong model. */
async function checkPrepared(
  fp32: Uint8Array,
  prepared: Model,
  feed: Feeds,
  what: string,
): Promise<void> {
  const before = await answersOf(fp32, feed, what);
  const after = await answersOf(encodeModel(prepared), feed, `${what} (prepared)`);
  for (const [name, { data }] of Object.entries(before)) {
    const { difference, magnitude } = largestDifference(data, after[name]!.data);
    if (
      data.length !== after[name]!.data.length ||
      !(difference <= PREPARED_RELATIVE_TOLERANCE * Math.max(1, magnitude))
    ) {
      throw new Fault(
        'model_unquantizable',
        `${what}: bringing it to operator set 13 changes output '${name}' by ${difference}; export it with set 13 or later`,
      );
    }
  }
}

/**
 * ONNX Runtime loads a model whose shapes do not fit each other and stops at its first run: that
 * must happen here, not on a device.
 */
async function checkRuns(int8: Uint8Array, feed: Feeds, what: string): Promise<void> {
  try {
    await answersOf(int8, feed, `${what} (int8)`);
  } catch (cause) {
    if (!isFault(cause, 'model_tensors_differ', 'model_not_onnx')) throw cause;
    const todo = 'leave nodes float with --exclude until it does';
    throw new Fault(
      'model_unquantizable',
      `the int8 model does not run (${cause.detail}); ${todo}`,
      { cause },
    );
  }
}

const CANDIDATES_TOLD_MAX = 30;

/**
 * A name that fits no node would leave nothing float and say so nowhere. The names are those of the
 * prepared graph.
 */
function requireNodes(graph: GraphProto, exclude: readonly string[]): void {
  const names = (graph.node ?? []).map((node) => node.name ?? '');
  const unknown = exclude.filter((name) => !names.includes(name));
  if (unknown.length === 0) return;
  const known = (graph.node ?? [])
    .filter((node) => isCandidate(node.opType ?? ''))
    .map((node) => node.name ?? '');
  const told =
    known.slice(0, CANDIDATES_TOLD_MAX).join(', ') +
    (known.length > CANDIDATES_TOLD_MAX ? ', ...' : '');
  throw new Fault(
    'usage',
    `--exclude ${unknown.join(', ')}: the model has no such node; it has ${told || 'none to exclude'}`,
  );
}

function refuseEmpty(plan: Plan, what: string): void {
  if ([...plan.chosen.values()].some((choice) => choice.kind === 'weighted')) return;
  const why =
    plan.floats.length === 0
      ? 'it has no Conv, Gemm or MatMul'
      : plan.floats.map((f) => `node '${f.node}' (${f.op}): ${f.why}`).join('; ');
  throw new Fault('model_unquantizable', `${what}: nothing in it can be quantized: ${why}`);
}

/**
 * Reads back what ONNX Runtime makes of the model: a weighted node whose weights still pass a
 * DequantizeLinear was not fused.
 */
async function fusion(
  bytes: Uint8Array,
  what: string,
): Promise<Pick<QuantizeReport, 'unfusedNodes' | 'fusedOps'>> {
  const { graph } = await optimizedGraph(bytes, 'extended', `${what} (int8)`);
  const wiring = new Wiring(graph);
  const unfusedNodes: QuantizeReport['unfusedNodes'] = [];
  const fusedOps: Record<string, number> = {};
  for (const node of graph.node ?? []) {
    const op = node.opType ?? '';
    fusedOps[op] = (fusedOps[op] ?? 0) + 1;
    const weights = wiring.producer.get(node.input?.[1] ?? '');
    const computes = /^(Fused)?(Conv|Gemm|MatMul)$/.test(op);
    if (computes && weights?.opType === 'DequantizeLinear')
      unfusedNodes.push({ node: node.name ?? '', op });
  }
  return {
    unfusedNodes,
    fusedOps: Object.fromEntries(Object.entries(fusedOps).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

/**
 * Quantizes `fp32` (the bytes of an ONNX model, operator set 9 to 22). `calibration`: real inputs
 * as the model takes them; a few hundred are enough, what they do not show is clipped. Faults:
 * model_not_onnx, model_unquantizable, model_tensors_differ (inputs that the model does not take),
 * data_undecodable (no inputs, NaN).
 */
export async function quantize(
  fp32: Uint8Array,
  calibration: Iterable<Feeds> | AsyncIterable<Feeds>,
  options: QuantizeOptions = {},
): Promise<Quantized> {
  const what = options.what ?? 'model';
  const settled = {
    joined: [...(options.joined ?? JOINED_OPS)],
    exclude: [...(options.exclude ?? [])],
    perChannel: options.perChannel ?? true,
  };
  const reduceRange = options.reduceRange ?? true;
  const feeds: Feeds[] = [];
  for await (const feed of calibration) feeds.push(feed);
  if (feeds.length === 0)
    throw new Fault('data_undecodable', `${what}: no calibration inputs were given`);

  decodeModel(fp32, what);
  await (await openModel(fp32, { what })).release();
  const { model, opset } = await prepare(fp32, what);
  requireNodes(model.graph, settled.exclude);
  const plan = planQuantization(model.graph, settled);
  refuseEmpty(plan, what);
  await checkPrepared(fp32, model, feeds[0]!, what);
  const own = [...plan.values.values()].filter((v) => v.scaleOf === v.name).map((v) => v.name);
  const ranges = await calibrate(model, own, feeds, what);
  writeQdq(model.graph, plan, ranges, { reduceRange });
  model.producerName = 'linnet';
  model.producerVersion = '';
  const bytes = encodeModel(model);
  await checkRuns(bytes, feeds[0]!, what);
  const opsetAfter = model.opsetImport?.find((o) => (o.domain ?? '') === '')?.version;
  return {
    bytes,
    settings: {
      tool: 'linnet-quantizer/1',
      runtime: runtimeVersion(),
      format: 'QDQ',
      calibration: 'MinMax',
      activations: 'uint8 asymmetric',
      weights: settled.perChannel ? 'int8 symmetric per-channel' : 'int8 symmetric per-tensor',
      biases: 'int32',
      reduceRange,
      joined: settled.joined,
      exclude: settled.exclude,
      fp32Sha256: sha256(fp32),
      calibrationInputs: feeds.length,
      calibrationSha256: digestOfFeeds(feeds),
    },
    report: {
      opsetBefore: opset,
      opsetAfter: Number(String(opsetAfter)),
      quantizedNodes: [...plan.chosen.keys()].map((node) => ({
        node: node.name ?? '',
        op: node.opType ?? '',
      })),
      floatNodes: plan.floats,
      foldedNodes: plan.folded.size,
      ...(await fusion(bytes, what)),
      fp32Bytes: fp32.byteLength,
      int8Bytes: bytes.byteLength,
    },
  };
}
