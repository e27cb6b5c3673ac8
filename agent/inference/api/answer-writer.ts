// Writes inference answers in the Open Inference Protocol, version 2: JSON, or a JSON header plus
// binary tensors (sources: open-inference.ts). Knows no sockets and no engine. Clients that repeat
// a request get answers of the same shape, so the header of the last answer is kept.
import assert from 'node:assert/strict';
import { limits } from '../../../shared/base/limits.js';
import type { Manifest } from '../../../shared/release/manifest.js';
import type { TensorSpec } from '../../../shared/release/model-manifest.js';
import type { ReleaseRef } from '../../../shared/release/release-ref.js';
import { toJsonText, type Tensor } from '../model/tensor.js';

/** The form of the answer that a client asked for. */
export interface AnswerForm {
  readonly id: string | undefined;
  /** Outputs are binary, except where an output says otherwise. */
  readonly binary: boolean;
  /** Only these outputs, in this order; undefined: all outputs of the model. */
  readonly outputs: readonly { readonly name: string; readonly binary: boolean }[] | undefined;
}

export interface EncodedAnswer {
  /** Length of the JSON part when binary tensors follow it; null for plain JSON. */
  readonly headerBytes: number | null;
  /** To write in this order. */
  readonly pieces: readonly Uint8Array[];
}

export class AnswerWriter {
  #lastKey = '';
  #lastHead: Buffer = Buffer.alloc(0);

  /** `outputs` must hold every output that `form` names; the engine refused others. */
  write(release: ReleaseRef, outputs: readonly Tensor[], form: AnswerForm): EncodedAnswer {
    const chosen = choose(outputs, form);
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
  if (total > limits.answerJoinedMaxBytes)
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

interface ChosenOutput {
  readonly tensor: Tensor;
  readonly binary: boolean;
}

function choose(outputs: readonly Tensor[], form: AnswerForm): ChosenOutput[] {
  if (form.outputs === undefined) return outputs.map((tensor) => ({ tensor, binary: form.binary }));
  return form.outputs.map(({ name, binary }) => {
    const tensor = outputs.find((output) => output.name === name);
    assert(tensor !== undefined, `the answer has output ${name}`);
    return { tensor, binary };
  });
}

function headText(
  release: ReleaseRef,
  chosen: readonly ChosenOutput[],
  id: string | undefined,
): string {
  const outputs = chosen.map(({ tensor, binary }) => {
    const { name, datatype, shape, data } = tensor;
    const start = `{"name":${JSON.stringify(name)},"datatype":"${datatype}",`;
    const meta = `${start}"shape":[${shape.join(',')}],`;
    return binary
      ? `${meta}"parameters":{"binary_data_size":${data.byteLength}}}`
      : `${meta}"data":${toJsonText(tensor)}}`;
  });
  const { component, version, digest } = release;
  return (
    `{"model_name":${JSON.stringify(component)},"model_version":${JSON.stringify(version)},` +
    (id === undefined ? '' : `"id":${JSON.stringify(id)},`) +
    `"parameters":{"release_digest":"${digest}"},"outputs":[${outputs.join(',')}]}`
  );
}

/** The protocol's model metadata response. */
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
