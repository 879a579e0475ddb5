"""What the source's tags point to: asked once a run for each tag, whichever rule asks and how often."""

from __future__ import annotations

import anyio

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.ports.registry import RepositoryReader

_Name = tuple[Location, Tag | Digest]


class Resolutions:
    """Resolves tags and remembers the answers for the run, so that a tag which moves meanwhile is one digest to it.

    A failure is not remembered: who asks next asks again.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._known: dict[_Name, Descriptor | None] = {}
        self._asking: dict[_Name, anyio.Event] = {}

    def knows(self, location: Location, ref: Tag | Digest) -> bool:
        """Say whether the source was asked for ``ref`` in this run."""
        return (location, ref) in self._known

    async def head(self, reader: RepositoryReader, ref: Tag | Digest) -> Descriptor | None:
        """Return what ``ref`` points to at the source of ``reader``, None if there is none of that name.

        Raises:
            RegistryError: the source could not be asked.
        """
        name = (reader.location, ref)
        while name not in self._known:
            if (asking := self._asking.get(name)) is not None:
                await asking.wait()
                continue
            asking = self._asking[name] = anyio.Event()
            try:
                self._known[name] = await reader.head(ref)
            finally:
                del self._asking[name]
                asking.set()
        return self._known[name]
