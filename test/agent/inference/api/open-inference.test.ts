// Reading of Open Inference Protocol requests, without a server: exact values, limits from both
// sides, and refusals with several wrong inputs.
import { describe, expect, it } from 'vitest';
import type { AnswerForm } from '../../../../agent/inference/api/answer-writer.js';
import { RequestReader } from '../../../../agent/inference/api/open-inference.js';
import { limitsWith } from '../../../../agent/inference/inference-limits.js';
import { limits } from '../../../../shared/base/limits.js';
import type { TensorSpec } from '../../../../shared/release/model-manifest.js';
import { UNSUPPORTED_PARAMETERS } from '../../../support/inference-api.js';
import { refusalOf } from '../../../support/inference-engines.js';

const X: TensorSpec = { name: 'x', datatype: 'FP32', shape: [-1, 2] };
const reader = (more: Parameters<typeof limitsWith>[0] = {}) => new RequestReader(limitsWith(more));
const input = (more: object = {}) => ({
  name: 'x',
  datatype: 'FP32',
  shape: [1, 2],
  data: [1, 2],
  ...more,
});

function readJson(request: object) {
  return reader().read(Buffer.from(JSON.stringify(request)), null, [X]);
}

function readBinary(request: object, ...tensors: Buffer[]) {
  const head = Buffer.from(JSON.stringify(request));
  return reader().read(Buffer.concat([head, ...tensors]), head.length, [X]);
}

function refusal(work: () => unknown): string {
  const { code, detail } = refusalOf(work);
  return `${code}: ${detail}`;
}

describe('the form of the answer', () => {
  it.each<[string, object, AnswerForm]>([
    ['nothing', {}, { id: undefined, binary: false, outputs: undefined }],
    ['an_id', { id: 'q' }, { id: 'q', binary: false, outputs: undefined }],
    ['no_outputs', { outputs: [] }, { id: undefined, binary: false, outputs: undefined }],
    [
      'binary_for_all',
      { parameters: { binary_data_output: true } },
      { id: undefined, binary: true, outputs: undefined },
    ],
    [
      'binary_for_none',
      { parameters: { binary_data_output: false } },
      { id: undefined, binary: false, outputs: undefined },
    ],
    [
      'binary_for_all_but_one',
      {
        parameters: { binary_data_output: true },
        outputs: [{ name: 'a' }, { name: 'b', parameters: { binary_data: false } }],
      },
      {
        id: undefined,
        binary: true,
        outputs: [
          { name: 'a', binary: true },
          { name: 'b', binary: false },
        ],
      },
    ],
    [
      'binary_for_one',
      { outputs: [{ name: 'a', parameters: { binary_data: true } }, { name: 'b' }] },
      {
        id: undefined,
        binary: false,
        outputs: [
          { name: 'a', binary: true },
          { name: 'b', binary: false },
        ],
      },
    ],
  ])('request_that_asks_for_%s', (_, request, form) => {
    expect(readJson({ inputs: [input()], ...request }).form).toEqual(form);
  });
});

describe('schema', () => {
  it.each([
    ['no_inputs', { inputs: [] }],
    ['an_input_without_a_name', { inputs: [input({ name: undefined })] }],
    ['a_shape_of_nine_axes', { inputs: [input({ shape: Array(9).fill(1) })] }],
    ['a_fractional_size', { inputs: [input({ shape: [1.5, 2] })] }],
    ['a_datatype_that_is_a_number', { inputs: [input({ datatype: 32 })] }],
    ['too_many_inputs', { inputs: Array(limits.requestTensorsMaxCount + 1).fill(input()) }],
    ['an_id_that_is_too_long', { id: 'i'.repeat(limits.requestIdMaxChars + 1), inputs: [input()] }],
    ['an_id_that_is_a_number', { id: 1, inputs: [input()] }],
    ['an_array', []],
    ['an_output_without_a_name', { inputs: [input()], outputs: [{}] }],
    ['a_name_that_is_too_long', { inputs: [input({ name: 'n'.repeat(201) })] }],
    ['a_datatype_that_is_too_long', { inputs: [input({ datatype: 'D'.repeat(21) })] }],
    [
      'too_many_outputs',
      { inputs: [input()], outputs: Array(limits.requestTensorsMaxCount + 1).fill({ name: 'y' }) },
    ],
  ])('request_with_%s_is_undecodable', (_, request) => {
    expect(refusalOf(() => readJson(request)).code).toBe('request_undecodable');
  });

  it('id_and_inputs_of_the_limit_are_read', () => {
    const id = 'i'.repeat(limits.requestIdMaxChars);
    const inputs = Array(limits.requestTensorsMaxCount).fill(input()) as object[];
    const call = readJson({ id, inputs });
    expect(call.form.id).toBe(id);
    expect(call.inputs).toHaveLength(limits.requestTensorsMaxCount);
  });
});

