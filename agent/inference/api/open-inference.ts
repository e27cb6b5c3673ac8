// Reads inference requests of the Open Inference Protocol, version 2: a JSON body, a JSON header
// plus binary tensors, or one raw binary tensor. Sources: kserve/open-inference-protocol
// specification/protocol/inference_rest.md; triton-inference-server/server
// docs/protocol/extension_binary_data.md. Knows no sockets and no engine. Parameters that would
// change what a request means and that are not implemented (sequences, shared memory,
// classification, timeout, priority) are refused by name; parameters of a client's own are ignored.
// Clients repeat their header, so the last one is kept and not parsed again.
import { counted } from '../../../shared/base/counted.js';
import { Type, type Static } from 'typebox';
import { decodeJson } from '../../../shared/base/decode.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import type { Datatype, TensorSpec } from '../../../shared/release/model-manifest.js';
import type { InferenceLimits } from '../inference-limits.js';
import { elementBytes, elementCount, fromJson, isDatatype, type Tensor } from '../model/tensor.js';
import type { AnswerForm } from './answer-writer.js';

const Parameters = Type.Optional(Type.Record(Type.String(), Type.Unknown()));
const TensorName = Type.String({ maxLength: 200 });
const InferHeader = Type.Object({
  id: Type.Optional(Type.String({ maxLength: limits.requestIdMaxChars })),
  parameters: Parameters,
  inputs: Type.Array(
    Type.Object({
      name: TensorName,
      shape: Type.Array(Type.Integer(), { maxItems: 8 }),
      datatype: Type.String({ maxLength: 20 }),
      parameters: Parameters,
      data: Type.Optional(Type.Unknown()),
    }),
    { minItems: 1, maxItems: limits.requestTensorsMaxCount },
  ),
  outputs: Type.Optional(
    Type.Array(Type.Object({ name: TensorName, parameters: Parameters }), {
      maxItems: limits.requestTensorsMaxCount,
    }),
  ),
});
type InferHeader = Static<typeof InferHeader>;
type HeaderInput = InferHeader['inputs'][number];
type HeaderParameters = Readonly<Record<string, unknown>> | undefined;

/** Of the protocol and its extensions: ignoring one would give another answer than asked for. */
const UNSUPPORTED = [
  'sequence_id',
  'sequence_start',
  'sequence_end',
  'timeout',
  'priority',
  'classification',
  'class_count',
  'shared_memory_region',
  'shared_memory_byte_size',
  'shared_memory_offset',
];

export interface InferCall {
  readonly inputs: readonly Tensor[];
  readonly form: AnswerForm;
}

const RAW_FORM: AnswerForm = { id: undefined, binary: true, outputs: undefined };

interface ReadHeader {
  readonly bytes: Buffer;
  readonly header: InferHeader;
  readonly form: AnswerForm;
}

export class RequestReader {
  readonly #limits: InferenceLimits;
  #last: ReadHeader | null = null;

  constructor(inferenceLimits: InferenceLimits) {
    this.#limits = inferenceLimits;
  }

