// The Open Inference Protocol, version 2, as bytes: an infer request out of a body (JSON, JSON
// header plus binary tensors, or a raw binary tensor) and an answer into one. Sources:
// kserve/open-inference-protocol specification/protocol/inference_rest.md;
// triton-inference-server/server docs/protocol/extension_binary_data.md. Knows no sockets and no
// engine. Clients repeat the same header and get answers of the same shape again and again, so both
// are remembered once per model (RequestReader, AnswerWriter) instead of being parsed and written
// anew.
import { Type, type Static } from 'typebox';
import { decodeJson } from '../../../shared/base/decode.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import type { Manifest } from '../../../shared/release/manifest.js';
import type { Datatype, TensorSpec } from '../../../shared/release/model-manifest.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import {
  elementBytes,
  elementCount,
  fromJson,
  isDatatype,
  toJsonText,
  type Tensor,
} from '../model/tensor.js';

const Parameters = Type.Optional(Type.Record(Type.String(), Type.Unknown()));
const InferHeader = Type.Object({
  id: Type.Optional(Type.String({ maxLength: 1000 })),
  parameters: Parameters,
  inputs: Type.Array(
    Type.Object({
      name: Type.String({ maxLength: 200 }),
      shape: Type.Array(Type.Integer(), { maxItems: 8 }),
      datatype: Type.String({ maxLength: 20 }),
      parameters: Parameters,
      data: Type.Optional(Type.Unknown()),
    }),
    { minItems: 1, maxItems: 64 },
  ),
  outputs: Type.Optional(
    Type.Array(Type.Object({ name: Type.String({ maxLength: 200 }), parameters: Parameters }), {
      maxItems: 64,
    }),
  ),
});
type InferHeader = Static<typeof InferHeader>;
type HeaderInput = InferHeader['inputs'][number];

/** How a client wants its answer. */
export interface AnswerForm {
  readonly id: string | undefined;
  /** Every output of this request in binary form, unless said otherwise for one. */
  readonly binary: boolean;
  /** Only these, in this order; all of the model's when undefined. */
  readonly outputs: readonly { readonly name: string; readonly binary: boolean }[] | undefined;
}

export interface InferCall {
  readonly inputs: readonly Tensor[];
  readonly form: AnswerForm;
}

const RAW_FORM: AnswerForm = { id: undefined, binary: true, outputs: undefined };

/**
 * `headerBytes`: the number in `Inference-Header-Content-Length`, null without it. Faults
 * `request_undecodable`, `request_tensor`.
 */
export class RequestReader {
  #lastBytes: Buffer | null = null;
  #last: InferHeader | null = null;
  #lastForm: AnswerForm = RAW_FORM;

  constructor(private readonly headerMaxBytes: number) {}

  read(body: Buffer, headerBytes: number | null, inputs: readonly TensorSpec[]): InferCall {
    if (headerBytes === null)
      return withJson(decodeJson(InferHeader, body, 'inference request', 'request_undecodable'));
    if (headerBytes === 0) return { inputs: [rawTensor(body, inputs)], form: RAW_FORM };
    if (headerBytes > body.length || headerBytes > this.headerMaxBytes) {
      throw new Fault(
        'request_undecodable',
        `Inference-Header-Content-Length is ${headerBytes}, the body has ${body.length} bytes, the bound is ${this.headerMaxBytes}`,
      );
    }
    const bytes = body.subarray(0, headerBytes);
    if (this.#last === null || this.#lastBytes === null || !this.#lastBytes.equals(bytes)) {
      this.#last = decodeJson(
        InferHeader,
        bytes,
        'inference request header',
        'request_undecodable',
      );
      this.#lastForm = formOf(this.#last);
      // A header with data in it is rarely the same again, and large.
      this.#lastBytes = headerBytes <= 4096 ? Buffer.from(bytes) : null;
    }
    return { inputs: withBinary(this.#last, body, headerBytes), form: this.#lastForm };
  }
}

function withJson(header: InferHeader): InferCall {
  return { inputs: header.inputs.map((input) => jsonTensor(input)), form: formOf(header) };
}

function withBinary(header: InferHeader, body: Buffer, headerBytes: number): Tensor[] {
  let at = headerBytes;
  const tensors = header.inputs.map((input): Tensor => {
    const size = input.parameters?.['binary_data_size'];
    if (size === undefined) return jsonTensor(input);
    if (typeof size !== 'number' || !Number.isInteger(size) || size < 0)
      throw new Fault(
        'request_undecodable',
        `tensor ${input.name}: binary_data_size is not a size`,
      );
    if (at + size > body.length)
      throw new Fault(
        'request_tensor',
        `tensor ${input.name}: binary_data_size is ${size}, only ${body.length - at} bytes of the body are left`,
      );
    const data = body.subarray(at, at + size);
    at += size;
    return { name: input.name, datatype: datatypeOf(input), shape: input.shape, data };
  });
  if (at !== body.length)
    throw new Fault('request_tensor', `${body.length - at} bytes of the body belong to no tensor`);
  return tensors;
}

function datatypeOf(input: HeaderInput): Datatype {
  if (isDatatype(input.datatype)) return input.datatype;
  throw new Fault(
    'request_tensor',
    `tensor ${input.name}: datatype ${input.datatype} is not served; BOOL, UINT8, INT8, UINT16, INT16, INT32, INT64, FP32 and FP64 are`,
  );
}

function jsonTensor(input: HeaderInput): Tensor {
  const datatype = datatypeOf(input);
  if (input.shape.some((size) => size < 1))
    throw new Fault(
      'request_tensor',
      `tensor ${input.name} has shape [${input.shape.join(',')}]: every size is at least 1`,
    );
  return fromJson(input.name, datatype, input.shape, input.data);
}

/** A body that is one tensor: the model has one input, of which at most one size is open. */
function rawTensor(body: Buffer, inputs: readonly TensorSpec[]): Tensor {
  const [spec] = inputs;
  const open = spec?.shape.filter((size) => size === -1).length ?? 0;
  if (spec === undefined || inputs.length !== 1 || open > 1) {
    throw new Fault(
      'request_undecodable',
      `a raw binary request needs a model with one input of which at most one size is open; this one takes ${inputs.length}, ${open} open`,
    );
  }
  const unit =
    elementCount(spec.shape.map((size) => (size === -1 ? 1 : size))) * elementBytes(spec.datatype);
  const count = body.length / unit;
  if (!Number.isInteger(count) || count < 1 || (open === 0 && count !== 1)) {
    throw new Fault(
      'request_tensor',
      `tensor ${spec.name}: ${body.length} bytes do not fill ${spec.datatype}[${spec.shape.join(',')}]`,
    );
  }
  return {
    name: spec.name,
    datatype: spec.datatype,
    shape: spec.shape.map((size) => (size === -1 ? count : size)),
    data: body,
  };
}

function formOf(header: InferHeader): AnswerForm {
  const binary = header.parameters?.['binary_data_output'] === true;
  const outputs = header.outputs?.map((output) => {
    const own = output.parameters?.['binary_data'];
    return { name: output.name, binary: own === undefined ? binary : own === true };
  });
  return {
    id: header.id,
    binary,
    outputs: outputs === undefined || outputs.length === 0 ? undefined : outputs,
  };
}

export interface EncodedAnswer {
  /** Length of the JSON part when binary tensors follow it; null for plain JSON. */
  readonly headerBytes: number | null;
  /** To be written in order. */
  readonly pieces: readonly Uint8Array[];
}

/** Up to here one buffer is cheaper than several. */
const JOINED_MAX_BYTES = 32 * 1024;

export class AnswerWriter {
  #lastKey = '';
  #lastHead: Buffer = Buffer.alloc(0);

