// The model process: one model in one process. It reads the model file into memory, checks the
// SHA-256 and length of exactly those bytes, and only then passes them to the ONNX parser, so that
// the parsed bytes are the verified ones even if the file changes meanwhile. Requests arrive one
// after another as frames on fd 3, read and written by blocking calls (session.run blocks this
// thread anyway). The process ends when fd 3 ends, which happens however its supervisor ends
// (spawn-child.ts covers a run that never returns). The working folder and HOME are private and
// empty: a model that names external data files finds none.
import {
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
  writevSync,
} from 'node:fs';
import {
  DATATYPE_OF,
  loadOnnxRuntime,
  ORT_TYPE,
  type Ort,
} from '../../../shared/platform/onnx-runtime.js';
import { Fault, reason, type FaultCode } from '../../../shared/base/fault-codes.js';
import { sha256 as digestOf } from '../../../shared/base/bytes.js';
import { limits } from '../../../shared/base/limits.js';
import {
  BlockingFrames,
  decodeControl,
  decodeTensors,
  encodeControl,
  encodeTensors,
  FrameKind,
  idOf,
  kindOf,
  type Frame,
} from './ipc-frames.js';
import type { Control, HostReport, LoadRequest } from './host-protocol.js';
import { describe, elementsOf, tensorOf, type Tensor, type TypedData } from '../model/tensor.js';

const FRAMES_FD = 3;
const OOM_SCORE = '500';

/** The bytes of the model file, after they were hashed. Faults `file_length`, `file_digest`. */
function readVerified(request: LoadRequest): Buffer {
  const fd = openSync(request.path, 'r');
  try {
    const { size } = fstatSync(fd);
    if (size !== request.length)
      throw new Fault(
        'file_length',
        `${request.path} has ${size} bytes, the manifest names ${request.length}`,
      );
    const bytes = Buffer.allocUnsafeSlow(request.length);
    let filled = 0;
    for (let got = -1; got !== 0 && filled < bytes.length; filled += got)
      got = readSync(fd, bytes, filled, bytes.length - filled, null);
    if (filled !== request.length)
      throw new Fault(
        'file_length',
        `${request.path} ended after ${filled} bytes, the manifest names ${request.length}`,
      );
    const sha256 = digestOf(bytes);
    if (sha256 !== request.sha256)
      throw new Fault(
        'file_digest',
        `${request.path} has SHA-256 ${sha256}, the manifest names ${request.sha256}`,
      );
    return bytes;
  } finally {
    closeSync(fd);
  }
}

async function open(ort: typeof Ort, request: LoadRequest): Promise<Ort.InferenceSession> {
  const bytes = readVerified(request);
  let session: Ort.InferenceSession;
  try {
    session = await ort.InferenceSession.create(bytes, {
      executionProviders: ['cpu'],
      intraOpNumThreads: request.threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
      extra: { session: { intra_op: { allow_spinning: '0' }, inter_op: { allow_spinning: '0' } } },
    });
  } catch (error) {
    throw faultOf('model_not_onnx', 'ONNX Runtime cannot load the model', error);
  }
  checkTensors('input', session.inputMetadata, request.inputs);
  checkTensors('output', session.outputMetadata, request.outputs);
  return session;
}

/**
 * Names, datatypes and shapes must equal the manifest's, where -1 stands for a symbolic size. Fault
 * `model_tensors_differ`.
 */
function checkTensors(
  side: string,
  model: readonly Ort.InferenceSession.ValueMetadata[],
  manifest: LoadRequest['inputs'],
): void {
  const found = model
    .map((meta) => {
      if (!meta.isTensor) return `${meta.name} (not a tensor)`;
      const shape = meta.shape.map((size) => (typeof size === 'number' ? size : -1));
      return `${meta.name} ${describe({ datatype: DATATYPE_OF[meta.type] ?? meta.type, shape })}`;
    })
    .sort();
  const declared = manifest.map((spec) => `${spec.name} ${describe(spec)}`).sort();
  if (found.join('; ') !== declared.join('; ')) {
    throw new Fault(
      'model_tensors_differ',
      `the model's ${side}s are ${found.join('; ')}; the manifest declares ${declared.join('; ')}`,
    );
  }
}

/**
 * Peak from VmHWM, not getrusage: ru_maxrss survives exec, so it could be the supervisor's size.
 */
function usage(): Extract<HostReport, { rssBytes: number }> {
  const status = readFileSync('/proc/self/status', 'latin1');
  const { user, system } = process.cpuUsage();
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return {
    report: 'usage',
    rssBytes: process.memoryUsage.rss(),
    peakBytes: peak === undefined ? process.resourceUsage().maxRSS * 1024 : Number(peak) * 1024,
    cpuMs: (user + system) / 1000,
  };
}

