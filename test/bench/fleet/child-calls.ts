// Calls between the benchmark and its child processes: one message each way, matched by a number.
// A child ends when its parent does.
import { fork, type ChildProcess, type ForkOptions } from 'node:child_process';
import { asError } from '../../../shared/base/fault-codes.js';

interface Call {
  readonly call: number;
  readonly name: string;
  readonly argument: unknown;
}
interface Answer {
  readonly call: number;
  readonly result?: unknown;
  readonly error?: string;
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class Child {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended: Promise<void>;
  #calls = 0;

  constructor(file: string, args: readonly string[], options: ForkOptions = {}) {
    this.#process = fork(file, args, { serialization: 'advanced', ...options });
    this.#process.on('message', (message) => {
      const { call, result, error } = message as Answer;
      const waiting = this.#waiting.get(call);
      this.#waiting.delete(call);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(error));
    });
    this.#ended = new Promise((resolve) => {
      this.#process.once('exit', () => {
        for (const { reject } of this.#waiting.values()) reject(new Error(`${file} ended`));
        resolve();
      });
    });
  }

  call<T>(name: string, argument?: unknown): Promise<T> {
    this.#calls += 1;
    const call = this.#calls;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(call, { resolve: (value) => resolve(value as T), reject });
      this.#process.send({ call, name, argument } satisfies Call);
    });
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended;
  }

  /** Without a call under way: it exits. */
  async end(): Promise<void> {
    this.#process.disconnect();
    await this.#ended;
  }
}

/** What a child answers to each call. */
export function answerCalls(handlers: Record<string, (argument: never) => unknown>): void {
  process.on('message', (message) => {
    const { call, name, argument } = message as Call;
    const answer = (more: Omit<Answer, 'call'>): void => {
      if (process.connected) process.send?.({ call, ...more } satisfies Answer);
    };
    void Promise.resolve()
      .then(() => handlers[name]?.(argument as never))
      .then(
        (result) => answer({ result }),
        (error: unknown) => answer({ error: asError(error).stack ?? String(error) }),
      );
  });
  process.on('disconnect', () => process.exit(0));
}
