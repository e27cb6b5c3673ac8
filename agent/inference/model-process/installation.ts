// Whether this installation of the agent has what a model process needs: its program and ONNX
// Runtime for this platform. Without them every release would fail, and none of them would be at
// fault. Only looks; nothing is loaded into this process.
import { existsSync } from 'node:fs';
import { Fault } from '../../../shared/base/fault-codes.js';
import { missingOnnxRuntime } from '../../../shared/platform/onnx-runtime.js';

const LACKS = 'this installation of the agent lacks';

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
  missing.push(...missingOnnxRuntime());
  if (missing.length > 0)
    throw new Fault('installation_incomplete', `${LACKS} ${missing.join(' and ')}`);
}
