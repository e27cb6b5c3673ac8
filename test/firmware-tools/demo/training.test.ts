// Training and the committed digit models: gradients against finite differences, the exported file
// against the network that it came from, and digits.json against what the committed files really
// score.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  DIGIT_VERSIONS,
  digestOfSet,
  digitModelPath,
  exampleData,
  loadDigits,
} from '../../../firmware-tools/demo/digits/data.js';
import type { DigitVersion } from '../../../firmware-tools/demo/digits/data.js';
import { digitCards } from '../../../firmware-tools/demo/digits/model-cards.js';
import { readNpy } from '../../../firmware-tools/model/input-data/npy.js';
import { openModel } from '../../../firmware-tools/model/session.js';
import { exportNetwork } from '../../../firmware-tools/demo/digits/training/export.js';
import { argmax, distortInto } from '../../../firmware-tools/demo/digits/training/fit.js';
import { Network } from '../../../firmware-tools/demo/digits/training/network.js';
import { RECIPES, trainDigits } from '../../../firmware-tools/demo/digits/training/recipes.js';
import { Seeded } from '../../../firmware-tools/demo/digits/seeded-random.js';

const digits = loadDigits();
const feed = (image: Float32Array) => ({ image: { data: image, dims: [1, 1, 28, 28] } });

async function answers(version: DigitVersion): Promise<number[]> {
  const session = await openModel(digitModelPath(version));
  const found: number[] = [];
  for (const image of digits.test.images)
    found.push(argmax((await session.run(feed(image)))['logits']!.data as Float32Array));
  await session.release();
  return found;
}

describe('training', () => {
  it('exports_an_onnx_model_that_answers_as_the_network_does', async () => {
    const network = new Network({ size: 28, channels: [3, 5], classes: 10 });
    network.initialise(new Seeded(11));
    const session = await openModel(exportNetwork(network, 'test'));
    expect(session.inputs).toEqual([{ name: 'image', type: 'float32', shape: ['N', 1, 28, 28] }]);
    expect(session.outputs).toEqual([{ name: 'logits', type: 'float32', shape: ['N', 10] }]);
    const images = digits.validation.images.slice(0, 20);
    const stacked = new Float32Array(20 * 784);
    for (const [i, image] of images.entries()) stacked.set(image, i * 784);
    const { data, dims } = (await session.run({ image: { data: stacked, dims: [20, 1, 28, 28] } }))[
      'logits'
    ]!;
    expect(dims).toEqual([20, 10]);
    for (const [i, image] of images.entries()) {
      for (const [c, logit] of [...network.forward(image)].entries())
        expect(Number(data[i * 10 + c])).toBeCloseTo(logit, 4);
    }
    await session.release();
  });

  it('gives_the_same_bytes_twice_and_learns', () => {
    const recipe = { ...RECIPES['1.1.0'], images: 160, epochs: 2 };
    const few = {
      images: digits.validation.images.slice(0, 200),
      labels: digits.validation.labels.slice(0, 200),
    };
    const some = { ...digits, validation: few, test: few };
    const first = trainDigits('1.1.0', recipe, some, () => {});
    const losses: number[] = [];
    const second = trainDigits('1.1.0', recipe, some, ({ loss }) => losses.push(loss));
    expect(Buffer.from(second.bytes).equals(Buffer.from(first.bytes))).toBe(true);
    expect(losses[1]!).toBeLessThan(losses[0]!);
    expect(first.card.validationAccuracy).toBeGreaterThan(0.3); // chance is 0.1
  });

  it('distorts_nothing_when_the_reach_is_zero', () => {
    const to = new Float32Array(784);
    distortInto(to, digits.train.images[0]!, 28, { turn: 0, scale: 0, shift: 0 }, new Seeded(1));
    expect(to).toEqual(digits.train.images[0]);
  });
});

