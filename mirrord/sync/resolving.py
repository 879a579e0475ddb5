"""What the source's tags point to: asked once a run for each tag, whichever rule asks and how often."""

from __future__ import annotations

from collections import defaultdict

import anyio

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.ports.registry import RepositoryReader

_Name = tuple[Location, Tag | Digest]
_Answers = dict[Tag | Digest, Descriptor | None]


class Resolutions:
    """Resolves tags and remembers the answers for the run, so that a tag which moves meanwhile is one digest to it.

    A failure is not remembered: who asks next asks again.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._known: dict[Location, _Answers] = defaultdict(dict)
        self._asking: dict[_Name, anyio.Event] = {}

    def forget(self, location: Location) -> None:
        """Forget what the names of a repository point to that was written to, also answers under way."""
        self._known.pop(location, None)

    def knows(self, location: Location, ref: Tag | Digest) -> bool:
        """Say whether the source was asked for ``ref`` in this run."""
        return ref in self._known.get(location, {})

    async def head(self, reader: RepositoryReader, ref: Tag | Digest) -> Descriptor | None:
        """Return what ``ref`` points to at the source of ``reader``, None if there is none of that name.

        Raises:
            RegistryError: the source could not be asked.
        """
        name = (reader.location, ref)
        while ref not in self._known[reader.location]:
            if (asking := self._asking.get(name)) is not None:
                await asking.wait()
                continue
            asking = self._asking[name] = anyio.Event()
            answers = self._known[reader.location]  # if it is forgotten meanwhile, so is this answer
            try:
                answers[ref] = await reader.head(ref)
            finally:
                del self._asking[name]
                asking.set()
            return answers[ref]
        return self._known[reader.location][ref]
