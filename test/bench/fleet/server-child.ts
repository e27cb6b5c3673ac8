// The fleet server of the benchmark in a process of its own: the server's real composition, and
// what the process costs beside it. It runs from dist/ and ends with its parent.
import { readFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { serverSettings } from '../../../server/config.js';
import { startServer } from '../../../server/main.js';
import { stderrLog } from '../../../shared/platform/logger.js';
import { answerCalls } from './child-calls.js';

export interface ServerUsage {
  readonly cpuMs: number;
  /** Since `measure`; 0 while stalls are not measured. */
  readonly stallMs: number;
  /** After a garbage collection, when it was asked for. */
  readonly rssBytes: number;
  readonly heapBytes: number;
  /** That the process has given the disk. */
  readonly writtenBytes: number;
}

const RESOLUTION_MS = 10;
const MICROSECONDS = 1000;

const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

const [, , file = ''] = process.argv;
const settings = serverSettings(readFileSync(file, 'utf8'), {});
const starting = startServer(settings, { log: stderrLog(settings.log_level) });

answerCalls({
  started: async () => {
    await starting;
  },
  measure: () => {
    delay.enable();
    delay.reset();
  },
  usage: ({ collect }: { collect: boolean }): ServerUsage => {
    const stallMs = Math.max(0, delay.max / 1e6 - RESOLUTION_MS);
    // Its timer would count as work of an idle server.
    delay.disable();
    if (collect) (globalThis as { gc?: () => void }).gc?.();
    const { user, system } = process.cpuUsage();
    const { rss, heapUsed, external } = process.memoryUsage();
    const written = /^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1];
    return {
      cpuMs: (user + system) / MICROSECONDS,
      stallMs,
      rssBytes: rss,
      heapBytes: heapUsed + external,
      writtenBytes: Number(written),
    };
  },
  close: async () => {
    await (await starting).close();
  },
});
