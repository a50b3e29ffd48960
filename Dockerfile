# The programs of examples/webshop and the beat of schedule files, in one image: `docker compose --profile webshop up`.
# One's own worker is built the same way: put its package in the place of webshop.
FROM rust:1.91-slim-bookworm AS build
WORKDIR /src
COPY . .
# Both caches outlive the build and are no part of the image, so the programs are copied out.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p webshop -p lovage-beat --bins \
    && mkdir /programs \
    && cd target/release \
    && cp webshop webshop-worker webshop-beat mail-sink beat /programs/

FROM debian:bookworm-slim
# Certificates for rediss:// and smtps://, and curl for health checks.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home lovage \
    && install -d -o lovage -g lovage /data
COPY --from=build /programs/ /usr/local/bin/
USER lovage
WORKDIR /data
# Each program answers SIGTERM itself, also as process 1.
CMD ["webshop"]
