// The trusted set as pure functions, one step at a time, where the whole client would also be saved
// by a later check: an expired document must be refused by the very step that would have made it
// trusted, and no step may change its argument.
import { expect, test } from 'vitest';
import { isFault } from '../../../shared/base/fault-codes.js';
import {
  knownTimeMs,
  needsSnapshot,
  needsTargets,
  requireCurrent,
  startTrust,
  withRoot,
  withSnapshot,
  withStored,
  withTargets,
  withTimestamp,
  type TrustedSet,
} from '../../../shared/trust/trusted-set.js';
import {
  newKey,
  OTHER_DEVICE,
  RepositorySimulator,
  SimClock,
  START_MS,
} from '../../sim/tuf-repositories.js';

const PAST = '2026-11-22T00:00:00Z';

function image(): { repository: RepositorySimulator; set: TrustedSet } {
  const repository = new RepositorySimulator('image', new SimClock());
  return { repository, set: startTrust('image', repository.get('1.root.json')) };
}

const code = (step: () => unknown): string => {
  try {
    step();
    return 'accepted';
  } catch (error) {
    if (isFault(error)) return error.code;
    throw error;
  }
};

/** Root, timestamp, snapshot and targets of the repository, each by its own step. */
function all(repository: RepositorySimulator, start: TrustedSet): TrustedSet {
  let set = withTimestamp(start, repository.get('timestamp.json'), START_MS);
  if (needsSnapshot(set))
    set = withSnapshot(set, repository.get(repository.latest('snapshot')), START_MS);
  if (needsTargets(set))
    set = withTargets(set, repository.get(repository.latest('targets')), START_MS);
  return set;
}

test('5.4.4 an expired timestamp is refused at once, a new one and the one that is trusted already', () => {
  const { repository, set } = image();
  const trusted = all(repository, set);
  expect(
    code(() =>
      withTimestamp(trusted, repository.get('timestamp.json'), START_MS + 24 * 3600_000 - 1),
    ),
  ).toBe('accepted');
  expect(
    code(() => withTimestamp(trusted, repository.get('timestamp.json'), START_MS + 24 * 3600_000)),
  ).toBe('metadata_expired');
  repository.signTimestamp((timestamp) => {
    timestamp.expires = PAST;
  });
  expect(code(() => withTimestamp(trusted, repository.get('timestamp.json'), START_MS))).toBe(
    'metadata_expired',
  );
});

test('5.5.6 an expired snapshot is refused at once', () => {
  const { repository, set } = image();
  repository.publish({
    snapshot: (snapshot) => {
      snapshot.expires = PAST;
    },
  });
  const stamped = withTimestamp(set, repository.get('timestamp.json'), START_MS);
  expect(
    code(() => withSnapshot(stamped, repository.get(repository.latest('snapshot')), START_MS)),
  ).toBe('metadata_expired');
});

test('5.6.5 expired targets are refused at once', () => {
  const { repository, set } = image();
  repository.publish({
    targets: (targets) => {
      targets.expires = PAST;
    },
  });
  const snapped = withSnapshot(
    withTimestamp(set, repository.get('timestamp.json'), START_MS),
    repository.get(repository.latest('snapshot')),
    START_MS,
  );
  expect(
    code(() => withTargets(snapped, repository.get(repository.latest('targets')), START_MS)),
  ).toBe('metadata_expired');
});

test('5.5.2, 5.5.4, 5.6.2, 5.6.4 a document that its parent does not name is refused at once, by hash, by length and by version', () => {
  const { repository, set } = image();
  const [snapshotBytes, targetsBytes] = [
    repository.get('1.snapshot.json'),
    repository.get('1.targets.json'),
  ];
  for (const meta of [
    { version: 1, hashes: { sha256: '00'.repeat(32) } },
    { version: 1, length: 1 },
    { version: 2 },
  ]) {
    repository.signTimestamp((timestamp) => {
      timestamp.meta['snapshot.json'] = meta;
    });
    const stamped = withTimestamp(set, repository.get('timestamp.json'), START_MS);
    expect(
      code(() => withSnapshot(stamped, snapshotBytes, START_MS)),
      JSON.stringify(meta),
    ).toBe('metadata_mismatch');
    repository.signSnapshot((snapshot) => {
      snapshot.meta['targets.json'] = meta;
    });
    repository.signTimestamp();
    const snapped = withSnapshot(
      withTimestamp(set, repository.get('timestamp.json'), START_MS),
      repository.get(repository.latest('snapshot')),
      START_MS,
    );
    expect(
      code(() => withTargets(snapped, targetsBytes, START_MS)),
      JSON.stringify(meta),
    ).toBe('metadata_mismatch');
  }
});

