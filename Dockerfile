# Both services, the check of their books and the rollout program, one image each:
#
#   docker build --target account-service --tag holdfast/account-service:local .
#   docker build --target order-service --tag holdfast/order-service:local .
#   docker build --target holdfast-verify --tag holdfast/holdfast-verify:local .
#   docker build --target rollout --tag holdfast/rollout:local .
#
# Only what Cargo compiles is copied (.dockerignore). What was compiled before is kept in cache mounts, so that a build
# after a change compiles what changed. The compiler is rust-toolchain.toml's, the same Debian as what runs the result.

FROM rust:1.95.0-bookworm AS sources
WORKDIR /src
# Function names stay for backtraces, lines do not: they are nine tenths of the file.
ENV CARGO_PROFILE_DIST_STRIP=debuginfo CARGO_PROFILE_RELEASE_STRIP=debuginfo
COPY . .

FROM sources AS services
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --profile dist --locked --package account-service --package order-service --package holdfast-verify \
    && install -D --target-directory=/programs \
        target/dist/account-service target/dist/order-service target/dist/holdfast-verify

FROM sources AS tools
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --package tests --bin rollout --bin load \
    && install -D --target-directory=/programs target/release/rollout target/release/load

# glibc, libgcc and the roots of TLS: no shell, no package manager. The tag moves, the digest does not.
FROM gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f AS runtime
# As a number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /
# SIGTERM: lame duck, drain, exit (see k8s/README.md). Any runtime must give the time for it.
STOPSIGNAL SIGTERM

FROM runtime AS account-service
COPY --from=services /programs/account-service /usr/local/bin/account-service
EXPOSE 50051 9081
ENTRYPOINT ["/usr/local/bin/account-service"]

FROM runtime AS order-service
COPY --from=services /programs/order-service /usr/local/bin/order-service
EXPOSE 50052 9082
ENTRYPOINT ["/usr/local/bin/order-service"]

FROM runtime AS holdfast-verify
COPY --from=services /programs/holdfast-verify /usr/local/bin/holdfast-verify
ENTRYPOINT ["/usr/local/bin/holdfast-verify"]

FROM runtime AS rollout
COPY --from=tools /programs/rollout /programs/load /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/rollout"]
