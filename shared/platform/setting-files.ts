// Files that a command line or a configuration names: the configuration itself, certificates, a
// password. Read once, at the start.
import { readFileSync } from 'node:fs';
import { Fault, reason, systemCode } from '../base/fault-codes.js';

/**
 * The bytes of the file that `setting` names; `advice` says what the file must be. Fault:
 * config_invalid.
 */
export function readSettingFile(setting: string, path: string, advice?: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    const advised = advice === undefined ? '' : `: ${advice}`;
    throw new Fault(
      'config_invalid',
      `cannot read ${setting} ${path} (${systemCode(error) ?? reason(error)})${advised}`,
      { cause: error },
    );
  }
}
