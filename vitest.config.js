import { defineConfig } from 'vitest/config';

// Tests import the TypeScript sources; processes that a test starts run what `npm run build` put into dist/.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 180_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    reporters: ['default'],
  },
});
