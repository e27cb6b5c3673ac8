// Acceptance sets on the side of people, on a real repository: built, signed, named in the image
// targets, and run by `linnet publish` before it signs. Releases are real models.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { encodeNpy } from '../../../firmware-tools/model/input-data/npy.js';
import { makeNode } from '../../../firmware-tools/model/onnx/nodes.js';
import { ElementType, makeValue } from '../../../firmware-tools/model/onnx/tensors.js';
import { buildAcceptanceSet } from '../../../firmware-tools/release/acceptance.js';
import { readBundle } from '../../../firmware-tools/release/bundle/read.js';
import { readSigningKey } from '../../../firmware-tools/release/keys/key-files.js';
import { sha256 } from '../../../shared/base/bytes.js';
import { acceptanceOf, signDocument, type Targets } from '../../../shared/trust/documents.js';
import type { Signer } from '../../../shared/trust/signer.js';
import { refused } from '../../support/metadata-device.js';
import { tempFolder } from '../../support/temp-folders.js';
import { onnxModel } from '../../support/onnx-models.js';
import { PublishedRepository } from '../../support/published-repository.js';
import { smallModel } from '../../support/release-builder.js';

let repository: PublishedRepository;
beforeEach(async () => {
  repository = await PublishedRepository.begin();
  return () => repository.end();
});

/** As one that was trained on turned labels: its golden answers are its own, and agree. */
const turned = onnxModel({
  nodes: [makeNode('Neg', 'neg', ['x'], ['logits'])],
  initializers: [],
  inputs: [makeValue('x', ElementType.float32, ['N', 2])],
  outputs: [makeValue('logits', ElementType.float32, ['N', 2])],
});
const right = smallModel([0, 0]);

const SPEC = `
component = "small"
least = 0.9
labels = "labels.npy"
names = ["no", "yes"]
[inputs]
x = "x.npy"
`;

function specOf(text = SPEC, labels = [1, 0, 1, 0]): string {
  const folder = tempFolder();
  const x = Float32Array.from([0, 1, 1, 0, -1, 2, 3, 0]);
  writeFileSync(join(folder, 'x.npy'), encodeNpy({ dtype: 'f4', shape: [4, 2], data: x }));
  const data = Int32Array.from(labels);
  writeFileSync(
    join(folder, 'labels.npy'),
    encodeNpy({ dtype: 'i4', shape: [labels.length], data }),
  );
  writeFileSync(join(folder, 'set.toml'), text);
  return join(folder, 'set.toml');
}

const qualityKey = (): Promise<Signer> =>
  readSigningKey(join(repository.made.offline, 'acceptance.key.json'), {});

async function setFile(key?: Signer): Promise<string> {
  const { bytes } = await buildAcceptanceSet(specOf(), key ?? (await qualityKey()));
  const file = join(tempFolder(), 'quality.acceptance');
  writeFileSync(file, bytes);
  return file;
}

describe('publish', () => {
  test('a_release_that_passes_is_published_and_the_targets_name_the_set', async () => {
    const acceptance = await setFile();
    const published = await repository.publish(await repository.bundle('1.0.0', right), {
      acceptance,
    });
    expect(published.accepted).toBe(
      'accuracy on the acceptance set is 100 % (4 inputs; at least 90 %)',
    );
    const { bytes } = await buildAcceptanceSet(specOf(), await qualityKey());
    expect(acceptanceOf(repository.images.targets(), 'small')).toEqual({
      sha256: sha256(bytes),
      length: bytes.length,
    });
    expect(await repository.artifacts.stat(sha256(bytes))).not.toBeNull();
  });

  test('a_model_of_wrong_labels_whose_goldens_are_its_own_is_refused_before_anything_is_signed', async () => {
    await repository.publish(await repository.bundle('1.0.0', right), {
      acceptance: await setFile(),
    });
    const before = repository.images.targets();
    const publishing = repository.publish(await repository.bundle('1.1.0', turned));
    expect((await refused(publishing, 'acceptance_failed')).detail).toBe(
      'small 1.1.0: accuracy on the acceptance set is 0 % (4 inputs; at least 90 %)',
    );
    expect(repository.images.targets()).toEqual(before);
    const next = await repository.publish(await repository.bundle('1.1.0', right));
    expect(next.accepted).toContain('100 %');
    expect(acceptanceOf(repository.images.targets(), 'small')).toEqual(
      acceptanceOf(before, 'small'),
    );
  });

  test('a_component_without_a_set_needs_none', async () => {
    const { accepted } = await repository.publish(await repository.bundle('1.0.0', turned));
    expect(accepted).toBeNull();
  });

  test('a_set_that_the_release_key_signed_is_refused', async () => {
    const acceptance = await setFile(repository.releaseKey);
    const bundle = await repository.bundle('1.0.0', right);
    await refused(repository.publish(bundle, { acceptance }), 'signature_invalid');
  });
});

