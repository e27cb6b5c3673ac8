// MinMax calibration: the smallest and largest element that each value took over all calibration
// inputs, found by ONNX Runtime itself through ReduceMin/ReduceMax outputs added to the unoptimised
// graph (quantize_static: calibrate.py, MinMaxCalibrater).
import { Fault } from '../../../shared/base/fault-codes.js';
import { ElementType, encodeModel, makeNode, makeValue } from '../onnx.js';
import { openModel } from '../session.js';
import type { Feeds } from '../session.js';
import type { Model } from './prepare.js';

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

/** Ranges of `names` over `feeds`; every name must be a float32 value of the graph. */
export async function calibrate(
  model: Model,
  names: string[],
  feeds: Feeds[],
  what: string,
): Promise<Map<string, Range>> {
  const { graph } = model;
  const watched = {
    ...model,
    graph: {
      ...graph,
      node: [
        ...(graph.node ?? []),
        ...names.flatMap((name) => [
          makeNode('ReduceMin', `${name}.min`, [name], [`${name}.calibrated.min`], { keepdims: 0 }),
          makeNode('ReduceMax', `${name}.max`, [name], [`${name}.calibrated.max`], { keepdims: 0 }),
        ]),
      ],
      output: names.flatMap((name) =>
        ['min', 'max'].map((e) => makeValue(`${name}.calibrated.${e}`, ElementType.float32, [])),
      ),
    },
  };
  const ranges = new Map<string, Range>(
    names.map((name) => [name, { min: Infinity, max: -Infinity }]),
  );
  const session = await openModel(encodeModel(watched), {
    what: `${what} (calibration graph)`,
    optimization: 'disabled',
  });
  try {
    for (const [index, feed] of feeds.entries()) {
      checkFinite(feed, index);
      const seen = await session.run(feed);
      for (const [name, range] of ranges) {
        const low = Number(seen[`${name}.calibrated.min`]!.data[0]);
        const high = Number(seen[`${name}.calibrated.max`]!.data[0]);
        if (!Number.isFinite(low) || !Number.isFinite(high)) {
          throw new Fault(
            'model_unquantizable',
            `${what}: value '${name}' is NaN or infinite on calibration input ${index + 1}`,
          );
        }
        range.min = Math.min(range.min, low);
        range.max = Math.max(range.max, high);
      }
    }
  } finally {
    await session.release();
  }
  return ranges;
}
