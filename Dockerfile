# The sidecar: dwebbackup on the official PostgreSQL image, which brings clients that reach every server from 13 on, with
# TLS, and a server to try restores on. Any base will do that is Debian with python3 >= 3.11 and PostgreSQL.
#
#   docker build --build-arg VERSION=0.1.0 -t dwebbackup .
#
# A tag moves. A release is built from what it pointed to on that day, by its digest:
#   --build-arg BASE=docker.io/library/postgres@sha256:…
ARG BASE=docker.io/library/postgres:18-trixie

FROM ${BASE} AS build
# Debian keeps no old versions to pin.
# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3 python3-venv && \
    rm -rf /var/lib/apt/lists/*
# Two environments: the one that stays has no pip in it.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/dwebbackup
WORKDIR /src
# Everything that the program stands on comes first: it changes less often, and a rebuild then finds it in the cache.
COPY LICENSE README.md pyproject.toml ./
RUN /opt/pip/bin/pip --python /opt/dwebbackup/bin/python3 install --no-cache-dir \
        --only-binary :all: --no-binary dwebbackup .
# Compiled here, since nothing may be written where it runs.
COPY dwebbackup dwebbackup
RUN /opt/pip/bin/pip --python /opt/dwebbackup/bin/python3 install --no-cache-dir --no-deps --force-reinstall .

FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates mariadb-client python3 && \
    apt-get clean && \
    rm -rf /var/lib/apt/lists/*
# A name for the number: initdb, which a drill starts, asks for it.
RUN useradd --uid 10001 --user-group --create-home --shell /usr/sbin/nologin dwebbackup
COPY --from=build /opt/dwebbackup /opt/dwebbackup

ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="dwebbackup" \
      org.opencontainers.image.description="Encrypted, deduplicated database backups to decentralised storage" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# Log lines at once; nothing is compiled at run time; the base's data folder is of no use here.
ENV PATH=/opt/dwebbackup/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PGDATA=
USER 10001:10001
WORKDIR /home/dwebbackup
EXPOSE 8080
# The base's servers are stopped by SIGINT.
STOPSIGNAL SIGTERM
# Healthy is: the newest good backup of each source is as young as its schedule wants it. Without Python, which would
# need 20 MB for each question. A page that was moved by the YAML file, or is off, needs --no-healthcheck.
HEALTHCHECK --interval=60s --timeout=10s --start-period=5m \
    CMD ["bash", "-c", "at=${DWEBBACKUP_LISTEN:-8080}; exec 3<>\"/dev/tcp/127.0.0.1/${at##*:}\" && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r -t 8 _ status _ <&3 && [ \"$status\" = 200 ]"]
ENTRYPOINT ["dwebbackup"]
CMD ["daemon"]
