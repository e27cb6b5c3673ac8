// A security event as a line for log collectors: syslog (RFC 5424) with structured data, or CEF in
// a syslog line. Devices and strangers choose parts of an event, so everything that is not fixed is
// escaped as its format says, and control characters (line breaks among them) become a space: no
// event can start another line, field or header.
import { limits } from '../../shared/base/limits.js';
import type { SecurityEventChangeRow } from '../interfaces.js';

/** Facility 4 (security), severity 4 (warning). */
const PRIORITY = 4 * 8 + 4;
/** IANA's number for documentation and examples; the project has none of its own. */
const DATA_ID = 'linnet@32473';
/** CEF severity, 0 to 10. */
const CEF_SEVERITY = 5;

export type EventFormat = (event: SecurityEventChangeRow) => string;

/** `host`: the name of this machine. */
export const rfc5424 =
  (host: string): EventFormat =>
  (event) => {
    const fields = {
      code: event.code,
      source: event.source,
      sourceKind: event.sourceKind,
      count: String(event.count),
      id: String(event.id),
    };
    const data = Object.entries(fields).map(([name, value]) => `${name}="${dataValue(value)}"`);
    return `${header(host, event)} [${DATA_ID} ${data.join(' ')}] ${oneLine(event.detail)}`;
  };

export const cef =
  (host: string): EventFormat =>
  (event) => {
    const code = cefHeader(event.code);
    const fields = {
      rt: String(event.lastAt),
      externalId: String(event.id),
      cnt: String(event.count),
      cs1Label: 'source',
      cs1: event.source,
      cs2Label: 'sourceKind',
      cs2: event.sourceKind,
      msg: event.detail,
    };
    const extension = Object.entries(fields).map(([name, value]) => `${name}=${cefValue(value)}`);
    return (
      `${header(host, event)} - CEF:0|Linnet|fleet server|1|${code}|${code}|${CEF_SEVERITY}|` +
      extension.join(' ')
    );
  };

function header(host: string, { lastAt }: SecurityEventChangeRow): string {
  const name = host.replace(/[^\x21-\x7e]/g, '').slice(0, limits.hostNameMaxChars) || '-';
  return `<${PRIORITY}>1 ${new Date(lastAt).toISOString()} ${name} linnet-server - security`;
}

/** Cut before anything is escaped, so that no cut falls into an escape. */
const oneLine = (text: string): string =>
  text
    .slice(0, limits.exportedTextMaxChars)
    .replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, ' ');

const dataValue = (text: string): string => oneLine(text).replace(/["\\\]]/g, '\\$&');
const cefHeader = (text: string): string => oneLine(text).replace(/[\\|]/g, '\\$&');
const cefValue = (text: string): string => oneLine(text).replace(/[\\=]/g, '\\$&');
