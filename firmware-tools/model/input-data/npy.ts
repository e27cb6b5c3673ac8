// NumPy .npy version 1 files: calibration data, evaluation inputs, labels and probes. Promises:
// only little-endian f4, u1, i4 and i8 in C order are accepted, the byte count fits the shape
// exactly, and a refusal says which file and what is wrong. Format: numpy/lib/format.py (magic
// \x93NUMPY, version, u16 header length, a Python dict literal padded to 64 bytes, then raw data).
import { Fault } from '../../../shared/base/fault-codes.js';
import { readInputFile } from './input-file.js';

export type NpyDtype = 'f4' | 'u1' | 'i4' | 'i8';
type NpyData = Float32Array | Uint8Array | Int32Array | BigInt64Array;

/** A dense array: `data` row-major with product(shape) elements. */
export interface NpyArray {
  dtype: NpyDtype;
  shape: number[];
  data: NpyData;
}

const MAGIC = Buffer.from('\x93NUMPY', 'latin1');
const BYTES: Record<NpyDtype, number> = { f4: 4, u1: 1, i4: 4, i8: 8 };

function bad(what: string, detail: string): Fault {
  return new Fault('data_undecodable', `${what}: ${detail}`);
}

function typed(dtype: NpyDtype, bytes: Uint8Array): NpyData {
  const own = Uint8Array.from(bytes).buffer; // a copy, so that the offset is aligned
  switch (dtype) {
    case 'f4':
      return new Float32Array(own);
    case 'u1':
      return new Uint8Array(own);
    case 'i4':
      return new Int32Array(own);
    case 'i8':
      return new BigInt64Array(own);
  }
}

function parseHeader(header: string, what: string): { dtype: NpyDtype; shape: number[] } {
  const descr = /'descr'\s*:\s*'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order'\s*:\s*(True|False)/.exec(header)?.[1];
  const dims = /'shape'\s*:\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (descr === undefined || order === undefined || dims === undefined) {
    throw bad(what, 'its header lacks descr, fortran_order or shape');
  }
  const dtype = /^(?:<(f4|i4|i8)|[|<](u1))$/.exec(descr);
  const known = dtype?.[1] ?? dtype?.[2];
  if (known === undefined)
    throw bad(what, `its type is '${descr}'; '<f4', '|u1', '<i4' and '<i8' can be read`);
  if (order === 'True')
    throw bad(what, 'it is in Fortran order; save it with numpy.ascontiguousarray');
  const shape = dims
    .split(',')
    .map((d) => d.trim())
    .filter((d) => d !== '')
    .map(Number);
  return { dtype: known as NpyDtype, shape };
}

/** Decodes .npy bytes. `what` names the file in refusals (Fault data_undecodable). */
export function decodeNpy(bytes: Uint8Array, what: string): NpyArray {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < 10 || !view.subarray(0, 6).equals(MAGIC))
    throw bad(what, 'it is not a .npy file');
  if (view[6] !== 1) throw bad(what, `it is .npy version ${view[6]}; version 1 can be read`);
  const start = 10 + view.readUInt16LE(8);
  if (view.length < start)
    throw bad(what, `it is cut short inside its header (${view.length} of ${start} bytes)`);
  const { dtype, shape } = parseHeader(view.subarray(10, start).toString('latin1'), what);
  const needed = shape.reduce((a, b) => a * b, 1) * BYTES[dtype];
  const present = view.length - start;
  if (present !== needed) {
    const verdict = present < needed ? 'it is cut short' : 'it has bytes after its data';
    throw bad(
      what,
      `${verdict}: shape [${shape.join(', ')}] of ${dtype} needs ${needed} bytes of ` +
        `data, ${present} are there`,
    );
  }
  return { dtype, shape, data: typed(dtype, view.subarray(start)) };
}

/** Reads a .npy file. Faults: file_unreadable, data_undecodable. */
export function readNpy(path: string): NpyArray {
  return decodeNpy(readInputFile(path), path);
}

/** The same bytes as numpy.save writes. */
export function encodeNpy(array: NpyArray): Uint8Array {
  const descr = array.dtype === 'u1' ? '|u1' : `<${array.dtype}`;
  const shape = array.shape.length === 1 ? `(${array.shape[0]},)` : `(${array.shape.join(', ')})`;
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`;
  const length = Math.ceil((10 + dict.length + 1) / 64) * 64 - 10;
  const head = Buffer.alloc(10);
  MAGIC.copy(head);
  head[6] = 1;
  head.writeUInt16LE(length, 8);
  const { buffer, byteOffset, byteLength } = array.data;
  const body = Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
  return new Uint8Array(
    Buffer.concat([head, Buffer.from(`${dict.padEnd(length - 1)}\n`, 'latin1'), body]),
  );
}