describe('the_server', () => {
  async function post(version: string, change: (targets: Targets) => void): Promise<unknown> {
    const { envelope, release, files } = await readBundle(
      await repository.bundle(version, right),
      null,
    );
    expect(files.length).toBeGreaterThan(0);
    const current = structuredClone(repository.images.targets());
    const targets: Targets = { ...current, version: current.version + 1 };
    targets.targets[`small/${version}/release.dsse.json`] = {
      length: envelope.length,
      hashes: { sha256: release.digest },
      custom: { component: 'small', version, hardware: release.manifest.hardware },
    };
    change(targets);
    return repository.images.publish(
      envelope,
      await signDocument(targets, [repository.targetsKey]),
    );
  }

  test('targets_that_drop_the_set_are_refused', async () => {
    const acceptance = await setFile();
    await repository.publish(await repository.bundle('1.0.0', right), { acceptance });
    const dropping = post('1.1.0', (targets) => {
      delete targets['x-linnet-acceptance'];
    });
    expect((await refused(dropping, 'conflict')).detail).toContain('drop the acceptance set');
  });

  test('tells_who_signed_a_release_and_by_what_devices_accept_it', async () => {
    const acceptance = await setFile();
    const bundle = await repository.bundle('1.0.0', right);
    const { release } = await readBundle(bundle, null);
    await repository.publish(bundle, { acceptance });
    const { sha256: digest } = acceptanceOf(repository.images.targets(), 'small')!;
    expect(await repository.images.provenance(release)).toEqual({
      signatures: [{ keyid: repository.releaseKey.keyId, valid: true }],
      signersNeeded: 1,
      acceptance: { sha256: digest, metric: 'accuracy', least: 0.9, inputs: 4 },
    });
  });

  test('a_set_that_no_device_could_open_is_refused', async () => {
    await repository.publish(await repository.bundle('1.0.0', right));
    const { bytes } = await buildAcceptanceSet(specOf(), repository.releaseKey);
    const named = { sha256: sha256(bytes), length: bytes.length };
    const naming = () =>
      post('1.0.1', (targets) => {
        targets['x-linnet-acceptance'] = { small: named };
      });
    expect((await refused(naming(), 'conflict')).detail).toContain('was not uploaded');
    const stream = (async function* chunks() {
      yield await Promise.resolve(bytes);
    })();
    await repository.artifacts.put(named.sha256, stream, { maxBytes: bytes.length });
    await refused(naming(), 'signature_invalid');
  });
});

describe('a_spec', () => {
  test.each<[string, string, number[]]>([
    ['labels_without_a_name', SPEC.replace('"no", "yes"', '"no"'), [1, 0, 1, 0]],
    ['as_many_labels_as_inputs', SPEC, [1, 0]],
    ['labels_or_outputs', SPEC.replace('labels = "labels.npy"', ''), [1, 0, 1, 0]],
    ['nothing_else', `${SPEC}y = 1`, [1, 0, 1, 0]],
  ])('must_have_%s', async (_, text, labels) => {
    await refused(buildAcceptanceSet(specOf(text, labels), await qualityKey()), 'config_invalid');
  });

  test('of_agreement_takes_right_outputs', async () => {
    const text = `component = "small"\nleast = 0.5\nbatch_axis = false
comparisons = [{ output = "y", kind = "value" }]
[inputs]\nx = "x.npy"\n[outputs]\ny = "x.npy"\n`;
    const { set } = await buildAcceptanceSet(specOf(text), await qualityKey());
    expect(set).toMatchObject({ metric: 'agreement', samples: { length: 4 } });
    expect(set.samples[0]?.inputs[0]?.shape).toEqual([2]);
  });
});
