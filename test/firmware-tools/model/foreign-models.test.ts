// Small ONNX files with unusual names, types and shapes (test/fixtures/onnx): each is read, run and
// quantized right, or refused with a message that names what is in its way.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import type { Feeds } from '../../../firmware-tools/model/session.js';
import { feedsOf } from '../../../firmware-tools/model/input-data/feeds.js';
import { encodeNpy, readNpy, type NpyArray } from '../../../firmware-tools/model/input-data/npy.js';
import { inspect } from '../../../firmware-tools/model/inspect.js';
import { compare } from '../../../firmware-tools/model/measure.js';
import {
  IR_VERSION_MAX,
  decodeModel,
  encodeModel,
  requireRewritable,
} from '../../../firmware-tools/model/onnx/model-file.js';
import { makeNode } from '../../../firmware-tools/model/onnx/nodes.js';
import { ModelProtoSchema } from '../../../firmware-tools/model/onnx/onnx_pb.js';
import { ElementType, makeTensor, makeValue } from '../../../firmware-tools/model/onnx/tensors.js';
import { quantize } from '../../../firmware-tools/model/quantize/quantize.js';
import { openModel } from '../../../firmware-tools/model/session.js';
import { onnxModel } from '../../support/onnx-models.js';

const fixture = (name: string): string =>
  new URL(`../../fixtures/onnx/${name}`, import.meta.url).pathname;
const bytesOf = (name: string): Uint8Array => new Uint8Array(readFileSync(fixture(name)));
const f4 = (shape: number[], at: (index: number) => number): NpyArray => {
  const length = shape.reduce((a, b) => a * b, 1);
  return { dtype: 'f4', shape, data: Float32Array.from({ length }, (_, i) => at(i)) };
};
const wave = (shape: number[], phase = 0): NpyArray => f4(shape, (i) => Math.sin(i * 1.7 + phase));
const quiet = { now: () => 0, latencyRuns: 1 };

async function feedsFor(
  bytes: Uint8Array,
  arrays: Readonly<Record<string, NpyArray>>,
): Promise<Feeds[]> {
  const session = await openModel(bytes);
  await session.release();
  return feedsOf(session.inputs, arrays);
}

