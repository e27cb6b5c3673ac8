// `npm run mutants [-- part ...]`: mutation tests of the pure core, part by part. Stryker changes
// the code in one place at a time and runs the tests of that part; a mutant that no test notices
// survived. Prints a table of scores and fails when a part is below its limit. Survivors are listed
// in .linnet/mutants/<part>.txt. `--file path[:from-to]` measures one file of one part (or some of
// its lines) anew and takes the results of the others from earlier runs.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const results = join(root, '.linnet', 'mutants');

/** Per part: the files to change, the tests that must notice, and the least score in percent. */
const PARTS = {
  signer: {
    mutate: ['shared/trust/{signer,ed25519,device-token,envelope,key-ring}.ts'],
    tests: ['test/shared/trust/!(keyfile|signer).test.ts'],
    minScore: 95,
  },
  trust: {
    mutate: ['shared/trust/{assignments,documents,keyfile,trusted-set,validity}.ts'],
    tests: [
      'test/shared/trust/{assignments,documents*,keyfile-form,trusted-set*,validity}.test.ts',
    ],
    minScore: 95,
  },
  tokens: {
    mutate: ['server/access/tokens.ts'],
    tests: ['test/server/access/*.test.ts', 'test/server/http/access.test.ts'],
    minScore: 95,
  },
  transitions: {
    mutate: [
      'shared/base/state-machine.ts',
      'agent/update/transitions.ts',
      'server/rollout/transitions.ts',
    ],
    tests: [
      'test/shared/base/*.test.ts',
      'test/agent/update/transitions.test.ts',
      'test/server/rollout/transitions.test.ts',
    ],
    minScore: 95,
  },
  verdicts: {
    mutate: ['shared/statistics/trial-verdict.ts', 'server/rollout/verdict.ts'],
    tests: [
      'test/shared/statistics/{trial-verdict,trial-reasons,rehearsal}.test.ts',
      'test/server/rollout/{verdict,verdict-edges,flapping}.test.ts',
    ],
    minScore: 95,
  },
  statistics: {
    mutate: ['shared/statistics/!(trial-verdict).ts'],
    tests: ['test/shared/statistics/!(*-traffic|simulations).test.ts'],
    minScore: 85,
  },
  rollout: {
    mutate: ['server/rollout/{plan,waves,operator-commands}.ts'],
    tests: ['test/server/rollout/{plan,waves,operator-commands,backward,transitions,pool}.test.ts'],
    minScore: 85,
  },
  update: {
    mutate: ['agent/update/{admission,record,next-record}.ts', 'agent/update/steps/*.ts'],
    tests: [
      'test/agent/update/{admission,record,hold,permit,cold-start,shadow,driver}.test.ts',
      'test/agent/update/steps/*.test.ts',
    ],
    minScore: 85,
  },
  guard: {
    mutate: ['agent/inference/model/{guard,tensor}.ts'],
    tests: ['test/agent/inference/model/*.test.ts'],
    minScore: 85,
  },
  frames: {
    mutate: ['agent/inference/model-process/ipc-frames.ts'],
    tests: ['test/agent/inference/model-process/ipc-frames.test.ts'],
    minScore: 85,
  },
  'open-inference': {
    mutate: ['agent/inference/api/open-inference.ts'],
    tests: ['test/agent/inference/api/open-inference.test.ts'],
    minScore: 85,
  },
  spool: {
    mutate: ['agent/telemetry/spool.ts'],
    tests: ['test/agent/telemetry/{spool,spool-edges}.test.ts'],
    minScore: 85,
  },
};

const TOTAL_MIN_SCORE = 85;

/** Statuses as Stryker counts them: a mutant that was noticed, and one that was not. */
const NOTICED = ['Killed', 'Timeout'];
const UNNOTICED = ['Survived', 'NoCoverage'];

