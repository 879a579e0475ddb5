"""Deterministic content for sample images: the same bytes on every machine, in every run."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping


def noise(seed: str, size: int) -> bytes:
    """Return ``size`` bytes that look random and do not compress; the same for the same seed."""
    return hashlib.shake_256(seed.encode()).digest(size)


def tar(files: Mapping[str, bytes]) -> bytes:
    """Return a tar archive of ``files`` by name, without times or owners."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as writer:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            writer.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def packed(archive: bytes) -> bytes:
    """Return ``archive`` compressed with gzip, without a time."""
    return gzip.compress(archive, mtime=0)


def json_bytes(value: object) -> bytes:
    """Return ``value`` as JSON, as a build tool would write it."""
    return json.dumps(value, indent=2).encode()
