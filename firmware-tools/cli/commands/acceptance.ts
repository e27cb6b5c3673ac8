// `linnet acceptance build`: signs labelled inputs that every release of a component must pass.
import type { Command } from 'commander';
import { sha256 } from '../../../shared/base/bytes.js';
import { realRandom } from '../../../shared/platform/clock.js';
import { percent } from '../../../shared/statistics/sequential-tests.js';
import { ACCEPTANCE_HELP, buildAcceptanceSet } from '../../release/acceptance.js';
import { readSigningKey, writeWhole } from '../../release/keys/key-files.js';
import { requireFiles } from '../arguments.js';
import type { Output } from '../output.js';

const HELP = `${ACCEPTANCE_HELP}

The key must be one that the image root lists as an acceptance key; keep it away from those who make
releases. \`linnet publish --acceptance FILE\` makes the set the component's.

Example:
  linnet acceptance build quality.toml --key fleet/offline/acceptance.key.json \\
    -o quality.acceptance`;

export function registerAcceptanceCommands(program: Command, out: Output): void {
  program
    .command('acceptance')
    .description('labelled inputs that releases must pass')
    .addHelpText(
      'after',
      '\nExample:\n  linnet acceptance build quality.toml --key ' +
        'fleet/offline/acceptance.key.json -o quality.acceptance',
    )
    .command('build')
    .description('build and sign an acceptance set')
    .argument('<spec>', 'what the set holds (TOML)')
    .requiredOption('--key <file>', 'acceptance key that signs the set')
    .requiredOption('-o, --output <file>', 'file to write')
    .addHelpText('after', HELP)
    .action(async (spec: string, options: { key: string; output: string }) => {
      await requireFiles(spec, options.key);
      const key = await readSigningKey(options.key);
      const { set, bytes } = await buildAcceptanceSet(spec, key);
      await writeWhole(options.output, bytes, { random: realRandom, overwrite: true });
      const { component, metric, least, samples } = set;
      const result = {
        file: options.output,
        component,
        metric,
        least,
        samples: samples.length,
        bytes: bytes.length,
        sha256: sha256(bytes),
        signedBy: key.keyId,
      };
      out.result(
        result,
        () =>
          `${options.output}  ${bytes.length} bytes\n  ${component}: ${metric} at least ` +
          `${percent(least)} on ${samples.length} inputs\n  sha256      ${result.sha256}\n` +
          `  signed by   ${key.keyId}`,
      );
    });
}
