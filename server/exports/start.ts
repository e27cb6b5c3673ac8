// From the settings to running exporters.
import { readSettingFile } from '../../shared/platform/setting-files.js';
import { cef, rfc5424 } from './event-formats.js';
import { SecurityExporter, type ExportTarget, type SecurityExporterOptions } from './exporter.js';
import { otlpTarget } from './otlp-logs.js';
import { otlpHeaders, type OtlpOptions } from './otlp-http.js';
import type { PostNeeds } from './post.js';
import { syslogTarget, type SyslogOptions } from './syslog.js';
import { webhookSecret, webhookTarget } from './webhook.js';

interface ExportSettings {
  readonly syslog?: Pick<SyslogOptions, 'host' | 'port' | 'transport'> & {
    readonly format: 'rfc5424' | 'cef';
    readonly ca_file?: string;
  };
  readonly webhook?: { readonly url: string; readonly secret_file: string };
  readonly otlp?: OtlpSettings;
}

interface OtlpSettings {
  readonly url: string;
  readonly headers_file?: string;
}

interface ExportNeeds extends PostNeeds {
  /** The name of this machine. */
  readonly host: string;
}

/** Faults: config_invalid. */
export function exportTargets(
  { syslog, webhook, otlp }: ExportSettings,
  { host, ...needs }: ExportNeeds,
): ExportTarget[] {
  const targets: ExportTarget[] = [];
  if (syslog !== undefined) {
    const { ca_file: ca, format, ...where } = syslog;
    targets.push(
      syslogTarget({
        ...where,
        ca: ca === undefined ? null : readSettingFile('syslog.ca_file', ca),
        format: (format === 'cef' ? cef : rfc5424)(host),
      }),
    );
  }
  if (webhook !== undefined) {
    const text = readSettingFile('webhook.secret_file', webhook.secret_file).toString('utf8');
    targets.push(webhookTarget({ url: webhook.url, secret: webhookSecret(text), ...needs }));
  }
  if (otlp !== undefined) targets.push(otlpTarget(otlpOptions(otlp, { host, ...needs })));
  return targets;
}

/** Faults: config_invalid. */
export function otlpOptions(
  { url, headers_file: file }: OtlpSettings,
  needs: ExportNeeds,
): OtlpOptions {
  const text =
    file === undefined ? '' : readSettingFile('otlp.headers_file', file).toString('utf8');
  return { url, ...needs, headers: otlpHeaders(text) };
}

export function startExporters(
  targets: readonly ExportTarget[],
  options: Omit<SecurityExporterOptions, 'target'>,
): SecurityExporter[] {
  const exporters = targets.map((target) => new SecurityExporter({ ...options, target }));
  for (const exporter of exporters) exporter.start();
  return exporters;
}
