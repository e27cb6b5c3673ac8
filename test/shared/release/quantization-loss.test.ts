// What a release says about the loss of its quantization, from the report of the quantizer.
import { describe, expect, it } from 'vitest';
import { LOSS_KEY, lossInReport, lossOf } from '../../../shared/release/quantization-loss.js';
import { loss } from '../../support/quantization-losses.js';

const { fp32Bytes, int8Bytes, outputs, heldOut } = loss();
const latency = { fp32: { p50Us: 1, p99Us: 2 }, int8: { p50Us: 1, p99Us: 2 }, runs: 300 };
const report = (comparison: object | null = { ...heldOut, fp32Bytes, int8Bytes, latency }) => ({
  model: 'digits.onnx',
  settings: { tool: 'linnet-quantizer/1' },
  report: { fp32Bytes, int8Bytes, calibrationFidelity: outputs, foldedNodes: 3 },
  comparison,
});

describe('the_loss_of_a_quantization', () => {
  it('is_taken_from_the_report_without_what_another_machine_would_measure_otherwise', () => {
    expect(lossInReport(report())).toEqual(loss());
    expect(JSON.stringify(lossInReport(report()))).not.toContain('p50Us');
  });

  it('has_no_accuracy_where_no_data_was_held_out', () => {
    expect(lossInReport(report(null))).toEqual(loss({ heldOut: null }));
  });

  it.each([
    ['of_another_tool', { settings: {} }],
    ['without_sizes', { ...report(), report: { calibrationFidelity: outputs } }],
    ['with_a_share_above_1', report({ ...heldOut, agreement: 1.2 })],
    ['that_is_no_object', { report: 'fine' }],
  ])('is_not_in_a_report_%s', (_, given) => {
    expect(lossInReport(given)).toBeNull();
  });

  it('is_read_from_the_lineage_of_a_release_and_absent_in_one_that_says_nothing', () => {
    expect(lossOf({ quantization: { format: 'QDQ', [LOSS_KEY]: loss() } })).toEqual(loss());
    expect(lossOf({ quantization: { format: 'QDQ' } })).toBeNull();
    expect(lossOf({ quantization: null })).toBeNull();
  });
});
