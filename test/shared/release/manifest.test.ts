// The manifest: a common head and one body per payload kind. A second kind, registered here, goes
// through the same envelope and the same checks.
import { Type } from 'typebox';
import { describe, expect, it } from 'vitest';
import { sha256, utf8 } from '../../../shared/base/bytes.js';
import { Fault, isFault } from '../../../shared/base/fault-codes.js';
import { limits } from '../../../shared/base/limits.js';
import {
  decodeManifest,
  manifestBytes,
  MANIFEST_KINDS,
  openRelease,
  RELEASE_PAYLOAD_TYPE,
  totalLength,
  type Manifest,
} from '../../../shared/release/manifest.js';
import {
  manifestHead,
  strict,
  type ManifestHead,
  type ManifestKind,
} from '../../../shared/release/manifest-head.js';
import { fileOf } from '../../../shared/release/model-manifest.js';
import { refOf, refOfTarget, targetPath } from '../../../shared/release/release-ref.js';
import { releaseKey, ring, simRelease } from '../../sim/release.js';
import { envelopeBytesNow } from '../../sim/sync-signer.js';

interface NoteManifest extends ManifestHead {
  readonly kind: 'note';
  readonly text: string;
}
const NOTE_KIND: ManifestKind<NoteManifest> = {
  kind: 'note',
  schema: Type.Object(
    { ...manifestHead, kind: Type.Literal('note'), text: Type.String({ maxLength: 20 }) },
    strict,
  ),
  check: ({ text }) => {
    if (text === 'bad') throw new Fault('manifest_undecodable', 'a bad note');
  },
};
const note = (text: string): NoteManifest => ({
  format: 'linnet.release/1',
  kind: 'note',
  component: 'notes',
  version: '1.0.0',
  description: '',
  hardware: ['sim'],
  files: [{ name: 'note.txt', role: 'note', sha256: sha256(text), length: text.length }],
  text,
});
const envelopeOfNote = (manifest: ManifestHead): Uint8Array =>
  envelopeBytesNow(RELEASE_PAYLOAD_TYPE, manifestBytes(manifest), [releaseKey]);

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'accepted';
  } catch (error) {
    if (isFault(error)) return error.code;
    throw error;
  }
}
const model = simRelease('1.2.3').manifest;
const with_ = (change: object): Uint8Array => manifestBytes({ ...model, ...change });

describe('payload kinds', () => {
  it('registered_second_kind_opens_like_a_model', () => {
    const kinds = [...MANIFEST_KINDS, NOTE_KIND] as readonly ManifestKind[];
    const envelope = envelopeOfNote(note('hello'));
    expect(openRelease(envelope, ring, kinds)).toEqual({
      component: 'notes',
      version: '1.0.0',
      digest: sha256(envelope),
      manifest: note('hello'),
    });
    const release = simRelease('1.2.3');
    expect(openRelease(release.envelope, ring, kinds).manifest).toEqual(release.manifest);
  });

  it('kind_that_is_not_known_is_refused_by_name', () => {
    const envelope = envelopeOfNote(note('hello'));
    expect(codeOf(() => openRelease(envelope, ring))).toBe('payload_unsupported');
    expect(() => openRelease(envelope, ring)).toThrow(/notes 1\.0\.0 is of kind note.*model/);
    expect(codeOf(() => openRelease(simRelease('1.0.0').envelope, ring, [NOTE_KIND]))).toBe(
      'payload_unsupported',
    );
  });

  it('check_of_the_kind_and_its_schema_are_both_applied', () => {
    const open = (manifest: ManifestHead): string =>
      codeOf(() => openRelease(envelopeOfNote(manifest), ring, [NOTE_KIND]));
    expect(open(note('bad'))).toBe('manifest_undecodable');
    expect(open(note('x'.repeat(21)))).toBe('manifest_undecodable');
    expect(open({ ...note('ok'), more: 1 } as ManifestHead)).toBe('manifest_undecodable');
  });

  it('manifest_without_a_kind_is_undecodable', () => {
    expect(codeOf(() => decodeManifest(with_({ kind: undefined })))).toBe('manifest_undecodable');
    expect(codeOf(() => decodeManifest(with_({ kind: 7 })))).toBe('manifest_undecodable');
  });
});

describe('what the schema cannot say', () => {
  const file = (role: string, name: string, length = 1): object => ({
    name,
    role,
    sha256: sha256(name),
    length,
  });

  it.each([
    ['no_model_file', { files: [file('probes', 'p')] }],
    ['two_model_files', { files: [file('model', 'a'), file('model', 'b'), file('probes', 'p')] }],
    ['no_probes_file', { files: [file('model', 'm')] }],
    ['two_probes_files', { files: [file('model', 'm'), file('probes', 'p'), file('probes', 'q')] }],
    ['role_of_no_model', { files: [file('model', 'm'), file('probes', 'p'), file('note', 'n')] }],
    ['two_files_of_one_name', { files: [file('model', 'x'), file('probes', 'x')] }],
    [
      'probes_file_too_long',
      { files: [file('model', 'm'), file('probes', 'p', limits.probesFileMaxBytes + 1)] },
    ],
    [
      'files_too_long_together',
      {
        files: [
          file('model', 'm', limits.releaseFileMaxBytes),
          file('other', 'o', limits.releaseFileMaxBytes),
          file('probes', 'p', 1),
        ],
      },
    ],
    [
      'classifier_of_an_unknown_output',
      { classifier: { output: 'none', scale: 'logits', labels: ['a', 'b'] } },
    ],
  ])('%s_is_refused', (_name, change) => {
    expect(codeOf(() => decodeManifest(with_(change)))).toBe('manifest_undecodable');
  });

  it('limits_themselves_are_allowed', () => {
    const files = [
      file('model', 'm', limits.releaseFileMaxBytes),
      file('other', 'o', limits.releaseTotalMaxBytes - limits.releaseFileMaxBytes - 5),
      file('probes', 'p', 5),
    ];
    const manifest = decodeManifest(with_({ files }));
    expect(totalLength(manifest)).toBe(limits.releaseTotalMaxBytes);
    expect(fileOf(manifest, 'probes').name).toBe('p');
    expect(codeOf(() => decodeManifest(with_({ classifier: null })))).toBe('accepted');
  });

  it('envelope_longer_than_the_limit_is_refused_before_it_is_parsed', () => {
    const long = new Uint8Array(limits.manifestMaxBytes + 1);
    expect(() => openRelease(long, ring)).toThrow(/the limit is/);
  });
});

describe('release references', () => {
  it('carry_the_three_fields_and_nothing_else', () => {
    const ref = { component: 'digits', version: '1.0.0', digest: 'ab'.repeat(32) };
    expect(refOf({ ...ref, ...{ manifest: model } })).toEqual(ref);
    const { digest, ...named } = ref;
    expect(refOfTarget({ ...named, sha256: digest })).toEqual(ref);
    expect(targetPath('digits', '1.0.0')).toBe('digits/1.0.0/release.dsse.json');
  });
});

it('same_manifest_makes_the_same_bytes_whatever_the_order_of_its_keys', () => {
  const turned = Object.fromEntries(Object.entries(model).reverse()) as Manifest;
  expect(utf8(Buffer.from(manifestBytes(turned)).toString())).toEqual(manifestBytes(model));
});
