// Simulated traffic of one device before a swap, and the rehearsal on what its ring has kept: the
// ring, the block length, the evidence and the judgement are the device's own code.
import { InputRing } from '../../agent/inference/engine/input-ring.js';
import { elementsOf } from '../../agent/inference/model/tensor.js';
import { realRandom } from '../../shared/platform/clock.js';
import { BlockMeter } from '../../shared/statistics/block-length.js';
import { rehearsalEvidence } from '../../shared/statistics/rehearsal-evidence.js';
import { defaultTrialPolicy, judgeRehearsal } from '../../shared/statistics/trial-verdict.js';
import { fp32 } from '../support/inference-releases.js';
import { seeded } from '../support/random.js';
import { sceneMaker, type TrafficOptions } from './trial-traffic.js';

type Options = Pick<
  TrafficOptions,
  | 'seed'
  | 'perHour'
  | 'framesPerScene'
  | 'sceneSeconds'
  | 'differing'
  | 'declaredPermille'
  | 'policy'
> & { readonly hours: number };

export function rehearsalAfterTraffic(options: Options): ReturnType<typeof judgeRehearsal> {
  const { seed, perHour, hours, declaredPermille = null } = options;
  const random = seeded(seed);
  const scenes = sceneMaker(options, random);
  const meter = new BlockMeter();
  const ring = new InputRing({
    maxMiB: 16,
    maxAgeHours: 24,
    random: { ...realRandom, fraction: random },
  });
  const seen: ReturnType<typeof scenes>[] = [];
  let now = 0;
  for (;;) {
    now -= (Math.log(1 - random()) * 3600) / perHour;
    if (now >= hours * 3600) break;
    const scene = scenes(now);
    meter.add(scene.signature);
    ring.add(now, [fp32('at', [1], [seen.length])]);
    seen.push(scene);
  }
  const pairs = ring.inputs(now).map(({ seconds, inputs: [at] }) => {
    const { differs, signature } = seen[Number(elementsOf(at!)[0])]!;
    return { seconds, summary: signature.summary, differences: [differs ? 1 : 0] };
  });
  const comparison = { output: 'y', kind: 'class' as const, declaredPermille };
  return judgeRehearsal(rehearsalEvidence(pairs, [comparison], meter.chooseSeconds()), {
    ...defaultTrialPolicy,
    ...options.policy,
  });
}
