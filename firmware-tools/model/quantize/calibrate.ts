// MinMax calibration: the smallest and largest element that each value took over all calibration
// inputs, found by ONNX Runtime itself through ReduceMin/ReduceMax outputs added to the unoptimised
// graph (quantize_static: calibrate.py, MinMaxCalibrater).
import { clone } from '@bufbuild/protobuf';
import { Fault } from '../../../shared/base/fault-codes.js';
import { encodeModel, type Model } from '../onnx/model-file.js';
import { makeNode } from '../onnx/nodes.js';
import { ModelProtoSchema } from '../onnx/onnx_pb.js';
import { ElementType, makeValue } from '../onnx/tensors.js';
import { openModel } from '../session.js';
import type { Feeds } from '../session.js';
import { FreshNames } from './names.js';

export interface Range {
  min: number;
  max: number;
}

function checkFinite(feeds: Feeds, index: number): void {
  for (const [name, { data }] of Object.entries(feeds)) {
    if (data instanceof Float32Array && !data.every(Number.isFinite)) {
      throw new Fault(
        'data_undecodable',
        `calibration input ${index + 1}: '${name}' holds NaN or infinity`,
      );
    }
  }
}

/** A value of the graph, and the outputs that carry its smallest and largest element. */
interface Watched {
  readonly name: string;
  readonly min: string;
  readonly max: string;
}

/** The model with other outputs: the extremes of each of `names`. */
function watching(
  model: Model,
  names: readonly string[],
): { bytes: Uint8Array; watched: Watched[] } {
  const copy = clone(ModelProtoSchema, model) as Model;
  const { graph } = copy;
  const fresh = new FreshNames(graph);
  const watched = names.map((name) => ({
    name,
    min: fresh.of(`${name}.calibrated.min`),
    max: fresh.of(`${name}.calibrated.max`),
  }));
  for (const { name, min, max } of watched)
    graph.node.push(
      makeNode('ReduceMin', fresh.of(`${name}.min`), [name], [min], { keepdims: 0 }),
      makeNode('ReduceMax', fresh.of(`${name}.max`), [name], [max], { keepdims: 0 }),
    );
  graph.output = watched.flatMap(({ min, max }) =>
    [min, max].map((name) => makeValue(name, ElementType.float32, [])),
  );
  return { bytes: encodeModel(copy), watched };
}

/** Ranges of `names` over `feeds`; every name must be a float32 value of the graph. */
export async function calibrate(
  model: Model,
  names: readonly string[],
  feeds: readonly Feeds[],
  what: string,
): Promise<Map<string, Range>> {
  const { bytes, watched } = watching(model, names);
  const ranges = new Map<string, Range>(
    names.map((name) => [name, { min: Infinity, max: -Infinity }]),
  );
  const session = await openModel(bytes, {
    what: `${what} (calibration graph)`,
    optimization: 'disabled',
  });
  try {
    for (const [index, feed] of feeds.entries()) {
      checkFinite(feed, index);
      const seen = await session.run(feed);
      for (const { name, min, max } of watched) {
        const low = Number(seen[min]!.data[0]);
        const high = Number(seen[max]!.data[0]);
        if (!Number.isFinite(low) || !Number.isFinite(high)) {
          throw new Fault(
            'model_unquantizable',
            `${what}: value '${name}' is NaN or infinite on calibration input ${index + 1}`,
          );
        }
        const range = ranges.get(name)!;
        range.min = Math.min(range.min, low);
        range.max = Math.max(range.max, high);
      }
    }
  } finally {
    await session.release();
  }
  return ranges;
}