  write(release: ReleaseRef, outputs: readonly Tensor[], form: AnswerForm): EncodedAnswer {
    const chosen =
      form.outputs === undefined
        ? outputs.map((tensor) => ({ tensor, binary: form.binary }))
        : form.outputs.map(({ name, binary }) => ({
            tensor: outputs.find((output) => output.name === name) as Tensor,
            binary,
          }));
    const binaries: Tensor[] = [];
    for (const { tensor, binary } of chosen) if (binary) binaries.push(tensor);
    if (binaries.length < chosen.length || form.id !== undefined) {
      const head = Buffer.from(headText(release, chosen, form.id));
      return binaries.length === 0 ? { headerBytes: null, pieces: [head] } : join(head, binaries);
    }
    let key = release.digest;
    for (const { name, shape } of binaries) key += `;${name}:${shape.join()}`;
    if (key !== this.#lastKey) {
      this.#lastHead = Buffer.from(headText(release, chosen, undefined));
      this.#lastKey = key;
    }
    return join(this.#lastHead, binaries);
  }
}

function join(head: Buffer, binaries: readonly Tensor[]): EncodedAnswer {
  let total = head.length;
  for (const { data } of binaries) total += data.byteLength;
  if (total > JOINED_MAX_BYTES)
    return { headerBytes: head.length, pieces: [head, ...binaries.map(({ data }) => data)] };
  const whole = Buffer.allocUnsafe(total);
  whole.set(head, 0);
  let at = head.length;
  for (const { data } of binaries) {
    whole.set(data, at);
    at += data.byteLength;
  }
  return { headerBytes: head.length, pieces: [whole] };
}

function headText(
  release: ReleaseRef,
  chosen: readonly { tensor: Tensor; binary: boolean }[],
  id: string | undefined,
): string {
  const outputs = chosen.map(({ tensor, binary }) => {
    const { name, datatype, shape, data } = tensor;
    const meta = `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":[${shape.join(',')}],`;
    return binary
      ? `${meta}"parameters":{"binary_data_size":${data.byteLength}}}`
      : `${meta}"data":${toJsonText(tensor)}}`;
  });
  return (
    `{"model_name":${JSON.stringify(release.component)},"model_version":${JSON.stringify(release.version)},` +
    `${id === undefined ? '' : `"id":${JSON.stringify(id)},`}"parameters":{"release_digest":"${release.digest}"},"outputs":[${outputs.join(',')}]}`
  );
}

export function modelMetadata(component: string, release: ReleaseRef, manifest: Manifest): object {
  const bare = (specs: readonly TensorSpec[]) =>
    specs.map(({ name, datatype, shape }) => ({ name, datatype, shape }));
  return {
    name: component,
    versions: [release.version],
    platform: 'onnxruntime_onnx',
    inputs: bare(manifest.inputs),
    outputs: bare(manifest.outputs),
  };
}
