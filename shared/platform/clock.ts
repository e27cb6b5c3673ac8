// The real Clock and Random, for composition roots and tests only (test/tidy checks who imports
// this file).
import { randomBytes } from 'node:crypto';
import type { Clock, Random } from '../base/interfaces.js';

export const realClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (ms, fn) => {
    const timer = setTimeout(fn, ms);
    return () => clearTimeout(timer);
  },
};

export const realRandom: Random = {
  bytes: (count) => new Uint8Array(randomBytes(count)),
  fraction: () => Math.random(),
};
