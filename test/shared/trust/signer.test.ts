// The signer interface with a second implementation behind it: a key in another process signs every
// kind of document that Linnet has, and each verifies.
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fromHex, utf8 } from '../../../shared/base/bytes.js';
import {
  deviceIdOf,
  makeDeviceToken,
  openDeviceToken,
} from '../../../shared/trust/device-token.js';
import {
  decodeDocument,
  heading,
  requireThreshold,
  signDocument,
} from '../../../shared/trust/documents.js';
import { verify } from '../../../shared/trust/ed25519.js';
import { openEnvelope, signEnvelope } from '../../../shared/trust/envelope.js';
import type { KeyRing } from '../../../shared/trust/key-ring.js';
import { signerFromSeed, type PublicKey, type Signer } from '../../../shared/trust/signer.js';

const CHILD = join(import.meta.dirname, '../../../dist/test/sim/signing-child.js');

class ProcessSigner implements Signer {
  readonly #waiting = new Map<number, (signature: Uint8Array) => void>();
  #sent = 0;

  readonly #child: ChildProcess;

  constructor(
    readonly keyId: string,
    readonly publicKey: PublicKey,
    child: ChildProcess,
  ) {
    this.#child = child;
    child.on('message', ({ id, signature }: { id: number; signature: string }) => {
      this.#waiting.get(id)?.(fromHex(signature));
      this.#waiting.delete(id);
    });
  }

  static async start(child: ChildProcess): Promise<ProcessSigner> {
    const [{ keyId, publicKey }] = (await once(child, 'message')) as [ProcessSigner];
    return new ProcessSigner(keyId, publicKey, child);
  }

  sign(message: Uint8Array): Promise<Uint8Array> {
    const id = ++this.#sent;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.send({ id, message: Buffer.from(message).toString('base64') });
    });
  }
}

let child: ChildProcess;
let remote: Signer;
const local = signerFromSeed(new Uint8Array(32).fill(22));

beforeAll(async () => {
  child = fork(CHILD, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  remote = await ProcessSigner.start(child);
});
afterAll(() => {
  child.kill();
});

const both = (threshold: number): KeyRing => ({
  keys: { [remote.keyId]: remote.publicKey, [local.keyId]: local.publicKey },
  keyids: [remote.keyId, local.keyId],
  threshold,
});

it('key_in_another_process_signs_metadata_together_with_a_local_one', async () => {
  const signed = { ...heading('targets', 3, Date.UTC(2030, 0, 1)), targets: {} };
  const document = decodeDocument('targets', await signDocument(signed, [remote, local]));
  requireThreshold(document, both(2), 'the test');
});

it('key_in_another_process_signs_a_release_envelope', async () => {
  const envelope = await signEnvelope('text/plain', utf8('payload'), [remote]);
  const bytes = utf8(JSON.stringify(envelope));
  expect(Buffer.from(openEnvelope(bytes, 'text/plain', both(1))).toString()).toBe('payload');
});

it('key_in_another_process_makes_device_tokens', async () => {
  const device = deviceIdOf(remote.publicKey);
  const token = await makeDeviceToken(remote, {
    ...{ device, use: 'http', audience: 'aa'.repeat(32) },
    ...{ nowMs: 1000, nonce: new Uint8Array(32) },
  });
  const check = {
    ...({ use: 'http', nowMs: 1000 } as const),
    isAudience: () => Promise.resolve(true),
    keyOf: () => Promise.resolve(remote.publicKey),
  };
  expect(await openDeviceToken(token, check)).toBe(device);
});

it('many_signatures_at_once_each_belong_to_their_message', async () => {
  const messages = Array.from({ length: 50 }, (_, index) => utf8(`message ${index}`));
  const signatures = await Promise.all(messages.map((message) => remote.sign(message)));
  for (const [index, message] of messages.entries())
    expect(verify(remote.publicKey, message, signatures[index] ?? new Uint8Array())).toBe(true);
});
