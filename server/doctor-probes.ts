// What the doctor asks, answered by this machine.
import { existsSync } from 'node:fs';
import type { Clock } from '../shared/base/interfaces.js';
import {
  folderState,
  freeBytes,
  listenFailure,
  nodeVersions,
} from '../shared/platform/machine-probes.js';
import { readSettingFile } from '../shared/platform/setting-files.js';
import type { ServerSettings } from './config.js';
import type { ServerProbes } from './doctor.js';
import { readOnlineKeys } from './tuf/online-keys.js';

/** `config`: path of the configuration, which `settings` reads. */
export const serverProbes = (
  config: string,
  settings: () => ServerSettings,
  clock: Clock,
  sqliteFailure: () => string | null,
): ServerProbes => ({
  config,
  node: nodeVersions,
  sqliteFailure,
  settings,
  user: process.getuid?.() ?? 0,
  folder: folderState,
  freeBytes,
  onlineKeys: (repository) =>
    readOnlineKeys(repository, process.env['LINNET_KEY_PASSPHRASE'] ?? null),
  file: readSettingFile,
  exists: existsSync,
  listenFailure,
  now: () => clock.now(),
});
