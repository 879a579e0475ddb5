"""The side of the state store that runs see: questions first wait for what was kept, and a failure knows nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, Table, select

from mirrord.errors import MirrordError, StateError
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.memory import ImageKey, ImageMemory, SeenDigest
from mirrord.ports.clock import Clock
from mirrord.ports.memory import MOST_SEEN, Memory
from mirrord.state.database import Statements
from mirrord.state.journal import Journal
from mirrord.state.pending import Change
from mirrord.state.rows import image_key, image_memory, image_values
from mirrord.state.tables import CREATED, HOLDERS, IMAGES, OWNED, SEEN

T = TypeVar("T")

_NAMES_AT_ONCE = 500
"""Names in one question; SQLite takes some thousands."""

HOLDERS_TOLD = 8
"""Repositories that are told of one blob: a mount is tried from a few only."""


class SqlMemory(Memory):
    """Remembers in a database."""

    def __init__(self, database: Statements, journal: Journal, clock: Clock) -> None:
        """Read from ``database``, and write through ``journal``."""
        self._database = database
        self._journal = journal
        self._clock = clock

    async def images(self, rule: str, source: Location) -> Mapping[ImageKey, ImageMemory]:
        """Return what is remembered of a rule's images of one source."""

        def work(connection: Connection) -> dict[ImageKey, ImageMemory]:
            rows = connection.execute(select(IMAGES).where(IMAGES.c.rule == rule, IMAGES.c.source == str(source)))
            found = (image_memory(row) for row in rows)
            return {image.key: image for image in found if image is not None}

        return await self._ask(IMAGES, work, {})

    def keep_images(self, rule: str, source: Location, images: Iterable[ImageMemory]) -> None:
        """Remember images, each in place of what was remembered of it."""
        for image in images:
            self._journal.add(Change(IMAGES, image_key(rule, source, image.key), image_values(image)))

    def drop_images(self, rule: str, source: Location, keys: Iterable[ImageKey]) -> None:
        """Forget images that a rule does not take any more."""
        for key in keys:
            self._journal.add(Change(IMAGES, image_key(rule, source, key), None))

    def drop_sources(self, rule: str, left: Collection[Location]) -> None:
        """Forget all images of a rule whose source is not among ``left``."""
        self._journal.leave_sources(rule, frozenset(left))

    def own(self, rule: str, target: Location, tags: Iterable[Tag], at: datetime) -> None:
        """Remember that a rule created tags on a target."""
        for tag in tags:
            key = {"rule": rule, "target": str(target), "tag": str(tag)}
            self._journal.add(Change(OWNED, key, {"since": at}, frozenset({"since"})))

    async def seen(self, source: Location, tags: Collection[str]) -> Mapping[str, Sequence[SeenDigest]]:
        """Return the digests that tags of a source had, the last `MOST_SEEN` of each, oldest first."""

        def work(connection: Connection) -> dict[str, list[SeenDigest]]:
            found: dict[str, list[SeenDigest]] = {}
            for names in _chunks(tags):
                wanted = select(SEEN).where(SEEN.c.source == str(source), SEEN.c.tag.in_(names))
                for row in connection.execute(wanted.order_by(SEEN.c.tag, SEEN.c.first_seen)):
                    if (digest := _digest(row.digest)) is not None and row.first_seen is not None:
                        seen = SeenDigest(tag=row.tag, digest=digest, first_seen=row.first_seen)
                        found.setdefault(row.tag, []).append(seen)
            return {tag: seen[-MOST_SEEN:] for tag, seen in found.items()}

        return await self._ask(SEEN, work, {})

    def keep_seen(self, source: Location, seen: Iterable[SeenDigest]) -> None:
        """Remember that a tag was seen with a digest; the moment of the first time stays."""
        for one in seen:
            key = {"source": str(source), "tag": one.tag, "digest": str(one.digest)}
            self._journal.add(Change(SEEN, key, {"first_seen": one.first_seen}, frozenset({"first_seen"})))

    async def created(self, digests: Collection[Digest]) -> Mapping[Digest, datetime | None]:
        """Return when images were created, as they say; None: they do not say."""

        def work(connection: Connection) -> dict[Digest, datetime | None]:
            found: dict[Digest, datetime | None] = {}
            for names in _chunks([str(digest) for digest in digests]):
                for row in connection.execute(select(CREATED).where(CREATED.c.digest.in_(names))):
                    if (digest := _digest(row.digest)) is not None:
                        found[digest] = row.created
            return found

        return await self._ask(CREATED, work, {})

    def keep_created(self, digest: Digest, created: datetime | None) -> None:
        """Remember what an image says of its creation."""
        self._journal.add(Change(CREATED, {"digest": str(digest)}, {"created": created, "kept_at": self._clock.now()}))

    async def holders(self, host: str, digests: Collection[Digest]) -> Mapping[Digest, Sequence[Repository]]:
        """Return repositories of a registry that held blobs, those seen last first."""

        def work(connection: Connection) -> dict[Digest, list[Repository]]:
            found: dict[Digest, list[Repository]] = {}
            for names in _chunks([str(digest) for digest in digests]):
                wanted = select(HOLDERS).where(HOLDERS.c.host == host, HOLDERS.c.digest.in_(names))
                for row in connection.execute(wanted.order_by(HOLDERS.c.digest, HOLDERS.c.at.desc(), HOLDERS.c.path)):
                    digest = _digest(row.digest)
                    if digest is not None and len(known := found.setdefault(digest, [])) < HOLDERS_TOLD:
                        known.append(Repository(host, row.path))
            return found

        return await self._ask(HOLDERS, work, {})

    def keep_holder(self, repository: Repository, digest: Digest, at: datetime) -> None:
        """Remember that a repository holds a blob."""
        self._journal.add(Change(HOLDERS, _holder(repository, digest), {"at": at}))

    def drop_holder(self, repository: Repository, digest: Digest) -> None:
        """Forget that a repository holds a blob."""
        self._journal.add(Change(HOLDERS, _holder(repository, digest), None))

    async def flush(self) -> None:
        """Return when all that was kept so far is written, or could not be."""
        await self._journal.flush()

    async def _ask(self, table: Table, work: Callable[[Connection], T], otherwise: T) -> T:
        """Return what is found, or ``otherwise``: also where what is found may be older than what waits to be kept."""
        if not await self._journal.settle(table):
            return otherwise
        try:
            return await self._database.read(work)
        except StateError:
            return otherwise


def _holder(repository: Repository, digest: Digest) -> dict[str, object]:
    return {"host": repository.host, "digest": str(digest), "path": repository.path}


def _chunks(names: Collection[str]) -> Iterable[list[str]]:
    ordered = list(names)
    return (ordered[start : start + _NAMES_AT_ONCE] for start in range(0, len(ordered), _NAMES_AT_ONCE))


def _digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except (MirrordError, TypeError, AttributeError):
        return None
