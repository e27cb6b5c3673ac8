// What a server with an embedded broker says to the other servers, and does on their word.
import { describe, expect, it } from 'vitest';
import type { Transport } from '../../../server/interfaces.js';
import { SharedTransport } from '../../../server/mqtt/shared-transport.js';
import { silentLog } from '../../../shared/base/interfaces.js';
import { limits } from '../../../shared/base/limits.js';
import { turn } from '../../../shared/platform/turn.js';
import { deviceId } from '../../sim/fleet.js';

function transport() {
  const told: string[] = [];
  const sent: string[] = [];
  const own: Transport = {
    port: 7301,
    hint: (device) => void told.push(`hint ${device}`),
    disconnect: (device) => void told.push(`disconnect ${device}`),
    connections: () => 2,
    close: async () => {},
  };
  const shared = new SharedTransport({ own, send: (text) => sent.push(text), log: silentLog });
  return { shared, told, sent };
}

const turns = async (count: number): Promise<void> => {
  for (let n = 0; n < count; n++) await turn();
};

const [A, B] = [deviceId(1), deviceId(2)];

describe('a transport of several servers', () => {
  it('hints_its_own_device_at_once_and_the_others_together_and_once_each', async () => {
    const { shared, told, sent } = transport();
    for (const device of [A, B, A]) shared.hint(device);
    expect(told).toEqual([`hint ${A}`, `hint ${B}`, `hint ${A}`]);
    await turns(20);
    expect(sent.map((text) => JSON.parse(text) as unknown)).toEqual([{ hint: [A, B] }]);
  });

  it('notices_of_a_thousand_hints_each_fit_postgresql', async () => {
    const { shared, sent } = transport();
    const devices = Array.from({ length: 1000 }, (_, n) => deviceId(n));
    for (const device of devices) shared.hint(device);
    await turns(50);
    expect(sent).toHaveLength(1000 / limits.noticeDevicesMaxCount);
    for (const text of sent) expect(text.length).toBeLessThan(8000);
    const { shared: other, told } = transport();
    for (const text of sent) other.receive(text);
    expect(told).toEqual(devices.map((device) => `hint ${device}`));
  });

  it('a_disconnection_is_passed_on_before_anything_else_happens', () => {
    const { shared, told, sent } = transport();
    shared.disconnect(A);
    expect(told).toEqual([`disconnect ${A}`]);
    const { shared: other, told: otherTold, sent: echo } = transport();
    other.receive(sent[0] ?? '');
    expect(otherTold).toEqual([`disconnect ${A}`]);
    expect(echo).toEqual([]);
  });

  it.each(['', '{', '{"hint":"x"}', '{"hint":["../x"]}', '{"later":1}', '[]'])(
    'a_notice_that_reads_%s_is_ignored',
    (text) => {
      const { shared, told } = transport();
      shared.receive(text);
      expect(told).toEqual([]);
    },
  );
});
