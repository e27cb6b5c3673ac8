// Entity tags of the operator API: a read whose answer has not changed since the client got it is
// answered without a body. The tag is a hash of the answer, so it needs no bookkeeping and is the
// same on every server of a fleet; what it saves is the transfer and the client's work.
import fastifyPlugin from 'fastify-plugin';
import { sha256 } from '../../shared/base/bytes.js';

/** Hexadecimal digits of the hash: two answers of one path with the same tag do not happen. */
const tagChars = 32;

export const entityTags = fastifyPlugin(
  (app, _options, done) => {
    app.addHook('onSend', (request, reply, payload, next) => {
      if (request.method !== 'GET' || reply.statusCode !== 200 || typeof payload !== 'string') {
        next(null, payload);
        return;
      }
      const tag = `"${sha256(payload).slice(0, tagChars)}"`;
      reply.header('etag', tag);
      if (request.headers['if-none-match'] !== tag) {
        next(null, payload);
        return;
      }
      reply.code(304).removeHeader('content-type').removeHeader('content-length');
      next(null, '');
    });
    done();
  },
  { name: 'entity-tags', fastify: '5.x' },
);