function measure(part, { mutate, tests }, file) {
  const folder = join(results, part);
  mkdirSync(folder, { recursive: true });
  const vitestConfig = join(folder, 'vitest.config.mjs');
  const test = {
    include: tests,
    isolate: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    teardownTimeout: 500,
  };
  writeFileSync(vitestConfig, `export default ${JSON.stringify({ test })};\n`);
  const report = join(folder, 'report.json');
  rmSync(report, { force: true });
  const strykerConfig = join(folder, 'stryker.config.json');
  const config = {
    testRunner: 'vitest',
    plugins: [
      '@stryker-mutator/vitest-runner',
      join(root, 'firmware-tools', 'stryker-sentences.mjs'),
    ],
    ignorers: ['sentences'],
    vitest: { configFile: vitestConfig, related: false },
    coverageAnalysis: 'perTest',
    mutate: file === undefined ? mutate : [file],
    // Stryker does not see that a test of a schema was added; a run of one file takes nothing from
    // earlier ones.
    force: file !== undefined,
    ignorePatterns: ['.linnet', '.git', '*.md'],
    incremental: true,
    incrementalFile: join(folder, 'incremental.json'),
    concurrency: Number(process.env['LINNET_MUTANTS_CONCURRENCY'] ?? 2),
    timeoutMS: 20_000,
    timeoutFactor: 3,
    reporters: ['json', 'progress-append-only'],
    jsonReporter: { fileName: report },
    tempDirName: join(folder, 'sandbox'),
    cleanTempDir: 'always',
  };
  writeFileSync(strykerConfig, JSON.stringify(config));
  const stryker = join('node_modules', '@stryker-mutator', 'core', 'bin', 'stryker.js');
  const { status } = spawnSync(process.execPath, [stryker, 'run', strykerConfig], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) {
    process.stderr.write(`linnet mutants: Stryker failed for ${part} (exit ${status}).\n`);
    process.exit(1);
  }
  return JSON.parse(readFileSync(report, 'utf8')).files;
}

function survivorsText(files) {
  return Object.entries(files)
    .flatMap(([path, { mutants, source }]) =>
      mutants
        .filter(({ status }) => UNNOTICED.includes(status))
        .map(({ location: { start }, replacement, mutatorName, status }) => {
          const line = source.split('\n')[start.line - 1].trim();
          const change = replacement?.replace(/\s+/g, ' ').slice(0, 80);
          return `${path}:${start.line} ${status} ${mutatorName}: ${line}\n    -> ${change}\n`;
        }),
    )
    .join('');
}

function refuse(message) {
  process.stderr.write(`linnet mutants: ${message}\n`);
  process.exit(1);
}

const {
  values: { file },
  positionals: asked,
} = parseArgs({ options: { file: { type: 'string' } }, allowPositionals: true });
const unknown = asked.filter((part) => PARTS[part] === undefined);
if (unknown.length > 0)
  refuse(`no part ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}.`);
if (file !== undefined && asked.length !== 1)
  refuse('--file needs one part, such as `trust --file shared/trust/validity.ts`.');

const rows = [];
for (const part of asked.length > 0 ? asked : Object.keys(PARTS)) {
  const files = measure(part, PARTS[part], file);
  const statuses = Object.values(files).flatMap(({ mutants }) => mutants.map((m) => m.status));
  const noticed = statuses.filter((status) => NOTICED.includes(status)).length;
  const unnoticed = statuses.filter((status) => UNNOTICED.includes(status)).length;
  writeFileSync(join(results, `${part}.txt`), survivorsText(files));
  rows.push({ part, noticed, unnoticed, minScore: PARTS[part].minScore });
}
const sum = (key) => rows.reduce((total, row) => total + row[key], 0);
rows.push({
  part: 'all of these',
  noticed: sum('noticed'),
  unnoticed: sum('unnoticed'),
  minScore: TOTAL_MIN_SCORE,
});

process.stdout.write('| part | mutants | survived | score | limit |\n|---|---|---|---|---|\n');
for (const { part, noticed, unnoticed, minScore } of rows) {
  const score = (100 * noticed) / (noticed + unnoticed);
  const mutants = noticed + unnoticed;
  process.stdout.write(
    `| ${part} | ${mutants} | ${unnoticed} | ${score.toFixed(1)} % | ${minScore} % |\n`,
  );
  if (score < minScore) process.exitCode = 1;
}
