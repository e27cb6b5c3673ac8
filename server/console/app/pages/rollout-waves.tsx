// The waves of a rollout as they fill: each device is a dot, and says why it is where it is. The
// dots are a picture; the table below them is the same for keyboard and screen reader.
import type { Member, RolloutDetail } from '../../../../shared/protocol/operator-api.js';
import { useState } from 'preact/hooks';
import { limits } from '../limits.js';
import { Ago, RowsTable, Section, State } from '../parts/basics.js';
import { Choice } from '../parts/filters.js';
import { lists } from '../reads.js';
import { oneOf, useRows } from '../resource.js';
import { Link } from '../router.js';
import { counted, duration, toneOf } from '../text.js';

/** `state`: of the devices that the table shows; empty: of all. */
export function Waves({ rollout, state }: { rollout: RolloutDetail; state: string }) {
  return (
    <Section title="Waves" id="waves">
      {rollout.policy.waves.map((wave, index) => (
        <WaveView key={index} rollout={rollout} index={index} wave={wave} />
      ))}
      <Members rollout={rollout} state={state} />
    </Section>
  );
}

interface WaveProps {
  readonly rollout: RolloutDetail;
  readonly index: number;
  readonly wave: RolloutDetail['policy']['waves'][number];
}

function WaveView({ rollout, index, wave }: WaveProps) {
  const counts = rollout.counts.filter((count) => count.wave === index);
  const devices = counts.reduce((sum, count) => sum + count.devices, 0);
  const isCurrent = index === rollout.wave;
  const about = [
    counted(devices, 'device'),
    `soak ${duration(wave.soakSeconds)}`,
    ...(wave.minProven === undefined ? [] : [`goes on at ${wave.minProven} proven`]),
    ...(wave.approval ? ['needs approval to go beyond'] : []),
  ].join(', ');
  return (
    <div class={isCurrent ? 'wave current' : 'wave'}>
      <h3>
        Wave {index + 1}: {wave.name} {isCurrent && <span class="tag">current</span>}
      </h3>
      <p class="quiet">{about}</p>
      <ul class="counts" aria-label={`States of wave ${index + 1}`}>
        {counts.map(({ state, devices: count }) => (
          <li key={state}>
            {count} <State text={state} />
          </li>
        ))}
      </ul>
      <Dots rollout={rollout.id} wave={index} devices={devices} />
    </div>
  );
}

const DOT = 14;
const COLUMNS = 50;

function Dots({ rollout, wave, devices }: { rollout: string; wave: number; devices: number }) {
  const rows = useRows(
    `dots ${rollout} ${wave}`,
    lists.members(rollout, { wave }, limits.dotsMaxCount),
    oneOf('rollouts', rollout),
  );
  const [chosen, setChosen] = useState<string | null>(null);
  if (rows.items.length === 0) return null;
  const columns = Math.min(COLUMNS, rows.items.length);
  const lines = Math.ceil(rows.items.length / COLUMNS);
  const member = rows.items.find(({ device }) => device === chosen);
  return (
    <>
      <svg
        class="dots"
        viewBox={`0 0 ${columns * DOT} ${lines * DOT}`}
        width={columns * DOT}
        role="img"
        aria-label={`A dot for each of ${counted(rows.items.length, 'device')}, as in the table`}
        onClick={(event) => setChosen((event.target as Element).getAttribute('data-device'))}
      >
        {rows.items.map((one, index) => (
          <Dot key={one.device} member={one} index={index} />
        ))}
      </svg>
      {devices > rows.items.length && <p class="quiet">The first {rows.items.length} are drawn.</p>}
      {member !== undefined && (
        <p>
          <Link to={`devices/${encodeURIComponent(member.device)}`}>{member.name}</Link>:{' '}
          <State text={member.state} /> {member.reasons}
        </p>
      )}
    </>
  );
}

function Dot({ member, index }: { member: Member; index: number }) {
  const x = (index % COLUMNS) * DOT + DOT / 2;
  const y = Math.floor(index / COLUMNS) * DOT + DOT / 2;
  return (
    <circle
      class={`dot ${toneOf(member.state)}`}
      data-device={member.device}
      cx={x}
      cy={y}
      r={DOT / 2 - 2}
    >
      <title>{`${member.name}: ${member.state}: ${member.reasons}`}</title>
    </circle>
  );
}

function Members({ rollout, state }: { rollout: RolloutDetail; state: string }) {
  const rows = useRows(
    `members ${rollout.id} ${state}`,
    lists.members(rollout.id, { state }),
    oneOf('rollouts', rollout.id),
  );
  const states = new Set<string>(rollout.counts.map((count) => count.state));
  if (state !== '') states.add(state);
  return (
    <>
      <h3 id="members">Devices</h3>
      <Choice
        name="state"
        label="State"
        value={state}
        options={[...states].map((one) => [one, one] as const)}
      />
      <RowsTable
        caption="Devices of the rollout"
        what="devices"
        rows={rows}
        rowKey={({ device }) => device}
        none="No device."
        columns={[
          {
            title: 'Device',
            cell: ({ device, name }) => (
              <Link to={`devices/${encodeURIComponent(device)}`}>{name}</Link>
            ),
          },
          { title: 'Wave', cell: ({ wave }) => wave + 1 },
          { title: 'State', cell: (member) => <State text={member.state} /> },
          { title: 'Since', cell: ({ since }) => <Ago at={since} /> },
          { title: 'Why', cell: ({ reasons }) => reasons },
        ]}
      />
    </>
  );
}
