// ONNX files as typed objects, by the schema of a current ONNX release (onnx.proto) and
// @bufbuild/protobuf. Promises: bytes that are no ONNX model, and models whose weights are stored
// in other files, are refused (Fault model_not_onnx); fields that the schema does not know are kept
// byte for byte by decode and encode; and what a rewrite could not keep is refused by name
// (requireRewritable). It does not check operators: ONNX Runtime does that (session.ts).
import { create, fromBinary, isMessage, toBinary } from '@bufbuild/protobuf';
import type { Message, MessageInitShape } from '@bufbuild/protobuf';
import { Fault } from '../../../shared/base/fault-codes.js';
import { allTensors } from './nodes.js';
import { ModelProtoSchema, TensorProto_DataLocation, Version } from './onnx_pb.js';
import type { GraphProto, ModelProto } from './onnx_pb.js';

export type Model = ModelProto & { graph: GraphProto };

/** The newest IR version whose fields and meaning onnx.proto describes. */
export const IR_VERSION_MAX: number = Version.IR_VERSION;

/**
 * Decodes a model; `what` names the file in messages. Checks the outermost structure and that the
 * model is one file. Fault model_not_onnx.
 */
export function decodeModel(bytes: Uint8Array, what: string): Model {
  let model: ModelProto;
  try {
    model = fromBinary(ModelProtoSchema, bytes);
  } catch (cause) {
    throw new Fault(
      'model_not_onnx',
      `${what}: it is not an ONNX file (its bytes are no protobuf of a model)`,
      { cause },
    );
  }
  const { graph, opsetImport } = model;
  if (graph === undefined || graph.output.length === 0 || opsetImport.length === 0) {
    throw new Fault(
      'model_not_onnx',
      `${what}: it is not an ONNX file (no graph with outputs, or no operator set)`,
    );
  }
  refuseExternalData(graph, what);
  return Object.assign(model, { graph });
}

/** Serialises; the same object gives the same bytes, unknown fields included. */
export function encodeModel(model: MessageInitShape<typeof ModelProtoSchema>): Uint8Array {
  return toBinary(ModelProtoSchema, create(ModelProtoSchema, model));
}

const isDefaultDomain = (domain: string): boolean => domain === '' || domain === 'ai.onnx';

/** Version of the default operator set, 0 when the model imports none. */
export function opsetOf(model: ModelProto): number {
  return Number(model.opsetImport.find(({ domain }) => isDefaultDomain(domain))?.version ?? 0n);
}

/**
 * A release is one model file: weights in another file would be missing on the device, and no
 * digest would cover them. ONNX Runtime reads them from where the file says, so it does not notice.
 */
function refuseExternalData(graph: GraphProto, what: string): void {
  for (const tensor of allTensors(graph)) {
    if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) continue;
    const place =
      tensor.externalData.find(({ key }) => key === 'location')?.value ?? 'another file';
    throw new Fault(
      'model_not_onnx',
      `${what}: tensor '${tensor.name || '(unnamed)'}' is stored outside the file, in ${place}; ` +
        'save the model in one file ' +
        '(onnx.save_model(onnx.load(path), out, save_as_external_data=False))',
    );
  }
}

/**
 * Refuses a model that a rewrite (decode, change, encode, ONNX Runtime's own optimisation) could
 * change in a way nobody would see: a newer IR version, fields that the schema does not know, text
 * that is not UTF-8, training information. `bytes` are what the model was decoded from. Fault
 * model_unquantizable, which names the part.
 */
export function requireRewritable(model: Model, bytes: Uint8Array, what: string): void {
  const refuse = (part: string): never => {
    throw new Fault('model_unquantizable', `${what}: ${part}`);
  };
  if (Number(model.irVersion) > IR_VERSION_MAX)
    refuse(
      `it is of ONNX IR version ${model.irVersion}; versions up to ${IR_VERSION_MAX} can be ` +
        'rewritten without loss: export it with an older IR version',
    );
  if (model.trainingInfo.length > 0)
    refuse('it carries training information, which would be lost: export it for inference');
  if (replacementsIn(encodeModel(model)) !== replacementsIn(bytes))
    refuse('it holds text that is not UTF-8, which would be changed: export it again');
  for (const { message, path } of messagesIn(model, 'model')) {
    const [unknown] = message.$unknown ?? [];
    if (unknown !== undefined)
      refuse(
        `${path} has field ${unknown.no}, which the schema of ONNX IR version ` +
          `${IR_VERSION_MAX} does not have and a rewrite would lose: export it with an older ` +
          'version of ONNX',
      );
  }
}

/** Decoding puts U+FFFD in place of bytes that are not UTF-8; this counts it in encoded bytes. */
function replacementsIn(bytes: Uint8Array): number {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let count = 0;
  for (let at = buffer.indexOf('\uFFFD'); at !== -1; at = buffer.indexOf('\uFFFD', at + 1)) count++;
  return count;
}

interface Found {
  readonly message: Message;
  readonly path: string;
}

/** `message` and every message inside it, each with a path that a reader finds in the model. */
function* messagesIn(message: Message, path: string): Generator<Found> {
  yield { message, path };
  for (const [field, value] of Object.entries(message) as [string, unknown][]) {
    if (field.startsWith('$')) continue;
    const list: unknown[] = Array.isArray(value) ? value : [unwrapped(value)];
    for (const [at, inner] of list.entries()) {
      if (!isMessage(inner)) {
        // Numbers and bytes: an array holds one kind only.
        if (Array.isArray(value)) break;
        continue;
      }
      const name = (inner as Message & { name?: unknown }).name;
      const own = typeof name === 'string' && name !== '' ? ` '${name}'` : `[${at}]`;
      yield* messagesIn(inner, `${path} > ${field}${own}`);
    }
  }
}

/** The value of a protobuf oneof, which is an object of `case` and `value`. */
function unwrapped(value: unknown): unknown {
  const isOneof = typeof value === 'object' && value !== null && 'case' in value;
  return isOneof && !isMessage(value) ? (value as { value?: unknown }).value : value;
}
