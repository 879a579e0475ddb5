"""The implementations of `RepositoryReader` and `RepositoryWriter` that the contract holds for.

To add one: write an async context manager that takes an empty directory and yields an `OpenedRepository`, and name
it in `IMPLEMENTATIONS`, with what it cannot do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from mirrord.layout import LayoutReader, LayoutWriter
from mirrord.oci.reference import LayoutDirectory
from mirrord.ports.registry import RepositoryReader, RepositoryWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRepository:
    """Reader and writer of one repository that does not exist yet, and a reader of one that never does."""

    reader: RepositoryReader
    writer: RepositoryWriter
    absent: RepositoryReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Implementation:
    """One implementation, and what its store can do: the adapter cannot do more.

    Attributes:
        name: the id in test names.
        open: yields a new repository; its argument is an empty directory for whatever it needs.
        backends: the event loops that it runs on.
        tools: the programs that it needs; the tests are skipped without them, or fail in CI.
        deletes_tags: whether a tag can be deleted without its manifest.
        deletes_manifests: whether a manifest can be deleted by digest.
        refuses_missing_blobs: whether a manifest is refused while a blob of it is missing.
        refuses_missing_children: whether an index is refused while a child of it is missing.
        referrers_from_api: what `ReferrersAnswer.from_api` says there.
    """

    name: str
    open: Callable[[Path], AbstractAsyncContextManager[OpenedRepository]]
    backends: tuple[str, ...] = ("asyncio",)
    tools: tuple[str, ...] = ()
    deletes_tags: bool = True
    deletes_manifests: bool = True
    refuses_missing_blobs: bool = True
    refuses_missing_children: bool = True
    referrers_from_api: bool = True


@asynccontextmanager
async def open_layout(directory: Path) -> AsyncIterator[OpenedRepository]:
    """Yield an image layout directory."""
    location = LayoutDirectory(str(directory / "layout"))
    yield OpenedRepository(
        reader=LayoutReader(location),
        writer=LayoutWriter(location),
        absent=LayoutReader(LayoutDirectory(str(directory / "absent"))),
    )


IMPLEMENTATIONS: tuple[Implementation, ...] = (
    Implementation(name="layout", open=open_layout, backends=("asyncio", "trio")),
)
