// What both transports do with a message from a device: they take the device's id from the topic,
// give the payload to the ingest, and send its acknowledgement back. Whether the sender may use the
// topic was decided by the broker.
import { deviceOfTopic, topics } from '../../shared/protocol/telemetry.js';
import { limits } from '../../shared/base/limits.js';
import type { TransportEvents } from '../interfaces.js';

export type PublishJson = (topic: string, message: object) => void;

/** `topic` matches topics.everyUp. `publish` must not throw. */
export function receive(
  topic: string,
  payload: Uint8Array,
  { ingest, security }: TransportEvents,
  publish: PublishJson,
): void {
  const device = deviceOfTopic(topic);
  if (device === null) {
    security.report({
      source: { kind: 'server' },
      code: 'message_undecodable',
      detail:
        `a message on ${topic.slice(0, limits.quotedMaxChars)}, which is not a telemetry topic, ` +
        'was ignored',
    });
    return;
  }
  void ingest(device, payload).then((ack) => {
    if (ack !== null) publish(topics.ack(device), ack);
  });
}
