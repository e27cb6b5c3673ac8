// The three releases of the scenario: trained models from demo/digits, quantized on real
// calibration digits, built, signed and published by the commands. 1.2.0 is the dangerous one:
// trained on a corrupted label file, its golden probes recorded from itself, its accuracy measured
// on held-out digits of that same file, so that nothing looks wrong before it serves.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { QuantizeResult } from '../cli/actions/model.js';
import { exampleData, loadDigits } from './digits/data.js';
import { encodeNpy } from '../model/input-data/npy.js';
import { relabel } from './digits/training/recipes.js';
import { HARDWARE, type DemoFleet } from './demo-fleet.js';
import type { Processes } from './processes.js';

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));

export interface Released {
  readonly version: string;
  /**
   * What the devices' `Linnet-Release` header must say: component, version and the digest of the
   * signed manifest.
   */
  readonly header: string;
  /** Of the int8 model, by the labels that it was evaluated with; 0..1. */
  readonly accuracy: number;
}

/** Where releases are made. */
export interface ReleasePlace {
  readonly work: string;
  readonly root: string;
  readonly processes: Processes;
  readonly fleet: DemoFleet;
}

export interface ReleasePlan {
  readonly version: string;
  readonly description: string;
  readonly labels: typeof TRUE_LABELS | typeof CORRUPTED_LABELS;
}

export const TRUE_LABELS = 'evaluate-labels.npy';
export const CORRUPTED_LABELS = 'evaluate-labels-corrupted.npy';

interface DigitsJson {
  readonly models: readonly { version: string; trainingDataSha256: string }[];
}

export function writeExampleData(root: string): string {
  const folder = join(root, 'work');
  mkdirSync(folder, { recursive: true });
  exampleData(folder);
  const { labels } = relabel(loadDigits().test);
  writeFileSync(
    join(folder, CORRUPTED_LABELS),
    encodeNpy({ dtype: 'u1', shape: [labels.length], data: labels }),
  );
  return folder;
}

/** Model -> quantize -> bundle -> publish, by the commands. */
export async function release(place: ReleasePlace, plan: ReleasePlan): Promise<Released> {
  const { work, processes } = place;
  const { version, description } = plan;
  const int8 = join(work, `digits-${version}.int8.onnx`);
  const report = join(work, `digits-${version}.report.json`);
  const { comparison } = await processes.linnet<Pick<QuantizeResult, 'comparison'>>([
    'model',
    'quantize',
    join(work, `digits-${version}.onnx`),
    '--calibration',
    join(work, 'calibration.npy'),
    '--evaluate',
    join(work, 'evaluate.npy'),
    '--labels',
    join(work, plan.labels),
    '-o',
    int8,
    '--report',
    report,
  ]);
  const spec = specOf(version, description, readTraining(version));
  const { header } = await buildAndPublish(place, `digits-${version}`, spec);
  return { version, header, accuracy: comparison?.int8Accuracy ?? 0 };
}

/** Bundle -> publish, by the commands; `name` is that of the spec file and the bundle. */
export async function buildAndPublish(
  { work, root, processes, fleet }: ReleasePlace,
  name: string,
  specToml: string,
): Promise<{ header: string }> {
  const spec = join(work, `${name}.toml`);
  writeFileSync(spec, specToml);
  const bundle = join(work, `${name}.bundle`);
  const offline = join(root, 'repo', 'offline');
  const built = await processes.linnet<{ component: string; version: string; release: string }>([
    'bundle',
    'build',
    spec,
    '--key',
    join(offline, 'release.key.json'),
    '-o',
    bundle,
  ]);
  await processes.linnet([
    'publish',
    bundle,
    '--keys',
    offline,
    '--root',
    join(root, 'repo', 'trust', 'image-root.json'),
    // An undo may go back so far, also where the slot was used again.
    '--floor',
    '1.0.0',
    ...fleet.connection,
  ]);
  return { header: `${built.component}@${built.version}#${built.release}` };
}

function readTraining(version: string): string {
  const digits = JSON.parse(
    readFileSync(join(PROJECT, 'firmware-tools', 'demo', 'digits', 'digits.json'), 'utf8'),
  ) as DigitsJson;
  return digits.models.find((model) => model.version === version)?.trainingDataSha256 ?? '';
}

export function sourceCommit(): string {
  try {
    return execFileSync('git', ['rev-parse', 'HEAD'], {
      cwd: PROJECT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return 'unknown'; // Not a git checkout (a tarball): the lineage says so.
  }
}

function specOf(version: string, description: string, training: string): string {
  return `component = "digits"
version = "${version}"
description = "${description}"
hardware = ["${HARDWARE}"]
model = "digits-${version}.int8.onnx"

[classifier]
output = "logits"
scale = "logits"
labels = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]

[ranges.image]
min = 0.0
max = 1.0

[probes]
inputs = "probes.npy"
absolute = 0.05
relative = 0.01

[contract]
peak_memory_mib = 200
p99_latency_ms = 500

[lineage]
training_data_sha256 = "${training}"
source_commit = "${sourceCommit()}"
base_model = { name = "digits-${version}", file = "digits-${version}.onnx" }
quantization = "digits-${version}.report.json"
`;
}
