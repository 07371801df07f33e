# Two images, by target:
#
#   softhsm    (default) the service, SoftHSM2, and the script that makes a token
#   ephemeral  the service alone: a key in memory, or a PKCS#11 module mounted from outside
#
# docker build -t macp-auth-service .
# docker build -t macp-auth-service:ephemeral --target ephemeral .

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release --bin macp-auth-service

FROM debian:bookworm-slim AS ephemeral
COPY --from=build /src/target/release/macp-auth-service /usr/local/bin/
# A fixed uid, so that volumes keep their owner when the image changes.
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin macp-auth
USER 10001:10001
# Loopback inside a container is out of everybody's reach, so the service listens on all of the container's addresses.
# Nobody has to authenticate there: whoever reaches the port gets tokens for any sender. Publish it on 127.0.0.1 or on a
# network of trusted callers only.
ENV MACP_AUTH_BIND_ADDR=0.0.0.0 \
    MACP_AUTH_ALLOW_ANONYMOUS=1
EXPOSE 3200
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["macp-auth-service", "healthcheck"]
ENTRYPOINT ["macp-auth-service"]

FROM ephemeral AS softhsm
USER root
COPY softhsm/where.sh softhsm/token.sh softhsm/make-token.sh /usr/local/lib/macp-auth-service/softhsm/
# The volume takes owner and mode of this directory when it is made.
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends softhsm2 \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/macp-auth-service
USER 10001:10001
# As softhsm/token.sh has them. /usr/lib/softhsm is the same on every architecture of Debian.
ENV SOFTHSM_STATE_DIR=/var/lib/macp-auth-service/softhsm \
    SOFTHSM2_CONF=/var/lib/macp-auth-service/softhsm/softhsm2.conf \
    MACP_AUTH_PKCS11_MODULE=/usr/lib/softhsm/libsofthsm2.so \
    MACP_AUTH_PKCS11_TOKEN_LABEL=macp-dev \
    MACP_AUTH_PKCS11_PIN_FILE=/var/lib/macp-auth-service/softhsm/user-pin
VOLUME /var/lib/macp-auth-service
