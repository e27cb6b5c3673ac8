// Who this device is, and how the fleet server learns it. The device makes its own Ed25519 key at
// its first start and keeps it; its id is derived from the key. Enrolling is asking again until the
// answer is `enrolled`: a claim token makes that immediate, without one an operator approves.
// Asking twice changes nothing.
import { join } from 'node:path';
import { Type } from 'typebox';
import { decode, decodeJson } from '../../shared/base/decode.js';
import { Fault } from '../../shared/base/fault-codes.js';
import type { Random } from '../../shared/base/interfaces.js';
import {
  EnrolAnswer,
  enrolMessage,
  routes,
  type EnrolRequest,
} from '../../shared/protocol/device-api.js';
import { Hex32, fromHex, hex, utf8 } from '../../shared/base/bytes.js';
import { deviceIdOf } from '../../shared/trust/device-token.js';
import { signerFromSeed, type Signer } from "../../shared/trust/signer.js";
import type { AgentSettings } from '../config.js';
import type { Disk, Fetcher } from '../interfaces.js';

const IDENTITY_MAX_BYTES = 4096;
const ANSWER_MAX_BYTES = 64 * 1024;
const Identity = Type.Object(
  { format: Type.Literal('linnet.identity/1'), seed: Hex32 },
  { additionalProperties: false },
);

export interface DeviceIdentity {
  readonly id: string;
  readonly key: Signer;
}

/**
 * The key in data_dir, made at the first call. The agent runs with umask 077, so only its user can
 * read it.
 */
export async function deviceIdentity(
  disk: Disk,
  dataDir: string,
  random: Random,
): Promise<DeviceIdentity> {
  const path = join(dataDir, 'identity.json');
  const known = await disk.read(path, IDENTITY_MAX_BYTES);
  if (known === null) {
    const seed = random.bytes(32);
    await disk.makeFolder(dataDir);
    await disk.replace(
      path,
      utf8(JSON.stringify({ format: 'linnet.identity/1', seed: hex(seed) }) + '\n'),
    );
    return identityOf(seed);
  }
  return identityOf(
    fromHex(decodeJson(Identity, known, `device identity ${path}`, 'key_invalid').seed),
  );
}

function identityOf(seed: Uint8Array): DeviceIdentity {
  const key = signerFromSeed(seed);
  return { id: deviceIdOf(key.publicKey), key };
}

/** One request to enrol. Faults: server_unreachable (flaked), claim_invalid, conflict (refused). */
export async function enrol(
  fetcher: Fetcher,
  identity: DeviceIdentity,
  settings: AgentSettings,
  claim: string | null,
): Promise<EnrolAnswer> {
  const request: Omit<EnrolRequest, 'proof'> = {
    publicKey: identity.key.publicKey,
    name: settings.name,
    hardware: settings.hardware,
    components: [...settings.components],
    ...(claim === null ? {} : { claim }),
  };
  const proof = hex(await identity.key.sign(enrolMessage(request)));
  const answer = decode(
    EnrolAnswer,
    await fetcher.post(routes.enrol, { ...request, proof }, ANSWER_MAX_BYTES),
    'enrolment answer',
  );
  if (answer.device !== identity.id)
    throw new Fault(
      'message_undecodable',
      `the server enrolled ${answer.device}, this device is ${identity.id}`,
    );
  return answer;
}
