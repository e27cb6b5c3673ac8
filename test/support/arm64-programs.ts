// Lets this machine run programs for arm64 by qemu-user-static: the kernel starts it by what such a
// file begins with (binfmt_misc), also for the children of an emulated program and in a chroot.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isInstalled, run } from '../../firmware-tools/package/tools.js';

const EMULATOR = 'qemu-aarch64-static';
const KERNEL = '/proc/sys/fs/binfmt_misc';
const NAME = 'linnet-arm64';
/** Fixed by ELF: 64 bits, little endian, a program or a library, machine 183. */
const BEGINNING = '\\x7fELF\\x02\\x01\\x01' + '\\x00'.repeat(9) + '\\x02\\x00\\xb7\\x00';
const MASK = '\\xff'.repeat(7) + '\\x00' + '\\xff'.repeat(8) + '\\xfe\\xff\\xff\\xff';

/** What ONNX Runtime reads of a processor; that of this machine would be of another kind. */
export const CPUINFO = `processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

Model\t\t: Raspberry Pi 4 Model B Rev 1.4
`;

/** Without SVE, whose emulation is slow. */
export const EMULATION = { QEMU_CPU: 'cortex-a72' } as const;

/** What this machine lacks to run programs for arm64; null: nothing. */
export function missingForArm64(): string | null {
  if (!isInstalled(EMULATOR)) return EMULATOR;
  return existsSync(KERNEL) ? null : 'binfmt_misc in the kernel';
}

/** Makes the kernel start them, until the returned function is called. */
export function emulateArm64(): () => void {
  const register = join(KERNEL, 'register');
  const mounted = !existsSync(register);
  if (mounted) run('mount', ['-t', 'binfmt_misc', 'binfmt_misc', KERNEL]);
  const known = readdirSync(KERNEL).some(
    (name) =>
      name !== 'register' &&
      name !== 'status' &&
      readFileSync(join(KERNEL, name), 'utf8').includes(EMULATOR),
  );
  const program = run('sh', ['-c', `command -v ${EMULATOR}`]).trim();
  // F: opened now, so that it is found from inside a chroot too.
  if (!known) writeFileSync(register, `:${NAME}:M::${BEGINNING}:${MASK}:${program}:F`);
  return () => {
    if (!known) writeFileSync(join(KERNEL, NAME), '-1');
    if (mounted) run('umount', [KERNEL]);
  };
}
