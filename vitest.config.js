import { BaseSequencer } from 'vitest/node';
import { defineConfig } from 'vitest/config';

// The files that take longest, slowest first. A slow file that starts last would run alone at the
// end; on a fresh clone Vitest has no measured durations to sort by.
const SLOWEST_FIRST = [
  'test/journeys/walkthrough.test.ts',
  'test/journeys/killed.test.ts',
  'test/journeys/demo.test.ts',
  'test/journeys/bad-releases.test.ts',
  'test/agent/update/driver.crash.test.ts',
  'test/hostile/stall.test.ts',
  'test/journeys/telemetry.test.ts',
];

class SlowestFirst extends BaseSequencer {
  async sort(files) {
    const rank = ({ moduleId }) => {
      const at = SLOWEST_FIRST.findIndex((slow) => moduleId.endsWith(slow));
      return at === -1 ? SLOWEST_FIRST.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

// These replace modules (vi.mock), which only works in a worker of their own.
const MOCKING = ['test/firmware-tools/release/expected-differences.test.ts'];

// What runs on PostgreSQL as well: what reads and writes the store; with `npm run test:whole` also
// what answers from it; with LINNET_POSTGRES=all (`npm run test:postgres`) every test of the
// server.
const ONLY_POSTGRES = ['test/server/postgres/**/*.test.ts'];
const ON_POSTGRES =
  process.env.LINNET_POSTGRES === 'all'
    ? ['test/server/**/*.test.ts']
    : [
        'test/server/store/*.test.ts',
        'test/server/ingest/*.test.ts',
        'test/server/backup/*.test.ts',
        'test/server/rollout/contacts.test.ts',
        ...ONLY_POSTGRES,
        ...(process.env.LINNET_TESTS === 'whole'
          ? ['test/server/http/*.test.ts', 'test/server/monitoring/*.test.ts']
          : []),
      ];

const common = {
  testTimeout: 180_000,
  hookTimeout: 180_000,
  setupFiles: ['test/support/setup.ts'],
};

// Tests import the TypeScript sources; processes that a test starts run from dist/, which
// `npm run build` makes.
// Journeys start real fleets with real deadlines. Two run at a time: four at a time were tried on
// two cores and made each other late. They run before the unit tests, which would slow them down.
export default defineConfig({
  test: {
    sequence: { sequencer: SlowestFirst },
    reporters: ['default'],
    projects: [
      {
        test: {
          ...common,
          name: 'journeys',
          include: ['test/journeys/**/*.test.ts'],
          maxWorkers: 2,
          // A journey that met a busy machine gets a second try; the report shows that it did.
          retry: 1,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...common,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/journeys/**', ...MOCKING, ...ONLY_POSTGRES],
          isolate: false,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...common,
          name: 'postgres',
          include: ON_POSTGRES,
          env: { LINNET_TEST_DATABASE: 'postgresql' },
          globalSetup: ['test/support/postgres-server.ts'],
          isolate: false,
          maxWorkers: 2,
          sequence: { groupOrder: 3 },
        },
      },
      {
        test: {
          ...common,
          name: 'mocking',
          include: MOCKING,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
