// One model process, from the supervisor's side: start, requests, watchdog, end. One request runs
// at a time; the caller queues. Promises: the start and every run end within their limits, because
// a process that is stuck is killed; a request in flight when the process ends gets Fault
// `host_died` or `host_hung`; the process cannot outlive the supervisor, because its socket ends.
// Restarting is replica.ts, spawning is spawn-child.ts.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { Fault, reason } from '../../../shared/base/fault-codes.js';
import { fileOf } from '../../../shared/release/model-manifest.js';
import type { Cancel, Clock, Log } from '../../../shared/base/interfaces.js';
import type { Installed } from '../../interfaces.js';
import {
  decodeControl,
  decodeTensors,
  encodeControl,
  encodeTensors,
  FrameDecoder,
  FrameKind,
  idOf,
  kindOf,
  type Frame,
} from './ipc-frames.js';
import type { Control, HostReport, LoadRequest } from './host-protocol.js';
import { pipesOf, spawnChild } from './spawn-child.js';
import { StderrLog } from './stderr-log.js';
import type { InferenceLimits } from '../inference-limits.js';
import type { Tensor } from '../model/tensor.js';

export interface HostOptions {
  /** Path of the compiled host-child.js. */
  readonly childPath: string;
  /** HOME, cache and working folder of model processes (spawn-child.ts). */
  readonly home: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: InferenceLimits;
  /** Threads of one run (intra-op). */
  readonly threads: number;
  /** ModelHost when left out. */
  readonly newHost?: NewHost | undefined;
}

export type NewHost = (options: HostOptions, installed: Installed) => Host;

/** What runs one model for the rest of the engine, with the promises of ModelHost. */
export interface Host {
  /** Of its own process, if it has one. */
  readonly pid: number | undefined;
  readonly ready: boolean;
  onDeath: ((fault: Fault) => void) | null;
  start(warmup: readonly Tensor[]): Promise<HostUsage>;
  run(inputs: readonly Tensor[]): Promise<Tensor[]>;
  usage(): Promise<HostUsage>;
  stop(): Promise<void>;
}

/** Of the whole model process, ONNX Runtime and libraries included. */
export interface HostUsage {
  readonly rssBytes: number;
  readonly peakBytes: number;
  /** CPU time of all its threads since its start. */
  readonly cpuMs: number;
}

interface Pending {
  readonly id: number;
  readonly resolve: (value: Tensor[] | HostUsage) => void;
  readonly reject: (fault: Fault) => void;
}

/** True when a run or a start failed because its process ended, by itself or killed. */
export const isProcessEnd = ({ code }: Fault): boolean =>
  code === 'host_died' || code === 'host_hung';

export const newHost: NewHost = (options, installed) =>
  options.newHost?.(options, installed) ?? new ModelHost(options, installed);

class ModelHost implements Host {
  readonly #options: HostOptions;
  readonly #installed: Installed;
  readonly #name: string;
  #child: ChildProcess | null = null;
  #socket: Socket | null = null;
  #pending: Pending | null = null;
  #id = 0;
  /** One lazy alarm instead of a timer per run: when it rings, it checks `#runEndsAt` again. */
  #runEndsAt = 0;
  #alarm: Cancel | null = null;
  #phase: 'new' | 'starting' | 'ready' | 'stopping' | 'gone' = 'new';
  #startFault: Fault | null = null;
  readonly #stderr: StderrLog;
  #exited: Promise<void> = Promise.resolve();
  /** Called once, when the process ends without stop(). */
  onDeath: ((fault: Fault) => void) | null = null;

