// IPv6 addresses stand in brackets in a URL, and without them everywhere else.

/** As sockets take it: `::1` for `[::1]`. */
export const unbracketed = (hostname: string): string => hostname.replace(/^\[|\]$/g, '');

/** As a URL has it: `[::1]` for `::1`. */
export const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host);
