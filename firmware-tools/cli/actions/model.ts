// `linnet model inspect` and `linnet model quantize`: read files, call model/, print the results.
// Nothing is decided here. Outputs are written whole or not at all (temporary name, then rename).
import { counted } from '../../../shared/base/counted.js';
import { performance } from 'node:perf_hooks';
import { Fault } from '../../../shared/base/fault-codes.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { sha256, utf8 } from '../../../shared/base/bytes.js';
import { requireFiles } from '../arguments.js';
import type { Output } from '../output.js';
import { writeWhole } from '../../release/keys/key-files.js';
import { feedsOf, sampleDigests } from '../../model/input-data/feeds.js';
import { readInputFile } from '../../model/input-data/input-file.js';
import { readNpy } from '../../model/input-data/npy.js';
import type { NpyArray } from '../../model/input-data/npy.js';
import { inspect, type Inspection } from '../../model/inspect.js';
import { compare, type Comparison, type Latency } from '../../model/measure.js';
import { decodeModel } from '../../model/onnx/model-file.js';
import { quantize } from '../../model/quantize/quantize.js';
import type { QuantizationSettings, QuantizeReport } from '../../model/quantize/quantize.js';
import { openModel } from '../../model/session.js';
import type { TensorMeta } from '../../model/session.js';

/** The JSON that `linnet model quantize` prints with --json and writes with --report. */
export interface QuantizeResult {
  model: string;
  output: string;
  sha256: string;
  /** For a release's lineage. */
  settings: QuantizationSettings;
  report: QuantizeReport;
  /** null without --evaluate. */
  comparison: Comparison | null;
}

interface QuantizeFlags {
  calibration: string[];
  evaluate?: string[];
  labels?: string;
  output: string;
  report?: string;
  fullRange?: boolean;
  perTensor?: boolean;
  acceptLoss?: boolean;
  exclude: string[];
  joined: string;
}

/** `name=FILE` for one of several inputs, or FILE for the only one. */
function inputOf(text: string, names: string[]): { name: string | undefined; file: string } {
  const [, name = '', file = ''] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (file !== '' && names.includes(name)) return { name, file };
  return { name: names.length === 1 ? names[0] : undefined, file: text };
}

function readInputs(given: string[], inputs: TensorMeta[]): Record<string, NpyArray> {
  // Without a prototype, because an input may have any name, also __proto__.
  const arrays = Object.create(null) as Record<string, NpyArray>;
  for (const text of given) {
    const names = inputs.map((m) => m.name);
    const { name, file } = inputOf(text, names);
    if (name === undefined) {
      throw new Fault(
        'usage',
        `'${text}' names no input: write NAME=FILE.npy with one of ${names.join(', ')}`,
      );
    }
    if (Object.hasOwn(arrays, name)) {
      throw new Fault(
        'usage',
        `'${text}': a file for input '${name}' was given before; give one for each of ` +
          names.join(', '),
      );
    }
    arrays[name] = readNpy(file);
  }
  return arrays;
}

/** Accuracy on samples that calibration saw says nothing about others. */
function requireHeldOut(
  calibration: Record<string, NpyArray>,
  evaluation: Record<string, NpyArray>,
): void {
  const seen = new Set(sampleDigests(calibration));
  const digests = sampleDigests(evaluation);
  const shared = digests.flatMap((digest, at) => (seen.has(digest) ? [at] : []));
  if (shared.length === 0) return;
  const which =
    `${shared.length} of ${digests.length} --evaluate samples are calibration samples ` +
    `too, the first is number ${shared[0] ?? 0}`;
  throw new Fault('usage', `${which} (counted from 0): evaluate on other samples`);
}

function shapeText(metas: TensorMeta[]): string {
  return metas.map((m) => `${m.name} ${m.type}[${m.shape.join(',')}]`).join('  ');
}

export function inspectionText(path: string, i: Inspection): string {
  const counts = (record: Record<string, number>): string =>
    Object.entries(record)
      .map(([k, n]) => `${k} ${n}`)
      .join(', ');
  return [
    `${path}: ${i.quantized ? 'quantized' : 'float'} ONNX model, operator set ` +
      `${i.opset}, ${i.bytes} bytes`,
    `  inputs      ${shapeText(i.inputs)}`,
    `  outputs     ${shapeText(i.outputs)}`,
    `  operators   ${counts(i.ops)}`,
    `  parameters  ${i.parameters} (${counts(i.parametersByType)})`,
    `  sha256      ${i.sha256}`,
  ].join('\n');
}