describe('parameters', () => {
  it.each(UNSUPPORTED_PARAMETERS)('%s_is_refused_by_name_wherever_it_stands', (name) => {
    const parameters = { mine: 1, [name]: 0 };
    const refused = (where: string) =>
      `request_unsupported: parameter ${name} of ${where} is not supported`;
    expect(refusal(() => readJson({ inputs: [input()], parameters }))).toBe(refused('the request'));
    expect(refusal(() => readJson({ inputs: [input(), input({ name: 'b', parameters })] }))).toBe(
      refused('input b'),
    );
    const outputs = [{ name: 'y' }, { name: 'z', parameters }];
    expect(refusal(() => readJson({ inputs: [input()], outputs }))).toBe(refused('output z'));
  });

  it('those_of_a_client_are_ignored', () => {
    const parameters = { mine: 'kept apart', timeouts: 3 };
    const request = { parameters, inputs: [input({ parameters })], outputs: [] };
    expect(readJson(request).inputs).toHaveLength(1);
  });

  it.each([1, 'true', null, []])('binary_flag_%j_is_refused', (flag) => {
    const ofRequest = { inputs: [input()], parameters: { binary_data_output: flag } };
    expect(refusal(() => readJson(ofRequest))).toBe(
      'request_undecodable: parameter binary_data_output of the request must be true or false',
    );
    const outputs = [{ name: 'y', parameters: { binary_data: flag } }];
    expect(refusal(() => readJson({ inputs: [input()], outputs }))).toBe(
      'request_undecodable: parameter binary_data of output y must be true or false',
    );
  });
});

describe('binary tensors', () => {
  const sized = (size: unknown, more: object = {}) =>
    input({ data: undefined, parameters: { binary_data_size: size }, ...more });

  it('tensors_follow_the_header_in_order', () => {
    const { inputs } = readBinary(
      { inputs: [sized(2, { name: 'a' }), input({ name: 'b' }), sized(1, { name: 'c' })] },
      Buffer.of(1, 2),
      Buffer.of(3),
    );
    expect(inputs.map(({ name, data }) => [name, data.length])).toEqual([
      ['a', 2],
      ['b', 8],
      ['c', 1],
    ]);
    expect([...(inputs[0]?.data ?? []), ...(inputs[2]?.data ?? [])]).toEqual([1, 2, 3]);
  });

  it.each([-1, 1.5, '8', null, true])('binary_size_%j_is_refused', (size) => {
    expect(refusal(() => readBinary({ inputs: [sized(size)] }))).toBe(
      'request_undecodable: tensor x: binary_data_size must be a number of bytes',
    );
  });

  it.each([
    [9, 8, 'tensor x: binary_data_size is 9, only 8 bytes of the body are left'],
    [8, 7, 'tensor x: binary_data_size is 8, only 7 bytes of the body are left'],
    [8, 9, '1 byte of the body belong to no tensor'],
    [0, 1, '1 byte of the body belong to no tensor'],
  ])('announced_%s_given_%s_is_refused', (announced, given, detail) => {
    expect(refusal(() => readBinary({ inputs: [sized(announced)] }, Buffer.alloc(given)))).toBe(
      `request_tensor: ${detail}`,
    );
  });

  it('tensor_with_data_and_a_binary_size_is_refused', () => {
    expect(
      refusal(() => readBinary({ inputs: [sized(8, { data: [1, 2] })] }, Buffer.alloc(8))),
    ).toBe('request_undecodable: tensor x has both data and binary_data_size; give one of them');
  });

  it('binary_size_without_the_header_length_is_refused', () => {
    expect(refusal(() => readJson({ inputs: [sized(8)] }))).toBe(
      'request_undecodable: tensor x has binary_data_size, ' +
        'but the request has no Inference-Header-Content-Length header',
    );
    // Data wins there: the size of bytes that cannot follow says nothing.
    expect(readJson({ inputs: [sized(8, { data: [1, 2] })] }).inputs).toHaveLength(1);
  });

  it('tensor_without_data_is_refused_as_such', () => {
    expect(refusal(() => readJson({ inputs: [input({ data: undefined })] }))).toBe(
      'request_tensor: tensor x: data must be an array, got none',
    );
  });

  it('unsupported_datatype_is_refused_in_both_forms', () => {
    const detail =
      'request_tensor: tensor x: datatype BYTES is not supported; supported: ' +
      'BOOL, UINT8, INT8, UINT16, INT16, INT32, INT64, FP32, FP64';
    expect(refusal(() => readJson({ inputs: [input({ datatype: 'BYTES' })] }))).toBe(detail);
    const header = { inputs: [sized(1, { datatype: 'BYTES' })] };
    expect(refusal(() => readBinary(header, Buffer.of(1)))).toBe(detail);
  });

  it.each([[[0, 2]], [[1, -1]]])('json_tensor_of_shape_%j_is_refused', (shape) => {
    expect(refusal(() => readJson({ inputs: [input({ shape })] }))).toBe(
      `request_tensor: tensor x has shape [${shape.join(',')}]: every size must be at least 1`,
    );
  });
});

