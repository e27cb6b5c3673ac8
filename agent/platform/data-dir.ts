// The agent's data folder, checked before anything else is opened in it, so that a wrong setting is
// a Fault that names the setting.
import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { isDiskFull } from '../../shared/platform/errno-faults.js';
import { Fault, systemCode } from '../../shared/base/fault-codes.js';

const PRIVATE_MODE = 0o700;

/**
 * The absolute path of a data folder that this process can write to; made when missing. Faults:
 * config_invalid, and disk_full when the disk has no room for a folder.
 */
export function openDataDir(setting: string): string {
  const path = resolve(setting);
  try {
    makeFolders(path);
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    return path;
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    if (isDiskFull(error))
      throw new Fault('disk_full', `cannot make data_dir ${path}: ${code}`, { cause: error });
    const hint =
      code === 'EEXIST' || code === 'ENOTDIR'
        ? 'it, or a folder above it, is not a folder'
        : `${code}; the user of the agent must be able to create and write it`;
    throw new Fault('config_invalid', `cannot use data_dir ${path}: ${hint}`, { cause: error });
  }
}

/** mkdir of Node with `recursive` does not return where the system refuses new folders (/proc). */
function makeFolders(path: string): void {
  try {
    if (statSync(path).isDirectory()) return;
  } catch (error) {
    if (systemCode(error) !== 'ENOENT' || dirname(path) === path) throw error;
    makeFolders(dirname(path));
  }
  mkdirSync(path, { mode: PRIVATE_MODE });
}
