// `npm run sim:trials [-- runs seed]`: verdicts of simulated trials as a table. Fails when an
// identical model is sent back, a 20 % wrong one passes, or an honest improvement that is declared
// and allowed fails. No verdict (unproven, kept and still compared) is an allowed answer.
import { trialUnderTraffic, type TrafficOptions } from './trial-traffic.js';

type Traffic = Omit<TrafficOptions, 'seed'>;

const [runs, firstSeed] = [Number(process.argv[2] ?? 40), Number(process.argv[3] ?? 1)];
const RATES = [5, 60, 600, 3600, 10_000];
const SCENES: readonly Partial<TrafficOptions>[] = [
  {},
  { framesPerScene: 5 },
  { framesPerScene: 20 },
  { framesPerScene: 100 },
  { sceneSeconds: 60 },
  { sceneSeconds: 120 },
];
const declared = (differing: number, declaredPermille: number): Partial<TrafficOptions> => ({
  differing,
  declaredPermille,
  policy: { differenceCapPermille: 400 },
});
/** Name, traffic, and the verdicts that would be wrong. */
const CASES: readonly [string, Partial<TrafficOptions>, readonly string[]][] = [
  ['identical', {}, ['fail', 'differs_more_than_declared']],
  ['identical, 5 % bad inputs', { badInputs: 0.05 }, ['fail', 'differs_more_than_declared']],
  ['identical, 2 % fail', { flaky: 0.02 }, ['fail', 'differs_more_than_declared']],
  ['identical, 5 % fail', { flaky: 0.05 }, ['fail', 'differs_more_than_declared']],
  ['20 % wrong', { differing: 0.2 }, ['pass']],
  ['15 %, declared', declared(0.15, 195), ['fail', 'differs_more_than_declared']],
  ['30 %, declared', declared(0.3, 345), ['fail', 'differs_more_than_declared']],
  ['30 %, not declared', { differing: 0.3 }, ['pass']],
];

let wrong = 0;
/** Verdicts of one release at one rate, over all kinds of scenes. */
const overScenes = new Map<string, Map<string, number>>();
process.stdout.write('| release | requests an hour | scenes | verdicts |\n|---|---|---|---|\n');
for (const [name, more, bad] of CASES)
  for (const perHour of RATES)
    for (const scenes of SCENES) {
      const traffic: Traffic = { perHour, ...scenes, ...more };
      const counts = new Map<string, number>();
      for (let run = 0; run < runs; run++) {
        const seed = firstSeed + run * 7919;
        const { verdict } = trialUnderTraffic({ seed, ...traffic }).verdict;
        counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
        const all = overScenes.get(`${name} ${perHour}`) ?? new Map<string, number>();
        overScenes.set(`${name} ${perHour}`, all.set(verdict, (all.get(verdict) ?? 0) + 1));
        if (!bad.includes(verdict)) continue;
        wrong += 1;
        process.stderr.write(`wrong: ${verdict} with ${JSON.stringify({ seed, ...traffic })}\n`);
      }
      const text = [...counts].map(([verdict, count]) => `${count} ${verdict}`).join(', ');
      process.stdout.write(`| ${name} | ${perHour} | ${JSON.stringify(scenes)} | ${text} |\n`);
    }
process.stdout.write(`\n${wrong} wrong verdicts\n\n${summary()}`);
// A release within its limits is sent back with chance falseAlarmPermille at most.
process.exitCode = wrong > 0.005 * runs * CASES.length * RATES.length * SCENES.length ? 1 : 0;

/** Accepted, open (no verdict yet), or sent back, over all kinds of scenes. */
function summary(): string {
  const line = (name: string): string => {
    const cells = RATES.map((perHour) => {
      const all = overScenes.get(`${name} ${perHour}`) ?? new Map<string, number>();
      const of = (...verdicts: string[]): number =>
        verdicts.reduce((sum, verdict) => sum + (all.get(verdict) ?? 0), 0);
      const back = of('fail', 'differs_more_than_declared');
      return `${of('pass')} / ${of('unproven', 'measuring')} / ${back}`;
    });
    return `| ${name} | ${cells.join(' | ')} |\n`;
  };
  const rates = RATES.map((rate) => ` ${rate}/h |`).join('');
  const rule = RATES.map(() => '---|').join('');
  const head = `| accepted / open / sent back |${rates}\n|---|${rule}\n`;
  return head + CASES.map(([name]) => line(name)).join('');
}
