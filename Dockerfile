# The image of mirrord. Why it is made so: docs/decisions/0026-container-image.md; how to run it:
# docs/how-to/run-in-a-container.md. Builds with BuildKit, podman and buildah 1.28 or later.
#
# For a release, name both images by digest: --build-arg BASE=docker.io/library/python:3.13-slim@sha256:...
ARG BASE=docker.io/library/python:3.13-slim
ARG UV=ghcr.io/astral-sh/uv:0.13.9

FROM ${UV} AS uv

FROM ${BASE} AS builder
# Extras of pyproject.toml, divided by spaces.
ARG EXTRAS="aws gcp distributed sigstore otel"
ENV UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_NO_PROGRESS=1 \
    VIRTUAL_ENV=/opt/mirrord
COPY --from=uv /uv /usr/local/bin/uv
WORKDIR /src

# The libraries first: they change less often than the code. Versions and hashes are those of the lock, wheels only,
# so that nothing is compiled and no code of a library runs while it is installed. A secret named `uv` is a
# configuration file of uv, for an index of your own; none is left in the image.
COPY pyproject.toml requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    test -s /etc/ssl/certs/ca-certificates.crt || { echo "the base image has no ca-certificates" >&2; exit 1; }; \
    set -- ; \
    for extra in ${EXTRAS}; do set -- "$@" --extra "${extra}"; done; \
    uv venv --quiet --no-project --python "$(command -v python3)" "${VIRTUAL_ENV}" \
    && uv pip install --no-build --require-hashes --constraint requirements.lock -r pyproject.toml "$@"

COPY README.md LICENSE requirements-build.lock ./
COPY grafana grafana
COPY mirrord mirrord
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=secret,id=uv,target=/etc/uv/uv.toml \
    uv build --quiet --wheel --require-hashes --build-constraints requirements-build.lock --out-dir /dist \
    && uv pip install --no-deps /dist/*.whl

COPY scripts/image_environment.py ./
RUN ["/opt/mirrord/bin/python", "-I", "image_environment.py", "/opt/mirrord"]

FROM ${BASE}
ARG BASE
ARG VERSION=""
ARG REVISION=""
ARG CREATED=""
LABEL org.opencontainers.image.title="mirrord" \
      org.opencontainers.image.description="Mirrors container images between registries: verified, planned, observable" \
      org.opencontainers.image.source="https://github.com/mirrord/mirrord" \
      org.opencontainers.image.documentation="https://github.com/mirrord/mirrord/blob/main/docs/how-to/run-in-a-container.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${BASE}"

# A user that owns nothing but the state. Installers of the base go, and nothing lets a process become root.
RUN echo 'mirrord:x:65532:65532:mirrord:/home/mirrord:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'mirrord:x:65532:' >> /etc/group \
    && install -d -m 0755 /etc/mirrord /home/mirrord \
    && install -d -m 0700 -o 65532 -g 65532 /var/lib/mirrord \
    && rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/*-packages/pip /usr/local/lib/python3*/*-packages/pip-* \
        /usr/local/lib/python3*/ensurepip \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=builder /opt/mirrord /opt/mirrord

# MIRRORD_API_TOKEN_FILE is the name of a file that somebody mounts, and no secret.
# hadolint ignore=DL3064
ENV HOME=/home/mirrord \
    PATH=/opt/mirrord/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/mirrord/bytecode \
    MIRRORD_CONFIG=/etc/mirrord/mirrord.yaml \
    MIRRORD_STATE=sqlite:///var/lib/mirrord/state.db \
    MIRRORD_LISTEN=:8080 \
    MIRRORD_API_TOKEN_FILE=/etc/mirrord/token/token \
    DOCKER_CONFIG=/etc/mirrord/docker
WORKDIR /home/mirrord
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["mirrord", "healthcheck"]
ENTRYPOINT ["mirrord"]
CMD ["sync"]
