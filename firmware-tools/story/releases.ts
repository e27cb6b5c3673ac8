// The three releases of the story: trained models from firmware-tools/model/digits, quantized on real calibration digits,
// built and signed at the release desk, published. 1.2.0 is the dangerous one: trained on a corrupted label file, its
// golden probes recorded from itself.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exampleData } from '../model/digits.js';
import { HARDWARE, type StoryFleet } from './fleet.js';
import type { Processes } from './processes.js';

const PROJECT = fileURLToPath(new URL('../../..', import.meta.url));

export interface Quantized {
  readonly fp32Accuracy: number;
  readonly int8Accuracy: number;
}

interface DigitsJson {
  readonly models: readonly { version: string; trainingDataSha256: string }[];
}

export function writeExampleData(root: string): string {
  const folder = join(root, 'work');
  mkdirSync(folder, { recursive: true });
  exampleData(folder);
  return folder;
}

/** Model -> quantize -> bundle -> publish, by the commands. Returns what the quantizer measured on held-out digits. */
export async function release(
  version: string,
  description: string,
  work: string,
  root: string,
  processes: Processes,
  fleet: StoryFleet,
): Promise<unknown> {
  const int8 = join(work, `digits-${version}.int8.onnx`);
  const report = join(work, `digits-${version}.report.json`);
  const measured = await processes.linnet([
    'model',
    'quantize',
    join(work, `digits-${version}.onnx`),
    '--calibration',
    join(work, 'calibration.npy'),
    '--evaluate',
    join(work, 'evaluate.npy'),
    '--labels',
    join(work, 'evaluate-labels.npy'),
    '-o',
    int8,
    '--report',
    report,
  ]);
  const spec = join(work, `digits-${version}.toml`);
  writeFileSync(spec, specOf(version, description, readTraining(version)));
  const bundle = join(work, `digits-${version}.bundle`);
  const offline = join(root, 'repo', 'offline');
  await processes.linnet(['bundle', 'build', spec, '--key', join(offline, 'release.key.json'), '-o', bundle]);
  await processes.linnet([
    'publish',
    bundle,
    '--keys',
    offline,
    '--root',
    join(root, 'repo', 'trust', 'image-root.json'),
    ...fleet.connection,
  ]);
  return measured;
}

function readTraining(version: string): string {
  const digits = JSON.parse(
    readFileSync(join(PROJECT, 'firmware-tools', 'model', 'digits', 'digits.json'), 'utf8'),
  ) as DigitsJson;
  return digits.models.find((model) => model.version === version)?.trainingDataSha256 ?? '';
}

function sourceCommit(): string {
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
p99_latency_ms = 100

[lineage]
training_data_sha256 = "${training}"
source_commit = "${sourceCommit()}"
base_model = { name = "digits-${version}", file = "digits-${version}.onnx" }
quantization = "digits-${version}.report.json"
`;
}
