// `npm run bench`: every benchmark, one after another, with the machine it ran on. Figures are
// ratios against a baseline taken in the same run wherever there is one; nothing here passes or
// fails.
import { cpus, totalmem } from 'node:os';
import { run as agentMemory } from './agent-memory.js';
import { print, run as inference } from './inference.js';
import { run as install } from './install.js';
import { run as loopDelay } from './loop-delay.js';

const GIB = 1024 ** 3;

console.log(
  `Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? 'unknown processor'}, ` +
    `${(totalmem() / GIB).toFixed(0)} GiB\n`,
);
for (const bench of [inference, loopDelay, install, agentMemory]) {
  print(await bench());
  console.log('');
}