function send(pieces: Uint8Array[]): void {
  const [first] = pieces;
  let skip = 0;
  if (pieces.length === 1 && first !== undefined) {
    while (skip < first.length) skip += writeSync(FRAMES_FD, first, skip);
    return;
  }
  let rest: Uint8Array[] = pieces;
  while (rest.length > 0) {
    let written = writevSync(FRAMES_FD, rest);
    const left: Uint8Array[] = [];
    for (const piece of rest) {
      if (written >= piece.length) written -= piece.length;
      else {
        left.push(written > 0 ? piece.subarray(written) : piece);
        written = 0;
      }
    }
    rest = left;
  }
}

function faultOf(code: FaultCode, what: string, error: unknown): Fault {
  const detail = `${what}: ${reason(error)}`.slice(0, limits.detailMaxChars);
  return new Fault(code, detail, { cause: error });
}

function sendFault(error: unknown, id: number | null): void {
  const fault =
    error instanceof Fault
      ? error
      : new Fault('host_start', `the model process failed: ${reason(error)}`);
  const message: HostReport = { report: 'fault', id, code: fault.code, detail: fault.detail };
  send([encodeControl(message)]);
}

class Model {
  readonly #ort: typeof Ort;
  readonly #session: Ort.InferenceSession;
  readonly #request: LoadRequest;
  readonly #feeds: Record<string, Ort.Tensor> = {};

  constructor(ort: typeof Ort, session: Ort.InferenceSession, request: LoadRequest) {
    this.#ort = ort;
    this.#session = session;
    this.#request = request;
  }

  /** Answers one run frame. When the model fails on the inputs, the answer is a fault. */
  async run(frame: Frame): Promise<void> {
    const id = idOf(frame);
    try {
      for (const input of decodeTensors(frame, this.#request.inputs)) {
        this.#feeds[input.name] = new this.#ort.Tensor(
          ORT_TYPE[input.datatype] as 'float32',
          elementsOf(input) as Float32Array,
          input.shape,
        );
      }
      const answers = await this.#session.run(this.#feeds);
      send(
        encodeTensors(
          FrameKind.answer,
          id,
          this.#request.outputs.map((spec) => outputOf(spec.name, answers)),
          this.#request.frameMaxBytes,
        ),
      );
    } catch (error) {
      // The supervisor has ended: nothing waits for this answer.
      if ((error as { code?: unknown }).code === 'EPIPE') process.exit(0);
      sendFault(faultOf('model_run_failed', 'the model failed on these tensors', error), id);
    }
  }
}

function outputOf(name: string, answers: Ort.InferenceSession.OnnxValueMapType): Tensor {
  const value = answers[name];
  const datatype = value === undefined ? undefined : DATATYPE_OF[value.type];
  if (value === undefined || datatype === undefined)
    throw new Error(`output ${name} is ${value?.type ?? 'missing'}`);
  return tensorOf(name, datatype, value.dims, value.data as TypedData);
}

function runtime(): typeof Ort {
  try {
    return loadOnnxRuntime();
  } catch (error) {
    throw faultOf('installation_incomplete', 'ONNX Runtime does not load', error);
  }
}

async function main(): Promise<void> {
  process.title = 'linnet-model';
  const frames = new BlockingFrames(FRAMES_FD, Number(process.argv[2]));
  const first = frames.next();
  if (first === null) return;
  const request = decodeControl(first) as LoadRequest;
  try {
    writeFileSync('/proc/self/oom_score_adj', OOM_SCORE);
  } catch {
    // Best effort: some kernels and containers do not allow it.
  }
  let model: Model | null = null;
  try {
    const ort = runtime();
    model = new Model(ort, await open(ort, request), request);
    send([encodeControl({ ...usage(), report: 'ready' } satisfies HostReport)]);
  } catch (error) {
    sendFault(error, null);
  }
  await serve(frames, model);
}

/**
 * Serves until the supervisor closes its end. After a failed load it only waits for that, so that
 * the supervisor reads the fault before the process ends.
 */
async function serve(frames: BlockingFrames, model: Model | null): Promise<void> {
  for (let frame = frames.next(); frame !== null; frame = frames.next()) {
    if (kindOf(frame) === FrameKind.run) await model?.run(frame);
    else if ((decodeControl(frame) as Control).ask === 'usage') send([encodeControl(usage())]);
  }
}

await main();
process.exit(0);
