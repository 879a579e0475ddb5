"""A story that makes every kind of change to a layout, to be broken off anywhere and told again from its start."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio

from mirrord.layout import LayoutWriter
from mirrord.layout.disk import Disk
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.reference import LayoutDirectory, Tag
from tests.contract.images import BuiltImage, build_artifact, build_image, build_index, stream
from tests.unit.layout.layouts import TestDisk

AMD64, ARM64 = build_image("amd64"), build_image("arm64", architecture="arm64")
INDEX = build_index(AMD64.manifest, ARM64.manifest)
SIGNATURE = build_artifact(INDEX.descriptor)
OLD, NEW = build_image("old"), build_image("new")
END = {
    "multi": str(INDEX.descriptor.digest),
    "latest": str(NEW.digest),
    str(SIGNATURE.digest): str(SIGNATURE.digest),
}


async def tell(layout: Path, disk: Disk | None = None) -> list[Descriptor]:
    """Write images, an index and a signature, move a tag and delete; return the blobs that had to be sent."""
    writer = LayoutWriter(LayoutDirectory(str(layout)), disk=disk, lock_patience_s=0)
    sent: list[Descriptor] = []
    await writer.ensure_exists()
    for image in (AMD64, ARM64):
        await _write(writer, image, None, sent)
    await writer.put_manifest(INDEX)
    await _write(writer, SIGNATURE, None, sent)
    await writer.put_manifest(INDEX, Tag("multi"))
    if await writer.head(Tag("latest")) != NEW.manifest.descriptor:
        await _write(writer, OLD, "latest", sent)
        await _write(writer, NEW, "latest", sent)
    await writer.put_manifest(NEW.manifest, Tag("passing"))
    await writer.delete(Tag("passing"))
    await writer.delete(OLD.digest)
    return sent


async def _write(writer: LayoutWriter, image: BuiltImage, tag: str | None, sent: list[Descriptor]) -> None:
    for blob in image.manifest.blobs():
        if not await writer.has_blob(blob):
            await writer.put_blob(blob, stream(image.contents[blob.digest]))
            sent.append(blob)
    await writer.put_manifest(image.manifest, Tag(tag) if tag else None)


class _KillingDisk(TestDisk):
    """Ends the process without a goodbye, before the call of a given number."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def _called(self, what: str, name: str, fd: int) -> None:
        if len(self.calls) == self._number:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._called(what, name, fd)


if __name__ == "__main__":
    anyio.run(tell, Path(sys.argv[1]), _KillingDisk(int(sys.argv[2])))
