#!/usr/bin/env bash
# Build the container image with what is there: docker, podman or buildah.
# IMAGE is its name and tag, IMAGE_ARGS more arguments of the build, `--build-arg BASE=...@sha256:...` for instance.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' mirrord/__init__.py)
image=${IMAGE:-ghcr.io/mirrord/mirrord:$version}
revision=$(git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || true)
# The time of the commit, not of the build: one commit makes one image.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)

arguments=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision" --build-arg "CREATED=$created" --tag "$image")
# More arguments, divided by spaces.
read -ra more <<<"${IMAGE_ARGS:-}"
if command -v docker >/dev/null; then
    build=(docker build --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH")
elif command -v podman >/dev/null; then
    # HEALTHCHECK is no part of OCI's own format.
    build=(podman build --format docker --timestamp "$SOURCE_DATE_EPOCH")
elif command -v buildah >/dev/null; then
    build=(buildah build --format docker --timestamp "$SOURCE_DATE_EPOCH")
else
    echo "docker, podman or buildah is needed to build an image, and none is on PATH" >&2
    exit 3
fi
echo "building $image with ${build[0]}" >&2
exec "${build[@]}" "${arguments[@]}" "${more[@]}" .
