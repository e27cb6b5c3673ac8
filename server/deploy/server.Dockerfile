# The fleet server. From the root of the repository:
#   docker build -f server/deploy/server.Dockerfile -t linnet-server .
FROM node:20.20.2-bookworm AS build
WORKDIR /linnet
COPY package.json package-lock.json .npmrc tsconfig.json ./
COPY shared shared
COPY server server
COPY agent agent
COPY firmware-tools firmware-tools
COPY test test
# better-sqlite3 is compiled here; ONNX Runtime is for devices and for `linnet model`.
RUN node firmware-tools/setup.mjs \
  && npm prune --omit=dev --ignore-scripts \
  && rm -rf node_modules/onnxruntime-node dist/test dist/firmware-tools/demo

FROM node:20.20.2-bookworm-slim
ENV NODE_ENV=production
WORKDIR /linnet
COPY --from=build /linnet/package.json ./
COPY --from=build /linnet/node_modules node_modules
COPY --from=build /linnet/dist dist
# The state, and what an external broker reads of it.
RUN install -d -o node -g node -m 0700 /var/lib/linnet \
  && install -d -o node -g node -m 0755 /var/lib/linnet-broker
USER node
VOLUME ["/var/lib/linnet"]
EXPOSE 7300 7301
# Without [tls]; with it, override this check.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["node", "-e", \
  "fetch('http://127.0.0.1:7300/livez').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/firmware-tools/cli/main.js"]
CMD ["server", "--config", "/etc/linnet/server.toml"]