  constructor(options: HostOptions, installed: Installed) {
    this.#options = options;
    this.#installed = installed;
    this.#name = `${installed.release.component}@${installed.release.version}`;
    this.#stderr = new StderrLog(options.log.child({ model: this.#name }));
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get ready(): boolean {
    return this.#phase === 'ready';
  }

  /**
   * Starts the process, lets it verify and load the model, and warms it with one run on `warmup`
   * (inputs in manifest order). Faults: `host_start`, `file_digest`, `file_length`,
   * `model_not_onnx`, `model_tensors_differ`; after a fault the process has ended.
   */
  async start(warmup: readonly Tensor[]): Promise<HostUsage> {
    assert(this.#phase === 'new', 'a host starts once');
    this.#phase = 'starting';
    const { clock, limits } = this.#options;
    const cancel = clock.after(limits.hostStartMs, () => {
      const reasons = `was not ready within ${limits.hostStartMs} ms`;
      this.#kill(new Fault('host_start', `the model process of ${this.#name} ${reasons}`));
    });
    try {
      this.#spawn();
      const usage = (await this.#ask(encodeControl(this.#loadRequest()))) as HostUsage;
      await this.#warm(warmup);
      if (this.#stopping())
        throw new Fault(
          'host_start',
          `the model process of ${this.#name} was stopped while it started`,
        );
      this.#phase = 'ready';
      return usage;
    } catch (error) {
      const first = this.#startFault ?? error; // The kill below causes a second fault.
      this.#kill(null);
      await this.#exited;
      throw first;
    } finally {
      cancel();
    }
  }

  #stopping(): boolean {
    return this.#phase === 'stopping';
  }

  async #warm(warmup: readonly Tensor[]): Promise<void> {
    try {
      await this.#ask(
        ...encodeTensors(
          FrameKind.run,
          this.#nextId(),
          warmup,
          this.#options.limits.hostFrameMaxBytes,
        ),
      );
    } catch (error) {
      if (error instanceof Fault && error.code === 'model_run_failed') {
        throw new Fault(
          'model_tensors_differ',
          `${this.#name} does not run on its own first probe: ${error.detail}`,
          { cause: error },
        );
      }
      throw error;
    }
  }

  /**
   * One inference: inputs and outputs in manifest order; the guard has checked the inputs.
   * Faults: `host_died`, `host_hung` (it was killed), `model_run_failed` (the
   * model failed on these tensors; the process lives on).
   */
  run(inputs: readonly Tensor[]): Promise<Tensor[]> {
    assert(
      this.#phase === 'ready' || this.#phase === 'stopping',
      `run on a host that is ${this.#phase}`,
    );
    this.#watch();
    return this.#ask(
      ...encodeTensors(
        FrameKind.run,
        this.#nextId(),
        inputs,
        this.#options.limits.hostFrameMaxBytes,
      ),
    ) as Promise<Tensor[]>;
  }

  /** Must not be called during a run. */
  usage(): Promise<HostUsage> {
    this.#watch();
    return this.#ask(encodeControl({ ask: 'usage' } satisfies Control)) as Promise<HostUsage>;
  }

