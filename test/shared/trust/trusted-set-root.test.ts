// The root of a trusted set at the limits of each check: every condition by itself with all others
// met, and what each refusal says.
import { describe, expect, it } from 'vitest';
import { startTrust, withRoot } from '../../../shared/trust/trusted-set.js';
import { refusalText } from '../../support/refusals.js';
import { begun, complete, ROLES, targeted, type Name } from '../../support/trust-steps.js';
import { newKey, RepositorySimulator, SimClock, type TopRole } from '../../sim/tuf-repositories.js';

describe('5.2: the first root', () => {
  it('belongs_to_a_director_with_a_device_or_to_an_image_repository_without_one', () => {
    const bytes = new RepositorySimulator('image', new SimClock()).get('1.root.json');
    expect(startTrust('image', bytes)).toMatchObject({
      repository: 'image',
      device: null,
      timestamp: null,
      snapshot: null,
      targets: null,
    });
    expect(startTrust('director', bytes, 'dev-1').device).toBe('dev-1');
    expect(() => startTrust('image', bytes, 'dev-1')).toThrow('an image repository has none');
    expect(() => startTrust('director', bytes)).toThrow('a director repository has a device');
  });

  it('is_signed_by_its_own_keys', () => {
    const { repository } = begun();
    const bytes = repository.signRoot({ signers: [newKey()] });
    expect(refusalText(() => startTrust('image', bytes))).toBe(
      'metadata_signature: root.json version 2 has 0 valid signatures; it itself requires 1',
    );
  });

  it('names_release_keys_only_for_an_image_repository', () => {
    const { repository } = begun();
    const bytes = repository.signRoot({
      change: (root) => {
        delete root['x-linnet-release'];
      },
    });
    expect(refusalText(() => startTrust('image', bytes))).toBe(
      'metadata_undecodable: root version 2 lists no release keys (x-linnet-release)',
    );
    expect(startTrust('director', bytes, 'dev-1').root.signed.version).toBe(2);
  });
});

describe('5.3: the next root', () => {
  it('is_signed_by_the_old_keys_and_by_its_own', () => {
    const { repository, set } = begun();
    const old = repository.keys.root;
    repository.keys.root = [newKey()];
    const next = (signers: typeof old): string => {
      repository.versions.root = 1;
      const bytes = repository.signRoot({ signers });
      return refusalText(() => withRoot(set, bytes));
    };
    expect(next(repository.keys.root)).toBe(
      'metadata_signature: root.json version 2 has 0 valid signatures; trusted root 1 requires 1',
    );
    expect(next(old)).toBe(
      'metadata_signature: root.json version 2 has 0 valid signatures; it itself requires 1',
    );
    expect(next([...old, ...repository.keys.root])).toBe('accepted');
  });

  it.each<Name>(['image', 'director'])('%s_root_names_release_keys_where_it_must', (name) => {
    const { repository, set } = begun(name);
    const bytes = repository.signRoot({
      change: (root) => {
        delete root['x-linnet-release'];
      },
    });
    expect(refusalText(() => withRoot(set, bytes))).toBe(
      name === 'director'
        ? 'accepted'
        : 'metadata_undecodable: root version 2 lists no release keys (x-linnet-release)',
    );
  });

  it.each([
    [1, 'root_version: image root is version 1; expected version 2'],
    [2, 'accepted'],
    [3, 'root_version: image root is version 3; expected version 2'],
  ])('version_%s_after_1', (version, text) => {
    const { repository, set } = begun();
    repository.versions.root = version - 1;
    const bytes = repository.signRoot();
    expect(refusalText(() => withRoot(set, bytes))).toBe(text);
  });

  it.each<[TopRole, readonly TopRole[]]>([
    ['timestamp', ['timestamp', 'snapshot']],
    ['snapshot', ['timestamp', 'snapshot']],
    ['targets', ['targets']],
  ])('replaced_key_of_%s_forgets_%s_also_where_another_key_still_signs', (role, forgotten) => {
    const { repository } = begun();
    const [kept, replaced] = [newKey(), newKey()];
    repository.keys[role] = [kept, replaced];
    repository.signRoot();
    repository.publish();
    const root = repository.get('2.root.json');
    const before = targeted(repository, startTrust('image', root));
    repository.keys[role] = [kept, newKey()];
    const { timestamp, snapshot, targets } = withRoot(before, repository.signRoot());
    const { timestamp: t, snapshot: s, targets: g } = before;
    expect({ timestamp, snapshot, targets }).toEqual({
      ...{ timestamp: t, snapshot: s, targets: g },
      ...Object.fromEntries(forgotten.map((name) => [name, null])),
    });
  });

  it.each(ROLES)('added_key_of_%s_forgets_nothing', (role) => {
    const { repository, set } = complete();
    repository.keys[role].push(newKey());
    const { timestamp, snapshot, targets } = withRoot(set, repository.signRoot());
    expect([timestamp, snapshot, targets]).toEqual([set.timestamp, set.snapshot, set.targets]);
  });

  it('set_that_trusts_a_root_alone_goes_on_with_the_next_root_alone', () => {
    const { repository, set } = begun();
    const next = withRoot(set, repository.signRoot());
    expect(next).toMatchObject({ timestamp: null, snapshot: null, targets: null });
    expect(next.root.signed.version).toBe(2);
  });
});
