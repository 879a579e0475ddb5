"""Looks at single tags: what a listing told where that is enough, else what the registry itself says."""

from __future__ import annotations

from mirrord.errors import MirrordError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Tag
from mirrord.planning.observation import TargetFact
from mirrord.ports.registry import RepositoryReader, RepositoryWriter
from mirrord.sync.context import Context
from mirrord.sync.remembered import Remembered
from mirrord.transfer.unit import describe


async def ask_source(context: Context, reader: RepositoryReader, ref: Tag | Digest) -> Descriptor | None:
    """Return what the source itself says that ``ref`` points to, the same for a whole run; None if there is none.

    Raises:
        RegistryError: it could not be asked.
    """
    head = await context.resolutions.head(reader, ref)
    if isinstance(ref, Tag):
        context.hints.check(reader.location, ref, head, context.events)
    return head


async def ask_target(context: Context, writer: RepositoryWriter, ref: Tag | Digest) -> Descriptor | None:
    """Return what a target itself holds under ``ref``; None if nothing.

    Raises:
        MirrordError: it could not be asked.
    """
    head = await writer.head(ref)
    if isinstance(ref, Tag):
        context.hints.check(writer.location, ref, head, context.events)
    return head


def source_hint(context: Context, location: Location, tag: Tag) -> Digest | None:
    """Return the digest that a listing of the source told; None where the source itself is to be asked, or was."""
    if context.resolutions.knows(location, tag):
        return None
    return context.hints.believed(location, tag, context.clock)


class TargetWatch:
    """What one target holds, for one rule and source; asked for once a name."""

    def __init__(self, context: Context, location: Location, remembered: Remembered) -> None:
        """Ask nothing yet."""
        self.location = location
        self._context = context
        self._remembered = remembered
        self._writer = context.gateway.writer(location)
        self._asked: dict[Tag | Digest, TargetFact] = {}
        self._believed: dict[tuple[Tag | Digest, Digest], TargetFact] = {}

    async def gather(self, count: int) -> None:
        """Learn what the target holds at once, if that costs fewer requests than ``count`` looks."""
        await self._context.hints.gather(self._writer, count)

    def will_ask(self, source_tag: Tag | None, tag: Tag) -> bool:
        """Say whether the target will have to be asked for a tag if it did not move at the source."""
        return self._is_open(source_tag, tag) or not self._remembered.served(self.location, source_tag, tag)

    async def fact(self, source_tag: Tag | None, tag: Tag | None, wanted: Digest) -> TargetFact:
        """Return what the target holds under ``tag``, or under the digest itself where that is None.

        It is asked, unless a listing told that it is ``wanted``, or it was shown to be not long ago. What was believed
        once is believed for as long as the rule is looked at.
        """
        ref = tag or wanted
        if (known := self._believed.get((ref, wanted)) or self._asked.get(ref)) is not None:
            return known
        if tag is not None and self._context.hints.believed(self.location, tag, self._context.clock) == wanted:
            return self._believe(TargetFact(target=self.location, tag=tag, digest=wanted), wanted)
        if self._is_proven(source_tag, tag, wanted):
            return self._believe(TargetFact(target=self.location, tag=tag, digest=wanted, seen=False), wanted)
        try:
            head = await ask_target(self._context, self._writer, ref)
        except MirrordError as exc:
            fact = TargetFact(target=self.location, tag=tag, problem=describe(exc))
        else:
            fact = TargetFact(target=self.location, tag=tag, digest=head.digest if head is not None else None)
        return self._asked.setdefault(ref, fact)

    def _believe(self, fact: TargetFact, wanted: Digest) -> TargetFact:
        return self._believed.setdefault((fact.tag or wanted, wanted), fact)

    def _is_proven(self, source_tag: Tag | None, tag: Tag | None, wanted: Digest) -> bool:
        """Say whether memory is enough; a listing that was made anyway and tells something else contradicts it."""
        if not self._remembered.proves(self.location, source_tag, tag, wanted):
            return False
        if tag is None:
            return True
        told = self._context.hints.told(self.location, tag)
        return told in {None, wanted} and not self._is_open(source_tag, tag)

    def _is_open(self, source_tag: Tag | None, tag: Tag) -> bool:
        """Say whether a tag is asked for in any case: in its turn, where a listing may have stood for a proof."""
        hints = self._context.hints
        in_turn = self._writer.listing.has_digests and not self._remembered.is_immutable(source_tag, tag)
        return hints.is_open(self.location, tag, in_turn=in_turn, clock=self._context.clock)
