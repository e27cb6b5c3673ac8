// Addresses of brokers in URLs.
import { expect, it } from 'vitest';
import { brokerAddress } from '../../../shared/base/hosts.js';

it.each([
  ['mqtt://broker.example', { protocol: 'mqtt', host: 'broker.example', port: 1883 }],
  ['mqtts://broker.example', { protocol: 'mqtts', host: 'broker.example', port: 8883 }],
  ['mqtts://broker.example:443', { protocol: 'mqtts', host: 'broker.example', port: 443 }],
  ['mqtt://[2001:db8::1]:7301', { protocol: 'mqtt', host: '2001:db8::1', port: 7301 }],
  ['mqtts://192.0.2.7:8884/', { protocol: 'mqtts', host: '192.0.2.7', port: 8884 }],
])('%s_has_its_protocol_host_and_port', (url, address) => {
  expect(brokerAddress(url)).toEqual(address);
});
