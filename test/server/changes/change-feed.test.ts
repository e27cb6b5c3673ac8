// The change feed with a clock of its own: what a stream is told, and what limits it.
import { describe, expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import { ChangeFeed } from '../../../server/changes/change-feed.js';
import { ChangeMarks } from '../../../server/changes/change-marks.js';
import { ManualClock } from '../../sim/manual-clock.js';

function reading(feed: ChangeFeed, operator = 'ann') {
  const sent: string[] = [];
  const state = { ready: true, allowed: true, ended: false };
  const stream = feed.open({
    operator,
    ready: () => state.ready,
    send: (event, data) => sent.push(event === 'beat' ? event : data),
    allowed: () => Promise.resolve(state.allowed),
    end: () => {
      state.ended = true;
    },
  });
  return { sent, state, stream };
}

describe('a stream', () => {
  it('hears_of_changes_that_come_together_once', () => {
    const clock = new ManualClock();
    const feed = new ChangeFeed({ clock });
    const { sent } = reading(feed);
    feed.changed('rollouts', ['ro-1']);
    feed.changed('rollouts', ['ro-1']);
    feed.changed('rollouts', ['ro-2']);
    feed.changed('audit');
    expect(sent).toEqual([]);
    clock.pass(limits.changesGatherMs);
    expect(sent.map((text) => JSON.parse(text) as unknown)).toEqual([
      [
        { topic: 'rollouts', ids: ['ro-1', 'ro-2'] },
        { topic: 'audit', ids: null },
      ],
    ]);
  });

  it('is_told_any_when_too_many_changed_to_be_named', () => {
    const clock = new ManualClock();
    const feed = new ChangeFeed({ clock });
    const { sent } = reading(feed);
    for (let n = 0; n <= limits.changedIdsMaxCount; n++) feed.changed('devices', [`dev-${n}`]);
    feed.changed('devices', ['dev-late']);
    clock.pass(limits.changesGatherMs);
    expect(sent).toEqual(['[{"topic":"devices","ids":null}]']);
  });

  it('that_is_slow_gets_what_was_gathered_when_it_is_ready', () => {
    const clock = new ManualClock();
    const feed = new ChangeFeed({ clock });
    const { sent, state, stream } = reading(feed);
    state.ready = false;
    feed.changed('security');
    clock.pass(limits.changesGatherMs);
    feed.changed('audit');
    clock.pass(limits.changesGatherMs);
    expect(sent).toEqual([]);
    state.ready = true;
    stream.flush();
    expect(sent).toEqual(['[{"topic":"security","ids":null},{"topic":"audit","ids":null}]']);
  });

  it('hears_of_the_passing_time_and_ends_when_its_token_is_revoked', async () => {
    const clock = new ManualClock();
    const feed = new ChangeFeed({ clock });
    const { sent, state } = reading(feed);
    const beat = async (): Promise<void> => {
      clock.pass(limits.changeBeatMs);
      await Promise.resolve();
    };
    await beat();
    expect([sent, state.ended]).toEqual([['beat'], false]);
    state.allowed = false;
    await beat();
    expect([sent, state.ended]).toEqual([['beat'], true]);
  });

  it('that_is_closed_costs_nothing_any_more', () => {
    const clock = new ManualClock();
    const feed = new ChangeFeed({ clock });
    const { sent, stream } = reading(feed);
    feed.changed('audit');
    stream.close();
    clock.pass(limits.changeBeatMs * 2);
    expect([sent, feed.size]).toEqual([[], 0]);
  });
});

describe('the number of streams', () => {
  it('of_one_token_is_bounded_and_others_still_get_one', () => {
    const feed = new ChangeFeed({ clock: new ManualClock() });
    for (let n = 0; n < limits.changeStreamsPerTokenMaxCount; n++) reading(feed);
    expect(() => reading(feed)).toThrow(/ann has 20 open streams/);
    reading(feed, 'bob');
  });

  it('in_all_is_bounded', () => {
    const feed = new ChangeFeed({ clock: new ManualClock() });
    for (let n = 0; n < limits.changeStreamsMaxCount; n++) reading(feed, `operator-${n}`);
    expect(() => reading(feed, 'late')).toThrow(/200 streams are open/);
  });
});

describe('with several servers', () => {
  it('what_another_server_changed_is_told_and_what_did_not_change_is_not', async () => {
    const told: unknown[] = [];
    const state = { revision: 1, head: 5, seq: 7, size: 1 };
    const marks = new ChangeMarks({
      feed: {
        get size() {
          return state.size;
        },
        changed: (topic, ids) => told.push([topic, ids ?? null]),
      },
      rollouts: { page: async () => [{ id: 'ro-1', revision: state.revision } as never] },
      security: { head: async () => state.head },
      audit: { newest: async () => state.seq },
    });
    await marks.look();
    expect(told).toEqual([]);
    await marks.look();
    expect(told.splice(0)).toEqual([['devices', null]]);
    Object.assign(state, { revision: 2, head: 6, seq: 8 });
    await marks.look();
    expect(told.splice(0)).toEqual([
      ['rollouts', ['ro-1']],
      ['security', null],
      ['audit', null],
      ['releases', null],
      ['tokens', null],
      ['devices', null],
    ]);
    state.size = 0;
    await marks.look();
    expect(told).toEqual([]);
  });
});
