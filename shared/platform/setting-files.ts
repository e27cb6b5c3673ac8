// Files that a command line or a configuration names: the configuration itself, certificates, a
// password. Read whole, once, at the start. One rule for all commands: a file of the command line
// that cannot be read is `file_unreadable` (exit code 2), one that a configuration names is a
// mistake of the configuration. Both name the setting or option, the path and the reason.
import { readFileSync } from 'node:fs';
import { Fault } from '../base/fault-codes.js';
import { readProblem } from './errno-faults.js';

/**
 * The bytes of the file that `setting` names; `advice` says what the file must be. Fault:
 * config_invalid.
 */
export function readSettingFile(setting: string, path: string, advice?: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const advised = advice === undefined ? '' : `; ${advice}`;
    const problem = readProblem(error);
    throw new Fault('config_invalid', `cannot read ${setting} ${path}: ${problem}${advised}`, {
      cause: error,
    });
  }
}

/** The bytes of a file of the command line; `what` says what it is. Fault: file_unreadable. */
export function readArgumentFile(what: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw unreadableFile(what, path, error);
  }
}

/** The Fault file_unreadable for a file of the command line that could not be opened or read. */
export function unreadableFile(what: string, path: string, cause: unknown): Fault {
  return new Fault('file_unreadable', `cannot read ${what} ${path}: ${readProblem(cause)}`, {
    cause,
  });
}
