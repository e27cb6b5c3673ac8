// A small convolutional network with its own forward and backward pass: blocks of [conv 3x3 same ->
// relu -> maxpool 2x2] and one dense layer. One sample at a time, gradients accumulate until the
// caller clears them. Shapes are fixed at construction; nothing here allocates while training.
// Layouts are ONNX's: images [C,H,W], conv weights [out,in,3,3], dense weights [out,in]. Optimiser,
// data and export live in fit.ts and export.ts.
import assert from 'node:assert';
import type { Seeded } from '../seeded-random.js';

export type Real = Float32Array | Float64Array;
export type RealArray = (length: number) => Real;

/** One trainable array with its gradient (same length). */
export interface Parameter {
  name: string;
  shape: number[];
  value: Real;
  gradient: Real;
}

function parameter(name: string, shape: number[], make: RealArray): Parameter {
  const length = shape.reduce((a, b) => a * b, 1);
  return { name, shape, value: make(length), gradient: make(length) };
}

/**
 * conv 3x3 (stride 1, zero padding 1) -> relu -> maxpool 2x2. Reads planes with a one-pixel zero
 * border (`inputs` x (size+2)^2) and writes `outputs` planes of size/2, bordered when another conv
 * follows.
 */
export class ConvBlock {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly output: Real;
  readonly outputGradient: Real;
  readonly #sums: Real;
  readonly #winner: Int32Array;
  readonly #hits: Int32Array;
  readonly #hitGradients: Real;

  constructor(
    readonly name: string,
    readonly inputs: number,
    readonly outputs: number,
    readonly size: number,
    readonly border: 0 | 1,
    make: RealArray,
  ) {
    assert(size % 2 === 0, 'a conv block halves its planes, so their side must be even');
    const half = size / 2;
    this.weight = parameter(`${name}.weight`, [outputs, inputs, 3, 3], make);
    this.bias = parameter(`${name}.bias`, [outputs], make);
    this.output = make(outputs * (half + 2 * border) ** 2);
    this.outputGradient = make(this.output.length);
    this.#sums = make(size * size);
    this.#winner = new Int32Array(outputs * half * half);
    this.#hits = new Int32Array(half * half);
    this.#hitGradients = make(half * half);
  }

  forward(input: Real): void {
    const { size, inputs } = this;
    const sums = this.#sums;
    const pitch = size + 2;
    const w = this.weight.value;
    for (let o = 0; o < this.outputs; o++) {
      sums.fill(this.bias.value[o]!);
      for (let i = 0; i < inputs; i++) {
        const k = (o * inputs + i) * 9;
        const w0 = w[k]!,
          w1 = w[k + 1]!,
          w2 = w[k + 2]!,
          w3 = w[k + 3]!,
          w4 = w[k + 4]!;
        const w5 = w[k + 5]!,
          w6 = w[k + 6]!,
          w7 = w[k + 7]!,
          w8 = w[k + 8]!;
        for (let y = 0; y < size; y++) {
          let p = i * pitch * pitch + y * pitch;
          for (let s = y * size, end = s + size; s < end; s++, p++) {
            const q = p + pitch;
            const r = q + pitch;
            sums[s] =
              sums[s]! +
              w0 * input[p]! +
              w1 * input[p + 1]! +
              w2 * input[p + 2]! +
              w3 * input[q]! +
              w4 * input[q + 1]! +
              w5 * input[q + 2]! +
              w6 * input[r]! +
              w7 * input[r + 1]! +
              w8 * input[r + 2]!;
          }
        }
      }
      this.#pool(o);
    }
  }

