// The standard error of one model process: a limited number of its lines goes to the agent's log,
// and the end of it is kept for the message about the process's death.
import type { Log } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';

export class StderrLog {
  readonly #log: Log;
  #lines = 0;
  #tail = '';

  constructor(log: Log) {
    this.#log = log;
  }

  /** `pid`: of the process, for the log. */
  push(text: string, pid: number | undefined): void {
    this.#tail = (this.#tail + text).slice(-limits.hostLogTailMaxChars);
    for (const line of text.split('\n')) {
      if (line.trim() === '') continue;
      this.#lines += 1;
      if (this.#lines > limits.hostLogLinesMaxCount) return;
      const last = this.#lines === limits.hostLogLinesMaxCount;
      this.#log.warn(
        { pid, line: line.slice(0, limits.hostLogLineMaxChars) },
        last ? 'model process wrote (further lines are not logged)' : 'model process wrote',
      );
    }
  }

  /** For the end of a message; empty when the process wrote nothing. */
  get quote(): string {
    const text = this.#tail.trim();
    return text === '' ? '' : `; it wrote: ${text}`;
  }
}
