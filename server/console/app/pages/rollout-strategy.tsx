// What is particular to a strategy: the arms of A/B, the go of blue-green, the comparison of a
// shadow. The sentences come from the server with the reasons of the rollout.
import type { RolloutDetail } from '../../../../shared/protocol/operator-api.js';
import { Bars, Facts, Section } from '../parts/basics.js';
import { duration, permille } from '../text.js';

export function StrategyFacts({ rollout }: { rollout: RolloutDetail }) {
  const { policy } = rollout;
  if (policy.ab !== undefined) return <Arms rollout={rollout} />;
  if (policy.blueGreen !== undefined) return <BlueGreen rollout={rollout} />;
  if (policy.strategy === 'shadow') return <Shadow rollout={rollout} />;
  return null;
}

const devicesIn = (
  { counts }: RolloutDetail,
  wanted: (count: RolloutDetail['counts'][number]) => boolean,
): number => counts.filter(wanted).reduce((sum, { devices }) => sum + devices, 0);

function Arms({ rollout }: { rollout: RolloutDetail }) {
  const { ab, waves } = rollout.policy;
  if (ab === undefined) return null;
  const last = waves.length - 1;
  return (
    <Section title="Arms" id="arms">
      <Bars
        label="Devices by arm"
        of={[
          {
            key: 'a',
            name: 'Arm A keeps what it runs',
            count: devicesIn(rollout, ({ wave }) => wave === last),
          },
          {
            key: 'b',
            name: 'Arm B takes the release',
            count: devicesIn(rollout, ({ wave }) => wave < last),
          },
          {
            key: 'confirmed',
            name: 'Arm B, confirmed',
            tone: 'good',
            count: devicesIn(rollout, ({ wave, state }) => wave < last && state === 'confirmed'),
          },
        ]}
      />
      <Facts
        of={[
          ['Compared on', ab.metrics.join(', ')],
          ['Each device is observed for', duration(ab.observeSeconds)],
          ['Chance of a false winner', `at most ${permille(ab.falseWinnerPermille)}`],
          ['When there is a winner', ab.winner === 'ask' ? 'a person accepts it' : 'by itself'],
        ]}
      />
    </Section>
  );
}

function BlueGreen({ rollout }: { rollout: RolloutDetail }) {
  const go = rollout.policy.blueGreen?.go;
  const ready = devicesIn(rollout, ({ state }) => state === 'ready');
  const waiting = devicesIn(rollout, ({ state }) => state === 'waiting' || state === 'taken');
  return (
    <Section title="Readiness" id="readiness">
      <Bars
        label="Devices by readiness"
        of={[
          { key: 'ready', name: 'Hold it and wait for the go', count: ready, tone: 'good' },
          { key: 'waiting', name: 'Prepare it', count: waiting, tone: 'busy' },
        ]}
      />
      <p>
        When all are ready, {go === 'auto' ? 'the server gives the go' : 'a person gives the go'}.
      </p>
    </Section>
  );
}

function Shadow({ rollout }: { rollout: RolloutDetail }) {
  return (
    <Section title="Comparison beside what serves" id="shadow">
      <Bars
        label="Devices by comparison"
        of={[
          {
            key: 'over',
            name: 'Comparison over',
            tone: 'good',
            count: devicesIn(rollout, ({ state }) => state === 'shadowed'),
          },
          {
            key: 'trial',
            name: 'Comparing',
            tone: 'busy',
            count: devicesIn(rollout, ({ state }) => state === 'trial'),
          },
        ]}
      />
      <p class="quiet">No client ever gets an answer of this release.</p>
    </Section>
  );
}
