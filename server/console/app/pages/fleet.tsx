// The fleet at a glance: what needs a person first, then what it is made of.
import type { FleetOverview } from '../../../../shared/protocol/operator-api.js';
import { Bars, Heading, Loading, Section, State, Trouble } from '../parts/basics.js';
import { reads } from '../reads.js';
import { beats, either, topics, useResource } from '../resource.js';
import { Link } from '../router.js';
import { counted, releaseText, toneOf, type Tone } from '../text.js';
import { VersionsOverTime } from './fleet-history.js';

export function FleetPage() {
  const { data, failure } = useResource(
    reads.fleet(),
    either(topics('devices', 'rollouts', 'security'), beats),
  );
  return (
    <>
      <Heading title="Fleet" />
      <Trouble failure={failure} />
      {data === undefined ? <Loading /> : <Overview fleet={data} />}
    </>
  );
}

function Overview({ fleet }: { fleet: FleetOverview }) {
  return (
    <>
      <Parts fleet={fleet} />
      <VersionsOverTime />
    </>
  );
}

function Parts({ fleet }: { fleet: FleetOverview }) {
  const enrolled = fleet.devices.filter(({ status }) => status === 'enrolled');
  return (
    <div class="grid">
      <NeedsPerson fleet={fleet} />
      <Section title="Devices" id="by-status">
        <Bars
          label="Devices by state"
          of={[
            bar('heard', sum(enrolled) - fleet.attention.silent, 'good'),
            link('silent', 'attention=silent', fleet.attention.silent, 'bad'),
            link('pending', 'status=pending', ofStatus(fleet, 'pending'), 'busy'),
            link('revoked', 'status=revoked', ofStatus(fleet, 'revoked')),
          ]}
        />
      </Section>
      <Section title="Versions" id="by-version">
        <Bars label="Devices by release" of={versions(fleet)} />
      </Section>
      <Section title="Updates" id="by-update">
        <Bars
          label="Components by state of their update"
          of={grouped(fleet.components, ({ state }) => state).map(({ name, count }) =>
            link(name, `update=${name}`, count, toneOf(name)),
          )}
        />
      </Section>
      <Section title="Groups" id="by-group">
        <Bars
          label="Enrolled devices by group"
          of={grouped(enrolled, ({ group }) => group).map(({ name, count }) => ({
            key: name,
            name: <Link to={`devices?group=${encodeURIComponent(name)}`}>{name}</Link>,
            count,
          }))}
        />
      </Section>
      <Section title="Hardware" id="by-hardware">
        <Bars
          label="Enrolled devices by hardware"
          of={fleet.hardware.map(({ hardware, count }) => ({
            key: hardware,
            name: <Link to={`devices?hardware=${encodeURIComponent(hardware)}`}>{hardware}</Link>,
            count,
          }))}
        />
      </Section>
    </div>
  );
}

function NeedsPerson({ fleet }: { fleet: FleetOverview }) {
  const { trouble, conditions, cloned, silent } = fleet.attention;
  const pending = ofStatus(fleet, 'pending');
  const lines = [
    { to: 'enrol', count: pending, text: 'waits for approval' },
    { to: 'devices?attention=cloned', count: cloned, text: 'used by two installations' },
    { to: 'devices?attention=trouble', count: trouble, text: 'cannot proceed' },
    { to: 'devices?attention=conditions', count: conditions, text: 'with a condition' },
    { to: 'devices?attention=silent', count: silent, text: 'silent' },
  ].filter(({ count }) => count > 0);
  return (
    <Section title="Needs a person" id="needs">
      {lines.length === 0 && fleet.held.length === 0 && (
        <p>
          <State text="nothing now" tone="good" />
        </p>
      )}
      <ul class="lines">
        {fleet.held.map(({ id, release }) => (
          <li key={id}>
            <Link to={`rollouts/${encodeURIComponent(id)}`}>
              Rollout of {releaseText(release)} is held
            </Link>
          </li>
        ))}
        {lines.map(({ to, count, text }) => (
          <li key={to}>
            <Link to={to}>
              {counted(count, 'device')}: {text}
            </Link>
          </li>
        ))}
      </ul>
    </Section>
  );
}

const sum = (rows: readonly { count: number }[]): number =>
  rows.reduce((total, { count }) => total + count, 0);

const ofStatus = ({ devices }: FleetOverview, wanted: string): number =>
  sum(devices.filter(({ status }) => status === wanted));

/** A bar whose name leads to its devices. */
const link = (name: string, query: string, count: number, tone?: Tone) => ({
  ...bar(name, count, tone),
  name: <Link to={`devices?${query}`}>{name}</Link>,
});

const bar = (name: string, count: number, tone?: Tone) => ({
  key: name,
  name,
  count,
  ...(tone === undefined ? {} : { tone }),
});

/** Sums by key, the largest first. */
function grouped<T extends { count: number }>(
  rows: readonly T[],
  keyOf: (row: T) => string,
): { name: string; count: number }[] {
  const sums = new Map<string, number>();
  for (const row of rows) sums.set(keyOf(row), (sums.get(keyOf(row)) ?? 0) + row.count);
  return [...sums]
    .map(([name, count]) => ({ name, count }))
    .sort((one, other) => other.count - one.count || one.name.localeCompare(other.name));
}

const versions = ({ components }: FleetOverview) =>
  grouped(components, ({ component, version }) => `${component} ${version ?? ''}`).map(
    ({ name, count }) => {
      const [component = '', version = ''] = name.split(' ');
      const ref = `${component}@${version || 'none'}`;
      return {
        key: name,
        count,
        name: (
          <Link to={`devices?status=enrolled&running=${encodeURIComponent(ref)}`}>
            {version === '' ? `${component}: nothing runs` : name}
          </Link>
        ),
      };
    },
  );
