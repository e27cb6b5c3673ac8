// The last step of the verification, as a pure function of two documents: what the director assigns
// must be what people signed offline. Each check is tested with all others met, and says what is
// wrong.
import { describe, expect, it } from 'vitest';
import type { DirectorCustom, ImageCustom } from '../../../shared/protocol/device-api.js';
import { defaultTrialPolicy } from '../../../shared/statistics/trial-verdict.js';
import { floorOf, matchAssignments } from '../../../shared/trust/assignments.js';
import { heading, type TargetFile, type Targets } from '../../../shared/trust/documents.js';
import { refusalText } from '../../support/refusals.js';
import { DEVICE, START_MS } from '../../sim/tuf-repositories.js';

const PATH = 'digits/1.0.0/release.dsse.json';
const HASH = 'ab'.repeat(32);

const targetsOf = (targets: Targets['targets'], more: Partial<Targets> = {}): Targets => ({
  ...heading('targets', 7, START_MS),
  targets,
  ...more,
});

const genuine = (file: Partial<TargetFile> = {}, custom: Partial<ImageCustom> = {}) => ({
  length: 100,
  hashes: { sha256: HASH },
  custom: {
    component: 'digits',
    version: '1.0.0',
    hardware: ['other', DEVICE.hardware],
    ...custom,
  },
  ...file,
});

const selected = (file: Partial<TargetFile> = {}, custom: Partial<DirectorCustom> = {}) => ({
  length: 100,
  hashes: { sha256: HASH },
  custom: {
    component: 'digits',
    version: '1.0.0',
    hardware: DEVICE.hardware,
    rollout: 'r1',
    assignmentId: 5,
    rollback: false,
    activation: 'swap',
    trial: defaultTrialPolicy,
    ...custom,
  },
  ...file,
});

const match = (
  director: Targets['targets'],
  image: Targets['targets'],
  more: Partial<Targets> = {},
) => matchAssignments(targetsOf(director), targetsOf(image, more), DEVICE);

describe('an assignment that both repositories agree on', () => {
  it('carries_what_the_director_says_and_what_people_signed', () => {
    const more = {
      'x-linnet-floors': { digits: '0.9.0', faces: '3.0.0' },
      'x-linnet-acceptance': { digits: { sha256: 'cd'.repeat(32), length: 12 } },
    };
    expect(match({ [PATH]: selected() }, { [PATH]: genuine() }, more)).toEqual([
      {
        component: 'digits',
        version: '1.0.0',
        path: PATH,
        length: 100,
        sha256: HASH,
        rollout: 'r1',
        assignmentId: 5,
        rollback: false,
        activation: 'swap',
        floor: '0.9.0',
        acceptance: { sha256: 'cd'.repeat(32), length: 12 },
        trial: defaultTrialPolicy,
      },
    ]);
  });

  it('names_no_floor_and_no_acceptance_set_where_none_is_signed', () => {
    const [assignment] = match({ [PATH]: selected() }, { [PATH]: genuine() });
    expect(assignment).toMatchObject({ floor: null, acceptance: null });
  });

  it('floor_of_a_component_that_is_named_like_a_property_of_objects_is_none', () => {
    const floors = { 'x-linnet-floors': { digits: '0.9.0' } };
    expect(floorOf(targetsOf({}, floors), 'digits')).toBe('0.9.0');
    expect(floorOf(targetsOf({}, floors), 'constructor')).toBeNull();
    expect(floorOf(targetsOf({}), 'digits')).toBeNull();
  });

  it.each(['swap', 'hold', 'shadow'] as const)('may_be_activated_by_%s', (activation) => {
    const director = { [PATH]: selected({}, { activation }) };
    expect(match(director, { [PATH]: genuine() })).toMatchObject([{ activation, rollback: false }]);
  });

  it('way_back_swaps', () => {
    const director = { [PATH]: selected({}, { rollback: true }) };
    expect(match(director, { [PATH]: genuine() })).toMatchObject([{ rollback: true }]);
  });

  it('assignments_are_sorted_by_component', () => {
    const components = ['faces', 'digits', 'gestures'];
    const files = <T>(of: (custom: { component: string }) => T): Record<string, T> =>
      Object.fromEntries(
        components.map((component) => [`${component}/1.0.0/release.dsse.json`, of({ component })]),
      );
    const director = files((custom) => selected({}, custom));
    const image = files((custom) => genuine({}, custom));
    expect(match(director, image).map(({ component }) => component)).toEqual([
      'digits',
      'faces',
      'gestures',
    ]);
    expect(match({}, image)).toEqual([]);
  });
});

