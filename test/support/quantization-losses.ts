// What a release says about its quantization, for tests.
import type { QuantizationLoss } from '../../shared/release/quantization-loss.js';

export const loss = (change: Partial<QuantizationLoss> = {}): QuantizationLoss => ({
  fp32Bytes: 1_660_000,
  int8Bytes: 430_000,
  outputs: [
    { output: 'logits', sqnrDb: 31.5, cosine: 0.9993 },
    { output: 'boxes', sqnrDb: null, cosine: 1 },
  ],
  heldOut: {
    samples: 500,
    evaluationSha256: 'e'.repeat(64),
    fp32Accuracy: 0.962,
    int8Accuracy: 0.958,
    agreement: 0.991,
    maxAbsDiff: 0.61,
    minCosine: 0.991,
  },
  ...change,
});