  // relu and max commute, so the pool looks at raw sums; -1 marks a window that relu silenced.
  #pool(o: number): void {
    const { size, border } = this;
    const sums = this.#sums;
    const half = size / 2;
    const pitch = half + 2 * border;
    for (let y = 0; y < half; y++) {
      for (let x = 0; x < half; x++) {
        let at = 2 * y * size + 2 * x;
        if (sums[at + 1]! > sums[at]!) at = at + 1;
        const below = (2 * y + 1) * size + 2 * x;
        if (sums[below]! > sums[at]!) at = below;
        if (sums[below + 1]! > sums[at]!) at = below + 1;
        const best = sums[at]!;
        this.#winner[(o * half + y) * half + x] = best > 0 ? at : -1;
        this.output[o * pitch * pitch + (y + border) * pitch + x + border] = best > 0 ? best : 0;
      }
    }
  }

  /**
   * Adds to the parameters' gradients from `outputGradient`; fills `inputGradient` (bordered,
   * cleared here) when given.
   */
  backward(input: Real, inputGradient?: Real): void {
    const plane = (this.size + 2) ** 2;
    inputGradient?.fill(0);
    for (let o = 0; o < this.outputs; o++) {
      const count = this.#collectHits(o);
      for (let i = 0; i < this.inputs; i++) {
        this.#weightGradient(o, i, count, input, i * plane);
        if (inputGradient) this.#scatter(o, i, count, inputGradient, i * plane);
      }
    }
  }

  // Only the winners of each pooling window carry gradient: at most a quarter of the conv's
  // outputs.
  #collectHits(o: number): number {
    const { size, border } = this;
    const half = size / 2;
    const pitch = half + 2 * border;
    let count = 0;
    let biasGradient = 0;
    for (let y = 0; y < half; y++) {
      for (let x = 0; x < half; x++) {
        const at = this.#winner[(o * half + y) * half + x]!;
        if (at < 0) continue;
        const g = this.outputGradient[o * pitch * pitch + (y + border) * pitch + x + border]!;
        const row = Math.floor(at / size);
        this.#hits[count] = row * (size + 2) + (at - row * size);
        this.#hitGradients[count] = g;
        biasGradient += g;
        count++;
      }
    }
    this.bias.gradient[o] = this.bias.gradient[o]! + biasGradient;
    return count;
  }

  #weightGradient(o: number, i: number, count: number, input: Real, base: number): void {
    const pitch = this.size + 2;
    const [hits, hitGradients] = [this.#hits, this.#hitGradients];
    let d0 = 0,
      d1 = 0,
      d2 = 0,
      d3 = 0,
      d4 = 0,
      d5 = 0,
      d6 = 0,
      d7 = 0,
      d8 = 0;
    for (let h = 0; h < count; h++) {
      const p = base + hits[h]!;
      const q = p + pitch;
      const r = q + pitch;
      const g = hitGradients[h]!;
      d0 += g * input[p]!;
      d1 += g * input[p + 1]!;
      d2 += g * input[p + 2]!;
      d3 += g * input[q]!;
      d4 += g * input[q + 1]!;
      d5 += g * input[q + 2]!;
      d6 += g * input[r]!;
      d7 += g * input[r + 1]!;
      d8 += g * input[r + 2]!;
    }
    const to = this.weight.gradient;
    const k = (o * this.inputs + i) * 9;
    to[k] = to[k]! + d0;
    to[k + 1] = to[k + 1]! + d1;
    to[k + 2] = to[k + 2]! + d2;
    to[k + 3] = to[k + 3]! + d3;
    to[k + 4] = to[k + 4]! + d4;
    to[k + 5] = to[k + 5]! + d5;
    to[k + 6] = to[k + 6]! + d6;
    to[k + 7] = to[k + 7]! + d7;
    to[k + 8] = to[k + 8]! + d8;
  }

  #scatter(o: number, i: number, count: number, to: Real, base: number): void {
    const pitch = this.size + 2;
    const [hits, hitGradients] = [this.#hits, this.#hitGradients];
    const w = this.weight.value;
    const k = (o * this.inputs + i) * 9;
    for (let h = 0; h < count; h++) {
      const g = hitGradients[h]!;
      for (let row = 0; row < 3; row++) {
        const p = base + hits[h]! + row * pitch;
        to[p] = to[p]! + g * w[k + row * 3]!;
        to[p + 1] = to[p + 1]! + g * w[k + row * 3 + 1]!;
        to[p + 2] = to[p + 2]! + g * w[k + row * 3 + 2]!;
      }
    }
  }
}

/** y = W x + b with W [outputs, inputs]. */
export class Dense {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly output: Real;

