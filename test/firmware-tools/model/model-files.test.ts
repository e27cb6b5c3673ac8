// Files that a user gives: .npy arrays, bytes that are no ONNX model, and the two `linnet model`
// commands.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeOutput } from '../../../firmware-tools/cli/output.js';
import { registerModelCommands } from '../../../firmware-tools/cli/commands/model.js';
import type { QuantizeResult } from '../../../firmware-tools/cli/actions/model.js';
import { digitModelPath, exampleData } from '../../../firmware-tools/demo/digits/data.js';
import { feedsOf } from '../../../firmware-tools/model/input-data/feeds.js';
import { inspect } from '../../../firmware-tools/model/inspect.js';
import { decodeNpy, encodeNpy, readNpy } from '../../../firmware-tools/model/input-data/npy.js';
import type { NpyArray } from '../../../firmware-tools/model/input-data/npy.js';
import { openModel } from '../../../firmware-tools/model/session.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'linnet-model-'));
  exampleData(folder);
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('.npy', () => {
  const arrays: NpyArray[] = [
    { dtype: 'f4', shape: [2, 3], data: Float32Array.of(1, -2.5, 0, 3, 4, 5) },
    { dtype: 'u1', shape: [4], data: Uint8Array.of(0, 1, 254, 255) },
    { dtype: 'i4', shape: [1, 2], data: Int32Array.of(-7, 2 ** 31 - 1) },
    { dtype: 'i8', shape: [2], data: BigInt64Array.of(-1n, 2n ** 62n) },
    { dtype: 'f4', shape: [], data: Float32Array.of(9) },
  ];

  it('comes_back_as_it_was_written_data_aligned_as_numpy_aligns_it', () => {
    for (const array of arrays) {
      const bytes = encodeNpy(array);
      expect(decodeNpy(bytes, 'x')).toEqual(array);
      expect((bytes.byteLength - array.data.byteLength) % 64).toBe(0);
    }
  });

  it('reads_what_numpy_save_wrote', () => {
    // python3 -c "import numpy, io; b = io.BytesIO();
    // numpy.save(b, numpy.array([[1, 2]], dtype='<i4')); print(b.getvalue().hex())"
    const text = "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 2), }";
    const head = Buffer.from('934e554d5059' + '0100' + '7600', 'hex');
    const bytes = Buffer.concat([
      head,
      Buffer.from(text.padEnd(0x75) + '\n'),
      Buffer.from('0100000002000000', 'hex'),
    ]);
    expect(decodeNpy(bytes, 'x')).toEqual({
      dtype: 'i4',
      shape: [1, 2],
      data: Int32Array.of(1, 2),
    });
    expect(
      Buffer.from(encodeNpy({ dtype: 'i4', shape: [1, 2], data: Int32Array.of(1, 2) })).equals(
        bytes,
      ),
    ).toBe(true);
  });

  it('refuses_every_truncation_extra_bytes_and_types_that_it_does_not_know', () => {
    const whole = encodeNpy(arrays[0]!);
    for (let length = 0; length < whole.length; length++) {
      expect(() => decodeNpy(whole.subarray(0, length), 'cut.npy'), `${length} bytes`).toThrow(
        /data_undecodable: cut\.npy: /,
      );
    }
    expect(() => decodeNpy(Buffer.concat([whole, Buffer.alloc(1)]), 'x')).toThrow(
      /bytes after its data/,
    );
    const text = Buffer.from(whole).toString('latin1');
    const patched = (from: string, to: string): Buffer =>
      Buffer.from(text.replace(from, to), 'latin1');
    expect(() => decodeNpy(patched("'<f4'", "'<f8'"), 'x')).toThrow(/type is '<f8'/);
    expect(() => decodeNpy(patched("'<f4'", "'>f4'"), 'x')).toThrow(/type is '>f4'/);
    expect(() => decodeNpy(patched('False', 'True '), 'x')).toThrow(/Fortran order/);
    expect(() => readNpy(join(folder, 'absent.npy'))).toThrow(
      /^file_unreadable: .*absent\.npy: there is no such file/,
    );
  });
});

