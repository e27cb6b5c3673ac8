// `linnet model inspect` and `linnet model quantize`.
import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { lazily } from '../../../shared/base/lazily.js';
import { gather } from '../options.js';
import type { Output } from '../output.js';
import { JOINED_OPS } from '../../model/quantize/joined-ops.js';

const actions = () => import('../actions/model.js');

function joinedList(value: string): string {
  const known: readonly string[] = JOINED_OPS;
  const unknown = value
    .split(',')
    .filter((op) => op !== '' && op !== 'none' && !known.includes(op));
  if (unknown.length > 0)
    throw new InvalidArgumentError(`${unknown.join(', ')}: only ${known.join(', ')} or none.`);
  return value;
}

/** Adds `model inspect` and `model quantize` below `program`. */
export function registerModelCommands(program: Command, out: Output): void {
  const model = program
    .command('model')
    .description('Look into ONNX models and quantize them to int8.');

  model
    .command('inspect')
    .argument('<file>', 'an ONNX model')
    .description('Inputs, outputs, operators, size and digest of an ONNX model.')
    .addHelpText('after', '\nExample:\n  linnet model inspect digits-1.1.0.onnx')
    .action(lazily(out, async () => (await actions()).inspectFile));

  model
    .command('quantize')
    .argument('<file>', 'a float32 ONNX model, operator set 9 to 22')
    .description(
      'Static int8 quantization, calibrated on real inputs; measures the loss on held-out ones.',
    )
    .requiredOption(
      '--calibration <[name=]npy>',
      'real inputs, .npy [samples, ...] of f4, u1, i4 or i8; for each input',
      gather,
    )
    .option('--evaluate <[name=]npy>', 'held-out inputs, not used for calibration', gather)
    .option('--labels <npy>', 'the right class of each held-out input')
    .requiredOption('-o, --output <file>', 'where the int8 model goes')
    .option(
      '--report <json>',
      "write the whole report there, with the settings for the release's lineage",
    )
    .option(
      '--full-range',
      '8-bit weights instead of 7: only where every device has VNNI or is arm64 (others saturate)',
    )
    .option('--per-tensor', 'one weight scale for each tensor instead of each channel')
    .option('--accept-loss', 'write the model even where it answers unlike fp32')
    .option('--exclude <node>', 'leave this node float; may be given again', gather, [])
    .option(
      '--joined <ops>',
      'operators between int8 values that become int8 too, or none',
      joinedList,
      JOINED_OPS.join(','),
    )
    .addHelpText(
      'after',
      `
Example:
  linnet model quantize digits-1.1.0.onnx --calibration calibration.npy \\
    --evaluate evaluate.npy --labels evaluate-labels.npy \\
    -o digits-1.1.0.int8.onnx --report quantize.json`,
    )
    .action(lazily(out, async () => (await actions()).quantizeFile));
}
