// One text, looked for in everything that has a name: devices, groups, releases, rollouts.
import { Heading, ListState, More, Section, State } from '../parts/basics.js';
import type { ComponentChildren } from 'preact';
import { Search } from '../parts/filters.js';
import { limits } from '../limits.js';
import { lists } from '../reads.js';
import { topics, useRows, type Rows } from '../resource.js';
import { Link } from '../router.js';
import { counted, releaseText } from '../text.js';

export function SearchPage({ query }: { query: URLSearchParams }) {
  const text = query.get('text') ?? '';
  return (
    <>
      <Heading title="Search" />
      <search>
        <Search name="text" label="Name, id, release or digest" value={text} />
      </search>
      <p class="quiet">
        Devices are found by the beginning of a name or an id, as it is written; the others by any
        part.
      </p>
      {text !== '' && <Found text={text} />}
    </>
  );
}

function Found({ text }: { text: string }) {
  const search = { search: text };
  const devices = useRows(`search devices ${text}`, lists.devices(search), topics('devices'));
  const releases = useRows(`search releases ${text}`, lists.releases(search), topics('releases'));
  const rollouts = useRows(`search rollouts ${text}`, lists.rollouts(search), topics('rollouts'));
  const groups = useRows('all groups', lists.groups(limits.optionsMaxCount), topics('devices'));
  const named = groups.items.filter(({ name }) => name.includes(text.toLowerCase()));
  return (
    <div class="grid">
      <Results title="Devices" rows={devices}>
        {devices.items.map(({ id, name, group }) => (
          <li key={id}>
            <Link to={`devices/${encodeURIComponent(id)}`}>{name}</Link> {group}
          </li>
        ))}
      </Results>
      <Results title="Groups" rows={{ ...groups, items: named }}>
        {named.map(({ name, devices: count }) => (
          <li key={name}>
            <Link to={`devices?group=${encodeURIComponent(name)}`}>{name}</Link>{' '}
            {counted(count, 'device')}
          </li>
        ))}
      </Results>
      <Results title="Releases" rows={releases}>
        {releases.items.map(({ component, version }) => (
          <li key={`${component}@${version}`}>
            <Link to={`releases/${encodeURIComponent(component)}/${encodeURIComponent(version)}`}>
              {component} {version}
            </Link>
          </li>
        ))}
      </Results>
      <Results title="Rollouts" rows={rollouts}>
        {rollouts.items.map(({ id, release, state }) => (
          <li key={id}>
            <Link to={`rollouts/${encodeURIComponent(id)}`}>{releaseText(release)}</Link>{' '}
            <State text={state} /> <code>{id}</code>
          </li>
        ))}
      </Results>
    </div>
  );
}

interface ResultsProps {
  readonly title: string;
  readonly rows: Rows<unknown>;
  readonly children: ComponentChildren;
}

function Results({ title, rows, children }: ResultsProps) {
  return (
    <Section title={title} id={`found-${title.toLowerCase()}`}>
      <ListState rows={rows} />
      <ul class="lines">{children}</ul>
      <More rows={rows} what={title.toLowerCase()} />
    </Section>
  );
}