  /**
   * `headerBytes`: the number in `Inference-Header-Content-Length`, null without that header.
   * `inputs`: of the model; a raw binary request takes its name and shape from there. Faults:
   * `request_undecodable`, `request_unsupported`, `request_tensor`.
   */
  read(body: Buffer, headerBytes: number | null, inputs: readonly TensorSpec[]): InferCall {
    if (headerBytes === null) {
      const { header, form } = parseHeader(body, 'the inference request');
      return { inputs: header.inputs.map((input) => jsonTensor(input)), form };
    }
    if (headerBytes === 0) return { inputs: [rawTensor(body, inputs)], form: RAW_FORM };
    const maxBytes = Math.min(body.length, this.#limits.requestHeaderMaxBytes);
    if (headerBytes > maxBytes) {
      throw new Fault(
        'request_undecodable',
        `Inference-Header-Content-Length is ${headerBytes}; the body has ${body.length} bytes, ` +
          `the limit is ${this.#limits.requestHeaderMaxBytes}`,
      );
    }
    const { header, form } = this.#header(body.subarray(0, headerBytes));
    return { inputs: withBinary(header, body, headerBytes), form };
  }

  #header(bytes: Buffer): ReadHeader {
    if (this.#last?.bytes.equals(bytes) === true) return this.#last;
    const read = parseHeader(bytes, 'the inference request header');
    // A header that holds data is large and rarely repeated.
    this.#last =
      bytes.length <= this.#limits.requestHeaderKeptMaxBytes
        ? { ...read, bytes: Buffer.from(bytes) }
        : null;
    return read;
  }
}

function parseHeader(bytes: Buffer, what: string): ReadHeader {
  const header = decodeJson(InferHeader, bytes, what, 'request_undecodable');
  refuseUnsupported(header.parameters, 'the request');
  for (const { name, parameters } of header.inputs) refuseUnsupported(parameters, `input ${name}`);
  for (const { name, parameters } of header.outputs ?? [])
    refuseUnsupported(parameters, `output ${name}`);
  return { bytes, header, form: formOf(header) };
}

function refuseUnsupported(parameters: HeaderParameters, where: string): void {
  if (parameters === undefined) return;
  for (const name of UNSUPPORTED) {
    if (Object.hasOwn(parameters, name))
      throw new Fault('request_unsupported', `parameter ${name} of ${where} is not supported`);
  }
}

function formOf(header: InferHeader): AnswerForm {
  const binary = flag(header.parameters, 'binary_data_output', 'the request') ?? false;
  const outputs = header.outputs?.map(({ name, parameters }) => ({
    name,
    binary: flag(parameters, 'binary_data', `output ${name}`) ?? binary,
  }));
  return {
    id: header.id,
    binary,
    outputs: outputs === undefined || outputs.length === 0 ? undefined : outputs,
  };
}

function flag(parameters: HeaderParameters, name: string, where: string): boolean | undefined {
  const value = parameters?.[name];
  if (value === undefined || typeof value === 'boolean') return value;
  throw new Fault('request_undecodable', `parameter ${name} of ${where} must be true or false`);
}

function withBinary(header: InferHeader, body: Buffer, headerBytes: number): Tensor[] {
  let at = headerBytes;
  const tensors = header.inputs.map((input): Tensor => {
    const size = binarySize(input);
    if (size === undefined) return jsonTensor(input);
    if (at + size > body.length)
      throw new Fault(
        'request_tensor',
        `tensor ${input.name}: binary_data_size is ${size}, ` +
          `only ${body.length - at} bytes of the body are left`,
      );
    const data = body.subarray(at, at + size);
    at += size;
    return { name: input.name, datatype: datatypeOf(input), shape: input.shape, data };
  });
  if (at !== body.length)
    throw new Fault(
      'request_tensor',
      `${counted(body.length - at, 'byte')} of the body belong to no tensor`,
    );
  return tensors;
}

function binarySize({ name, parameters, data }: HeaderInput): number | undefined {
  const size = parameters?.['binary_data_size'];
  if (size === undefined) return undefined;
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 0)
    throw new Fault(
      'request_undecodable',
      `tensor ${name}: binary_data_size must be a number of bytes`,
    );
  if (data !== undefined)
    throw new Fault(
      'request_undecodable',
      `tensor ${name} has both data and binary_data_size; give one of them`,
    );
  return size;
}

function datatypeOf(input: HeaderInput): Datatype {
  if (isDatatype(input.datatype)) return input.datatype;
  throw new Fault(
    'request_tensor',
    `tensor ${input.name}: datatype ${input.datatype} is not supported; supported: ` +
      'BOOL, UINT8, INT8, UINT16, INT16, INT32, INT64, FP32, FP64',
  );
}

function jsonTensor(input: HeaderInput): Tensor {
  const datatype = datatypeOf(input);
  if (input.shape.some((size) => size < 1))
    throw new Fault(
      'request_tensor',
      `tensor ${input.name} has shape [${input.shape.join(',')}]: every size must be at least 1`,
    );
  if (input.data === undefined && binarySize(input) !== undefined)
    throw new Fault(
      'request_undecodable',
      `tensor ${input.name} has binary_data_size, ` +
        'but the request has no Inference-Header-Content-Length header',
    );
  return fromJson(input.name, datatype, input.shape, input.data);
}

/** A body that is one tensor. The model must have one input, with at most one open (-1) size. */
function rawTensor(body: Buffer, inputs: readonly TensorSpec[]): Tensor {
  const [spec] = inputs;
  const open = spec?.shape.filter((size) => size === -1).length ?? 0;
  if (spec === undefined || inputs.length !== 1 || open > 1) {
    throw new Fault(
      'request_undecodable',
      'a raw binary request needs a model with one input, with at most one open size; ' +
        `this model has ${inputs.length} inputs, the first with ${open} open sizes`,
    );
  }
  const unit =
    elementCount(spec.shape.map((size) => (size === -1 ? 1 : size))) * elementBytes(spec.datatype);
  const count = body.length / unit;
  if (!Number.isInteger(count) || count < 1 || (open === 0 && count !== 1)) {
    throw new Fault(
      'request_tensor',
      `tensor ${spec.name}: ${body.length} bytes do not fill ` +
        `${spec.datatype}[${spec.shape.join(',')}]`,
    );
  }
  return {
    name: spec.name,
    datatype: spec.datatype,
    shape: spec.shape.map((size) => (size === -1 ? count : size)),
    data: body,
  };
}
