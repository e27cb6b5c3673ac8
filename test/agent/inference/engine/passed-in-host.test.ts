// An engine whose hosts come in by constructor: everything that runs a model uses them, and no
// model process is started.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Engine } from '../../../../agent/inference/engine/engine.js';
import { elementsOf } from '../../../../agent/inference/model/tensor.js';
import { InProcessHost } from '../../../journeys/fleet/in-process-host.js';
import { faultCodeOf, testEngine, until } from '../../../support/inference-engines.js';
import { adder, fp32, install } from '../../../support/inference-releases.js';
import { tempFolder } from '../../../support/temp-folders.js';

let root: string;
let engine: Engine;

beforeEach(() => {
  root = tempFolder();
  engine = testEngine(root, {
    childPath: join(root, 'missing.js'),
    newHost: (_options, installed) => new InProcessHost(installed),
  });
});

afterEach(() => engine.stop());

it('host_that_is_passed_in_probes_serves_and_shadows_without_a_process', async () => {
  const a = install(root, adder('1.0.0', [1, 0, 0, 0]));
  const b = install(root, adder('1.1.0', [0, 2, 0, 0]));
  expect(await engine.probe(a, null)).toMatchObject({ passed: true });
  await engine.serve(a, null);
  await engine.serve(b, a);
  const { outputs, release } = await engine.infer({ inputs: [fp32('x', [1, 4], [5, 5, 5, 5])] });
  expect(release.version).toBe('1.1.0');
  expect([...elementsOf(outputs[0]!)]).toEqual([5, 7, 5, 5]);
  await until(() => (engine.evidence()?.comparisons[0]?.pairs ?? 0) === 1, 'it is compared');
  expect(engine.processes.map(({ pid }) => pid)).toEqual([undefined, undefined]);
});

it('passed_in_host_loads_no_byte_that_the_manifest_does_not_name', async () => {
  const a = install(root, adder('1.0.0', [0, 0, 0, 0]));
  writeFileSync(join(a.folder, 'model.onnx'), 'another model');
  expect(await faultCodeOf(engine.serve(a, null))).toBe('file_digest');
});