describe('quantizing models of other makers', () => {
  it('names_of_the_model_that_are_those_the_quantizer_would_give_stay_apart', async () => {
    const model = bytesOf('collide_scalar.onnx');
    const arrays = { x: readNpy(fixture('cal.npy')) };
    const { bytes, report } = await quantize(model, await feedsFor(model, arrays));
    const held = await feedsFor(model, { x: readNpy(fixture('ev.npy')) });
    expect((await compare(model, bytes, held, quiet)).minCosine).toBeGreaterThan(0.99);
    const [fidelity] = report.calibrationFidelity;
    expect(fidelity?.output).toBe('y');
    expect(fidelity?.cosine).toBeGreaterThan(0.99);
    expect(fidelity?.sqnrDb).toBeGreaterThan(20);
    const { graph } = decodeModel(bytes, 'int8');
    const names = graph.node.flatMap(({ output }) => output);
    const constants = graph.initializer.map(({ name }) => name);
    expect(new Set([...names, ...constants]).size).toBe(names.length + constants.length);
  });

  it.each(['x_scale', 'x_zero_point', 'x_QuantizeLinear_Output', 'x_DequantizeLinear_Output'])(
    'a_constant_named_%s_keeps_its_value',
    async (name) => {
      const model = onnxModel({
        nodes: [
          makeNode('MatMul', 'm', ['x', 'w'], ['a']),
          makeNode('Mul', 'times', ['a', name], ['b']),
          makeNode('Tanh', 't', ['b'], ['y']),
        ],
        initializers: [
          makeTensor('w', [4, 4], wave([4, 4]).data),
          makeTensor(name, [], Float32Array.of(3)),
        ],
        inputs: [makeValue('x', ElementType.float32, ['N', 4])],
        outputs: [makeValue('y', ElementType.float32, ['N', 4])],
      });
      const feeds = await feedsFor(model, { x: wave([20, 4]) });
      const { bytes } = await quantize(model, feeds);
      expect((await compare(model, bytes, feeds, quiet)).minCosine).toBeGreaterThan(0.99);
    },
  );

  it('an_input_named_proto_is_an_input_like_any_other', async () => {
    const model = bytesOf('name_proto.onnx');
    const arrays = Object.fromEntries([['__proto__', wave([30, 4])]]);
    const feeds = await feedsFor(model, arrays);
    expect(Object.keys(feeds[0]!)).toEqual(['__proto__']);
    const { bytes } = await quantize(model, feeds);
    expect((await compare(model, bytes, feeds, quiet)).minCosine).toBeGreaterThan(0.98);
    expect((await inspect(model)).inputs[0]?.name).toBe('__proto__');
  });

  it('an_output_named_proto_is_refused_by_name', async () => {
    const model = onnxModel({
      nodes: [makeNode('Tanh', 't', ['x'], ['__proto__'])],
      inputs: [makeValue('x', ElementType.float32, [1])],
      outputs: [makeValue('__proto__', ElementType.float32, [1])],
    });
    await expect(openModel(model, { what: 'odd.onnx' })).rejects.toThrow(
      /^model_unsupported: odd\.onnx: an output is named '__proto__'/,
    );
  });

  it('a_scalar_input_takes_one_value_a_sample', async () => {
    const model = bytesOf('scalar_in.onnx');
    const gain = f4([24], (i) => 1 + (i % 3));
    const feeds = await feedsFor(model, { x: wave([24, 4]), gain });
    expect(feeds).toHaveLength(24);
    expect(feeds[2]!['gain']).toEqual({ data: Float32Array.of(3), dims: [] });
    const { bytes } = await quantize(model, feeds);
    expect((await compare(model, bytes, feeds, quiet)).minCosine).toBeGreaterThan(0.9);
  });

  it.each(['dyn_dim.onnx', 'dyn_dim_b.onnx'])('a_size_that_varies_in_%s', async (name) => {
    const model = bytesOf(name);
    const { bytes } = await quantize(model, await feedsFor(model, { x: wave([40, 3, 16]) }));
    const longer = await feedsFor(model, { x: wave([4, 3, 40], 0.3) });
    expect((await compare(model, bytes, longer, quiet)).minCosine).toBeGreaterThan(0.98);
  });

  it.each(['in_f64.onnx', 'in_i16.onnx'])(
    'data_of_another_type_than_%s_takes_is_named',
    async (name) => {
      const type = (await inspect(bytesOf(name))).inputs[0]?.type;
      expect(type).toBe(name === 'in_f64.onnx' ? 'float64' : 'int16');
      await expect(feedsFor(bytesOf(name), { x: wave([4, 4]) })).rejects.toThrow(
        `data_mismatch: input 'x' takes ${type}, the data is float32`,
      );
    },
  );

  it('a_string_output_is_compared_as_strings', async () => {
    const model = bytesOf('string_out.onnx');
    const feeds = await feedsFor(model, { x: wave([60, 4]) });
    const { report } = await quantize(model, feeds);
    const [label, p] = report.calibrationFidelity;
    expect(label).toMatchObject({ output: 'label', sqnrDb: null });
    expect(label?.cosine).toBeGreaterThan(0.9);
    expect(p?.sqnrDb).toBeGreaterThan(20);
    expect((await inspect(model)).parametersByType).toEqual({ float32: 12, string: 3 });
  });

  it.each([
    ['fp16_io.onnx', "node 'a' (MatMul): its weight 'W' is float16"],
    ['fp16_weights.onnx', "node 'a' (MatMul): its weight 'W' is float16"],
  ])('float16_weights_of_%s_are_named_as_the_file_names_them', async (name, detail) => {
    const model = bytesOf(name);
    const data = new Float32Array(4);
    await expect(quantize(model, [{ x: { data, dims: [1, 4] } }], { what: name })).rejects.toThrow(
      `model_unquantizable: ${name}: ${detail}`,
    );
  });
});

