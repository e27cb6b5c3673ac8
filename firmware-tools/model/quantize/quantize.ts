// Static int8 quantization of an ONNX model: QDQ, per-channel symmetric int8 weights, asymmetric
// uint8 activations, int32 biases, MinMax calibration on real inputs. Promises: the same model and
// inputs give the same bytes; operators that are not chosen stay float and exact; the prepared
// graph was compared with the original on a calibration input, and the int8 model with fp32 on all
// of them; and ONNX Runtime's own optimised graph was read back, so that a Conv, Gemm or MatMul
// that did not become an int8 kernel is named in the report. A model in which nothing can be
// quantized is Fault model_unquantizable with every candidate node and the reason. Algorithm:
// onnxruntime/python/tools/quantization (quantize_static); the parts are the files beside this one.
import { Fault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { digestOfFeeds } from '../input-data/feeds.js';
import { decodeModel, encodeModel, opsetOf } from '../onnx/model-file.js';
import { Wiring } from '../onnx/nodes.js';
import type { GraphProto } from '../onnx/onnx_pb.js';
import { openModel, runtimeVersion, type Feeds } from '../session.js';
import { calibrate } from './calibrate.js';
import { checkFidelity, checkPrepared, type OutputFidelity } from './fidelity.js';
import { optimizedGraph, prepare } from './prepare.js';
import { JOINED_OPS } from './joined-ops.js';
import { isCandidate, planQuantization } from './quantize-plan.js';
import type { FloatNode, Plan } from './quantize-plan.js';
import { writeQdq } from './rewrite.js';

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
  /** Take a model whose answers on the calibration data are below the limits (checkFidelity). */
  acceptLoss?: boolean;
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
  /** Relu and Clip nodes that were merged into their producer's range. */
  foldedNodes: number;
  /**
   * Conv, Gemm and MatMul that were quantized but that ONNX Runtime still computes in float:
   * slower, not wrong.
   */
  unfusedNodes: { node: string; op: string }[];
  /** Operators that ONNX Runtime runs after its own fusion, by count. */
  fusedOps: Record<string, number>;
  /** Against fp32 on all calibration inputs, each output of the model. */
  calibrationFidelity: OutputFidelity[];
  fp32Bytes: number;
  int8Bytes: number;
}

export interface Quantized {
  bytes: Uint8Array;
  settings: QuantizationSettings;
  report: QuantizeReport;
}

/**
 * Refuses names that fit no node: they would have no effect, without a word. The names are those of
 * the prepared graph.
 */
function requireNodes(graph: GraphProto, exclude: readonly string[]): void {
  const names = graph.node.map(({ name }) => name);
  const unknown = exclude.filter((name) => !names.includes(name));
  if (unknown.length === 0) return;
  const known = graph.node.filter(({ opType }) => isCandidate(opType)).map(({ name }) => name);
  const listed =
    known.slice(0, limits.listedMaxCount).join(', ') +
    (known.length > limits.listedMaxCount ? ', ...' : '');
  throw new Fault(
    'usage',
    `--exclude ${unknown.join(', ')}: the model has no such node; it has ` +
      (listed || 'none to exclude'),
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
  for (const { opType, name, input } of graph.node) {
    fusedOps[opType] = (fusedOps[opType] ?? 0) + 1;
    const weights = wiring.producer.get(input[1] ?? '');
    const computes = /^(Fused)?(Conv|Gemm|MatMul)$/.test(opType);
    if (computes && weights?.opType === 'DequantizeLinear')
      unfusedNodes.push({ node: name, op: opType });
  }
  return {
    unfusedNodes,
    fusedOps: Object.fromEntries(Object.entries(fusedOps).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

/**
 * Quantizes `fp32` (the bytes of an ONNX model, operator set 9 to 22). `calibration`: real inputs
 * as the model takes them; a few hundred are enough, what they do not show is clipped. Faults:
 * model_not_onnx, model_unquantizable, model_unsupported, data_mismatch (inputs that the model does
 * not take), data_undecodable (no inputs, NaN).
 */
export async function quantize(
  fp32: Uint8Array,
  calibration: Iterable<Feeds> | AsyncIterable<Feeds>,
  options: QuantizeOptions = {},
): Promise<Quantized> {
  const what = options.what ?? 'model';
  const { perChannel = true, reduceRange = true, acceptLoss = false } = options;
  const joined = [...(options.joined ?? JOINED_OPS)];
  const exclude = [...(options.exclude ?? [])];
  const feeds: Feeds[] = [];
  for await (const feed of calibration) feeds.push(feed);
  if (feeds.length === 0)
    throw new Fault('data_undecodable', `${what}: no calibration inputs were given`);

  decodeModel(fp32, what);
  await (await openModel(fp32, { what })).release();
  const { model, opset } = await prepare(fp32, what);
  requireNodes(model.graph, exclude);
  const plan = planQuantization(model.graph, { joined, exclude, perChannel });
  refuseEmpty(plan, what);
  await checkPrepared(fp32, model, feeds[0]!, what);
  const own = [...plan.values.values()].filter((v) => v.scaleOf === v.name).map((v) => v.name);
  const ranges = await calibrate(model, own, feeds, what);
  writeQdq({ graph: model.graph, plan, ranges, reduceRange });
  model.producerName = 'linnet';
  model.producerVersion = '';
  const bytes = encodeModel(model);
  const calibrationFidelity = await checkFidelity(fp32, bytes, feeds, { what, acceptLoss });
  return {
    bytes,
    settings: {
      tool: 'linnet-quantizer/1',
      runtime: runtimeVersion(),
      format: 'QDQ',
      calibration: 'MinMax',
      activations: 'uint8 asymmetric',
      weights: perChannel ? 'int8 symmetric per-channel' : 'int8 symmetric per-tensor',
      biases: 'int32',
      reduceRange,
      joined,
      exclude,
      fp32Sha256: sha256(fp32),
      calibrationInputs: feeds.length,
      calibrationSha256: digestOfFeeds(feeds),
    },
    report: {
      opsetBefore: opset,
      opsetAfter: opsetOf(model),
      quantizedNodes: [...plan.chosen.keys()].map(({ name, opType }) => ({
        node: name,
        op: opType,
      })),
      floatNodes: plan.floats,
      foldedNodes: plan.folded.size,
      ...(await fusion(bytes, what)),
      calibrationFidelity,
      fp32Bytes: fp32.byteLength,
      int8Bytes: bytes.byteLength,
    },
  };
}
