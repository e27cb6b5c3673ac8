// Every import rule of .dependency-cruiser.mjs fails on an import that it forbids. A small tree
// with one wrong import a rule is made in a temporary folder and read with the project's own rules.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ROOT } from './source-files.js';

/** Per rule: the file that imports and what it must not import. */
const WRONG_IMPORTS: Readonly<Record<string, readonly [from: string, to: string]>> = {
  'no-circles': ['shared/base/one.ts', './two.js'],
  'every-import-resolves': ['server/tuf/misspells.ts', 'fastfy'],
  'shared-imports-no-room': ['shared/base/low.ts', '../../agent/main.js'],
  'siblings-never-import-each-other': ['agent/sideways.ts', '../server/interfaces.js'],
  'the-dispatcher-loads-siblings-on-demand': [
    'firmware-tools/cli/main.ts',
    '../../server/rollout/plan.js',
  ],
  'the-dispatcher-imports-siblings-dynamically': [
    'firmware-tools/cli/main.ts',
    '../../agent/commands.js',
  ],
  'no-product-code-imports-tests': ['server/rollout/tested.ts', '../../test/sim/fleet.js'],
  'nothing-imports-the-demo': ['firmware-tools/cli/shows.ts', '../demo/demo.js'],
  'shared-is-pure': ['shared/base/reads.ts', 'node:fs'],
  'pure-shared-does-not-import-platform': ['shared/base/impure.ts', '../platform/clock.js'],
  'agent-parts-meet-only-in-main': ['agent/update/asks.ts', '../inference/engine/engine.js'],
  'agent-parts-do-not-import-main': ['agent/telemetry/upwards.ts', '../main.js'],
  'server-services-do-not-call-transports': ['server/ingest/answers.ts', '../mqtt/broker.js'],
  'server-parts-do-not-import-main': ['server/rollout/upwards.ts', '../main.js'],
  'transports-do-not-import-each-other': ['server/http/publishes.ts', '../mqtt/broker.js'],
  'store-is-imported-by-main-only': ['server/rollout/queries.ts', '../store/store.js'],
  'console-app-imports-no-server': ['server/console/app/asks.ts', '../../http/app.js'],
  'nothing-imports-the-console-app': ['server/http/draws.ts', '../console/app/router.js'],
  'only-one-importer-of-preact': ['server/http/renders.ts', 'preact'],
  'only-one-importer-of-onnxruntime-node': ['agent/inference/loads.ts', 'onnxruntime-node'],
  'only-one-importer-of-better-sqlite3': ['agent/update/stores.ts', 'better-sqlite3'],
  'only-one-importer-of-pg': ['server/http/asks.ts', 'pg'],
  'only-one-importer-of-mqtt': ['agent/telemetry/connects.ts', 'mqtt'],
  'only-one-importer-of-aedes': ['server/http/embeds.ts', 'aedes'],
  'only-one-importer-of-aws4': ['server/http/signs.ts', 'aws4'],
  'only-one-importer-of-tweetnacl': ['server/access/signs.ts', 'tweetnacl'],
  'only-one-importer-of-pino': ['server/http/logs.ts', 'pino'],
  'only-one-importer-of-systeminformation': ['agent/update/senses.ts', 'systeminformation'],
  'only-one-importer-of-jstat': ['server/rollout/estimates.ts', 'jstat'],
  'only-one-importer-of-commander': ['server/http/parses.ts', 'commander'],
  'only-one-importer-of-fastify': ['agent/inference/serves.ts', 'fastify'],
};

interface Cruise {
  readonly summary: {
    readonly violations: readonly { readonly from: string; readonly rule: { name: string } }[];
    readonly ruleSetUsed: { readonly forbidden: readonly { name: string; comment: string }[] };
  };
}

let folder: string;
let cruise: Cruise;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'linnet-layers-'));
  const write = (path: string, text: string): void => {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    writeFileSync(join(folder, path), text, { flag: 'a' });
  };
  for (const [from, to] of Object.values(WRONG_IMPORTS)) {
    write(from, `import '${to}';\n`);
    if (to.startsWith('.')) write(join(dirname(from), to.replace(/\.js$/, '.ts')), 'export {};\n');
  }
  write('shared/base/two.ts', "import './one.js';\n");
  for (const name of ['node_modules', '.dependency-cruiser.mjs', 'tsconfig.json', 'package.json'])
    symlinkSync(join(ROOT, name), join(folder, name));
  const depcruise = join(ROOT, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const rooms = ['agent', 'server', 'shared', 'firmware-tools', 'test'];
  const options = ['--no-cache', '--output-type', 'json'];
  cruise = JSON.parse(
    execFileSync(process.execPath, [depcruise, ...options, ...rooms], {
      cwd: folder,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    }),
  ) as Cruise;
});

afterAll(() => {
  rmSync(folder, { recursive: true });
});

it('a_wrong_import_violates_the_rule_that_forbids_it', () => {
  const found = cruise.summary.violations.map(({ from, rule }) => `${rule.name}: ${from}`);
  for (const [rule, [from]] of Object.entries(WRONG_IMPORTS))
    expect(found).toContain(`${rule}: ${from}`);
});

it('every_rule_has_a_reason_and_is_tried_here', () => {
  const rules = cruise.summary.ruleSetUsed.forbidden;
  expect(rules.map(({ name }) => name).sort()).toEqual(Object.keys(WRONG_IMPORTS).sort());
  for (const { comment } of rules) expect(comment.length).toBeGreaterThan(30);
});
