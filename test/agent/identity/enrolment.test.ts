// What a device says while the server does not know it yet.
import { expect, it } from 'vitest';
import { agentSettings } from '../../../agent/config.js';
import { enrolUntilKnown } from '../../../agent/identity/enrolment.js';
import type { Fetcher } from '../../../agent/interfaces.js';
import { Fault } from '../../../shared/base/fault-codes.js';
import { silentLog, type Clock, type Log } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { signerFromSeed } from '../../../shared/trust/signer.js';

const DEVICE = 'dev-0123456789abcdef0123';
const settings = agentSettings(
  'name = "cam-1"\nhardware = "linux-any"\ncomponents = ["digits"]\ndata_dir = "/d"\n' +
    '[server]\nurl = "http://h"\n[trust]\nimage_root = "/i"\ndirector_root = "/d"\n',
  {},
);

/** The lines of a device that gets these answers, each `everyMs` after the one before. */
async function linesAfter(
  answers: readonly (string | Fault)[],
  everyMs: number,
): Promise<string[]> {
  const lines: string[] = [];
  const log: Log = {
    ...silentLog,
    warn: (fields, message) => lines.push(`${message} ${JSON.stringify(fields)}`),
  };
  let asked = 0;
  const fetcher = {
    post: () => {
      const answer = answers[asked++];
      if (answer instanceof Fault) return Promise.reject(answer);
      return Promise.resolve({ device: DEVICE, status: 'pending', reason: answer, mqttPort: 1 });
    },
  } as unknown as Fetcher;
  const clock = { monotonic: () => asked * everyMs } as unknown as Clock;
  await enrolUntilKnown({
    fetcher,
    identity: { id: DEVICE, key: signerFromSeed(new Uint8Array(32)) },
    settings,
    clock,
    random: realRandom,
    log,
    wait: () => Promise.resolve(),
    stopped: () => asked >= answers.length,
  });
  return lines;
}

it('device_that_waits_for_approval_says_so_once', async () => {
  const lines = await linesAfter(Array(50).fill('no claim'), 60_000);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/linnet device approve cam-1 --fingerprint [0-9a-f]{8}/);
});

it('another_reason_and_another_failure_are_said_at_once', async () => {
  const away = new Fault('server_unreachable', 'connect ECONNREFUSED');
  const lines = await linesAfter(['no claim', 'no claim', 'expired', away, away, 'expired'], 1000);
  expect(lines.map((line) => /no claim|expired|ECONNREFUSED/.exec(line)?.[0])).toEqual([
    'no claim',
    'expired',
    'ECONNREFUSED',
    'expired',
  ]);
});

it('what_stays_the_same_is_said_again_after_an_hour', async () => {
  const lines = await linesAfter(Array(5).fill('no claim'), limits.sameWarningEveryMs / 2);
  expect(lines).toHaveLength(3);
});
