// `linnet rollout create --dry-run` as text: waves with what they cover, windows, and the promise
// in numbers.
import type { RolloutPreview } from '../../shared/protocol/operator-api.js';
import { percent } from '../../shared/statistics/share-text.js';
import { counted } from '../../shared/base/counted.js';
import { refText } from './fleet-text.js';
import { table } from './output.js';

const tally = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ') || '-';

export function previewScreen(preview: RolloutPreview): string {
  const blocks = [
    `${refText(preview.release)} to ${counted(preview.devices, 'device')}; nothing was drafted`,
    table([
      ['WAVE', 'DEVICES', 'HARDWARE', 'SITES', 'GROUPS'],
      ...preview.waves.map((wave) => [
        wave.name,
        String(wave.devices),
        tally(wave.hardware),
        String(wave.sites),
        tally(wave.groups),
      ]),
    ]),
    preview.waves.map((wave) => `${wave.name}: ${namesText(wave)}`).join('\n'),
    windowText(preview),
    table([
      [
        'DEVICES FAIL',
        'HALTED',
        'HALTS A YEAR',
        'HELD FOR A PERSON',
        'DEVICES THAT TAKE IT (MEAN)',
      ],
      ...preview.promises.map((promise) => [
        percent(promise.failureRate),
        percent(promise.halt),
        promise.haltsPerYear.toFixed(2),
        percent(promise.hold),
        promise.expectedTakes.toFixed(1),
      ]),
    ]),
    `a year: ${counted(preview.rolloutsPerYear, 'rollout')} in the last 365 days`,
  ];
  if (preview.warnings.length > 0)
    blocks.push(preview.warnings.map((warning) => `note: ${warning}`).join('\n'));
  return blocks.join('\n\n');
}

function namesText({ names, devices }: RolloutPreview['waves'][number]): string {
  const more = devices > names.length ? ` and ${devices - names.length} more` : '';
  return devices === 0 ? '-' : `${names.join(', ')}${more}`;
}

function windowText({ startWindow, trialLengths }: RolloutPreview): string {
  return (
    `window: at the beginning ${counted(startWindow, 'device')} may have it undecided, 1 of each ` +
    'kind of hardware; later as many as are proven\n' +
    `a good release on devices that are all there takes ${counted(trialLengths, 'trial length')} ` +
    '(a trial and its soak)'
  );
}