describe('the header', () => {
  const head = Buffer.from(JSON.stringify({ inputs: [input()] }));

  it.each([
    ['of_the_limit_is_kept', head.length, true],
    ['beyond_the_limit_is_parsed_again', head.length - 1, false],
  ])('that_repeats_%s', (_, requestHeaderKeptMaxBytes, isKept) => {
    const one = reader({ requestHeaderKeptMaxBytes });
    const form = () => one.read(Buffer.from(head), head.length, [X]).form;
    expect(form() === form()).toBe(isKept);
  });

  it('header_of_the_limit_is_read_and_one_byte_more_is_refused', () => {
    const of = (max: number) => () =>
      reader({ requestHeaderMaxBytes: max }).read(head, head.length, [X]);
    expect(of(head.length)().inputs).toHaveLength(1);
    expect(refusal(of(head.length - 1))).toBe(
      `request_undecodable: Inference-Header-Content-Length is ${head.length}; ` +
        `the body has ${head.length} bytes, the limit is ${head.length - 1}`,
    );
  });

  it('header_longer_than_the_body_is_refused', () => {
    expect(refusal(() => reader().read(head, head.length + 1, [X]))).toMatch(
      /^request_undecodable: Inference-Header-Content-Length is/,
    );
  });

  it('header_that_repeats_is_read_the_same_and_another_one_anew', () => {
    const one = reader();
    const ask = (id: string, value: number) => {
      const header = {
        id,
        inputs: [input({ data: undefined, parameters: { binary_data_size: 8 } })],
      };
      const bytes = Buffer.from(JSON.stringify(header));
      const body = Buffer.concat([bytes, Buffer.from(Float32Array.of(value, value).buffer)]);
      const { form, inputs } = one.read(body, bytes.length, [X]);
      return [form.id, Buffer.from(inputs[0]?.data ?? []).readFloatLE(0)];
    };
    expect([ask('a', 1), ask('a', 2), ask('b', 3), ask('a', 4)]).toEqual([
      ['a', 1],
      ['a', 2],
      ['b', 3],
      ['a', 4],
    ]);
  });
});

describe('raw tensors', () => {
  const raw = (bytes: number, ...specs: TensorSpec[]) =>
    reader().read(Buffer.alloc(bytes), 0, specs);
  const fixed: TensorSpec = { ...X, shape: [3, 2] };

  it.each([
    [X, 8, [1, 2]],
    [X, 32, [4, 2]],
    [fixed, 24, [3, 2]],
    [{ ...X, shape: [] }, 4, []],
  ])('open_size_is_taken_from_the_body', (spec, bytes, shape) => {
    const { inputs, form } = raw(bytes, spec);
    expect(inputs).toMatchObject([{ name: 'x', datatype: 'FP32', shape }]);
    expect(form).toEqual({ id: undefined, binary: true, outputs: undefined });
  });

  it.each([
    [X, 0],
    [X, 7],
    [X, 12],
    [fixed, 20],
    [fixed, 48],
  ])('body_that_does_not_fill_the_tensor_is_refused', (spec, bytes) => {
    expect(refusal(() => raw(bytes, spec))).toBe(
      `request_tensor: tensor x: ${bytes} bytes do not fill FP32[${spec.shape.join(',')}]`,
    );
  });

  it.each([
    [[], 0, 0],
    [[X, { ...X, name: 'y' }], 2, 1],
    [[{ ...X, shape: [-1, -1] }], 1, 2],
  ])('model_that_takes_no_raw_tensor_refuses_it', (specs, count, open) => {
    expect(refusal(() => raw(8, ...specs))).toBe(
      'request_undecodable: a raw binary request needs a model with one input, with at most one ' +
        `open size; this model has ${count} inputs, the first with ${open} open sizes`,
    );
  });
});