const percent = (share: number): string => `${(share * 100).toFixed(2)} %`;

const latencyText = (l: Latency): string =>
  `p50 ${l.p50Us.toFixed(0)} us p99 ${l.p99Us.toFixed(0)} us`;

function comparisonLines(c: Comparison): string[] {
  const scored =
    c.fp32Accuracy !== null && c.int8Accuracy !== null
      ? [
          `  accuracy    fp32 ${percent(c.fp32Accuracy)}, int8 ` +
            `${percent(c.int8Accuracy)} on ${c.samples} held-out samples`,
        ]
      : [];
  const { fp32, int8 } = c.latency;
  return [
    ...scored,
    `  agreement   ${percent(c.agreement)} of ${c.samples} answers`,
    `  outputs     differ by at most ${c.maxAbsDiff.toPrecision(3)}, smallest cosine ` +
      c.minCosine.toFixed(5),
    `  latency     fp32 ${latencyText(fp32)}, int8 ${latencyText(int8)} (here, one thread)`,
  ];
}

export function quantizeText(result: QuantizeResult): string {
  const { report, comparison } = result;
  return [
    `${result.output}: int8 model, sha256 ${result.sha256}`,
    `  size        ${report.fp32Bytes} -> ${report.int8Bytes} bytes ` +
      `(${percent(report.int8Bytes / report.fp32Bytes)})`,
    `  int8 nodes  ${report.quantizedNodes.length}, and ${report.foldedNodes} ` +
      'Relu/Clip folded away',
    ...report.floatNodes.map((f) => `  left float  '${f.node}' (${f.op}): ${f.why}`),
    ...report.unfusedNodes.map(
      (f) => `  not fused   '${f.node}' (${f.op}): ONNX Runtime still computes it in float`,
    ),
    ...(comparison
      ? comparisonLines(comparison)
      : ['  without --evaluate data the loss of accuracy is not known']),
  ].join('\n');
}

/** The body of `linnet model quantize`. */
export async function runQuantize(
  path: string,
  flags: QuantizeFlags,
  out: Output,
): Promise<QuantizeResult> {
  const fp32 = readInputFile(path);
  if (flags.labels !== undefined && flags.evaluate === undefined)
    throw new Fault('usage', '--labels needs --evaluate');
  // Before ONNX Runtime, because its message about a file that is no model is better.
  decodeModel(fp32, path);
  const session = await openModel(fp32, { what: path });
  await session.release();
  const shown = readInputs(flags.calibration, session.inputs);
  const calibration = feedsOf(session.inputs, shown);
  const hidden =
    flags.evaluate === undefined ? undefined : readInputs(flags.evaluate, session.inputs);
  const held = hidden && feedsOf(session.inputs, hidden);
  if (hidden) requireHeldOut(shown, hidden);
  const labels = flags.labels === undefined ? undefined : readNpy(flags.labels).data;
  out.progress(`calibrating on ${counted(calibration.length, 'input')}`);
  const { bytes, settings, report } = await quantize(fp32, calibration, {
    what: path,
    reduceRange: flags.fullRange !== true,
    perChannel: flags.perTensor !== true,
    acceptLoss: flags.acceptLoss === true,
    exclude: flags.exclude,
    joined: flags.joined.split(',').filter((op) => op !== '' && op !== 'none'),
  });
  if (held) out.progress(`comparing on ${held.length} held-out inputs`);
  const comparison = held
    ? await compare(fp32, bytes, held, {
        now: () => performance.now(),
        ...(labels === undefined ? {} : { labels }),
      })
    : null;
  const result: QuantizeResult = {
    model: path,
    output: flags.output,
    sha256: sha256(bytes),
    settings,
    report,
    comparison,
  };
  const whole = { random: realRandom, overwrite: true };
  await writeWhole(flags.output, bytes, whole);
  if (flags.report !== undefined)
    await writeWhole(flags.report, utf8(`${JSON.stringify(result, null, 2)}\n`), whole);
  return result;
}

export async function inspectFile(out: Output, file: string): Promise<void> {
  const found = await inspect(readInputFile(file), file);
  out.result({ file, ...found }, () => inspectionText(file, found));
}

export async function quantizeFile(out: Output, file: string, flags: QuantizeFlags): Promise<void> {
  // What is before a `=` may be an input of the model, which is not read yet.
  const data = [...flags.calibration, ...(flags.evaluate ?? [])];
  await requireFiles(file, ...data.filter((text) => !text.includes('=')), flags.labels);
  const result = await runQuantize(file, flags, out);
  out.result(result, () => quantizeText(result));
}
