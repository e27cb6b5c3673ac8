// What quantization cost, as `linnet model quantize` measured it and the makers signed it into the
// lineage of a release: sizes, how close each output is to fp32 on the calibration data, and what
// was found on held-out data. Only what another machine measures again; latency is not. A report of
// another tool may have none of it. Pure.
import { Type, type Static } from 'typebox';
import { Hex32 } from '../base/hex-schemas.js';
import { complaints } from '../base/decode.js';
import { limits } from '../base/limits.js';
import { strict } from './manifest-head.js';
import type { Lineage } from './model-manifest.js';

const Bytes = Type.Integer({ minimum: 0 });
const Share = Type.Number({ minimum: 0, maximum: 1 });
const OrNull = <T extends Parameters<typeof Type.Array>[0]>(schema: T) =>
  Type.Union([Type.Null(), schema]);

export const QuantizationLoss = Type.Object(
  {
    fp32Bytes: Bytes,
    int8Bytes: Bytes,
    outputs: Type.Array(
      Type.Object(
        {
          output: Type.String({ maxLength: limits.nameMaxChars }),
          /** Signal to quantization noise ratio in dB; null where it does not apply. */
          sqnrDb: OrNull(Type.Number()),
          cosine: Type.Number({ minimum: -1, maximum: 1.000_001 }),
        },
        strict,
      ),
      { maxItems: limits.modelTensorsMaxCount },
    ),
    /** Null: the makers gave no held-out data. */
    heldOut: OrNull(
      Type.Object(
        {
          samples: Type.Integer({ minimum: 1 }),
          evaluationSha256: Hex32,
          /** Null without labels. */
          fp32Accuracy: OrNull(Share),
          int8Accuracy: OrNull(Share),
          /** Share of samples whose largest output is the same in both. */
          agreement: Share,
          maxAbsDiff: Type.Number({ minimum: 0 }),
          minCosine: Type.Number({ minimum: -1, maximum: 1.000_001 }),
        },
        strict,
      ),
    ),
  },
  { ...strict, title: 'QuantizationLoss' },
);
export type QuantizationLoss = Static<typeof QuantizationLoss>;

/** The key of a lineage's quantization settings under which the loss stands. */
export const LOSS_KEY = 'measured';

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The loss in a report of `linnet model quantize`; null when the report has no such numbers. */
export function lossInReport(result: Readonly<Record<string, unknown>>): QuantizationLoss | null {
  const { report, comparison } = result;
  if (!isObject(report)) return null;
  const held = isObject(comparison) ? comparison : null;
  return decoded({
    fp32Bytes: report['fp32Bytes'],
    int8Bytes: report['int8Bytes'],
    outputs: report['calibrationFidelity'],
    heldOut: held === null ? null : heldOutOf(held),
  });
}

const heldOutOf = (held: Readonly<Record<string, unknown>>): Record<string, unknown> => ({
  samples: held['samples'],
  evaluationSha256: held['evaluationSha256'],
  fp32Accuracy: held['fp32Accuracy'],
  int8Accuracy: held['int8Accuracy'],
  agreement: held['agreement'],
  maxAbsDiff: held['maxAbsDiff'],
  minCosine: held['minCosine'],
});

/** What a release says about its quantization; null when it says nothing that can be read. */
export const lossOf = ({ quantization }: Pick<Lineage, 'quantization'>): QuantizationLoss | null =>
  decoded(quantization?.[LOSS_KEY]);

const decoded = (value: unknown): QuantizationLoss | null =>
  complaints(QuantizationLoss, value).length === 0 ? (value as QuantizationLoss) : null;
