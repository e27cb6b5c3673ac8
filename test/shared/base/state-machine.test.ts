// The interpreter of state tables: what it does with an event that a table lists, and with what it
// does not.
import { describe, expect, it } from 'vitest';
import {
  boot,
  ImpossibleTransition,
  next,
  type Table,
} from '../../../shared/base/state-machine.js';

type State = 'off' | 'on';
const lamp: Table<State, 'press' | 'dim'> = {
  off: { on: { press: 'on' }, boot: 'off' },
  on: { on: { press: 'off' }, boot: 'off' },
};

describe('a state table', () => {
  it('a_listed_event_leads_where_the_table_says', () => {
    expect(next(lamp, 'off', 'press')).toBe('on');
    expect(next(lamp, 'on', 'press')).toBe('off');
  });

  it('an_unlisted_event_is_a_bug_that_names_state_and_event', () => {
    let found: unknown = null;
    try {
      next(lamp, 'on', 'dim');
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(ImpossibleTransition);
    expect(found).toMatchObject({
      name: 'ImpossibleTransition',
      message: 'state on has no event dim',
      state: 'on',
      event: 'dim',
    });
  });

  it('a_boot_leads_where_the_row_says_and_an_unknown_state_is_a_bug', () => {
    expect(boot(lamp, 'on')).toBe('off');
    expect(boot(lamp, 'off')).toBe('off');
    expect(() => boot(lamp, 'toString' as State)).toThrow('unknown state toString');
  });
});
