// Replaces one file for ever, each time with another whole version: `<n>` and then n's own digit
// repeated. Killed by its test at any moment. Usage: replacing-child FILE.
import { NodeDisk } from '../../../agent/platform/disk.js';

const path = process.argv[2];
if (path === undefined) throw new Error('usage: replacing-child FILE');
const disk = new NodeDisk();
for (
  let n =
    Number(Buffer.from((await disk.read(path, 10_000_000)) ?? []).toString('utf8', 0, 10) || '0') +
    1;
  ;
  n += 1
) {
  await disk.replace(
    path,
    Buffer.from(String(n).padStart(10, '0') + String(n % 10).repeat(300_000)),
  );
  if (n % 5 === 0) process.stdout.write(`${n}\n`);
}