  constructor(
    readonly name: string,
    readonly inputs: number,
    readonly outputs: number,
    make: RealArray,
  ) {
    this.weight = parameter(`${name}.weight`, [outputs, inputs], make);
    this.bias = parameter(`${name}.bias`, [outputs], make);
    this.output = make(outputs);
  }

  forward(input: Real): void {
    for (let o = 0; o < this.outputs; o++) {
      let sum = this.bias.value[o]!;
      const base = o * this.inputs;
      for (let i = 0; i < this.inputs; i++) sum += this.weight.value[base + i]! * input[i]!;
      this.output[o] = sum;
    }
  }

  backward(input: Real, outputGradient: Real, inputGradient: Real): void {
    inputGradient.fill(0);
    for (let o = 0; o < this.outputs; o++) {
      const g = outputGradient[o]!;
      const base = o * this.inputs;
      this.bias.gradient[o] = this.bias.gradient[o]! + g;
      for (let i = 0; i < this.inputs; i++) {
        this.weight.gradient[base + i] = this.weight.gradient[base + i]! + g * input[i]!;
        inputGradient[i] = inputGradient[i]! + g * this.weight.value[base + i]!;
      }
    }
  }
}

export interface Architecture {
  size: number;
  channels: number[];
  classes: number;
}

/**
 * [conv -> relu -> pool] for each entry of `channels`, then dense to `classes` logits. One input
 * channel, size x size pixels.
 */
export class Network {
  readonly blocks: ConvBlock[] = [];
  readonly dense: Dense;
  readonly parameters: Parameter[];
  readonly #input: Real;
  readonly #logitGradient: Real;

  constructor(
    readonly architecture: Architecture,
    make: RealArray = (n) => new Float32Array(n),
  ) {
    let { size } = architecture;
    let inputs = 1;
    this.#input = make((size + 2) ** 2);
    for (const [index, outputs] of architecture.channels.entries()) {
      const last = index === architecture.channels.length - 1;
      this.blocks.push(
        new ConvBlock(`conv${index + 1}`, inputs, outputs, size, last ? 0 : 1, make),
      );
      size /= 2;
      inputs = outputs;
    }
    this.dense = new Dense('fc', inputs * size * size, architecture.classes, make);
    this.#logitGradient = make(architecture.classes);
    this.parameters = [...this.blocks, this.dense].flatMap((layer) => [layer.weight, layer.bias]);
  }

  /** He initialisation: normal weights with variance 2 / fan-in, zero biases. */
  initialise(random: Seeded): void {
    for (const { shape, value } of this.parameters) {
      const fanIn = shape.slice(1).reduce((a, b) => a * b, 1);
      for (let i = 0; i < value.length; i++)
        value[i] = shape.length === 1 ? 0 : random.normal() * Math.sqrt(2 / fanIn);
    }
  }

  /** Logits for one image of size*size values; the returned array is reused by the next call. */
  forward(image: ArrayLike<number>): Real {
    const { size } = this.architecture;
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++)
        this.#input[(y + 1) * (size + 2) + x + 1] = image[y * size + x]!;
    }
    let from = this.#input;
    for (const block of this.blocks) {
      block.forward(from);
      from = block.output;
    }
    this.dense.forward(from);
    return this.dense.output;
  }

  /**
   * Forward and backward for one labelled image: adds to every gradient, returns the softmax
   * cross-entropy in nats.
   */
  learn(image: ArrayLike<number>, label: number): number {
    const logits = this.forward(image);
    const top = Math.max(...logits);
    let total = 0;
    for (const logit of logits) total += Math.exp(logit - top);
    for (let c = 0; c < logits.length; c++) {
      this.#logitGradient[c] = Math.exp(logits[c]! - top) / total - (c === label ? 1 : 0);
    }
    const last = this.blocks.at(-1)!;
    this.dense.backward(last.output, this.#logitGradient, last.outputGradient);
    for (let b = this.blocks.length - 1; b >= 0; b--) {
      const before = this.blocks[b - 1];
      this.blocks[b]!.backward(before ? before.output : this.#input, before?.outputGradient);
    }
    return Math.log(total) - (logits[label]! - top);
  }
}
