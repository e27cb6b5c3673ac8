// Which page a path names.
import type { ComponentChildren } from 'preact';
import { Heading } from '../parts/basics.js';
import { Link } from '../router.js';
import { FleetPage } from './fleet.js';
import { RolloutPage } from './rollout.js';
import { RolloutsPage } from './rollouts.js';

export function pageOf(path: string, _query: URLSearchParams): ComponentChildren {
  const [section, first] = path.split('/').map(decodeURIComponent);
  switch (section) {
    case '':
      return <FleetPage />;
    case 'rollouts':
      return first === undefined ? <RolloutsPage /> : <RolloutPage id={first} />;
    default:
      return <NoPage path={path} />;
  }
}

function NoPage({ path }: { path: string }) {
  return (
    <>
      <Heading title="There is no such page" />
      <p>
        Nothing is at <code>{path}</code>. <Link to="">The fleet</Link> is a place to start.
      </p>
    </>
  );
}
