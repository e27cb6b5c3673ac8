// Simulated live traffic of one device in a trial: requests at a rate, scenes that last several
// requests or a time, requests that fail, and two releases whose answers differ on a share of the
// scenes. The evidence is gathered by the device's own code (trial-tally, block-length) and judged
// as the device judges it.
import { BlockMeter } from '../../shared/statistics/block-length.js';
import { FailureHistory, TrialTally } from '../../shared/statistics/trial-tally.js';
import {
  defaultTrialPolicy,
  judgeTrial,
  type TrialEvidence,
  type TrialPolicy,
  type TrialVerdict,
} from '../../shared/statistics/trial-verdict.js';
import { seeded } from '../support/random.js';

export interface TrafficOptions {
  readonly seed: number;
  readonly perHour: number;
  /** Requests that see one scene. */
  readonly framesPerScene?: number;
  /** Or how long a scene lasts. */
  readonly sceneSeconds?: number;
  /** Share of scenes on which the releases answer differently. */
  readonly differing?: number;
  /** Share of requests that both releases refuse (bad input). */
  readonly badInputs?: number;
  /** Share of requests that fail by themselves, of either release. */
  readonly flaky?: number;
  /** Share of requests that the new release alone fails. */
  readonly newFails?: number;
  readonly declaredPermille?: number | null;
  readonly policy?: Partial<TrialPolicy>;
  /** Traffic before the swap; a day by default, limited to 3,000 requests. */
  readonly historyHours?: number;
  /** New over old run time. */
  readonly slowdown?: number;
}

export interface TrafficResult {
  readonly verdict: TrialVerdict;
  readonly evidence: TrialEvidence;
}

const COMPARED_REQUESTS_MOST = 40_000;

export function trialUnderTraffic(options: TrafficOptions): TrafficResult {
  const random = seeded(options.seed);
  const policy = { ...defaultTrialPolicy, ...options.policy };
  const gap = 3600 / options.perHour;
  const scenes = sceneMaker(options, random);
  const meter = new BlockMeter();
  const start = (options.historyHours ?? 24) * 3600;
  let now = Math.max(0, start - 3000 * gap);
  const later = (): number => now - Math.log(1 - random()) * gap;
  const failures = new FailureHistory();
  for (now = later(); now < start; now = later()) {
    meter.add(scenes(now).signature);
    failures.add(now, random() < (options.badInputs ?? 0) + (options.flaky ?? 0));
  }
  now = Math.max(now, start);
  const tally = new TrialTally({
    startedAt: now,
    meter,
    comparisons: [
      { output: 'y', kind: 'class', declaredPermille: options.declaredPermille ?? null },
    ],
    oldErrorPermille: failures.upperPermille(meter.chooseSeconds()),
    slowMs: 50,
  });
  const evidence = (): TrialEvidence =>
    tally.evidence(now, { replaces: true, comparable: true, new: null, old: null });
  const end = now + policy.maxSeconds;
  let looks = 0;
  for (let requests = 0; requests < COMPARED_REQUESTS_MOST; requests++) {
    now = later();
    if (now >= end) break;
    request(tally, now, scenes(now), options, random);
    // Every look early, later every 2 %: the verdict changes with blocks, not with requests.
    if (requests < looks * 1.02) continue;
    looks = requests;
    const verdict = judgeTrial(evidence(), policy);
    if (verdict.verdict !== 'measuring') return { verdict, evidence: evidence() };
  }
  now = Math.max(now, end);
  return { verdict: judgeTrial(evidence(), policy), evidence: evidence() };
}

function request(
  tally: TrialTally,
  at: number,
  scene: ReturnType<ReturnType<typeof sceneMaker>>,
  options: TrafficOptions,
  random: () => number,
): void {
  tally.input(scene.signature);
  const bad = random() < (options.badInputs ?? 0);
  const flaky = (): boolean => random() < (options.flaky ?? 0);
  const newFailed = bad || flaky() || random() < (options.newFails ?? 0);
  const oldFailed = bad || flaky();
  if (newFailed) tally.failed();
  else tally.served(at);
  const differences = newFailed || oldFailed ? [] : [scene.differs ? 1 : 0];
  const times = { newMs: newFailed ? null : 5, oldMs: oldFailed ? null : 5 };
  tally.compared(at, { newFailed, oldFailed, differences, ...times });
  const noise = (): number => 5 * (0.9 + 0.2 * random());
  if (tally.wantsTiming(at)) tally.timed(at, noise() * (options.slowdown ?? 1), noise());
}

export function sceneMaker(
  { framesPerScene = 1, sceneSeconds, differing = 0 }: TrafficOptions,
  random: () => number,
) {
  let [frames, until] = [0, Number.NEGATIVE_INFINITY];
  let summary: number[] = [];
  let differs = false;
  return (seconds: number) => {
    const over = sceneSeconds === undefined ? frames <= 0 : seconds >= until;
    if (over) {
      frames = framesPerScene;
      until = seconds + (sceneSeconds ?? 0) * (0.5 + random());
      summary = Array.from({ length: 16 }, random);
      differs = random() < differing;
    }
    frames -= 1;
    return { differs, signature: { seconds, score: summary[0] ?? 0, summary } };
  };
}
