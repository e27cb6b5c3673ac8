// One model process, from the supervisor's side: started, spoken to, watched, ended. One request
// runs at a time (the caller queues). Promises: start and every run end within their bounds,
// because a process that is stuck is killed; a request in flight when the process goes gets Fault
// `host_died`; nothing of the supervisor's environment reaches the process, whose HOME is a private
// empty folder; it cannot outlive the supervisor (its sockets end). Restarting is the caller's
// (generation.ts).
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
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
import type { InferenceLimits } from '../inference-limits.js';
import type { Tensor } from '../model/tensor.js';

/** Beside this file once compiled; who runs from the TypeScript sources names the one in dist/. */
export const compiledChild = fileURLToPath(new URL('./host-child.js', import.meta.url));

const STDERR_LINES_MAX = 200;
const STDERR_TAIL_CHARS = 2000;
const TERM_GRACE_MS = 1000;

export interface HostOptions {
  /** Path of the compiled host-child.js. */
  readonly childPath: string;
  /**
   * HOME, cache and working folder of model processes: private to them, made if missing, and it
   * stays empty.
   */
  readonly home: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: InferenceLimits;
  /** Threads of one run (intra-op). */
  readonly threads: number;
}

/** Memory of the whole model process, runtime and libraries included. */
export interface HostMemory {
  readonly rssBytes: number;
  readonly peakBytes: number;
}

let deathSignalPrefix: readonly string[] | null = null;

/**
 * A model process ends by itself when its socket does, except inside a run that never returns.
 * Where util-linux is there, the kernel kills it in that case too (prctl PR_SET_PDEATHSIG; a
 * watching thread in each process would cost 11 MB). Tried once.
 */
function deathSignal(): readonly string[] {
  const prefix = ['setpriv', '--pdeathsig', 'KILL'];
  deathSignalPrefix ??=
    spawnSync(prefix[0] as string, [...prefix.slice(1), 'true'], { stdio: 'ignore' }).status === 0
      ? prefix
      : [];
  return deathSignalPrefix;
}

interface Pending {
  readonly id: number;
  readonly resolve: (value: Tensor[] | HostMemory) => void;
  readonly reject: (fault: Fault) => void;
}

export class ModelHost {
  readonly #options: HostOptions;
  readonly #installed: Installed;
  readonly #name: string;
  #child: ChildProcess | null = null;
  #socket: Socket | null = null;
  #pending: Pending | null = null;
  #id = 0;
  /**
   * Runs are watched by one lazy alarm instead of a timer each: it is armed once and looks again
   * when it rings.
   */
  #boundAt = 0;
  #alarm: Cancel | null = null;
  #phase: 'new' | 'starting' | 'ready' | 'stopping' | 'gone' = 'new';
  #startFault: Fault | null = null;
  #stderrLines = 0;
  #stderrTail = '';
  #exited: Promise<void> = Promise.resolve();
  /** Called once, when the process ends although nobody asked for it. */
  onDeath: ((fault: Fault) => void) | null = null;

  constructor(options: HostOptions, installed: Installed) {
    this.#options = options;
    this.#installed = installed;
    this.#name = `${installed.release.component}@${installed.release.version}`;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get ready(): boolean {
    return this.#phase === 'ready';
  }

