// How the fleet server gets to know this device. Enrolling means asking until the answer is
// `enrolled`: a claim token makes that immediate; without one, an operator approves. Asking twice
// changes nothing.
import { decode } from '../../shared/base/decode.js';
import { Fault, isFault, reason } from '../../shared/base/fault-codes.js';
import { backoff, type Clock, type Log, type Random } from '../../shared/base/interfaces.js';
import { limits } from '../../shared/base/limits.js';
import { RepeatedNotes } from '../../shared/base/repeated-notes.js';
import {
  EnrolAnswer,
  enrolMessage,
  routes,
  type EnrolRequest,
} from '../../shared/protocol/device-api.js';
import { hex } from '../../shared/base/bytes.js';
import { fingerprintOf } from '../../shared/trust/device-token.js';
import type { AgentSettings } from '../config.js';
import type { Fetcher } from '../interfaces.js';
import type { DeviceIdentity } from './identity.js';
import { readClaim } from './provisioning.js';

/** One request to enrol. Faults: server_unreachable (flaked), auth_missing (refused). */
async function enrol(
  fetcher: Fetcher,
  identity: DeviceIdentity,
  settings: AgentSettings,
  claim: string | null,
): Promise<EnrolAnswer> {
  const request: Omit<EnrolRequest, 'signature'> = {
    publicKey: identity.key.publicKey,
    name: settings.name,
    hardware: settings.hardware,
    components: [...settings.components],
    ...(claim === null ? {} : { claim }),
  };
  const signature = hex(await identity.key.sign(enrolMessage(request)));
  const answer = decode(
    EnrolAnswer,
    await fetcher.post(routes.enrol, { ...request, signature }, limits.enrolAnswerMaxBytes),
    'enrolment answer',
  );
  if (answer.device !== identity.id)
    throw new Fault(
      'message_undecodable',
      `the server enrolled ${answer.device}, this device is ${identity.id}`,
    );
  return answer;
}

export interface EnrolUntilKnownOptions {
  readonly fetcher: Fetcher;
  readonly identity: DeviceIdentity;
  readonly settings: AgentSettings;
  readonly clock: Clock;
  readonly random: Random;
  /** Told why the device waits, once and when that changes. */
  readonly log: Log;
  /** Waits that long, or less when the agent stops. */
  readonly wait: (ms: number) => Promise<void>;
  readonly stopped: () => boolean;
}

/**
 * Asks until the server knows this device; resolves with its answer, or null when the agent stops
 * first. Fault config_invalid when the claim file cannot be read.
 */
export async function enrolUntilKnown(
  options: EnrolUntilKnownOptions,
): Promise<EnrolAnswer | null> {
  const { fetcher, identity, settings, clock, random, log, wait, stopped } = options;
  const notes = new RepeatedNotes(clock);
  const claim = readClaim(settings);
  const fingerprint = fingerprintOf(identity.key.publicKey);
  const pauseMaxMs = settings.server.poll_seconds * 1000;
  for (let tries = 1; !stopped(); tries += 1) {
    let leastMs = 0;
    try {
      const answer = await enrol(fetcher, identity, settings, claim);
      if (answer.status === 'enrolled') return answer;
      if (notes.isWorth(`${answer.status} ${answer.reason}`))
        log.warn(
          { status: answer.status, reason: answer.reason, fingerprint },
          answer.status === 'pending'
            ? 'waiting for an operator to approve this device: ' +
                `linnet device approve ${settings.name} --fingerprint ${fingerprint}`
            : 'the server has revoked this device',
        );
    } catch (error) {
      if (!isFault(error)) throw error;
      // A server that is behind names it to all devices: spread.
      leastMs = (error.retryAfterMs ?? 0) * (1 + random.fraction());
      if (notes.isWorth(reason(error)))
        log.warn({ err: reason(error) }, 'cannot enrol yet; will retry');
    }
    const waitMs = backoff(tries, limits.stepBackoffFirstMs, pauseMaxMs, random);
    await wait(Math.max(waitMs, Math.min(leastMs, pauseMaxMs)));
  }
  return null;
}
