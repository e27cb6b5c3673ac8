// Which devices a selector takes, and which two selectors can share a device.
import { expect, it } from 'vitest';
import { canShare, matches } from '../../../server/rollout/selector.js';
import { selectorText } from '../../../shared/protocol/selector-text.js';

const device = { group: 'shops', hardware: 'pi4', labels: { region: 'north', tier: 'gold' } };

it('device_must_match_groups_and_hardware_and_every_label', () => {
  expect(matches({}, device)).toBe(true);
  const whole = {
    groups: ['labs', 'shops'],
    hardware: ['jetson', 'pi4'],
    labels: { region: 'north' },
  };
  expect(matches(whole, device)).toBe(true);
  expect(matches({ ...whole, groups: ['labs'] }, device)).toBe(false);
  expect(matches({ ...whole, hardware: ['jetson'] }, device)).toBe(false);
  expect(matches({ ...whole, labels: { region: 'north', tier: 'tin' } }, device)).toBe(false);
  expect(matches({ ...whole, labels: { floor: '' } }, device)).toBe(false);
});

it('selectors_share_no_device_when_one_key_excludes_it', () => {
  expect(canShare({}, { groups: ['shops'] })).toBe(true);
  expect(canShare({ groups: ['labs'] }, { groups: ['shops'] })).toBe(false);
  expect(canShare({ hardware: ['pi4'] }, { hardware: ['jetson'] })).toBe(false);
  expect(canShare({ groups: ['labs'] }, { hardware: ['pi4'] })).toBe(true);
  expect(canShare({ labels: { a: '1', b: '2' } }, { labels: { b: '3' } })).toBe(false);
  expect(canShare({ labels: { a: '1' } }, { labels: { b: '3' } })).toBe(true);
});

it('selector_is_told_by_what_it_names', () => {
  expect(selectorText({})).toBeNull();
  expect(selectorText({ groups: ['a', 'b'], hardware: ['pi4'], labels: { tier: 'gold' } })).toBe(
    'groups a, b; hardware pi4; label tier=gold',
  );
});
