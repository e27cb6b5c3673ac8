// Appending to a partial file: cut to an offset, written in large pieces, fsynced at the end, also
// when the source fails, so that a download can resume.
import { open, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { limits } from '../../shared/base/limits.js';
import { Fault } from '../../shared/base/fault-codes.js';
import { syncFolder } from '../../shared/platform/durable-files.js';
import { whenFound, withDiskFaults } from '../../shared/platform/errno-faults.js';

/** Small chunks are gathered to writes of about this size: a trickle costs no write per packet. */
const WRITE_BYTES = limits.fetchChunkBytes;

/**
 * The partial file at `path`, cut to `offset` bytes; made (durably) when missing and `offset` is 0.
 */
export async function openAt(path: string, offset: number): Promise<FileHandle> {
  const found = await whenFound(() => open(path, 'r+'));
  const file = found ?? (await open(path, 'wx+'));
  try {
    const { size } = await file.stat();
    if (size < offset) {
      if (found === null) await unlink(path);
      throw new Fault(
        'disk_failed',
        `${basename(path)} has ${size} bytes, cannot append at ${offset}`,
      );
    }
    if (size > offset) await file.truncate(offset);
    if (found === null) await syncFolder(dirname(path));
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Writes while the next chunks are awaited: one write in flight, one batch being gathered. */
export async function appendAll(
  file: FileHandle,
  offset: number,
  chunks: AsyncIterable<Uint8Array>,
  path: string,
): Promise<number> {
  let written = 0;
  let gathered: Uint8Array[] = [];
  let gatheredBytes = 0;
  let flying: Promise<void> = Promise.resolve();
  const flush = async (): Promise<void> => {
    const [pieces, bytes, at] = [gathered, gatheredBytes, offset + written];
    [gathered, gatheredBytes] = [[], 0];
    await flying;
    written += bytes;
    flying = withDiskFaults(`append to ${path}`, () => writeAll(file, pieces, at));
    flying.catch(() => {}); // Seen by the next `await flying`; there always is one.
  };
  let broken: { error: unknown } | null = null;
  try {
    for await (const chunk of chunks) {
      if (chunk.length === 0) continue;
      gathered.push(chunk);
      gatheredBytes += chunk.length;
      if (gatheredBytes >= WRITE_BYTES || gathered.length >= limits.writePiecesMaxCount)
        await flush();
    }
  } catch (error) {
    broken = { error };
  }
  if (broken !== null && isDiskFault(broken.error)) throw broken.error;
  await flush();
  await flying;
  await withDiskFaults(`sync ${path}`, () => file.sync());
  if (broken !== null) throw broken.error;
  return written;
}

function isDiskFault(error: unknown): boolean {
  return error instanceof Fault && (error.code === 'disk_full' || error.code === 'disk_failed');
}

async function writeAll(file: FileHandle, pieces: Uint8Array[], at: number): Promise<void> {
  let rest = pieces;
  let position = at;
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest, position);
    position += bytesWritten;
    rest = after(rest, bytesWritten);
  }
}

/** What is left of `pieces` when `count` bytes of them were written. */
function after(pieces: Uint8Array[], count: number): Uint8Array[] {
  let skip = count;
  for (const [index, piece] of pieces.entries()) {
    if (skip < piece.length) return [piece.subarray(skip), ...pieces.slice(index + 1)];
    skip -= piece.length;
  }
  return [];
}
