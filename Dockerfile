# The image: one static binary on scratch, run as a numeric user.
#
#   docker build --tag hotspot-exporter:0.1.0 --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" .
#   docker build --platform linux/amd64,linux/arm64 …      # the builder runs on the build machine and cross-compiles
#   docker build --target prebuilt …                       # uses dist/ARCHITECTURE/hotspot-exporter, needs no network
#
# For reproducible images: SOURCE_DATE_EPOCH=0 with BuildKit, --timestamp 0 with buildah.

# The common part of both kinds of image.
FROM scratch AS base
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=""
LABEL org.opencontainers.image.title="hotspot-exporter" \
    org.opencontainers.image.description="Prometheus and OpenTelemetry metrics of every HotSpot JVM on a host, read from shared memory without touching the JVM" \
    org.opencontainers.image.vendor="hotspot-exporter" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="$SOURCE" \
    org.opencontainers.image.documentation="$SOURCE" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
EXPOSE 9850
# A number, because Kubernetes cannot check whether a name is root. Pods replace it with the JVM's user.
USER 65532:65532
# For use without Kubernetes, which has its own probes.
HEALTHCHECK --interval=30s --timeout=5s CMD ["/hotspot-exporter", "healthcheck"]
ENTRYPOINT ["/hotspot-exporter"]

FROM base AS prebuilt
ARG TARGETARCH
COPY --chmod=0555 dist/${TARGETARCH}/hotspot-exporter /hotspot-exporter

FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95-slim-bookworm AS builder
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /source
ARG TARGETARCH
# The Debian release of the base image determines the versions.
# hadolint ignore=DL3008
RUN case "$TARGETARCH" in \
        amd64) echo x86_64-unknown-linux-gnu gcc-x86-64-linux-gnu libc6-dev-amd64-cross ;; \
        arm64) echo aarch64-unknown-linux-gnu gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;; \
        *) echo "unsupported architecture $TARGETARCH; supported: amd64, arm64" >&2; exit 1 ;; \
    esac >/target \
    && read -r triple compiler headers </target \
    && if [ "$(dpkg --print-architecture)" != "$TARGETARCH" ]; then \
        apt-get update \
        && apt-get install -y --no-install-recommends "$compiler" "$headers" \
        && rm -rf /var/lib/apt/lists/*; \
    fi \
    && rustup target add "$triple"
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs --remap-path-prefix=/source=."
COPY Cargo.toml Cargo.lock ./
# Builds the dependencies with an empty program, as a layer that is cached while Cargo.lock does not change.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    read -r triple _ </target \
    && mkdir -p src benches \
    && echo 'fn main() {}' | tee src/main.rs benches/push.rs >benches/scrape.rs \
    && touch src/lib.rs \
    && cargo build --locked --release --target "$triple" --bin hotspot-exporter \
    && rm -r src benches
COPY benches benches
COPY config config
COPY src src
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    read -r triple _ </target \
    && touch src/lib.rs src/main.rs \
    && cargo build --frozen --release --target "$triple" --bin hotspot-exporter \
    && install -D "target/$triple/release/hotspot-exporter" /out/hotspot-exporter

FROM base AS runtime
COPY --chmod=0555 --from=builder /out/hotspot-exporter /hotspot-exporter
