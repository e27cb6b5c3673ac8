// Inputs for tests of the block length: scenes that last for a number of inputs.
import { BlockMeter, type InputSignature } from '../../shared/statistics/block-length.js';
import { seeded } from './random.js';

/** One input every `every` seconds; a scene lasts `run` inputs. */
export function inputs(count: number, every: number, run: number, seed = 1): InputSignature[] {
  const random = seeded(seed);
  let scene: number[] = [];
  return Array.from({ length: count }, (_, i) => {
    if (i % run === 0) scene = Array.from({ length: 17 }, random);
    const [score = 0, ...summary] = scene;
    return { seconds: i * every, score, summary };
  });
}

/** The block length in seconds that these inputs give. */
export function chosen(inputs: readonly InputSignature[]): number | null {
  const meter = new BlockMeter();
  for (const input of inputs) meter.add(input);
  return meter.chooseSeconds();
}
