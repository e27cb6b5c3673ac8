// The Node-bound helpers that every room shares: each promise, and what is left behind when it
// fails.
import { createHash } from 'node:crypto';
import { linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { chmodSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { utf8 } from '../../../shared/base/bytes.js';
import { Fault, isFault, systemCode } from '../../../shared/base/fault-codes.js';
import { makeFolders, writeWhole } from '../../../shared/platform/durable-files.js';
import {
  diskFault,
  isDiskFull,
  whenFound,
  withDiskFaults,
} from '../../../shared/platform/errno-faults.js';
import { fileDigest, RunningDigest, streamDigest } from '../../../shared/platform/hashing.js';
import { listenFault, listening } from '../../../shared/platform/listen.js';
import { KeyedMutex, Mutex } from '../../../shared/platform/mutex.js';
import { readPrivateFile } from '../../../shared/platform/private-file.js';

const root = mkdtempSync(join(tmpdir(), 'linnet-platform-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let folder: string;
let folders = 0;
beforeEach(() => {
  folder = join(root, String(++folders));
  mkdirSync(folder);
});

const failure = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => expect.fail('did not fail'),
    (error: unknown) => error,
  );
const codeOf = async (work: Promise<unknown>): Promise<string> => {
  const error = await failure(work);
  return isFault(error) ? error.code : (systemCode(error) ?? String(error));
};

describe('whole files', () => {
  const temp = (): string => join(folder, '.temp');

  it('replaces_with_all_chunks_and_leaves_no_temporary_file', async () => {
    const path = join(folder, 'a');
    await writeWhole(path, [utf8('old')], { temp: temp() });
    await writeWhole(path, [utf8('new '), utf8('text')], { temp: temp(), mode: 0o600 });
    expect(readFileSync(path, 'utf8')).toBe('new text');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['a']);
  });

  it('chunks_that_throw_at_their_end_leave_the_old_file', async () => {
    const path = join(folder, 'a');
    await writeWhole(path, [utf8('old')], { temp: temp() });
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield await Promise.resolve(utf8('new'));
      throw new Fault('file_digest', 'wrong');
    };
    expect(await codeOf(writeWhole(path, broken(), { temp: temp() }))).toBe('file_digest');
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(folder)).toEqual(['a']);
  });

  it('existing_file_is_kept_when_it_must_not_be_overwritten', async () => {
    const path = join(folder, 'a');
    const once = { temp: temp(), overwrite: false };
    await writeWhole(path, [utf8('first')], once);
    expect(await codeOf(writeWhole(path, [utf8('second')], once))).toBe('EEXIST');
    expect(readFileSync(path, 'utf8')).toBe('first');
    expect(readdirSync(folder)).toEqual(['a']);
  });

  it('leftover_that_is_a_hard_link_is_not_written_through', async () => {
    const other = join(folder, 'other');
    writeFileSync(other, 'precious');
    linkSync(other, temp());
    await writeWhole(join(folder, 'a'), [utf8('new')], { temp: temp() });
    expect(readFileSync(other, 'utf8')).toBe('precious');
  });

  it('folder_that_is_missing_is_the_system_error', async () => {
    const path = join(folder, 'none', 'a');
    expect(await codeOf(writeWhole(path, [], { temp: `${path}.tmp` }))).toBe('ENOENT');
  });

  it('folders_are_made_with_their_parents_and_twice', async () => {
    const deep = join(folder, 'x', 'y', 'z');
    await makeFolders(deep);
    await makeFolders(deep);
    expect(statSync(deep).isDirectory()).toBe(true);
    writeFileSync(join(folder, 'file'), '');
    expect(await codeOf(makeFolders(join(folder, 'file')))).toBe('EEXIST');
    expect(await codeOf(makeFolders('/proc/nope/deeper'))).toBe('ENOENT');
  });
});

describe('system errors', () => {
  const systemError = (code: string): Error =>
    Object.assign(new Error(code), { code, errno: -1, syscall: 'write' });

  it.each([
    ['ENOSPC', 'disk_full', true],
    ['EDQUOT', 'disk_full', true],
    ['EROFS', 'disk_failed', false],
    ['EIO', 'disk_failed', false],
  ])('%s_is_%s', (code, fault, full) => {
    expect(diskFault(systemError(code), 'write /x')).toMatchObject({
      code: fault,
      detail: expect.stringMatching(`^cannot write /x: ${code}\\b`) as string,
    });
    expect(isDiskFull(systemError(code))).toBe(full);
  });

  it('what_is_not_a_system_error_passes_unchanged', async () => {
    for (const error of [
      new TypeError('a bug'),
      new Fault('file_digest', 'x'),
      Object.assign(new Error('stream'), { code: 'ERR_STREAM_PREMATURE_CLOSE' }),
    ]) {
      expect(diskFault(error, 'write /x')).toBe(error);
      expect(await failure(withDiskFaults('write /x', () => Promise.reject(error)))).toBe(error);
    }
  });

  it('only_an_absent_file_is_null', async () => {
    expect(await whenFound(() => Promise.reject(systemError('ENOENT')))).toBe(null);
    expect(await whenFound(() => Promise.resolve(1))).toBe(1);
    expect(await codeOf(whenFound(() => Promise.reject(systemError('EACCES'))))).toBe('EACCES');
  });
});

