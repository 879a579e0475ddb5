"""When an image was created: as its annotations or its configuration say."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from mirrord.errors import ContentMismatchError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Manifest
from mirrord.oci.mediatype import IMAGE_CONFIGS
from mirrord.planning.graph import MAX_DEPTH
from mirrord.ports.registry import RepositoryReader, Slots

MAX_CONFIG = 4 * 1024 * 1024
ANNOTATION = "org.opencontainers.image.created"


async def creation_time(reader: RepositoryReader, slots: Slots, digest: Digest) -> datetime | None:
    """Return when the image was created (UTC), or None if nothing says so.

    Of an index it is the time of its annotation, else of its first image. Costs up to two manifests and a config.
    Source: image-spec annotations.md and config.md, property ``created``.
    """
    for _ in range(MAX_DEPTH):
        manifest: AnyManifest = await reader.manifest(digest)
        if (time := parse_time(manifest.annotations.get(ANNOTATION))) is not None:
            return time
        if isinstance(manifest, Manifest):
            return await _time_of_config(reader, slots, manifest.config)
        children = [c for c in manifest.children() if c.platform is None or not c.platform.is_unknown]
        if not children:
            return None
        digest = children[0].digest
    return None  # nested deeper than what is copied


async def _time_of_config(reader: RepositoryReader, slots: Slots, config: Descriptor) -> datetime | None:
    if config.media_type not in IMAGE_CONFIGS:
        return None
    created = (await read_config(reader, slots, config)).get("created")
    return parse_time(created) if isinstance(created, str) else None


async def read_config(reader: RepositoryReader, slots: Slots, config: Descriptor) -> dict[str, object]:
    """Return an image's configuration, verified; an unusable one is empty."""
    if config.size > MAX_CONFIG:
        return {}
    verifier = config.digest.verifier()
    content = bytearray()
    async with (
        slots.hold(source=reader.location.host, targets=(), patience_s=0),
        reader.blob(config) as pieces,
    ):
        async for piece in pieces:
            verifier.update(piece)
            content += piece
    if not verifier.matches():
        raise ContentMismatchError(f"the config {reader.location}@{config.digest} came with other bytes")
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def parse_time(text: str | None) -> datetime | None:
    """Return an RFC 3339 time in UTC; None if the text is none."""
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # in UTC it may lie before the first year, or after the last
        return None
