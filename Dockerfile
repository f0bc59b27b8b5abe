FROM node:24-bookworm AS builder
WORKDIR /opt/fermi
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json ./
COPY src src
RUN node node_modules/typescript-7/bin/tsc -p tsconfig.json && npm prune --omit=dev

# Node itself is among the production dependencies, so the image needs no other.
FROM debian:12-slim
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 10001 --user-group --no-create-home --home-dir /opt/fermi --shell /usr/sbin/nologin fermi \
  && install --directory --owner=fermi --group=fermi --mode=0700 /var/lib/tick-ingester
ENV LANG=C.UTF-8
WORKDIR /opt/fermi
COPY --from=builder /opt/fermi/package.json ./
COPY --from=builder /opt/fermi/node_modules node_modules
COPY --from=builder /opt/fermi/dist dist
COPY bin bin
COPY configs configs
COPY examples examples
COPY proto proto
COPY python python
COPY schema schema
RUN ln -s /opt/fermi/bin/tick-ingester /opt/fermi/bin/mdp /opt/fermi/bin/sequencer-sim /usr/local/bin/
USER fermi
# 8081: /health, /ready and /metrics; 9101: /metrics of the stages on the bus. DATABASE_URL=embedded:/var/lib/tick-ingester/postgres needs a volume there.
EXPOSE 8081 9101
# The variable may have quotes around it (docker --env-file leaves them) or be what Kubernetes sets for a service health-check.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["/opt/fermi/node_modules/.bin/node", "-e", "const [, port = 8081] = /^[^0-9a-z]*([0-9]+)/i.exec(process.env.HEALTH_CHECK_PORT) ?? []; fetch(`http://127.0.0.1:${port}/health`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["tick-ingester"]
