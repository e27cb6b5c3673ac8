// The real disk: what a killed process leaves behind, full disks, resumption.
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { NodeDisk, TEMP_SUFFIX } from '../../../agent/platform/disk.js';
import { Fault, isFault } from '../../../shared/base/fault-codes.js';

const cleanups: (() => unknown)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

const disk = new NodeDisk();

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'linnet-disk-'));
  cleanups.push(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no fault',
    (error: unknown) => (isFault(error) ? error.code : String(error)),
  );

async function* pieces(bytes: Uint8Array, size: number, end?: Error): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  await Promise.resolve();
  if (end !== undefined) throw end;
}

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/**
 * A file system of `sizeKiB` that really is full soon, or null where this machine does not let us
 * mount one.
 */
function smallDisk(sizeKiB: number): string | null {
  const made = folder();
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeKiB}k`, 'tmpfs', made], {
      stdio: 'pipe',
    });
  } catch (error) {
    console.log(`no small tmpfs here, the full disk is skipped: ${String(error)}`);
    return null;
  }
  cleanups.push(() => execFileSync('umount', ['-l', made]));
  return made;
}

describe('replace', () => {
  it('killed_at_any_moment_a_reader_sees_one_whole_version', { timeout: 120_000 }, async () => {
    const path = join(folder(), 'record.json');
    const child = join(import.meta.dirname, '../../../dist/test/agent/platform/replacing-child.js');
    let last = 0;
    for (let round = 0; round < 12; round += 1) {
      const process_ = spawn(process.execPath, [child, path], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const gone = new Promise((resolve) => process_.once('exit', resolve));
      await new Promise((resolve) => process_.stdout.once('data', resolve));
      // Another moment in each round.
      await new Promise((resolve) => setTimeout(resolve, (round * 7) % 25));
      process_.kill('SIGKILL');
      await gone;
      const text = readFileSync(path, 'utf8');
      const n = Number(text.slice(0, 10));
      expect(text).toHaveLength(300_010);
      expect(text.slice(10) === String(n % 10).repeat(300_000)).toBe(true);
      expect(n).toBeGreaterThan(last);
      last = n;
    }
  });

  it('stale_temp_file_is_removed_and_never_written_through', async () => {
    const path = join(folder(), 'a');
    writeFileSync(`${path}.other`, 'precious');
    linkSync(`${path}.other`, path + TEMP_SUFFIX); // As a link() that was killed leaves it.
    await disk.replace(path, Buffer.from('new'));
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(readFileSync(`${path}.other`, 'utf8')).toBe('precious');
    expect(readdirSync(join(path, '..')).sort()).toEqual(['a', 'a.other']);
  });

  it('replacements_asked_for_at_once_happen_in_order', async () => {
    const path = join(folder(), 'a');
    await Promise.all(
      Array.from({ length: 20 }, (_, n) => disk.replace(path, Buffer.from(String(n)))),
    );
    expect(readFileSync(path, 'utf8')).toBe('19');
    expect(existsSync(path + TEMP_SUFFIX)).toBe(false);
  });

  it('failed_replacement_keeps_the_old_file_and_the_next_one_works', async () => {
    const base = folder();
    expect(await codeOf(disk.replace(join(base, 'none', 'a'), Buffer.from('x')))).toBe(
      'disk_failed',
    );
    await disk.makeFolder(join(base, 'none'));
    await disk.replace(join(base, 'none', 'a'), Buffer.from('x'));
    expect(await disk.list(join(base, 'none'))).toEqual(['a']);
  });
});

describe('a full disk', () => {
  it('replace_and_append_say_disk_full_and_keep_what_was_there', async ({ skip }) => {
    const small = smallDisk(1024);
    if (small === null) return skip('cannot mount a tmpfs');
    const path = join(small, 'a');
    await disk.replace(path, Buffer.from('old'));
    expect(await codeOf(disk.replace(path, randomBytes(2_000_000)))).toBe('disk_full');
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(small)).toEqual(['a']);
    expect(
      await codeOf(disk.append(join(small, 'part'), 0, pieces(randomBytes(2_000_000), 65_536))),
    ).toBe('disk_full');
    expect(await disk.freeBytes(small)).toBeLessThan(1024 * 1024);
    await disk.remove(join(small, 'part'));
    await disk.replace(path, Buffer.from('new'));
    expect(readFileSync(path, 'utf8')).toBe('new');
  });

  it('device_that_is_always_full_says_disk_full', async () => {
    // /dev/full answers ENOSPC to every write: the same code path, without root.
    expect(await codeOf(disk.append('/dev/full', 0, pieces(Buffer.from('x'), 1)))).toBe(
      'disk_full',
    );
  });
});

describe('append', () => {
  it('interrupted_source_keeps_what_came_and_resumes', async () => {
    const path = join(folder(), 'part');
    const bytes = randomBytes(2_500_000);
    const cut = new Fault('fetch_interrupted', 'cut');
    await expect(
      disk.append(path, 0, pieces(bytes.subarray(0, 1_300_000), 70_001, cut)),
    ).rejects.toBe(cut);
    expect(await disk.size(path)).toBe(1_300_000);
    expect(await disk.append(path, 1_300_000, pieces(bytes.subarray(1_300_000), 70_001))).toBe(
      1_200_000,
    );
    expect(await disk.sha256(path)).toEqual({ sha256: digest(bytes), length: bytes.length });
  });

  it('longer_file_is_cut_and_shorter_one_refused', async () => {
    const path = join(folder(), 'part');
    writeFileSync(path, '0123456789');
    expect(await disk.append(path, 4, pieces(Buffer.from('abc'), 1))).toBe(3);
    expect(readFileSync(path, 'utf8')).toBe('0123abc');
    expect(await codeOf(disk.append(path, 8, pieces(Buffer.from('x'), 1)))).toBe('disk_failed');
    expect(readFileSync(path, 'utf8')).toBe('0123abc');
    expect(await codeOf(disk.append(`${path}.none`, 1, pieces(Buffer.from('x'), 1)))).toBe(
      'disk_failed',
    );
    expect(existsSync(`${path}.none`)).toBe(false);
  });

  it.each([1, 4096, 1_048_575, 1_048_576, 1_048_577, 3_000_000])(
    'chunks_of_%d_bytes_arrive_in_order',
    async (size) => {
      const path = join(folder(), 'part');
      const bytes = randomBytes(size === 1 ? 3000 : 2_999_999);
      expect(await disk.append(path, 0, pieces(bytes, size))).toBe(bytes.length);
      expect(await disk.sha256(path)).toEqual({ sha256: digest(bytes), length: bytes.length });
    },
  );
});

describe('links, folders, missing files', () => {
  it('link_replaces_and_may_be_repeated', async () => {
    const base = folder();
    const [from, to] = [join(base, 'from'), join(base, 'to')];
    writeFileSync(from, 'f');
    writeFileSync(to, 'old');
    await disk.link(from, to);
    await disk.link(from, to);
    await disk.syncFolder(base);
    expect(statSync(to).ino).toBe(statSync(from).ino);
    expect(readdirSync(base).sort()).toEqual(['from', 'to']);
    expect(await codeOf(disk.link(join(base, 'none'), to))).toBe('disk_failed');
    expect(readFileSync(to, 'utf8')).toBe('f');
  });

  it('missing_is_null_or_empty_and_never_an_error', async () => {
    const base = folder();
    const none = join(base, 'x', 'y');
    expect(await disk.read(none, 10)).toBeNull();
    expect(await disk.size(none)).toBeNull();
    expect(await disk.sha256(none)).toBeNull();
    expect(await disk.list(none)).toEqual([]);
    await disk.remove(none);
    await disk.makeFolder(none);
    await disk.makeFolder(none);
    expect(await disk.list(base)).toEqual(['x']);
    await disk.remove(join(base, 'x'));
    expect(await disk.list(base)).toEqual([]);
  });

  it('file_over_its_limit_is_not_read', async () => {
    const path = join(folder(), 'a');
    writeFileSync(path, '0123456789');
    expect(Buffer.from((await disk.read(path, 10)) ?? []).toString()).toBe('0123456789');
    expect(await codeOf(disk.read(path, 9))).toBe('disk_failed');
  });
});

describe('what is not a regular file', () => {
  /** One of each kind at `path`. */
  const kinds: Record<string, (path: string) => void> = {
    folder: (path) => mkdirSync(join(path, 'inner'), { recursive: true }),
    fifo: (path) => execFileSync('mkfifo', [path]),
    link_to_nothing: (path) => symlinkSync(`${path}.nothing`, path),
  };

  for (const [kind, make] of Object.entries(kinds)) {
    it(`${kind}_is_a_fault_and_never_a_wait`, async () => {
      const path = join(folder(), 'record.json');
      make(path);
      expect(await codeOf(disk.read(path, 100))).toBe('disk_failed');
      expect(await codeOf(disk.sha256(path))).toBe('disk_failed');
      expect(await codeOf(collect(disk.stream(path)))).toBe('disk_failed');
    });

    it(`${kind}_gives_way_to_a_replacement`, async () => {
      const path = join(folder(), 'record.json');
      make(path);
      await disk.replace(path, Buffer.from('new'));
      expect(readFileSync(path, 'utf8')).toBe('new');
      expect(lstatSync(path).isFile()).toBe(true);
    });

    it(`${kind}_can_be_set_aside_twice`, async () => {
      const path = join(folder(), 'identity.json');
      for (const _ of [1, 2]) {
        make(path);
        await disk.setAside(path);
        expect(readdirSync(dirname(path))).toEqual(['identity.json.damaged']);
      }
    });
  }

  it('link_to_a_file_is_read_through', async () => {
    const made = folder();
    writeFileSync(join(made, 'target'), 'bytes');
    symlinkSync('target', join(made, 'link'));
    expect(Buffer.from((await disk.read(join(made, 'link'), 100)) ?? []).toString()).toBe('bytes');
  });

  it('folder_in_the_way_of_a_replacement_is_kept_aside', async () => {
    const path = join(folder(), 'record.json');
    mkdirSync(path);
    writeFileSync(join(path, 'inner'), 'kept');
    await disk.replace(path, Buffer.from('new'));
    expect(readFileSync(join(`${path}.damaged`, 'inner'), 'utf8')).toBe('kept');
  });
});

describe('streams', () => {
  it('whole_file_in_chunks', async () => {
    const path = join(folder(), 'file');
    const bytes = randomBytes(3 * 1024 * 1024 + 17);
    writeFileSync(path, bytes);
    expect(digest(await collect(disk.stream(path)))).toBe(digest(bytes));
  });
});

describe('folders', () => {
  it('missing_parents_are_made_and_an_existing_folder_is_fine', async () => {
    const path = join(folder(), 'a/b/c');
    await disk.makeFolder(path);
    await Promise.all([disk.makeFolder(path), disk.makeFolder(join(path, 'd'))]);
    expect(readdirSync(path)).toEqual(['d']);
  });

  it('file_in_the_way_or_a_system_that_refuses_is_disk_failed', async () => {
    const made = folder();
    writeFileSync(join(made, 'file'), '');
    expect(await codeOf(disk.makeFolder(join(made, 'file')))).toBe('disk_failed');
    expect(await codeOf(disk.makeFolder(join(made, 'file/inner')))).toBe('disk_failed');
    expect(await codeOf(disk.makeFolder('/proc/nope/inner'))).toBe('disk_failed');
  });
});

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}
