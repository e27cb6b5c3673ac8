# A device. From the root of the repository:
#   docker build -f server/deploy/agent.Dockerfile -t linnet-agent .
FROM node:20.20.2-bookworm AS build
WORKDIR /linnet
COPY package.json package-lock.json .npmrc tsconfig.json ./
COPY shared shared
COPY server server
COPY agent agent
COPY firmware-tools firmware-tools
COPY test test
# ONNX Runtime comes with libraries for other systems too.
RUN node firmware-tools/setup.mjs \
  && npm prune --omit=dev --ignore-scripts \
  && rm -rf node_modules/onnxruntime-node/bin/*/darwin node_modules/onnxruntime-node/bin/*/win32 \
    dist/test dist/firmware-tools/demo

FROM node:20.20.2-bookworm-slim
ENV NODE_ENV=production NODE_OPTIONS=--max-semi-space-size=1
WORKDIR /linnet
COPY --from=build /linnet/package.json ./
COPY --from=build /linnet/node_modules node_modules
COPY --from=build /linnet/dist dist
RUN install -d -o node -g node -m 0700 /var/lib/linnet
USER node
VOLUME ["/var/lib/linnet"]
EXPOSE 7310
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["node", "-e", \
  "fetch('http://127.0.0.1:7310/v2/health/live').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "dist/firmware-tools/cli/main.js"]
CMD ["agent", "--config", "/etc/linnet/agent.toml"]