test('5.5.5 a snapshot that lists anything older than before is refused at once', () => {
  const { repository, set } = image();
  repository.publish({
    snapshot: (snapshot) => {
      snapshot.meta['cameras.json'] = { version: 5 };
    },
  });
  const trusted = all(repository, set);
  repository.publish({
    snapshot: (snapshot) => {
      snapshot.meta['cameras.json'] = { version: 4 };
    },
  });
  const stamped = withTimestamp(trusted, repository.get('timestamp.json'), START_MS);
  expect(
    code(() => withSnapshot(stamped, repository.get(repository.latest('snapshot')), START_MS)),
  ).toBe('metadata_rollback');
});

test('5.3.10 an expired root is refused before anything fresh that it signs', () => {
  const { repository, set } = image();
  repository.signRoot({
    change: (root) => {
      root.expires = PAST;
    },
  });
  expect(
    code(() =>
      withTimestamp(
        withRoot(set, repository.get('2.root.json')),
        repository.get('timestamp.json'),
        START_MS,
      ),
    ),
  ).toBe('metadata_expired');
});

test('each director document is held to its device by its own step', () => {
  const repository = new RepositorySimulator('director', new SimClock(), OTHER_DEVICE);
  const mine = startTrust('director', repository.get('1.root.json'), 'dev-1');
  const others = all(
    repository,
    startTrust('director', repository.get('1.root.json'), OTHER_DEVICE),
  );
  expect(code(() => withTimestamp(mine, repository.get('timestamp.json'), START_MS))).toBe(
    'director_other_device',
  );
  expect(
    code(() =>
      withSnapshot(
        { ...mine, timestamp: others.timestamp },
        repository.get(repository.latest('snapshot')),
        START_MS,
      ),
    ),
  ).toBe('director_other_device');
  const snapped = { ...mine, timestamp: others.timestamp, snapshot: others.snapshot };
  expect(
    code(() => withTargets(snapped, repository.get(repository.latest('targets')), START_MS)),
  ).toBe('director_other_device');
});

test('a step leaves the set that it began from as it was', () => {
  const { repository, set } = image();
  const before = { ...set };
  const trusted = all(repository, set);
  expect(set).toEqual(before);
  repository.rotate('timestamp');
  expect(withRoot(trusted, repository.get('2.root.json'))).toMatchObject({
    timestamp: null,
    snapshot: null,
  });
  expect(trusted.timestamp).not.toBeNull();
});

test('a root that keeps the online keys keeps what they signed; one that replaces the targets keys forgets the targets alone', () => {
  const { repository, set } = image();
  const trusted = all(repository, set);
  repository.signRoot();
  const kept = withRoot(trusted, repository.get('2.root.json'));
  expect([kept.timestamp, kept.snapshot, kept.targets]).toEqual([
    trusted.timestamp,
    trusted.snapshot,
    trusted.targets,
  ]);
  repository.rotate('targets');
  const rotated = withRoot(kept, repository.get('3.root.json'));
  expect([rotated.timestamp, rotated.snapshot, rotated.targets]).toEqual([
    trusted.timestamp,
    trusted.snapshot,
    null,
  ]);
});

test('a raised threshold forgets what no longer meets it', () => {
  const { repository, set } = image();
  const trusted = all(repository, set);
  repository.keys.targets = [...repository.keys.targets, newKey()];
  repository.thresholds.targets = 2;
  repository.signRoot();
  expect(withRoot(trusted, repository.get('2.root.json')).targets).toBeNull();
});

test('stored documents come back as a floor, also expired ones; torn and foreign ones do not', () => {
  const { repository, set } = image();
  const bytes = repository.get('timestamp.json');
  expect(withStored(set, 'timestamp', bytes).timestamp?.signed.version).toBe(1);
  expect(withStored(set, 'timestamp', bytes.subarray(0, 50)).timestamp).toBeNull();
  repository.signTimestamp(undefined, [newKey()]);
  expect(withStored(set, 'timestamp', repository.get('timestamp.json')).timestamp).toBeNull();
  expect(knownTimeMs(withStored(set, 'timestamp', bytes))).toBe(START_MS);
  expect(knownTimeMs(set)).toBe(0);
});

test('targets may be used only when the whole chain is present, matches and is fresh', () => {
  const { repository, set } = image();
  expect(code(() => requireCurrent(set, START_MS))).toBe('metadata_mismatch');
  const trusted = all(repository, set);
  expect(requireCurrent(trusted, START_MS)).toBe(trusted.targets);
  expect(code(() => requireCurrent(trusted, START_MS + 25 * 3600_000))).toBe('metadata_expired');
  repository.publish();
  expect(
    code(() =>
      requireCurrent(withTimestamp(trusted, repository.get('timestamp.json'), START_MS), START_MS),
    ),
  ).toBe('metadata_mismatch');
});
