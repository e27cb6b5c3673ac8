// The files that an operator gives a device: trusted roots, certificates, a claim token.
import { readFileSync } from 'node:fs';
import { Fault, systemCode } from '../../shared/base/fault-codes.js';
import { readProblem } from '../../shared/platform/errno-faults.js';
import { readSettingFile } from '../../shared/platform/setting-files.js';
import type { AgentSettings } from '../config.js';

export interface TrustedRoots {
  readonly imageRoot: Uint8Array;
  readonly directorRoot: Uint8Array;
}

/** Both trusted roots. Fault config_invalid names every one that cannot be read. */
export function readTrustedRoots({ trust }: AgentSettings): TrustedRoots {
  const complaints: string[] = [];
  const read = (setting: string, path: string): Uint8Array => {
    try {
      return new Uint8Array(readFileSync(path));
    } catch (error) {
      complaints.push(`${setting} ${path} (${readProblem(error)})`);
      return new Uint8Array();
    }
  };
  const imageRoot = read('trust.image_root', trust.image_root);
  const directorRoot = read('trust.director_root', trust.director_root);
  if (complaints.length > 0)
    throw new Fault(
      'config_invalid',
      `cannot read ${complaints.join(' and ')}: copy the trusted roots from the trust/ folder ` +
        'that `linnet repo init` made',
    );
  return { imageRoot, directorRoot };
}

/** The certificates of server.ca_file, as an option for clients. Fault: config_invalid. */
export function readCertificates({ server }: AgentSettings): { ca?: Uint8Array } {
  if (server.ca_file === undefined) return {};
  const advice = 'it must hold the PEM certificates that the fleet server is trusted by';
  return { ca: readSettingFile('server.ca_file', server.ca_file, advice) };
}

/**
 * The claim token from LINNET_CLAIM or server.claim_file; null when there is none (an enrolled
 * device needs none, and its claim file may have been removed). Fault: config_invalid.
 */
export function readClaim({ server }: AgentSettings): string | null {
  const fromEnvironment = process.env.LINNET_CLAIM;
  if (fromEnvironment !== undefined && fromEnvironment !== '') return fromEnvironment;
  if (server.claim_file === undefined) return null;
  try {
    return readFileSync(server.claim_file, 'utf8').trim();
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw new Fault(
      'config_invalid',
      `cannot read server.claim_file ${server.claim_file}: ${readProblem(error)}`,
      { cause: error },
    );
  }
}
