// What is particular to a strategy, as a picture: the arms of A/B with their evidence, who is ready
// for the go of blue-green, what the comparisons of a shadow say against their limits.
import type {
  ArmsView,
  RolloutDetail,
  ShadowView,
} from '../../../../shared/protocol/operator-api.js';
import { Ago, Bars, Facts, Section, State } from '../parts/basics.js';
import { DifferenceChart, EvidenceBars, PartsBar, ShareChart } from '../parts/strategy-charts.js';
import { duration, permille, type Tone } from '../text.js';

export function StrategyFacts({ rollout }: { rollout: RolloutDetail }) {
  const { policy, arms, shadow } = rollout;
  if (arms !== null) return <Arms rollout={rollout} arms={arms} />;
  if (policy.blueGreen !== undefined) return <BlueGreen rollout={rollout} />;
  if (shadow !== null) return <Shadow shadow={shadow} />;
  return null;
}

const WINNERS = {
  A: { text: 'arm A is better', tone: 'bad' },
  B: { text: 'arm B is better', tone: 'good' },
} as const;

function Arms({ rollout, arms }: { rollout: RolloutDetail; arms: ArmsView }) {
  const { ab } = rollout.policy;
  const { winner } = arms;
  return (
    <Section
      title="Arms"
      id="arms"
      aside={
        winner === null ? (
          <State text="no winner yet" tone="busy" />
        ) : (
          <State text={WINNERS[winner].text} tone={WINNERS[winner].tone} />
        )
      }
    >
      <Bars
        label="Devices by arm"
        of={[
          { key: 'a', name: 'Arm A keeps what it runs', count: arms.devicesA },
          { key: 'b', name: 'Arm B takes the release', count: arms.devicesB },
          {
            key: 'compared',
            name: `Compared, each with ${arms.partners} of arm A`,
            count: arms.compared,
            text: `${arms.compared} of ${arms.planned}`,
          },
        ]}
      />
      {arms.metrics.map((metric) => (
        <div key={metric.metric}>
          <h3>{metric.name}</h3>
          {metric.meanA !== null && metric.meanB !== null && (
            <p>
              Mean in arm A {number(metric.meanA)}, in arm B {number(metric.meanB)}.
            </p>
          )}
          <ShareChart metric={metric} />
          {metric.comparisons > 0 && <EvidenceBars metric={metric} needed={arms.needed} />}
        </div>
      ))}
      {ab !== undefined && (
        <Facts
          of={[
            ['Each device is observed for', duration(ab.observeSeconds)],
            ['Chance of a false winner', `at most ${permille(ab.falseWinnerPermille)}`],
            ['When there is a winner', ab.winner === 'ask' ? 'a person accepts it' : 'by itself'],
          ]}
        />
      )}
    </Section>
  );
}

const number = (value: number): string =>
  value.toLocaleString('en', { maximumSignificantDigits: 3 });

type MemberState = RolloutDetail['counts'][number]['state'];
/** Before the go, by what a state means for it. */
const READINESS: readonly (readonly [name: string, tone: Tone, states: readonly MemberState[]])[] =
  [
    ['ready', 'good', ['ready']],
    ['preparing', 'busy', ['taken', 'trial', 'unproven']],
    ['not begun', 'quiet', ['waiting']],
    ['could not', 'bad', ['failed', 'differs', 'excused', 'silent', 'lost']],
  ];
const AFTER_GO: typeof READINESS = [
  ['serve it, confirmed', 'good', ['confirmed']],
  ['swapping or on trial', 'busy', ['taken', 'trial', 'unproven', 'ready']],
  ['not begun', 'quiet', ['waiting']],
  ['could not', 'bad', ['failed', 'differs', 'excused', 'silent', 'lost']],
  ['went back', 'bad', ['reverting', 'reverted']],
];

function BlueGreen({ rollout }: { rollout: RolloutDetail }) {
  const { policy, goAt, counts } = rollout;
  const groups = goAt === null ? READINESS : AFTER_GO;
  return (
    <Section title="Readiness" id="readiness">
      {policy.waves.map(({ name }, wave) => (
        <PartsBar
          key={wave}
          label={`Wave ${wave + 1}, ${name}`}
          parts={groups.map(([text, tone, states]) => ({
            name: text,
            tone,
            count: counts
              .filter((row) => row.wave === wave && states.includes(row.state))
              .reduce((sum, { devices }) => sum + devices, 0),
          }))}
        />
      ))}
      <p>
        {goAt === null ? (
          `When all are ready, ${
            policy.blueGreen?.go === 'auto' ? 'the server gives the go' : 'a person gives the go'
          }.`
        ) : (
          <>
            The go was given <Ago at={goAt} />.
          </>
        )}
      </p>
    </Section>
  );
}

const VERDICTS: Readonly<
  Record<ShadowView['verdicts'][number]['verdict'], readonly [name: string, tone: Tone]>
> = {
  pass: ['would be confirmed', 'good'],
  unproven: ['would stay unproven', 'busy'],
  differs_more_than_declared: ['differ more than declared', 'bad'],
  fail: ['would go back', 'bad'],
  measuring: ['compared too little', 'quiet'],
};

function Shadow({ shadow: { devices, compared, verdicts, outputs } }: { shadow: ShadowView }) {
  return (
    <Section title="Comparison beside what serves" id="shadow">
      <PartsBar
        label="Devices"
        parts={[
          ...verdicts.map(({ verdict, devices: count }) => {
            const [name, tone] = VERDICTS[verdict];
            return { name, tone, count };
          }),
          { name: 'not compared', tone: 'quiet' as const, count: devices - compared },
        ]}
      />
      {outputs.length === 0 && <p class="quiet">No device has compared an answer yet.</p>}
      {outputs.map((output) => (
        <DifferenceChart key={output.output} of={output} />
      ))}
      <p class="quiet">No client ever gets an answer of this release.</p>
    </Section>
  );
}
