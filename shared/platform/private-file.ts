// Reads files that hold a private key: only when nobody but their owner can read them, only up to a
// sensible size, and through one open file, so that what was checked is what is read.
import { open } from 'node:fs/promises';
import { Fault, reason, systemCode } from '../base/fault-codes.js';
import { limits } from '../base/limits.js';

const OTHERS = 0o077;

/** The bytes of a private key file. Fault key_invalid, naming the file and what to do. */
export async function readPrivateFile(path: string): Promise<Uint8Array> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (error) {
    const why = systemCode(error) === 'ENOENT' ? 'there is no such file' : reason(error);
    throw new Fault('key_invalid', `cannot read the key file ${path}: ${why}`, { cause: error });
  }
  try {
    const status = await file.stat();
    const mode = (status.mode & 0o777).toString(8);
    if (!status.isFile()) throw new Fault('key_invalid', `${path} is not a file`);
    if ((status.mode & OTHERS) !== 0)
      throw new Fault(
        'key_invalid',
        `${path} can be read by others (mode ${mode}): run chmod 600 ${path}`,
      );
    if (status.size > limits.keyFileMaxBytes)
      throw new Fault(
        'key_invalid',
        `${path} has ${status.size} bytes, which is too long for a key file`,
      );
    return await file.readFile();
  } finally {
    await file.close();
  }
}