  /**
   * Waits for the current run, then ends the process: by the end of its input, SIGTERM after
   * hostDrainMs, SIGKILL after hostTermGraceMs more.
   */
  async stop(): Promise<void> {
    if (this.#child === null || this.#phase === 'gone') {
      this.#phase = 'gone';
      return;
    }
    const { clock, limits } = this.#options;
    this.#phase = 'stopping';
    const child = this.#child;
    const cancels = [
      clock.after(limits.hostDrainMs, () => child.kill('SIGTERM')),
      clock.after(limits.hostDrainMs + limits.hostTermGraceMs, () => child.kill('SIGKILL')),
    ];
    if (this.#pending === null) this.#socket?.end();
    await this.#exited;
    for (const cancel of cancels) cancel();
  }

  #loadRequest(): LoadRequest {
    const { manifest } = this.#installed.release;
    const model = fileOf(manifest, 'model');
    const bare = (specs: LoadRequest['inputs']) =>
      specs.map(({ name, datatype, shape }) => ({ name, datatype, shape }));
    return {
      ask: 'load',
      path: join(this.#installed.folder, model.name),
      sha256: model.sha256,
      length: model.length,
      inputs: bare(manifest.inputs),
      outputs: bare(manifest.outputs),
      threads: this.#options.threads,
      frameMaxBytes: this.#options.limits.hostFrameMaxBytes,
    };
  }

  #spawn(): void {
    const { home, childPath, limits } = this.#options;
    const { hostFrameMaxBytes: frameMaxBytes } = limits;
    const child = spawnChild({ home, childPath, frameMaxBytes });
    this.#child = child;
    this.#exited = this.#exitOf(child);
    const { stderr, socket } = pipesOf(child);
    stderr.setEncoding('utf8').on('data', (text: string) => this.#stderr.push(text, child.pid));
    this.#socket = socket;
    const decoder = new FrameDecoder(frameMaxBytes, (frame) => this.#receive(frame));
    socket.on('data', (chunk: Buffer) => this.#decode(decoder, chunk));
    // The process ends when its socket does, and `exit` reports that. A process that closed its end
    // itself cannot be used any more.
    socket.on('error', (error) =>
      this.#options.log.debug(
        { model: this.#name, err: error },
        'the socket to a model process failed',
      ),
    );
    socket.on('close', () => this.#kill(null));
  }

  #exitOf(child: ChildProcess): Promise<void> {
    return new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        const how = signal ?? `exit code ${code}`;
        this.#gone(this.#death(`ended (${how})${this.#stderr.quote}`));
        resolve();
      });
      child.once('error', (error) => {
        if (child.pid !== undefined) return;
        this.#gone(
          new Fault('host_start', `cannot start a model process: ${reason(error)}`, {
            cause: error,
          }),
        );
        resolve();
      });
    });
  }

  #death(how: string, cause?: unknown): Fault {
    return new Fault('host_died', `the model process of ${this.#name} ${how}`, { cause });
  }

  #decode(decoder: FrameDecoder, chunk: Buffer): void {
    try {
      decoder.push(chunk);
    } catch (error) {
      this.#kill(this.#death(`sent an invalid IPC frame: ${reason(error)}`, error));
    }
  }

  #receive(frame: Frame): void {
    const pending = this.#pending;
    if (pending === null) return;
    if (kindOf(frame) === FrameKind.answer) {
      if (idOf(frame) !== pending.id) return;
      // Decoded while the request is pending: bytes that do not decode end the process, and so the
      // request.
      const outputs = decodeTensors(frame, this.#installed.release.manifest.outputs);
      this.#settle();
      pending.resolve(outputs);
      return;
    }
    const report = decodeControl(frame) as HostReport;
    this.#settle();
    if (report.report === 'fault') pending.reject(new Fault(report.code, report.detail));
    else pending.resolve(report);
  }

  #settle(): void {
    this.#pending = null;
    if (this.#phase === 'stopping') this.#socket?.end();
  }

  #nextId(): number {
    this.#id = (this.#id + 1) >>> 0;
    return this.#id;
  }

  #ask(...pieces: Uint8Array[]): Promise<Tensor[] | HostUsage> {
    assert(this.#pending === null, 'one request at a time');
    const answer = new Promise<Tensor[] | HostUsage>((resolve, reject) => {
      this.#pending = { id: this.#id, resolve, reject };
    });
    const socket = this.#socket;
    if (socket === null || socket.destroyed) {
      this.#kill(this.#death(`has ended${this.#stderr.quote}`));
      return answer;
    }
    if (pieces.length === 1) socket.write(pieces[0] as Uint8Array);
    else {
      socket.cork();
      for (const piece of pieces) socket.write(piece);
      socket.uncork();
    }
    return answer;
  }

  #watch(): void {
    const { clock, limits } = this.#options;
    this.#runEndsAt = clock.monotonic() + limits.hostRunMs;
    this.#alarm ??= clock.after(limits.hostRunMs, () => this.#ring());
  }

  #ring(): void {
    this.#alarm = null;
    if (this.#pending === null || this.#phase === 'gone') return;
    const { clock, limits } = this.#options;
    const left = this.#runEndsAt - clock.monotonic();
    if (left > 0) this.#alarm = clock.after(Math.ceil(left), () => this.#ring());
    else
      this.#kill(
        new Fault(
          'host_hung',
          `the model process of ${this.#name} did not answer within ` +
            `${limits.hostRunMs} ms and was killed`,
        ),
      );
  }

  /** SIGKILL. With a fault, the pending request is rejected now, not when the process has ended. */
  #kill(fault: Fault | null): void {
    // Without a pid the spawn failed, and kill() would signal this process's own group.
    if (this.#child?.pid !== undefined) this.#child.kill('SIGKILL');
    if (fault !== null) this.#gone(fault);
  }

  #gone(fault: Fault): void {
    if (this.#phase === 'gone') return;
    const unasked =
      this.#phase === 'ready' || (this.#phase === 'stopping' && this.#pending !== null);
    if (this.#phase === 'starting') this.#startFault = this.#asStartFault(fault);
    this.#phase = 'gone';
    this.#alarm?.();
    this.#alarm = null;
    const pending = this.#pending;
    this.#pending = null;
    pending?.reject(this.#startFault ?? fault);
    if (unasked) this.onDeath?.(fault);
  }

  #asStartFault(fault: Fault): Fault {
    return isProcessEnd(fault) ? new Fault('host_start', fault.detail, { cause: fault }) : fault;
  }
}
