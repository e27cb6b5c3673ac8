// What the doctor asks, answered by this device.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../shared/base/interfaces.js';
import { missingOnnxRuntime, onnxLoader } from '../shared/platform/onnx-runtime.js';
import {
  folderState,
  freeBytes,
  glibcVersion,
  listenFailure,
  lookAtServer,
  nodeVersions,
  programFailure,
} from '../shared/platform/machine-probes.js';
import { Proxies } from '../shared/platform/proxies.js';
import { readArgumentFile, readSettingFile } from '../shared/platform/setting-files.js';
import { agentSettings, type AgentSettings } from './config.js';
import type { DoctorProbes } from './doctor.js';
import { readCertificates, readClaim, readTrustedRoots } from './identity/provisioning.js';
import { compiledChild } from './inference/model-process/spawn-child.js';
import { sqliteFailure } from './telemetry/spool-file.js';

/** Settings of the file and the environment. Faults: file_unreadable, config_invalid. */
export function settingsOf(config: string): AgentSettings {
  const text = readArgumentFile('the configuration', config).toString('utf8');
  return agentSettings(text, process.env, config);
}

/** `config`: path of the configuration. */
export const deviceProbes = (config: string, clock: Clock): DoctorProbes => ({
  config,
  node: nodeVersions,
  glibc: glibcVersion,
  missingFiles: () => [
    ...(existsSync(compiledChild) ? [] : [compiledChild]),
    ...missingOnnxRuntime(),
  ],
  sqliteFailure,
  onnxFailure: () => programFailure(['-e', onnxLoader()]),
  settings: () => settingsOf(config),
  user: process.getuid?.() ?? 0,
  file: readSettingFile,
  folder: folderState,
  freeBytes,
  roots: readTrustedRoots,
  certificates: (settings) => readCertificates(settings).ca,
  identity: (settings) => ({
    key: existsSync(join(settings.data_dir, 'identity.json')),
    claim: readClaim(settings) !== null,
  }),
  listenFailure,
  server: ({ server }, url, ca) =>
    lookAtServer(url, { ca, proxies: new Proxies(process.env, server.proxy) }),
  now: () => clock.now(),
});
