// A key that lives in another process, as a TPM or a PKCS #11 token would: the parent sends bytes,
// gets signatures, and never holds the seed. Started by test/shared/trust/signer.test.ts with
// fork().
import { hex } from '../../shared/base/bytes.js';
import { signerFromSeed } from '../../shared/trust/signer.js';

const signer = signerFromSeed(new Uint8Array(32).fill(21));
process.on('message', ({ id, message }: { id: number; message: string }) => {
  void signer
    .sign(Buffer.from(message, 'base64'))
    .then((signature) => process.send?.({ id, signature: hex(signature) }));
});
process.send?.({ keyId: signer.keyId, publicKey: signer.publicKey });
