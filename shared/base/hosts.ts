// Hosts of URLs. IPv6 addresses stand in brackets in a URL, and without them everywhere else.

/** As sockets take it: `::1` for `[::1]`. */
export const unbracketed = (hostname: string): string => hostname.replace(/^\[|\]$/g, '');

/** As a URL has it: `[::1]` for `::1`. */
export const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** Assigned by IANA. */
const MQTT_PORT = 1883;
const MQTTS_PORT = 8883;

export interface BrokerAddress {
  readonly protocol: 'mqtt' | 'mqtts';
  readonly host: string;
  readonly port: number;
}

/**
 * Of a URL that a schema has checked. The client of the package mqtt reads URLs with `url.parse`,
 * which Node.js 24 warns of in the log.
 */
export function brokerAddress(url: string): BrokerAddress {
  const { protocol, hostname, port } = new URL(url);
  const isTls = protocol === 'mqtts:';
  const standard = isTls ? MQTTS_PORT : MQTT_PORT;
  return {
    protocol: isTls ? 'mqtts' : 'mqtt',
    host: unbracketed(hostname),
    port: port === '' ? standard : Number(port),
  };
}