describe('the whole document is refused', () => {
  const both = { sha256: HASH, sha512: 'cd'.repeat(64) };
  it.each<[string, TargetFile, TargetFile, string]>([
    [
      'director_says_nothing_of_the_release',
      selected({ custom: undefined }),
      genuine(),
      `metadata_undecodable: director target ${PATH}: `,
    ],
    [
      'image_repository_says_nothing_of_the_release',
      selected(),
      genuine({ custom: {} }),
      `metadata_undecodable: image target ${PATH}: `,
    ],
    [
      'director_lists_another_length',
      selected({ length: 101 }),
      genuine(),
      `target_mismatch: ${PATH}: the director says 101 bytes, the image repository 100`,
    ],
    [
      'director_lists_another_hash',
      selected({ hashes: { sha256: 'cd'.repeat(32) } }),
      genuine(),
      `target_mismatch: ${PATH}: the director and the image repository list different hashes`,
    ],
    [
      'director_leaves_a_hash_out',
      selected(),
      genuine({ hashes: both }),
      `target_mismatch: ${PATH}: the director and the image repository list different hashes`,
    ],
    [
      'director_adds_a_hash',
      selected({ hashes: both }),
      genuine(),
      `target_mismatch: ${PATH}: the director and the image repository list different hashes`,
    ],
    [
      'no_sha256_is_listed',
      selected({ hashes: { sha512: both.sha512 } }),
      genuine({ hashes: { sha512: both.sha512 } }),
      `target_mismatch: ${PATH}: no SHA-256 is listed`,
    ],
    [
      'sha256_is_too_short',
      selected({ hashes: { sha256: HASH.slice(2) } }),
      genuine({ hashes: { sha256: HASH.slice(2) } }),
      `target_mismatch: ${PATH}: no SHA-256 is listed`,
    ],
    [
      'director_names_another_component',
      selected({}, { component: 'faces' }),
      genuine(),
      `target_mismatch: ${PATH}: the director calls it faces 1.0.0, the image repository ` +
        'digits 1.0.0',
    ],
    [
      'director_names_another_version',
      selected({}, { version: '1.0.1' }),
      genuine(),
      `target_mismatch: ${PATH}: the director calls it digits 1.0.1, the image repository ` +
        'digits 1.0.0',
    ],
    [
      'path_is_that_of_another_component',
      selected({}, { component: 'faces' }),
      genuine({}, { component: 'faces' }),
      `target_mismatch: ${PATH} is not the path of faces 1.0.0`,
    ],
    [
      'path_is_that_of_another_version',
      selected({}, { version: '2.0.0' }),
      genuine({}, { version: '2.0.0' }),
      `target_mismatch: ${PATH} is not the path of digits 2.0.0`,
    ],
    [
      'director_assigns_it_for_other_hardware',
      selected({}, { hardware: 'other' }),
      genuine(),
      `hardware_unsupported: ${PATH}: the director assigns it for other; this device is sim-x86`,
    ],
    [
      'release_is_for_other_hardware',
      selected(),
      genuine({}, { hardware: ['other', 'sim-x86-2'] }),
      `hardware_unsupported: ${PATH} is for other, sim-x86-2; this device is sim-x86`,
    ],
    [
      'way_back_would_hold',
      selected({}, { rollback: true, activation: 'hold' }),
      genuine(),
      `target_mismatch: ${PATH}: a way back cannot be assigned as hold`,
    ],
    [
      'way_back_would_not_serve',
      selected({}, { rollback: true, activation: 'shadow' }),
      genuine(),
      `target_mismatch: ${PATH}: a way back cannot be assigned as shadow`,
    ],
  ])('%s', (_name, director, image, message) => {
    const text = refusalText(() => match({ [PATH]: director }, { [PATH]: image }));
    if (message.endsWith(': ')) expect(text.startsWith(message), text).toBe(true);
    else expect(text).toBe(message);
  });

  it('image_repository_does_not_list_the_release', () => {
    expect(refusalText(() => match({ [PATH]: selected() }, {}))).toBe(
      `target_unknown: the director assigns ${PATH}; image targets version 7 does not list it`,
    );
  });

  it('path_names_a_property_of_objects', () => {
    expect(refusalText(() => match({ constructor: selected() }, { [PATH]: genuine() }))).toBe(
      'target_unknown: the director assigns constructor; image targets version 7 does not list it',
    );
  });

  it('two_releases_of_one_component_are_assigned', () => {
    const second = 'digits/1.1.0/release.dsse.json';
    const director = { [PATH]: selected(), [second]: selected({}, { version: '1.1.0' }) };
    const image = { [PATH]: genuine(), [second]: genuine({}, { version: '1.1.0' }) };
    expect(refusalText(() => match(director, image))).toBe(
      `target_mismatch: the director assigns two releases of digits to ${DEVICE.id}`,
    );
  });

  it('one_assignment_of_several_does_not_match', () => {
    const faces = 'faces/1.0.0/release.dsse.json';
    const director = { [PATH]: selected(), [faces]: selected({}, { component: 'faces' }) };
    expect(refusalText(() => match(director, { [PATH]: genuine() }))).toContain('target_unknown');
  });
});
