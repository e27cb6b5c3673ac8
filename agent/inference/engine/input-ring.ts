// Keeps some of a component's recent live inputs in memory, for the rehearsal of the next release:
// one random input of each slot of time, never only the last ones. Slots begin short, so that a
// device that has just started has inputs too. When there are more of them than their number or
// bytes allow, neighbouring slots are joined and are twice as long from then on; of each two inputs
// one stays, each input of the longer slot with the same chance. Inputs that are older than the
// age are dropped. Never sent, never on disk.
import type { Random } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import type { Tensor } from '../model/tensor.js';

const MIB = 1024 * 1024;

export interface RingInput {
  /** When it came, in seconds of the monotonic clock. */
  readonly seconds: number;
  readonly inputs: readonly Tensor[];
}

interface Slot extends RingInput {
  readonly number: number;
  /** Inputs that came in this slot. */
  readonly seen: number;
  readonly bytes: number;
}

export interface InputRingOptions {
  readonly maxMiB: number;
  readonly maxAgeHours: number;
  readonly random: Random;
}

export class InputRing {
  readonly #options: InputRingOptions;
  /** Oldest first. */
  #slots: Slot[] = [];
  #slotSeconds = limits.trialBlockFirstMs / 1000;
  #bytes = 0;

  constructor(options: InputRingOptions) {
    this.#options = options;
  }

  get #maxBytes(): number {
    return this.#options.maxMiB * MIB;
  }

  /** What is kept, oldest first. */
  inputs(nowSeconds: number): readonly RingInput[] {
    this.#dropOld(nowSeconds);
    return [...this.#slots];
  }

  /**
   * A live input; they come in the order of time. Its bytes are copied only when it is kept: they
   * may be part of a larger buffer. An input so large that not enough of them fit is not taken.
   */
  add(seconds: number, inputs: readonly Tensor[]): void {
    const bytes = inputs.reduce((sum, { data }) => sum + data.byteLength, 0);
    if (bytes * limits.trialBlocksMinCount > this.#maxBytes) return;
    const number = Math.floor(seconds / this.#slotSeconds);
    const last = this.#slots.at(-1);
    const open = last?.number === number ? last : null;
    const seen = (open?.seen ?? 0) + 1;
    const keep = seen === 1 || this.#options.random.fraction() * seen < 1;
    if (open !== null) this.#slots.pop();
    const slot = keep
      ? { number, seconds, inputs: inputs.map(copied), seen, bytes }
      : { ...(open as Slot), seen };
    this.#slots.push(slot);
    this.#bytes += slot.bytes - (open?.bytes ?? 0);
    this.#dropOld(seconds);
    while (this.#slots.length > limits.rehearsalInputsMaxCount || this.#bytes > this.#maxBytes)
      this.#joinSlots();
  }

  clear(): void {
    this.#slots = [];
    this.#bytes = 0;
  }

  #dropOld(nowSeconds: number): void {
    const oldest = nowSeconds - this.#options.maxAgeHours * 3600;
    while ((this.#slots[0]?.seconds ?? Infinity) < oldest)
      this.#bytes -= this.#slots.shift()?.bytes ?? 0;
  }

  #joinSlots(): void {
    this.#slotSeconds *= 2;
    const joined: Slot[] = [];
    for (const slot of this.#slots) {
      const number = Math.floor(slot.number / 2);
      const before = joined.at(-1);
      if (before?.number !== number) {
        joined.push({ ...slot, number });
        continue;
      }
      const seen = before.seen + slot.seen;
      const kept = this.#options.random.fraction() * seen < slot.seen ? slot : before;
      joined[joined.length - 1] = { ...kept, number, seen };
      this.#bytes -= before.bytes + slot.bytes - kept.bytes;
    }
    this.#slots = joined;
  }
}

const copied = (tensor: Tensor): Tensor => ({ ...tensor, data: new Uint8Array(tensor.data) });