describe('bytes that are no ONNX model', () => {
  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['text', Buffer.from('{"weights": [1, 2, 3]}')],
    ['zeros', new Uint8Array(4096)],
    ['half a model', readFileSync(digitModelPath('1.1.0')).subarray(0, 20000)],
    ['an array', encodeNpy({ dtype: 'u1', shape: [3], data: Uint8Array.of(1, 2, 3) })],
  ])('%s', async (_name, bytes) => {
    await expect(inspect(bytes, 'strange.onnx')).rejects.toThrow(
      /^model_not_onnx: strange\.onnx: /,
    );
    await expect(openModel(bytes, { what: 'strange.onnx' })).rejects.toThrow(
      /^model_not_onnx: strange\.onnx: /,
    );
  });
});

describe('feeds that the model does not take', () => {
  it('are_refused_by_name_number_of_values_and_type', async () => {
    const session = await openModel(digitModelPath('1.1.0'));
    const run = (feeds: Parameters<typeof session.run>[0]): Promise<unknown> => session.run(feeds);
    const data = new Float32Array(784);
    await expect(run({ picture: { data, dims: [1, 1, 28, 28] } })).rejects.toThrow(
      /data_mismatch: .*takes 'image' float32\[N, 1, 28, 28\]; got 'picture'/,
    );
    await expect(run({})).rejects.toThrow(/data_mismatch/);
    await expect(run({ image: { data, dims: [1, 1, 28, 27] } })).rejects.toThrow(/data_mismatch/);
    await expect(
      run({ image: { data: new Int32Array(784), dims: [1, 1, 28, 28] } }),
    ).rejects.toThrow(/takes float32, got Int32Array/);
    await session.release();
  });

  it('are_named_all_at_once_when_arrays_are_cut_into_samples', () => {
    const inputs = [
      { name: 'a', type: 'float32', shape: ['N', 2] },
      { name: 'b', type: 'int64', shape: [1, 3] },
    ];
    const wrong: Record<string, NpyArray> = {
      a: { dtype: 'u1', shape: [4, 3], data: new Uint8Array(12) },
      c: { dtype: 'u1', shape: [1], data: new Uint8Array(1) },
    };
    expect(() => feedsOf(inputs, wrong)).toThrow(
      /'a' takes \[N, 2\].*'a' takes float32, the data is uint8; input 'b' is not given; the model has no input 'c'/,
    );
    const right: Record<string, NpyArray> = {
      a: { dtype: 'f4', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
      b: { dtype: 'i8', shape: [2, 3], data: new BigInt64Array(6) },
    };
    expect(feedsOf(inputs, right)[1]).toEqual({
      a: { data: Float32Array.of(3, 4), dims: [1, 2] },
      b: { data: new BigInt64Array(3), dims: [1, 3] },
    });
  });
});

describe('linnet model', () => {
  async function linnet(json: boolean, ...args: string[]): Promise<string> {
    let printed = '';
    const print = (text: string): void => {
      printed += text;
    };
    const program = new Command('linnet')
      .exitOverride()
      .configureOutput({ writeOut: print, writeErr: print });
    registerModelCommands(program, makeOutput(json, { out: print, err: () => {} }));
    const [group] = program.commands;
    for (const command of [group!, ...group!.commands]) command.copyInheritedSettings(program);
    await program.parseAsync(['node', 'linnet', 'model', ...args]).catch((error: unknown) => {
      if (!(error instanceof CommanderError)) throw error;
    });
    return printed;
  }

  it('inspects_a_model', async () => {
    expect(await linnet(false, 'inspect', digitModelPath('1.0.0'))).toMatch(
      /float ONNX model, operator set 13[\s\S]*image float32\[N,1,28,28\][\s\S]*Conv 2/,
    );
    const found = JSON.parse(await linnet(true, 'inspect', digitModelPath('1.0.0'))) as {
      parameters: number;
    };
    expect(found.parameters).toBe(8 * 9 + 8 + 16 * 8 * 9 + 16 + 7840 + 10);
  });

  it('quantizes_a_model_and_reports_what_it_cost', async () => {
    const at = (name: string): string => join(folder, name);
    const args = [
      'quantize',
      at('digits-1.1.0.onnx'),
      '--calibration',
      `image=${at('calibration.npy')}`,
      '--evaluate',
      at('evaluate.npy'),
      '--labels',
      at('evaluate-labels.npy'),
      '-o',
      at('int8.onnx'),
      '--report',
      at('report.json'),
    ];
    expect(await linnet(false, ...args)).toMatch(
      /accuracy\s+fp32 98\.\d\d %, int8 9[78]\.\d\d % on 2000 held-out samples/,
    );
    const report = JSON.parse(readFileSync(at('report.json'), 'utf8')) as QuantizeResult;
    expect(report.comparison!.int8Accuracy!).toBeGreaterThan(0.97);
    expect(report.settings).toMatchObject({
      calibrationInputs: 200,
      reduceRange: true,
      runtime: 'onnxruntime 1.27.0',
    });
    expect(report.comparison!.evaluationSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(report.sha256).toBe(
      (await inspect(new Uint8Array(readFileSync(at('int8.onnx'))))).sha256,
    );
  });

  it.each([
    [
      'calibration samples as held-out ones',
      ['--evaluate', 'calibration.npy'],
      /200 of 200 --evaluate samples are calibration/,
    ],
    [
      'fewer labels than answers',
      ['--evaluate', 'probes.npy', '--labels', 'seven.npy'],
      /there are 7 labels for 8 answers/,
    ],
    [
      'more labels than answers',
      ['--evaluate', 'probes.npy', '--labels', 'nine.npy'],
      /there are 9 labels for 8 answers/,
    ],
    [
      'a second file for an input',
      ['--calibration', 'image=probes.npy'],
      /'image' was given before; give one for each of image/,
    ],
    [
      'a node that is not there',
      ['--exclude', 'conv9'],
      /--exclude conv9: the model has no such node; it has conv1, .*conv2/,
    ],
  ])('refuses_%s', async (_name, more, reasons) => {
    const at = (name: string): string => join(folder, name);
    for (const [name, length] of [
      ['seven.npy', 7],
      ['nine.npy', 9],
    ] as const) {
      writeFileSync(
        at(name),
        encodeNpy({ dtype: 'u1', shape: [length], data: new Uint8Array(length) }),
      );
    }
    const placed = more.map((text) =>
      text.startsWith('image=')
        ? `image=${at(text.slice(6))}`
        : text.endsWith('.npy')
          ? at(text)
          : text,
    );
    const args = [
      'quantize',
      at('digits-1.0.0.onnx'),
      '--calibration',
      at('calibration.npy'),
      ...placed,
      '-o',
      at('none.onnx'),
    ];
    await expect(linnet(false, ...args)).rejects.toThrow(reasons);
    expect(existsSync(at('none.onnx'))).toBe(false);
  });

  it('leaves_no_output_when_it_refuses', async () => {
    const at = (name: string): string => join(folder, name);
    writeFileSync(at('cut.npy'), readFileSync(at('calibration.npy')).subarray(0, 5000));
    await expect(
      linnet(
        false,
        'quantize',
        at('digits-1.1.0.onnx'),
        '--calibration',
        at('cut.npy'),
        '-o',
        at('none.onnx'),
      ),
    ).rejects.toThrow(/data_undecodable: .*cut\.npy: it is cut short/);
    expect(() => readFileSync(at('none.onnx'))).toThrow(/ENOENT/);
  });

  it('a_place_that_cannot_be_written_is_a_failure_of_the_disk_and_stays_empty', async () => {
    const at = (name: string): string => join(folder, name);
    mkdirSync(at('full/inside'), { recursive: true });
    for (const [output, reasons] of [
      ['none/int8.onnx', 'ENOENT'],
      ['full', 'EISDIR'],
      ['calibration.npy/int8.onnx', 'ENOTDIR'],
      ['x'.repeat(255), 'ENAMETOOLONG'],
    ] as const) {
      const quantizing = linnet(
        false,
        'quantize',
        at('digits-1.0.0.onnx'),
        '--calibration',
        at('calibration.npy'),
        '-o',
        at(output),
      );
      await expect(quantizing).rejects.toThrow(
        new RegExp(`^disk_failed: cannot write .*${reasons}`),
      );
    }
    expect(readdirSync(folder).filter((name) => name.includes('.tmp'))).toEqual([]);
    expect(readdirSync(at('full'))).toEqual(['inside']);
  });

  it('helps_with_an_example', async () => {
    expect(await linnet(false, 'quantize', '--help')).toMatch(
      /--calibration[\s\S]*Example:\n {2}linnet model quantize/,
    );
    expect(await linnet(false, 'inspect', '--help')).toMatch(/Example:/);
    expect(await linnet(false, '--help')).toMatch(/inspect[\s\S]*quantize/);
  });
});