describe('an int8 model that does not answer like fp32', () => {
  // Two products of opposite sign that nearly cancel: int8 leaves noise only.
  const weights = wave([8, 8]).data as Float32Array;
  const cancelling = onnxModel({
    nodes: [
      makeNode('MatMul', 'plus', ['x', 'w'], ['p']),
      makeNode('MatMul', 'minus', ['x', 'v'], ['m']),
      makeNode('Add', 'sum', ['p', 'm'], ['y']),
    ],
    initializers: [
      makeTensor('w', [8, 8], weights),
      makeTensor(
        'v',
        [8, 8],
        weights.map((value) => -value * 1.0005),
      ),
    ],
    inputs: [makeValue('x', ElementType.float32, ['N', 8])],
    outputs: [makeValue('y', ElementType.float32, ['N', 8])],
  });

  it('is_refused_with_the_figure_and_what_to_do', async () => {
    const feeds = await feedsFor(cancelling, { x: wave([20, 8]) });
    await expect(quantize(cancelling, feeds, { what: 'c.onnx' })).rejects.toThrow(
      /^model_unquantizable: c\.onnx: .*output 'y' has an SQNR of -?\d+\.\d dB \(cosine .*limit is 7 dB\. Leave nodes float with --exclude.*--accept-loss/,
    );
  });

  it('is_written_when_the_loss_is_accepted_and_the_report_says_how_large_it_is', async () => {
    const feeds = await feedsFor(cancelling, { x: wave([20, 8]) });
    const { report } = await quantize(cancelling, feeds, { acceptLoss: true });
    expect(report.calibrationFidelity[0]?.sqnrDb).toBeLessThan(7);
  });
});

describe('fields that the schema does not know', () => {
  /** Field 1999, length-delimited: a tag of two bytes (0xFA 0x7C), a length, the bytes. */
  const unknown = Uint8Array.of(0xfa, 0x7c, 3, 1, 2, 3);
  const known = bytesOf('dyn_dim.onnx');

  function withUnknownInNode(): Uint8Array {
    const model = fromBinary(ModelProtoSchema, known);
    model.graph!.node[1]!.$unknown = [
      { no: 1999, wireType: WireType.LengthDelimited, data: Uint8Array.of(3, 1, 2, 3) },
    ];
    return toBinary(ModelProtoSchema, model);
  }

  it('are_kept_byte_for_byte_at_the_top_and_inside', () => {
    const top = Buffer.concat([known, unknown]);
    const again = Buffer.from(encodeModel(decodeModel(top, 'top')));
    expect(again.subarray(-unknown.length).equals(unknown)).toBe(true);
    const inside = withUnknownInNode();
    expect(Buffer.from(inside).includes(Buffer.from(unknown))).toBe(true);
    expect(Buffer.from(encodeModel(decodeModel(inside, 'in'))).equals(inside)).toBe(true);
  });

  it.each([
    ['at_the_top', () => Buffer.concat([known, unknown]), /model has field 1999/],
    ['in_a_node', withUnknownInNode, /model > graph 'dyn_dim' > node\[1\] has field 1999/],
  ])('%s_are_refused_by_name_where_the_model_is_rewritten', async (_name, bytes, detail) => {
    const feeds = await feedsFor(known, { x: wave([4, 3, 16]) });
    await expect(quantize(bytes(), feeds)).rejects.toThrow(detail);
  });

  it('a_newer_ir_version_and_training_information_are_refused', () => {
    const newer = decodeModel(known, 'n');
    newer.irVersion = BigInt(IR_VERSION_MAX + 1);
    expect(() => requireRewritable(newer, encodeModel(newer), 'n.onnx')).toThrow(
      `model_unquantizable: n.onnx: it is of ONNX IR version ${IR_VERSION_MAX + 1}`,
    );
    newer.irVersion = BigInt(IR_VERSION_MAX);
    expect(() => requireRewritable(newer, encodeModel(newer), 'n.onnx')).not.toThrow();
    const training = fromBinary(ModelProtoSchema, Buffer.concat([known, Buffer.of(0xa2, 0x01, 0)]));
    expect(training.trainingInfo).toHaveLength(1);
    const decoded = decodeModel(toBinary(ModelProtoSchema, training), 't');
    expect(() => requireRewritable(decoded, encodeModel(decoded), 't.onnx')).toThrow(
      /t\.onnx: it carries training information/,
    );
  });

  it('text_that_is_not_utf8_is_refused_and_a_replacement_character_that_is_there_is_not', () => {
    const named = onnxModel({
      nodes: [makeNode('Tanh', 'n\uFFFDde', ['x'], ['y'])],
      inputs: [makeValue('x', ElementType.float32, [1])],
      outputs: [makeValue('y', ElementType.float32, [1])],
    });
    const check = (bytes: Uint8Array): void =>
      requireRewritable(decodeModel(bytes, 'u'), bytes, 'u.onnx');
    expect(() => check(named)).not.toThrow();
    const latin = Buffer.from(named);
    latin.write('\xe9\xe8\xea', latin.indexOf('\uFFFD'), 'latin1');
    expect(() => check(latin)).toThrow(/u\.onnx: it holds text that is not UTF-8/);
  });
});

it('fixtures_are_arrays_that_the_npy_reader_writes_back_the_same', () => {
  for (const name of ['cal.npy', 'ev.npy'])
    expect(Buffer.from(encodeNpy(readNpy(fixture(name)))).equals(bytesOf(name))).toBe(true);
});