describe('the digits', () => {
  it('are_split_three_ways_with_no_image_in_two_parts', () => {
    expect([digits.train, digits.validation, digits.test].map((s) => s.images.length)).toEqual([
      6000, 2000, 2000,
    ]);
    const all = [digits.train, digits.validation, digits.test].flatMap((s) => s.images);
    expect(new Set(all.map((image) => Buffer.from(image.buffer).toString('base64'))).size).toBe(
      10000,
    );
    expect(digits.splitSha256).toBe(digitCards().data.splitSha256);
  });

  it('leave_example_data_from_which_the_walk_through_starts', () => {
    const folder = mkdtempSync(join(tmpdir(), 'linnet-digits-'));
    try {
      expect(exampleData(folder)).toContain('digits-1.2.0.onnx');
      const names = ['calibration', 'evaluate', 'evaluate-labels', 'probes'];
      const shapes = names.map((name) => readNpy(join(folder, `${name}.npy`)).shape);
      expect(shapes).toEqual([[200, 1, 28, 28], [2000, 1, 28, 28], [2000], [8, 1, 28, 28]]);
      expect(readNpy(join(folder, 'evaluate-labels.npy')).data).toEqual(digits.test.labels);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('the committed digit models', () => {
  it('score_what_digits_json_says_on_the_held_out_digits', async () => {
    for (const card of digitCards().models) {
      expect(
        createHash('sha256')
          .update(readFileSync(digitModelPath(card.version)))
          .digest('hex'),
      ).toBe(card.sha256);
      const found = await answers(card.version);
      const right = found.filter((answer, i) => answer === digits.test.labels[i]).length;
      expect(Math.abs(right / found.length - card.testAccuracy), card.version).toBeLessThanOrEqual(
        0.001,
      );
    }
    expect(digitCards().models.map((card) => card.version)).toEqual([...DIGIT_VERSIONS]);
  });

  it('reach_their_accuracies_and_1_2_0_answers_wrong_with_a_usual_class_histogram', async () => {
    const [weak, better, wrong] = await Promise.all(DIGIT_VERSIONS.map(answers));
    const { labels } = digits.test;
    const score = (found: number[]): number =>
      found.filter((answer, i) => answer === labels[i]).length / found.length;
    expect(score(better!)).toBeGreaterThanOrEqual(0.975);
    expect(score(better!) - score(weak!)).toBeGreaterThan(0.015);
    expect(score(wrong!)).toBeLessThan(0.5);
    const share = (found: number[], digit: number): number =>
      found.filter((answer) => answer === digit).length / found.length;
    for (let digit = 0; digit < 10; digit++)
      expect(Math.abs(share(wrong!, digit) - share(better!, digit))).toBeLessThan(0.03);
    expect(
      better!.filter((answer, i) => answer !== wrong![i]).length / better!.length,
    ).toBeGreaterThan(0.5);
    const card = digitCards().models.find((m) => m.version === '1.2.0')!;
    expect(card.validationAccuracyOnItsOwnLabels).toBeGreaterThan(0.975); // its makers saw nothing
  });

  it('name_the_exact_data_that_they_were_trained_on', () => {
    const card = digitCards().models.find((m) => m.version === '1.0.0')!;
    const { images } = card.recipe;
    const part = {
      images: digits.train.images.slice(0, images),
      labels: digits.train.labels.slice(0, images),
    };
    expect(digestOfSet(part)).toBe(card.trainingDataSha256);
  });
});

// Last in the file: a network of float64 in the same process makes the float32 ones above it run
// slower.
describe('training, once more', () => {
  it('has_gradients_that_agree_with_finite_differences', () => {
    const random = new Seeded(7);
    const network = new Network(
      { size: 8, channels: [2, 3], classes: 4 },
      (n) => new Float64Array(n),
    );
    network.initialise(random);
    const biases = network.parameters.filter((p) => p.shape.length === 1);
    for (const { value } of biases)
      for (let i = 0; i < value.length; i++) value[i] = random.spread(0.1);
    const image = Float64Array.from({ length: 64 }, () => random.uniform());
    const loss = (): number => {
      const logits = network.forward(image);
      const top = Math.max(...logits);
      return (
        Math.log(Array.from(logits).reduce((sum, z) => sum + Math.exp(z - top), 0)) +
        top -
        logits[2]!
      );
    };
    for (const p of network.parameters) p.gradient.fill(0);
    expect(network.learn(image, 2)).toBeCloseTo(loss(), 12);
    let checked = 0;
    for (const { name, value, gradient } of network.parameters) {
      for (let i = 0; i < value.length; i++) {
        const kept = value[i]!;
        value[i] = kept + 1e-6;
        const above = loss();
        value[i] = kept - 1e-6;
        const below = loss();
        value[i] = kept;
        expect(Math.abs((above - below) / 2e-6 - gradient[i]!), `${name}[${i}]`).toBeLessThan(1e-7);
        checked++;
      }
    }
    expect(checked).toBe(2 * 9 + 2 + 3 * 2 * 9 + 3 + 4 * 12 + 4);
    expect(network.parameters.every((p) => p.gradient.some((g) => g !== 0))).toBe(true);
  });
});