describe('digests', () => {
  it.each([0, 1, 1024 * 1024, 1024 * 1024 + 1, 3 * 1024 * 1024])(
    'file_of_%i_bytes_has_the_same_digest_by_file_and_by_stream',
    async (length) => {
      const bytes = Buffer.alloc(length, 'ab');
      const path = join(folder, 'a');
      writeFileSync(path, bytes);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      expect(await fileDigest(path)).toEqual({ sha256, length });
      const halves = async function* (): AsyncGenerator<Uint8Array> {
        yield await Promise.resolve(bytes.subarray(0, length >> 1));
        yield bytes.subarray(length >> 1);
      };
      expect(await streamDigest(halves())).toEqual({ sha256, length });
    },
  );

  it('running_digest_counts_as_it_goes', () => {
    const running = new RunningDigest();
    expect(running.update(utf8('abc')).length).toBe(3);
    expect(running.update(utf8('de')).length).toBe(5);
    const sha256 = createHash('sha256').update('abcde').digest('hex');
    expect(running.end()).toEqual({ sha256, length: 5 });
  });
});

describe('mutex', () => {
  const step = async (log: string[], name: string): Promise<string> => {
    log.push(`${name}>`);
    await new Promise((resolve) => setImmediate(resolve));
    log.push(`${name}<`);
    return name;
  };

  it('work_runs_in_order_and_never_together', async () => {
    const mutex = new Mutex();
    const log: string[] = [];
    const all = ['a', 'b', 'c'].map((name) => mutex.run(() => step(log, name)));
    expect(await Promise.all(all)).toEqual(['a', 'b', 'c']);
    expect(log.join(' ')).toBe('a> a< b> b< c> c<');
  });

  it('failure_is_its_callers_and_the_next_one_runs', async () => {
    const mutex = new Mutex();
    const failed = failure(mutex.run(() => Promise.reject(new Error('mine'))));
    const next = mutex.run(() => Promise.resolve('next'));
    expect(await failed).toMatchObject({ message: 'mine' });
    expect(await next).toBe('next');
  });

  it('keys_do_not_wait_for_each_other_and_are_forgotten', async () => {
    const mutex = new KeyedMutex();
    const log: string[] = [];
    await Promise.all([
      mutex.run('x', () => step(log, 'x1')),
      mutex.run('x', () => step(log, 'x2')),
      mutex.run('y', () => step(log, 'y1')),
    ]);
    expect(log.indexOf('y1>')).toBeLessThan(log.indexOf('x1<'));
    expect(log.indexOf('x1<')).toBeLessThan(log.indexOf('x2>'));
    await failure(mutex.run('x', () => Promise.reject(new Error('x'))));
    expect(mutex.size).toBe(0);
  });
});

describe('listening', () => {
  it('address_that_is_taken_is_port_in_use', async () => {
    const first = createServer();
    await listening(first, 'here', () => first.listen(0, '127.0.0.1'));
    const { port } = first.address() as AddressInfo;
    const second = createServer();
    const start = (): unknown => second.listen(port, '127.0.0.1');
    const error = await failure(listening(second, `127.0.0.1:${port}`, start));
    expect(error).toMatchObject({
      code: 'port_in_use',
      detail: `127.0.0.1:${port} is already in use`,
    });
    first.close();
  });

  it('address_that_cannot_be_used_is_a_mistake_in_the_configuration', async () => {
    const server = createServer();
    const start = (): unknown => server.listen({ path: join(folder, 'no', 'socket') });
    expect(await codeOf(listening(server, 'the socket', start))).toBe('config_invalid');
    const bug = new TypeError('a bug');
    expect(listenFault(bug, 'x')).toBe(bug);
  });
});

describe('private files', () => {
  it('only_a_file_that_nobody_else_can_read_is_read', async () => {
    const path = join(folder, 'key');
    writeFileSync(path, 'secret', { mode: 0o600 });
    expect(Buffer.from(await readPrivateFile(path)).toString()).toBe('secret');
    for (const mode of [0o640, 0o604, 0o620, 0o601]) {
      chmodSync(path, mode);
      expect(await failure(readPrivateFile(path))).toMatchObject({
        code: 'key_invalid',
        detail: `${path} can be read by others (mode ${mode.toString(8)}): run chmod 600 ${path}`,
      });
    }
  });

  it('missing_long_and_other_things_are_refused', async () => {
    expect(await codeOf(readPrivateFile(join(folder, 'none')))).toBe('key_invalid');
    mkdirSync(join(folder, 'dir'), { mode: 0o700 });
    expect(await codeOf(readPrivateFile(join(folder, 'dir')))).toBe('key_invalid');
    const long = join(folder, 'long');
    writeFileSync(long, 'x'.repeat(16 * 1024 + 1), { mode: 0o600 });
    expect(await codeOf(readPrivateFile(long))).toBe('key_invalid');
  });
});
