// Measures, when a bundle is built, how far the new release's answers differ from those of older
// releases: both models run here on the same evaluation inputs, and the differences are those that
// a device computes in a trial. Bytes of an older bundle reach the ONNX parser only after its
// signature and digests were verified.
import { limits } from '../../../shared/base/limits.js';
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import { answerDifference } from '../../../shared/release/answer-differences.js';
import { comparable } from '../../../shared/release/comparisons.js';
import {
  declaredDifferences,
  differenceText,
} from '../../../shared/release/expected-differences.js';
import type { Release } from '../../../shared/release/manifest.js';
import {
  fileOf,
  type ExpectedDifference,
  type ModelManifest,
} from '../../../shared/release/model-manifest.js';
import type { KeyRing } from '../../../shared/trust/key-ring.js';
import { digestOfFeeds } from '../../model/input-data/feeds.js';
import { decodeModel } from '../../model/onnx/model-file.js';
import { answerOf, openModel, type Feeds, type Session } from '../../model/session.js';
import { bundleFile, readBundle, type BundleView } from './read.js';

export interface Base {
  readonly file: string;
  readonly release: Release;
  readonly model: Uint8Array;
}

/**
 * Older releases of `component`, verified; one that is named twice is taken once. Faults: those of
 * readBundle, config_invalid (a release of another component).
 */
export async function readBases(
  files: readonly string[],
  component: string,
  ring: KeyRing,
): Promise<Base[]> {
  const bases = new Map<string, Base>();
  for (const file of files) {
    const view = await verified(file, ring);
    const { release } = view;
    if (release.component !== component)
      throw new Fault(
        'config_invalid',
        `${file} is ${release.component} ${release.version}; ${component} can be compared with ` +
          `older releases of ${component} only`,
      );
    const chunks: Uint8Array[] = [];
    for await (const chunk of bundleFile(view, fileOf(release.manifest, 'model').name))
      chunks.push(chunk);
    bases.set(release.digest, { file, release, model: new Uint8Array(Buffer.concat(chunks)) });
  }
  return [...bases.values()];
}

async function verified(file: string, ring: KeyRing): Promise<BundleView> {
  try {
    return await readBundle(file, ring);
  } catch (error) {
    if (!isFault(error, 'signature_invalid')) throw error;
    const detail = `${file}: ${error.detail}; --root names those who may have signed it`;
    throw new Fault(error.code, detail, { cause: error });
  }
}

type Fresh = Pick<ModelManifest, 'inputs' | 'outputs' | 'classifier' | 'comparisons'>;

/**
 * The difference from each base, over the inputs that differ from each other. Faults: data_mismatch
 * (a base takes other inputs or has other labels), those of openModel and Session.run.
 */
export async function measureDifferences(
  fresh: Fresh,
  session: Session,
  bases: readonly Base[],
  feeds: readonly Feeds[],
): Promise<ExpectedDifference[]> {
  const distinct = [...new Map(feeds.map((feed) => [digestOfFeeds([feed]), feed])).values()];
  if (distinct.length === 0)
    throw new Fault('data_mismatch', '[evaluation] inputs: there are none to compare answers on');
  const measured: ExpectedDifference[] = [];
  for (const base of bases) measured.push(await differenceFrom(fresh, session, base, distinct));
  return measured;
}

async function differenceFrom(
  fresh: Fresh,
  session: Session,
  { file, release, model }: Base,
  feeds: readonly Feeds[],
): Promise<ExpectedDifference> {
  const { comparisons, labelOf } = comparable(fresh, release.manifest);
  if (comparisons.length === 0)
    throw new Fault(
      'data_mismatch',
      `${file}: answers cannot be compared with ${release.version}: it takes other inputs, has ` +
        'other labels, or has no output in common that is compared',
    );
  const what = `${file}: ${fileOf(release.manifest, 'model').name}`;
  decodeModel(model, what);
  const old = await openModel(model, { what });
  try {
    const sums = comparisons.map(() => 0);
    for (const feed of feeds) {
      const [answers, before] = [await session.run(feed), await old.run(feed)];
      comparisons.forEach((comparison, i) => {
        const { output } = comparison;
        const [one, other] = [answerOf(answers, output), answerOf(before, output)];
        sums[i] = (sums[i] ?? 0) + answerDifference(comparison, one, other, labelOf);
      });
    }
    return {
      base: release.digest,
      version: release.version,
      evaluationSha256: digestOfFeeds(feeds),
      outputs: comparisons.map(({ output }, i) => ({
        output,
        sum: Math.round((sums[i] ?? 0) * 1e6) / 1e6,
        count: feeds.length,
      })),
    };
  } finally {
    await old.release();
  }
}

/**
 * Few inputs bound a difference badly: an honest release would often exceed its own limit. Fault
 * difference_not_accepted, with the numbers.
 */
export function requireEnoughInputs(manifest: Pick<ModelManifest, 'expectedDifferences'>): void {
  const least = limits.expectedDifferenceInputsMinCount;
  const few = declaredDifferences(manifest).filter(({ count }) => count < least);
  if (few.length === 0) return;
  throw new Fault(
    'difference_not_accepted',
    `${few.map(differenceText).join('; ')}: fewer than ${least} different evaluation inputs ` +
      'bound a difference badly (an honest release often exceeds a limit from so few): evaluate ' +
      'on more, or accept these numbers with --accept-difference',
  );
}
