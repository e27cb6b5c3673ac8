// What a release declares about its answers, against what a rollout's policy accepts without a
// person. Pure. The devices' limit is what was declared (shared/statistics/trial-tests.ts), so a
// release that declares more than the policy's limit needs somebody who takes it; the policy's cap
// holds in any case.
import { counted } from '../../shared/base/counted.js';
import { limits } from '../../shared/base/limits.js';
import { differenceText } from '../../shared/release/expected-differences.js';
import { limitPercent } from '../../shared/statistics/share-text.js';
import type { TrialPolicy } from '../../shared/statistics/trial-verdict.js';
import type { DeviceFacts, PublishedRelease } from '../interfaces.js';
import type { Place } from './waves.js';

export interface ExpectedDifferences {
  /** Every declared difference, a sentence each. */
  readonly declared: readonly string[];
  /** What is beyond the policy's limit; empty when nothing has to be accepted. */
  readonly beyond: readonly string[];
}

export function expectedDifferences(
  { ref, declared }: PublishedRelease,
  policy: TrialPolicy,
  places: readonly Place[],
  facts: ReadonlyMap<string, DeviceFacts>,
): ExpectedDifferences {
  const limit = policy.differenceLimitPermille;
  const cap = policy.differenceCapPermille;
  const above = declared.filter(({ limitPermille }) => limitPermille > limit);
  const capText = limitPercent(cap / 1000);
  const bases = new Set([...declared.map(({ base }) => base), ref.digest]);
  const others = places.flatMap(({ device }) => {
    const running = facts.get(device.id)?.update?.running ?? null;
    return running === null || bases.has(running.digest) ? [] : [running.version];
  });
  const unmeasured = declared.length > 0 && cap > limit && others.length > 0;
  return {
    declared: declared.map(differenceText),
    beyond: [
      ...above.map(
        (one) =>
          differenceText(one) +
          (one.mean * 1000 > cap ? `, beyond the cap of ${capText}: devices will fail it` : ''),
      ),
      ...(unmeasured
        ? [
            `${counted(others.length, 'device runs', 'devices run')} ` +
              `${versionsText(others)}, from which it was not ` +
              `measured (limit ${capText}, the policy's cap)`,
          ]
        : []),
    ],
  };
}

function versionsText(versions: readonly string[]): string {
  const names = [...new Set(versions)].sort();
  const shown = names.slice(0, limits.refusingNamesMaxCount).join(', ');
  const more = names.length - limits.refusingNamesMaxCount;
  return more > 0 ? `${shown} and ${more} more versions` : shown;
}

/** Why a rollout is not created, or what somebody took when it was. */
export function beyondText({ beyond }: ExpectedDifferences, policy: TrialPolicy): string {
  const limit = limitPercent(policy.differenceLimitPermille / 1000);
  return `${beyond.join('; ')}; the policy's limit is ${limit}`;
}
