// Writing of Open Inference Protocol answers, without a server.
import { describe, expect, it } from 'vitest';
import { AnswerWriter, type AnswerForm } from '../../../../agent/inference/api/answer-writer.js';
import type { Tensor } from '../../../../agent/inference/model/tensor.js';
import { fp32 } from '../../../support/inference-releases.js';

describe('answers', () => {
  const release = { component: 'digits', version: '1.0.0', digest: 'd'.repeat(64) };
  const y = fp32('y', [1, 2], [1, 2.5]);
  const z: Tensor = { name: 'z', datatype: 'BOOL', shape: [3], data: Uint8Array.of(1, 0, 1) };
  const write = (form: Partial<AnswerForm>, outputs: Tensor[] = [y, z]) => {
    const whole: AnswerForm = { id: undefined, binary: false, outputs: undefined, ...form };
    const { headerBytes, pieces } = new AnswerWriter().write(release, outputs, whole);
    const bytes = Buffer.concat(pieces);
    const head = bytes.subarray(0, headerBytes ?? bytes.length).toString();
    return { headerBytes, json: JSON.parse(head) as unknown, rest: bytes.subarray(head.length) };
  };
  const common = {
    model_name: 'digits',
    model_version: '1.0.0',
    parameters: { release_digest: release.digest },
  };

  it('json_answer_holds_every_output', () => {
    expect(write({ id: 'q"' })).toEqual({
      headerBytes: null,
      json: {
        ...common,
        id: 'q"',
        outputs: [
          { name: 'y', datatype: 'FP32', shape: [1, 2], data: [1, 2.5] },
          { name: 'z', datatype: 'BOOL', shape: [3], data: [true, false, true] },
        ],
      },
      rest: Buffer.alloc(0),
    });
  });

  it('binary_answer_is_header_and_bytes', () => {
    const { headerBytes, json, rest } = write({ binary: true });
    expect(headerBytes).toBeGreaterThan(0);
    expect(json).toEqual({
      ...common,
      outputs: [
        { name: 'y', datatype: 'FP32', shape: [1, 2], parameters: { binary_data_size: 8 } },
        { name: 'z', datatype: 'BOOL', shape: [3], parameters: { binary_data_size: 3 } },
      ],
    });
    expect(rest).toEqual(Buffer.concat([y.data, z.data]));
  });

  it('outputs_come_in_the_requested_order_and_form', () => {
    const outputs = [
      { name: 'z', binary: true },
      { name: 'y', binary: false },
    ];
    const { json, rest } = write({ outputs });
    expect(json).toMatchObject({
      outputs: [
        { name: 'z', parameters: { binary_data_size: 3 } },
        { name: 'y', data: [1, 2.5] },
      ],
    });
    expect(rest).toEqual(Buffer.from(z.data));
  });

  it.each([32 * 1024 - 400, 64 * 1024])('tensor_of_%s_bytes_arrives_whole', (length) => {
    const data = new Uint8Array(length).fill(5);
    const big: Tensor = { name: 'b', datatype: 'UINT8', shape: [length], data };
    expect(Buffer.compare(write({ binary: true }, [big]).rest, data)).toBe(0);
  });

  it('header_is_written_anew_when_release_or_shape_changes', () => {
    const writer = new AnswerWriter();
    const form: AnswerForm = { id: undefined, binary: true, outputs: undefined };
    const head = (of: typeof release, tensor: Tensor) => {
      const { headerBytes, pieces } = writer.write(of, [tensor], form);
      return Buffer.concat(pieces)
        .subarray(0, headerBytes ?? 0)
        .toString();
    };
    const first = head(release, y);
    expect(head(release, y)).toBe(first);
    expect(head(release, fp32('y', [2, 1], [1, 2]))).toContain('"shape":[2,1]');
    expect(head(release, fp32('w', [1, 2], [1, 2]))).toContain('"name":"w"');
    expect(head({ ...release, version: '2.0.0', digest: 'e'.repeat(64) }, y)).toContain(
      '"model_version":"2.0.0"',
    );
    expect(head(release, y)).toBe(first);
  });
});
