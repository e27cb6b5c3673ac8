// Where the demo takes its ports from.
import { describe, expect, it } from 'vitest';
import { firstPort } from '../../../firmware-tools/demo/demo-fleet.js';

describe('ports of the demo', () => {
  it('first_port_comes_from_the_environment', () => {
    expect(firstPort({})).toBe(7300);
    expect(firstPort({ LINNET_DEMO_PORT: '' })).toBe(7300);
    expect(firstPort({ LINNET_DEMO_PORT: '9000' })).toBe(9000);
  });

  it.each(['0', '65535', '-1', '80.5', '0x50', 'http'])(
    'a_first_port_of_%s_is_refused_and_named',
    (text) => {
      expect(() => firstPort({ LINNET_DEMO_PORT: text })).toThrow(
        `LINNET_DEMO_PORT is "${text}", and must be a number from 1 to`,
      );
    },
  );
});
