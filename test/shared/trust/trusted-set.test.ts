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

test('5_4_4_an_expired_timestamp_is_refused_at_once_a_new_one_and_the_one_that_is_trusted_already', () => {
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

test('5_5_6_an_expired_snapshot_is_refused_at_once', () => {
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

test('5_6_5_expired_targets_are_refused_at_once', () => {
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

test('5_5_2_5_5_4_5_6_2_5_6_4_a_document_that_its_parent_does_not_name_is_refused_at_once_by_hash_by_length_and_by_version', () => {
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

test('5_5_5_a_snapshot_that_lists_anything_older_than_before_is_refused_at_once', () => {
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

test('5_3_10_an_expired_root_is_refused_before_anything_fresh_that_it_signs', () => {
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

test('each_director_document_is_held_to_its_device_by_its_own_step', () => {
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

test('a_step_leaves_the_set_that_it_began_from_as_it_was', () => {
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

test('a_root_that_keeps_the_online_keys_keeps_what_they_signed_one_that_replaces_the_targets_keys_forgets_the_targets_alone', () => {
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

test.each(['timestamp', 'snapshot', 'targets'] as const)(
  'a_raised_threshold_of_%s_forgets_what_no_longer_meets_it_and_nothing_else',
  (role) => {
    const { repository, set } = image();
    const trusted = all(repository, set);
    repository.keys[role] = [...repository.keys[role], newKey()];
    repository.thresholds[role] = 2;
    repository.signRoot();
    const { timestamp, snapshot, targets } = withRoot(trusted, repository.get('2.root.json'));
    expect({ timestamp, snapshot, targets }).toEqual({
      timestamp: trusted.timestamp,
      snapshot: trusted.snapshot,
      targets: trusted.targets,
      [role]: null,
    });
  },
);

test('delegations_in_image_targets_do_not_refuse_them', () => {
  const { repository, set } = image();
  repository.publish({
    targets: (targets) => {
      targets.delegations = { keys: {}, roles: [] };
    },
  });
  expect(all(repository, set).targets?.signed.version).toBe(2);
});

test('stored_document_of_another_device_is_left_out', () => {
  const repository = new RepositorySimulator('director', new SimClock(), OTHER_DEVICE);
  const root = repository.get('1.root.json');
  const bytes = repository.get('timestamp.json');
  const stored = (device: string): TrustedSet =>
    withStored(startTrust('director', root, device), 'timestamp', bytes);
  expect(stored('dev-1').timestamp).toBeNull();
  expect(stored(OTHER_DEVICE).timestamp?.signed.version).toBe(1);
});

test('stored_documents_come_back_as_a_floor_also_expired_ones_torn_and_foreign_ones_do_not', () => {
  const { repository, set } = image();
  const bytes = repository.get('timestamp.json');
  expect(withStored(set, 'timestamp', bytes).timestamp?.signed.version).toBe(1);
  expect(withStored(set, 'timestamp', bytes.subarray(0, 50)).timestamp).toBeNull();
  repository.signTimestamp(undefined, [newKey()]);
  expect(withStored(set, 'timestamp', repository.get('timestamp.json')).timestamp).toBeNull();
  expect(knownTimeMs(withStored(set, 'timestamp', bytes))).toBe(START_MS);
  expect(knownTimeMs(set)).toBe(0);
});

test('targets_may_be_used_only_when_the_whole_chain_is_present_matches_and_is_fresh', () => {
  const { repository, set } = image();
  expect(code(() => requireCurrent(set, START_MS))).toBe('metadata_mismatch');
  const trusted = all(repository, set);
  expect(requireCurrent(trusted, START_MS)).toBe(trusted.targets);
  expect(code(() => requireCurrent(trusted, START_MS + 25 * 3600_000))).toBe('metadata_expired');
  repository.publish();
  const stamped = withTimestamp(trusted, repository.get('timestamp.json'), START_MS);
  expect(code(() => requireCurrent(stamped, START_MS))).toBe('metadata_mismatch');
  const snapped = withSnapshot(stamped, repository.get(repository.latest('snapshot')), START_MS);
  expect(code(() => requireCurrent(snapped, START_MS))).toBe('metadata_mismatch');
  expect(requireCurrent(all(repository, snapped), START_MS).signed.version).toBe(2);
});
