// Which page a path names.
import type { ComponentChildren } from 'preact';
import { Heading } from '../parts/basics.js';
import { Link } from '../router.js';
import { AuditPage } from './audit.js';
import { DevicePage } from './device.js';
import { DevicesPage } from './devices.js';
import { EnrolPage } from './enrol.js';
import { FleetPage } from './fleet.js';
import { GroupsPage } from './groups.js';
import { NewRolloutPage } from './new-rollout.js';
import { ReleasePage } from './release.js';
import { ReleasesPage } from './releases.js';
import { RolloutPage } from './rollout.js';
import { RolloutsPage } from './rollouts.js';
import { SearchPage } from './search.js';
import { SecurityPage } from './security.js';
import { SessionPage } from './session.js';
import { TokensPage } from './tokens.js';

export function pageOf(
  path: string,
  query: URLSearchParams,
  reloadSelf: () => void,
): ComponentChildren {
  const [section, first, second] = partsOf(path);
  switch (section) {
    case '':
      return <FleetPage />;
    case 'devices':
      return first === undefined ? <DevicesPage query={query} /> : <DevicePage id={first} />;
    case 'rollouts':
      return first === undefined ? (
        <RolloutsPage query={query} />
      ) : (
        <RolloutPage id={first} query={query} />
      );
    case 'new-rollout':
      return <NewRolloutPage query={query} />;
    case 'releases':
      return first === undefined || second === undefined ? (
        <ReleasesPage query={query} />
      ) : (
        <ReleasePage component={first} version={second} />
      );
    case 'enrol':
      return <EnrolPage />;
    case 'groups':
      return <GroupsPage />;
    case 'search':
      return <SearchPage query={query} />;
    case 'security':
      return <SecurityPage query={query} />;
    case 'audit':
      return <AuditPage query={query} />;
    case 'tokens':
      return <TokensPage />;
    case 'session':
      return <SessionPage onRevoked={reloadSelf} />;
    default:
      return <NoPage path={path} />;
  }
}

/** A path that does not decode names no page. */
function partsOf(path: string): string[] {
  try {
    return path.split('/').map(decodeURIComponent);
  } catch {
    return [path];
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