  /**
   * Starts the process, has it verify and load the model, and warms it with one run on `warmup`
   * (inputs in manifest order). Faults: `host_start`, `file_digest`, `file_length`,
   * `model_not_onnx`, `model_tensors_differ`; the process is then gone.
   */
  async start(warmup: readonly Tensor[]): Promise<HostMemory> {
    assert(this.#phase === 'new', 'a host starts once');
    this.#phase = 'starting';
    const cancel = this.#options.clock.after(this.#options.limits.hostStartMs, () => {
      this.#kill(
        new Fault(
          'host_start',
          `the model process of ${this.#name} was not ready within ${this.#options.limits.hostStartMs} ms`,
        ),
      );
    });
    try {
      this.#spawn();
      const memory = (await this.#ask(encodeControl(this.#loadRequest()))) as HostMemory;
      await this.#warm(warmup);
      if (this.#stopping())
        throw new Fault(
          'host_start',
          `the model process of ${this.#name} was stopped while it started`,
        );
      this.#phase = 'ready';
      return memory;
    } catch (error) {
      const first = this.#startFault ?? error; // The killing below makes a fault of its own.
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
      if (error instanceof Fault && error.code === 'request_tensor') {
        throw new Fault(
          'model_tensors_differ',
          `${this.#name} does not run on its own first probe: ${error.detail}`,
          {
            cause: error,
          },
        );
      }
      throw error;
    }
  }

  /**
   * One inference: inputs in manifest order, already guarded; outputs in manifest order. Faults:
   * `host_died` (the process died or hung and was killed), `request_tensor` (the model refused
   * these tensors; the process lives).
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

  /** Asks the process itself; not while a run is under way. */
  memory(): Promise<HostMemory> {
    this.#watch();
    return this.#ask(encodeControl({ ask: 'memory' } satisfies Control)) as Promise<HostMemory>;
  }

  /**
   * Lets a run under way finish, then ends the process: end of its input, SIGTERM, SIGKILL, each
   * within its bound.
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
      clock.after(limits.hostDrainMs + TERM_GRACE_MS, () => child.kill('SIGKILL')),
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
    try {
      mkdirSync(home, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new Fault('host_start', `cannot make ${home} for model processes`, { cause: error });
    }
    const [command = process.execPath, ...args] = [
      ...deathSignal(),
      process.execPath,
      childPath,
      String(limits.hostFrameMaxBytes),
    ];
    const child = this.#try(command, args, {
      cwd: home,
      // Freed memory goes back to the system at once instead of staying in the allocator's arenas
      // (measured: -25 MB).
      env: {
        PATH: process.env['PATH'] ?? '/usr/bin:/bin',
        HOME: home,
        XDG_CACHE_HOME: home,
        XDG_CONFIG_HOME: home,
        XDG_DATA_HOME: home,
        TMPDIR: home,
        ORT_DISABLE_TELEMETRY: '1',
        MALLOC_MMAP_THRESHOLD_: '131072',
        MALLOC_ARENA_MAX: '2',
      },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#gone(
          new Fault(
            'host_died',
            `the model process of ${this.#name} ended (${signal ?? `exit code ${code}`})${this.#lastWords()}`,
          ),
        );
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
    // Without file descriptors for its pipes there is no stdio at all, whatever its type says
    // (node: lib/internal/child_process.js).
    const [, , stderr, socket] = (child.stdio as ChildProcess['stdio'] | undefined) ?? [];
    if (socket === undefined)
      throw new Fault(
        'host_start',
        'cannot open the pipes of a model process: too many open files',
      );
    (stderr as Readable).setEncoding('utf8').on('data', (text: string) => this.#hear(text));
    this.#socket = socket as Socket;
    const decoder = new FrameDecoder(limits.hostFrameMaxBytes, (frame) => this.#receive(frame));
    this.#socket.on('data', (chunk: Buffer) => this.#decode(decoder, chunk));
    // What ends the socket ends the process: `exit` tells the rest. A process that closed its end
    // by itself is of no use.
    this.#socket.on('error', (error) =>
      this.#options.log.debug(
        { model: this.#name, why: reason(error) },
        'socket to a model process failed',
      ),
    );
    this.#socket.on('close', () => this.#kill(null));
  }

  /**
   * What the system refuses at once (no memory, no more processes) is as much a failed start as
   * what it refuses later.
   */
  #try(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
    try {
      return spawn(command, args, options);
    } catch (error) {
      throw new Fault('host_start', `cannot start a model process: ${reason(error)}`, {
        cause: error,
      });
    }
  }

  #decode(decoder: FrameDecoder, chunk: Buffer): void {
    try {
      decoder.push(chunk);
    } catch (error) {
      this.#kill(
        new Fault(
          'host_died',
          `the model process of ${this.#name} does not speak our frames: ${reason(error)}`,
          {
            cause: error,
          },
        ),
      );
    }
  }

  #receive(frame: Frame): void {
    const pending = this.#pending;
    if (pending === null) return;
    if (kindOf(frame) === FrameKind.answer) {
      if (idOf(frame) !== pending.id) return;
      // Decoded while the request still counts as pending: bytes that do not decode end the
      // process, and the request with it.
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

  #ask(...pieces: Uint8Array[]): Promise<Tensor[] | HostMemory> {
    assert(this.#pending === null, 'one request at a time');
    const answer = new Promise<Tensor[] | HostMemory>((resolve, reject) => {
      this.#pending = { id: this.#id, resolve, reject };
    });
    const socket = this.#socket;
    if (socket === null || socket.destroyed) {
      this.#kill(
        new Fault('host_died', `the model process of ${this.#name} is gone${this.#lastWords()}`),
      );
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
    this.#boundAt = clock.monotonic() + limits.hostRunMs;
    this.#alarm ??= clock.after(limits.hostRunMs, () => this.#ring());
  }

  #ring(): void {
    this.#alarm = null;
    if (this.#pending === null || this.#phase === 'gone') return;
    const { clock, limits } = this.#options;
    const left = this.#boundAt - clock.monotonic();
    if (left > 0) this.#alarm = clock.after(Math.ceil(left), () => this.#ring());
    else
      this.#kill(
        new Fault(
          'host_died',
          `the model process of ${this.#name} did not answer within ${limits.hostRunMs} ms and was killed`,
        ),
      );
  }

  /** SIGKILL; what waits is rejected now, not when the kernel has reaped the process. */
  #kill(fault: Fault | null): void {
    // A child without a pid was never born: signalling it could reach this process's own group.
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
    return fault.code === 'host_died'
      ? new Fault('host_start', fault.detail, { cause: fault })
      : fault;
  }

  #hear(text: string): void {
    this.#stderrTail = (this.#stderrTail + text).slice(-STDERR_TAIL_CHARS);
    for (const line of text.split('\n')) {
      if (line.trim() === '') continue;
      this.#stderrLines += 1;
      if (this.#stderrLines > STDERR_LINES_MAX) return;
      const last = this.#stderrLines === STDERR_LINES_MAX;
      this.#options.log.warn(
        { model: this.#name, pid: this.pid, line: line.slice(0, 500) },
        last ? 'model process says (and no more of it is logged)' : 'model process says',
      );
    }
  }

  #lastWords(): string {
    const reasons = this.#stderrTail.trim();
    return reasons === '' ? '' : `; its last words: ${reasons.slice(-300)}`;
  }
}
