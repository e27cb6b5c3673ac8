// Host and Origin checks of a server that listens on other addresses than loopback.
import { describe, expect, it } from 'vitest';
import { RequestOrigin } from '../../../../agent/inference/api/request-origin.js';
import { isFault } from '../../../../shared/base/fault-codes.js';

function accepts(
  { host, hostNames = [] }: { host: string; hostNames?: string[] },
  headers: { host?: string; origin?: string },
): boolean {
  try {
    new RequestOrigin({ host, port: 7310, hostNames }).check(headers);
    return true;
  } catch (error) {
    if (isFault(error, 'request_foreign')) return false;
    throw error;
  }
}

describe('a server on one address', () => {
  it.each([
    ['192.168.1.5:7310', true],
    ['192.168.1.5', true],
    ['127.0.0.1:7310', true],
    ['192.168.1.6:7310', false],
    ['192.168.1.5:7311', false],
    ['edge.local:7310', false],
  ])('host_%s', (host, accepted) => {
    expect(accepts({ host: '192.168.1.5' }, { host })).toBe(accepted);
  });
});

describe.each(['0.0.0.0', '::'])('a server on every address (%s)', (host) => {
  it.each([
    ['192.168.1.5:7310', true],
    ['[fe80::1]:7310', true],
    ['edge.local:7310', false],
    ['192.168.1.5:7311', false],
    ['1.2.3.4.example:7310', false],
  ])('host_%s', (header, accepted) => {
    expect(accepts({ host }, { host: header })).toBe(accepted);
  });
});

describe('configured names', () => {
  it.each([
    ['Edge.Local:7310', true],
    ['edge.local', true],
    ['sub.edge.local:7310', false],
  ])('host_%s', (header, accepted) => {
    expect(accepts({ host: '0.0.0.0', hostNames: ['EDGE.local'] }, { host: header })).toBe(
      accepted,
    );
  });
});

it('origin_without_a_port_means_the_port_of_its_scheme', () => {
  const on = (port: number, origin: string): boolean => {
    try {
      new RequestOrigin({ host: '127.0.0.1', port, hostNames: [] }).check({ origin });
      return true;
    } catch {
      return false;
    }
  };
  expect(on(80, 'http://localhost')).toBe(true);
  expect(on(443, 'https://localhost')).toBe(true);
  expect(on(80, 'https://localhost')).toBe(false);
  expect(on(443, 'http://localhost')).toBe(false);
});

it('long_header_is_cut_in_the_message', () => {
  const host = `${'a'.repeat(300)}.example`;
  expect(() => {
    new RequestOrigin({ host: '127.0.0.1', port: 1, hostNames: [] }).check({ host });
  }).toThrow(/Host a{200} is not this server/);
});
