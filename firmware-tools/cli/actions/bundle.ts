// `linnet bundle build|inspect|verify`: the work is in release/bundle/; this prints the results.
import { realRandom } from '../../../shared/platform/clock.js';
import { requireFiles, ringOfRoot } from '../arguments.js';
import { filesTable, manifestText } from '../manifest-text.js';
import type { Output } from '../output.js';
import { readSigningKey } from '../../release/keys/key-files.js';
import { buildBundle } from '../../release/bundle/build.js';
import { readBundle, type BundleView } from '../../release/bundle/read.js';

interface BuildOptions {
  readonly key: string;
  readonly output: string;
  readonly against?: string[];
  readonly root?: string;
  readonly acceptDifference: boolean;
}

function show(view: BundleView, out: Output): void {
  const { file, bytes, sha256, verified, release } = view;
  const { component, version, digest, manifest } = release;
  out.result({ file, bytes, sha256, verified, component, version, release: digest, manifest }, () =>
    [
      `${file}  ${bytes} bytes, ` +
        (verified
          ? 'verified: signature and every byte'
          : 'digests match; signature NOT checked (linnet bundle verify)'),
      manifestText(manifest),
      `  release     ${digest}`,
      `  bundle      ${sha256}`,
      '',
      filesTable(manifest),
    ].join('\n'),
  );
}

export async function build(out: Output, spec: string, options: BuildOptions): Promise<void> {
  const { output, against = [], root, acceptDifference } = options;
  await requireFiles(spec, options.key, ...against, root);
  const key = await readSigningKey(options.key);
  out.progress('recording golden probes');
  const { release, bytes, sha256 } = await buildBundle(spec, key, output, realRandom, {
    against,
    acceptDifference,
    ...(root === undefined ? {} : { ring: await ringOfRoot(root) }),
  });
  const { component, version, digest, manifest } = release;
  out.result(
    {
      file: options.output,
      component,
      version,
      release: digest,
      bytes,
      sha256,
      signedBy: key.keyId,
      manifest,
    },
    () =>
      `${options.output}  ${bytes} bytes\n${manifestText(release.manifest)}\n  ` +
      `release     ${digest}\n  bundle      ${sha256}\n  signed by   ${key.keyId}`,
  );
}

export async function inspect(out: Output, file: string): Promise<void> {
  await requireFiles(file);
  show(await readBundle(file, null), out);
}

export async function verify(out: Output, file: string, options: { root: string }): Promise<void> {
  await requireFiles(file, options.root);
  show(await readBundle(file, await ringOfRoot(options.root)), out);
}
