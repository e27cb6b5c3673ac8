// Seeded randomness for simulations in tests.

/** mulberry32: small, seeded, good enough for simulations. Uniform in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Three standard deviations above what a share `p` may show in `runs` runs. */
export const atMost = (p: number, runs: number): number => p + 3 * Math.sqrt((p * (1 - p)) / runs);
