// Reads a file that the user named, whole. Every failure is a Fault that says which file and what
// is wrong with it.
import { readFileSync } from 'node:fs';
import type { Fault } from '../../../shared/base/fault-codes.js';
import { unreadableFile } from '../../../shared/platform/setting-files.js';

/** Fault: file_unreadable. */
export function readInputFile(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/** The Fault for a file that could not be opened or read. */
export const unreadable = (path: string, cause: unknown): Fault =>
  unreadableFile('the file', path, cause);
