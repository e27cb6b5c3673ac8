// What the doctor asks, answered by this device.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../shared/base/interfaces.js';
import { missingOnnxRuntime, onnxLoader } from '../shared/platform/onnx-runtime.js';
import {
  folderState,
  freeBytes,
  glibcVersion,
  lookAtServer,
  nodeVersions,
  programFailure,
} from '../shared/platform/machine-probes.js';
import { readSettingFile } from '../shared/platform/setting-files.js';
import { agentSettings } from './config.js';
import type { DoctorProbes } from './doctor.js';
import { readCertificates, readClaim, readTrustedRoots } from './identity/provisioning.js';
import { compiledChild } from './inference/model-process/spawn-child.js';
import { sqliteFailure } from './telemetry/spool-file.js';

/** `config`: path of the configuration. */
export const deviceProbes = (config: string, clock: Clock): DoctorProbes => ({
  node: nodeVersions,
  glibc: glibcVersion,
  missingFiles: () => [
    ...(existsSync(compiledChild) ? [] : [compiledChild]),
    ...missingOnnxRuntime(),
  ],
  sqliteFailure,
  onnxFailure: () => programFailure(['-e', onnxLoader()]),
  settings: () =>
    agentSettings(readSettingFile('the config file', config).toString('utf8'), process.env),
  user: process.getuid?.() ?? 0,
  folder: folderState,
  freeBytes,
  roots: readTrustedRoots,
  certificates: (settings) => readCertificates(settings).ca,
  identity: (settings) => ({
    key: existsSync(join(settings.data_dir, 'identity.json')),
    claim: readClaim(settings) !== null,
  }),
  server: lookAtServer,
  now: () => clock.now(),
});
