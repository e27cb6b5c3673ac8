// Fits a Network to a labelled set: Adam on mini-batches with a cosine learning rate, small random
// affine distortions of the training images, every random draw from one seeded source. The same
// recipe and data give the same parameters, bit for bit, on one machine and Node version. Chooses
// nothing by itself: the caller looks at validation accuracy. Source: Kingma & Ba, Adam (2015),
// algorithm 1; cosine schedule: Loshchilov & Hutter, SGDR (2017), without restarts.
import type { DigitSet } from '../data.js';
import type { Network, Real } from './network.js';
import type { Seeded } from '../seeded-random.js';

export interface Recipe {
  seed: number;
  /** How many of the training images, from the front, are used. */
  images: number;
  epochs: number;
  batch: number;
  learningRate: number;
  /**
   * Rotation and shear reach (radians), relative scale reach, shift reach (pixels); all zero turns
   * distortion off.
   */
  distort: { turn: number; scale: number; shift: number };
  channels: number[];
}

const ADAM_BETA1 = 0.9;
const ADAM_BETA2 = 0.999;
const ADAM_EPSILON = 1e-8;

class Adam {
  readonly #moments: { first: Real; second: Real }[];
  #step = 0;

  readonly #network: Network;

  constructor(network: Network) {
    this.#network = network;
    this.#moments = network.parameters.map((p) => ({
      first: p.value.slice().fill(0),
      second: p.value.slice().fill(0),
    }));
  }

  /** Applies the gradients gathered over `samples` samples and clears them. */
  apply(rate: number, samples: number): void {
    this.#step++;
    const unbias = Math.sqrt(1 - ADAM_BETA2 ** this.#step) / (1 - ADAM_BETA1 ** this.#step);
    for (const [index, { value, gradient }] of this.#network.parameters.entries()) {
      const { first, second } = this.#moments[index]!;
      for (let i = 0; i < value.length; i++) {
        const g = gradient[i]! / samples;
        first[i] = ADAM_BETA1 * first[i]! + (1 - ADAM_BETA1) * g;
        second[i] = ADAM_BETA2 * second[i]! + (1 - ADAM_BETA2) * g * g;
        value[i] = value[i]! - (rate * unbias * first[i]!) / (Math.sqrt(second[i]!) + ADAM_EPSILON);
        gradient[i] = 0;
      }
    }
  }
}

/**
 * Writes a randomly turned, sheared, scaled and shifted copy of a size x size image into `to`
 * (bilinear, zero outside).
 */
export function distortInto(
  to: Float32Array,
  image: Float32Array,
  size: number,
  reach: Recipe['distort'],
  random: Seeded,
): void {
  const turn = random.spread(reach.turn);
  const shear = random.spread(reach.turn);
  const scaleX = 1 + random.spread(reach.scale);
  const scaleY = 1 + random.spread(reach.scale);
  const shiftX = random.spread(reach.shift);
  const shiftY = random.spread(reach.shift);
  const cos = Math.cos(turn),
    sin = Math.sin(turn),
    middle = (size - 1) / 2;
  const at = (x: number, y: number): number =>
    x < 0 || y < 0 || x >= size || y >= size ? 0 : image[y * size + x]!;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const u = (x - middle - shiftX) * scaleX;
      const v = (y - middle - shiftY) * scaleY;
      const sx = cos * u - sin * v + shear * v + middle;
      const sy = sin * u + cos * v + middle;
      const x0 = Math.floor(sx),
        y0 = Math.floor(sy);
      const fx = sx - x0,
        fy = sy - y0;
      const above = at(x0, y0) * (1 - fx) + at(x0 + 1, y0) * fx;
      const below = at(x0, y0 + 1) * (1 - fx) + at(x0 + 1, y0 + 1) * fx;
      to[y * size + x] = above * (1 - fy) + below * fy;
    }
  }
}

export interface EpochReport {
  epoch: number;
  /** Mean cross-entropy over the epoch's (distorted) training images, in nats. */
  loss: number;
}

/** Trains `network` in place on the first `recipe.images` of `set`. */
export function fit(
  network: Network,
  set: DigitSet,
  recipe: Recipe,
  random: Seeded,
  onEpoch: (report: EpochReport) => void,
): void {
  const { size } = network.architecture;
  const adam = new Adam(network);
  const order = Array.from({ length: recipe.images }, (_, i) => i);
  const canvas = new Float32Array(size * size);
  const distorted = recipe.distort.turn > 0 || recipe.distort.scale > 0 || recipe.distort.shift > 0;
  const steps = recipe.epochs * Math.ceil(recipe.images / recipe.batch);
  let step = 0;
  for (let epoch = 1; epoch <= recipe.epochs; epoch++) {
    random.shuffle(order);
    let loss = 0;
    for (let start = 0; start < order.length; start += recipe.batch) {
      const batch = order.slice(start, start + recipe.batch);
      for (const index of batch) {
        const image = set.images[index]!;
        if (distorted) distortInto(canvas, image, size, recipe.distort, random);
        loss += network.learn(distorted ? canvas : image, set.labels[index]!);
      }
      adam.apply(
        (recipe.learningRate * (1 + Math.cos((Math.PI * step) / steps))) / 2,
        batch.length,
      );
      step++;
    }
    onEpoch({ epoch, loss: loss / order.length });
  }
}

export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** Share of images (0..1) whose largest logit is their label. */
export function accuracyOf(network: Network, set: DigitSet): number {
  let right = 0;
  for (const [i, image] of set.images.entries())
    if (argmax(network.forward(image)) === set.labels[i]) right++;
  return right / set.images.length;
}
