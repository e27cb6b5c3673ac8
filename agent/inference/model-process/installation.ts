// Whether this installation of the agent has what a model process needs: its program and ONNX
// Runtime for this platform. Without them every release would fail, and none of them would be at
// fault. Only looks; nothing is loaded into this process.
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Fault } from '../../../shared/base/fault-codes.js';

const RUNTIME = 'onnxruntime-node';
const LACKS = 'this installation of the agent lacks';
const BINDING = 'onnxruntime_binding.node';

/**
 * Fault installation_incomplete when the program of model processes is missing. Needs no file
 * descriptor, so it is right also when there are none left.
 */
export function requireChildProgram(childPath: string): void {
  if (!existsSync(childPath)) throw new Fault('installation_incomplete', `${LACKS} ${childPath}`);
}

/** Fault installation_incomplete names everything that is missing. */
export function requireInstallation(childPath: string): void {
  const missing = existsSync(childPath) ? [] : [childPath];
  missing.push(...missingRuntime());
  if (missing.length > 0)
    throw new Fault('installation_incomplete', `${LACKS} ${missing.join(' and ')}`);
}

function missingRuntime(): string[] {
  let folder: string;
  try {
    folder = dirname(createRequire(import.meta.url).resolve(`${RUNTIME}/package.json`));
  } catch {
    return [`the package ${RUNTIME}`]; // Whatever keeps it from being found.
  }
  const binaries = join(folder, 'bin');
  const versions = existsSync(binaries) ? readdirSync(binaries) : [];
  const has = versions.some((version) =>
    existsSync(join(binaries, version, process.platform, process.arch, BINDING)),
  );
  return has ? [] : [join(binaries, '*', process.platform, process.arch, BINDING)];
}
