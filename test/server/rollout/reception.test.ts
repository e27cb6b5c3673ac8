// Since when the server has heard its devices without a gap.
import { beforeEach, expect, test } from 'vitest';
import { Reception } from '../../../server/rollout/reception.js';
import { limits } from '../../../shared/base/limits.js';
import { VirtualClock } from '../../sim/fleet.js';

let clock: VirtualClock;
let reception: Reception;
let start: number;
beforeEach(() => {
  clock = new VirtualClock();
  start = clock.now();
  reception = new Reception({ clock });
});

test('starts_with_the_server_and_stays_while_it_observes', () => {
  for (let n = 0; n < 100; n++) {
    clock.advance(limits.conductorGapMaxMs);
    reception.observe();
    expect(reception.since).toBe(start);
  }
});

test('gap_between_observations_starts_it_again', () => {
  clock.advance(limits.conductorGapMaxMs + 1);
  reception.observe();
  expect(reception.since).toBe(clock.now());
});

test('clock_that_was_set_back_starts_it_again', () => {
  clock.advance(1000);
  reception.observe();
  clock.ms -= 1;
  reception.observe();
  expect(reception.since).toBe(clock.now());
});

test('reading_it_changes_nothing', () => {
  clock.advance(limits.conductorGapMaxMs);
  expect(reception.since).toBe(start);
  clock.advance(1);
  expect(reception.since).toBe(start);
  reception.observe();
  expect(reception.since).toBe(clock.now());
});

test('lost_message_starts_it_again', () => {
  clock.advance(1000);
  reception.restart();
  clock.advance(1000);
  reception.observe();
  expect(reception.since).toBe(start + 1000);
});

test('disconnected_transport_hears_nothing_until_it_is_connected', () => {
  reception.disconnected();
  for (let n = 0; n < 3; n++) {
    clock.advance(1000);
    reception.observe();
    expect(reception.since).toBe(clock.now());
  }
  reception.connected();
  clock.advance(1000);
  reception.observe();
  expect(reception.since).toBe(start + 3000);
});
