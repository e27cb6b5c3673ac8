// What all HTTP plugins share: the types of the app and of a route's configuration, and the error
// responses that every route declares. It holds no behaviour and imports no plugin, so that plugins
// and routes can import it without a circle.
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from 'fastify';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Type } from 'typebox';
import type { Clock, Log, Random } from '../../shared/base/interfaces.js';
import { ApiError } from '../../shared/protocol/operator-api.js';
import type { AddressLimits } from '../access/address-limits.js';
import type { Admission } from '../access/admission.js';
import type { ChangeFeed } from '../changes/change-feed.js';
import type { Uploads } from '../artifacts/uploads.js';
import type { ListenerLimits } from '../access/open-files.js';
import type {
  AuditStore,
  DeviceCertificates,
  DeviceHistoryStore,
  DeviceStore,
  FleetCountStore,
  FleetVersionsStore,
  DirectorRepository,
  ArtifactStore,
  ImageRepositoryService,
  ReleaseStore,
  RolloutService,
  SecurityEventSink,
  SecurityEventStore,
  TelemetryStore,
  TlsFiles,
  TokenStore,
} from '../interfaces.js';
import type { MetricRegistry, ServerMetrics } from '../monitoring/server-metrics.js';
import type { Readiness } from '../monitoring/readiness.js';

export type FleetApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

/** The services that routes call; each plugin takes those that it needs. */
export interface HttpServices {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly devices: DeviceStore;
  readonly history: DeviceHistoryStore;
  readonly tokens: TokenStore;
  readonly releases: ReleaseStore;
  readonly telemetry: TelemetryStore;
  readonly audit: AuditStore;
  readonly securityEvents: SecurityEventStore;
  readonly counts: FleetCountStore;
  readonly versions: FleetVersionsStore;
  readonly changes: ChangeFeed;
  readonly security: SecurityEventSink;
  readonly addressLimits: AddressLimits;
  readonly admission: Admission;
  readonly images: ImageRepositoryService;
  /** The files of releases. */
  readonly artifacts: ArtifactStore;
  readonly uploads: Uploads;
  readonly director: DirectorRepository;
  readonly rollouts: RolloutService;
  /** The port on which devices find MQTT. */
  mqttPort(): number;
  /** What devices are told of an external broker. */
  readonly deviceBroker: { readonly mqttUrl?: string; readonly mqttCa?: string };
  /** Whether devices log in there by client certificates. */
  readonly brokerAsksCertificates: boolean;
  /** Null when this server has no CA for devices. */
  readonly certificates: DeviceCertificates | null;
  /** Closes the connection of a device that was revoked. */
  disconnect(device: string): void;
  readonly silentAfterMs: number;
  /** Whether the server can do its work; costs little, however often it is asked. */
  readiness(): Promise<Readiness>;
  readonly registry: MetricRegistry;
  readonly metrics: ServerMetrics;
}

export interface AppOptions extends HttpServices {
  readonly tls: TlsFiles | null;
  /** Of all connections, and of those of one address. */
  readonly connections: ListenerLimits;
  readonly trustedProxies: readonly string[];
}

/** Every route can answer with them. */
export const errorResponses = { '4xx': ApiError, '5xx': ApiError } as const;

/** The body of a POST that takes nothing; it may be left out. */
export const EmptyBody = Type.Object({}, { additionalProperties: false, title: 'EmptyBody' });

/** A response of exact bytes with this content type. */
export const bytesOf = (contentType: string, description: string) => ({
  description,
  content: { [contentType]: { schema: Type.Unsafe<Uint8Array>(binary) } },
});
const binary = { contentMediaType: 'application/octet-stream', format: 'binary' } as const;
