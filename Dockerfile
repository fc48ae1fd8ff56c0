# Two stages: `build` compiles and packs the database snapshot, `service` holds what runs. onnxruntime needs glibc >= 2.28:
# Debian, not Alpine. scripts/check-image-steps.sh runs these steps without Docker, so keep them to what it understands.
#
# No VOLUME and no cache mounts, because Railway refuses them: mount a volume at /data yourself, or data ends with the
# container. The folder belongs to the service's user, and Docker gives a new named volume the same owner.
ARG NODE_IMAGE=node:20-bookworm-slim

FROM ${NODE_IMAGE} AS build
ARG TARGETARCH
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Nothing here needs an install script; one of them would download GPU libraries, another sends telemetry.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json LICENSE ./
COPY scripts/build-database-snapshot.mjs scripts/mark-executable.mjs scripts/
COPY supabase/migrations/ supabase/migrations/
COPY models/ models/
COPY src/ src/
RUN npm run build
COPY deploy/prune-onnxruntime.sh deploy/
RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund
RUN sh deploy/prune-onnxruntime.sh node_modules

FROM ${NODE_IMAGE} AS service
# ffmpeg decodes what the built-in decoders do not (AAC, m4a ...); tini reaps processes and stops a start that hangs.
# npm and yarn are of no use to a running service.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates ffmpeg tini \
  && rm -rf /var/lib/apt/lists/* /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
    /opt/yarn-* /usr/local/bin/yarn /usr/local/bin/yarnpkg \
  && install --directory --owner=node --group=node --mode=700 /data \
  && ln -s /app/dist/cli/main.js /usr/local/bin/voice-auth
WORKDIR /app
COPY --from=build /app/package.json /app/LICENSE ./
COPY --from=build /app/node_modules/ node_modules/
COPY --from=build /app/models/ models/
COPY --from=build /app/supabase/ supabase/
COPY --from=build /app/dist/ dist/
COPY deploy/entrypoint.sh deploy/healthcheck.mjs deploy/
ENV NODE_ENV=production DATA_DIR=/data
USER node
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["node", "/app/deploy/healthcheck.mjs"]
ENTRYPOINT ["tini", "--", "/app/deploy/entrypoint.sh"]
CMD ["node", "/app/dist/cli/main.js", "serve"]
