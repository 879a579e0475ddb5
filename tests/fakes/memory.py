"""Registries in memory, behind the ports of the core, for tests on any event loop.

    memory = Memory()
    memory.add(SOURCE, make_image("app"), "1.0")
    trap = memory.hold("put_blob", at=TARGET)  # trap.reached, trap.open()
    memory.fail("blob", DeniedError("no"), at=SOURCE, nth=2)
    ...
    assert memory.count("put_blob", at="target.test") == 5

``log`` tells every operation that was begun, ``effects`` every change in the order in which it became visible.
A tag that pointed to incomplete content at any moment stands in ``violations``.

A host whose listing has digests tells them in bulk, as operations ``bulk_tags``: the truth, or what ``bulk`` holds for
a repository, be it old, missing or wrong. `Memory.freeze` makes it lag from now on.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from mirrord.errors import ContentMismatchError, MirrordError, MissingContentError, NotFoundError
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.manifest import AnyManifest, Index, parse_manifest
from mirrord.oci.mediatype import OCI_INDEX
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.attachment import fallback_tag
from mirrord.planning.listing import ListingTraits, TagEntry, TagHints, TagPage
from mirrord.ports.events import Event, EventSink
from mirrord.ports.registry import Places, ReferrersAnswer, RegistryGateway, RepositoryReader, RepositoryWriter, Slots
from mirrord.registry.throttle import ThrottleBook
from tests.fakes.images import Content, descriptor_json

WRITES = frozenset({"put_blob", "mount_blob", "put_manifest", "delete", "ensure_exists"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One step of one exchange: a port's method, or ``piece``, ``take`` and ``commit`` for parts of a body.

    ``ref`` is a tag or digest as text, ``detail`` the offset of a read, the origin of a mount or the digest of a tag.
    """

    verb: str
    location: Location
    ref: str = ""
    detail: str = ""


@dataclass(slots=True, kw_only=True)
class Trap:
    """Something that happens to the ``nth`` matching operation and the ``times - 1`` after it; None: to all after."""

    verb: str | None = None
    at: Location | str | None = None
    ref: str | None = None
    nth: int = 1
    times: int | None = 1
    error: Exception | None = None
    gate: anyio.Event | None = None
    do: Callable[[], object] | None = None
    reached: anyio.Event = field(default_factory=anyio.Event)
    hits: int = 0
    fired: int = 0

    def meets(self, operation: Operation) -> bool:
        """Count an operation that matches, and say whether this is its turn."""
        if self.verb not in {None, operation.verb} or self.ref not in {None, operation.ref}:
            return False
        if self.at not in {None, operation.location, operation.location.host}:
            return False
        self.hits += 1
        return self.hits >= self.nth and (self.times is None or self.fired < self.times)

    async def spring(self) -> None:
        """Do what the trap is there for."""
        self.fired += 1
        self.reached.set()
        if self.do is not None:
            self.do()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error

    def open(self) -> None:
        """Let everything through."""
        assert self.gate is not None
        self.gate.set()


@dataclass(slots=True, kw_only=True)
class Host:
    """How one registry behaves."""

    referrers_api: bool = True
    mounts: bool = True
    checks_content: bool = True
    takes_sparse: bool = False
    listing: ListingTraits = field(default_factory=lambda: ListingTraits(page_size=3))
    knows_api: bool | None = None


@dataclass(slots=True)
class Held:
    """What one repository holds."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    manifests: dict[Digest, AnyManifest] = field(default_factory=dict)
    tags: dict[Tag, Digest] = field(default_factory=dict)

    def missing(self, root: AnyManifest, absent: Collection[Digest] = ()) -> list[str]:
        """Return what ``root`` needs, at any depth, and the repository lacks."""
        found = [f"blob {b.digest}" for b in root.blobs() if b.digest not in self.blobs and not b.is_foreign]
        for child in root.children():
            if (manifest := self.manifests.get(child.digest)) is not None:
                found += self.missing(manifest, absent)
            elif child.digest not in absent:
                found.append(f"manifest {child.digest}")
        return found


class Memory(RegistryGateway):
    """Any number of registries. ``piece`` is how many bytes a body has in a piece; ``absent`` what sparse copies lack.

    With ``throttles`` every exchange but those of bodies takes a place at its registry, as the real ones do.
    """

    def __init__(self, *, piece: int = 64, throttles: ThrottleBook | None = None) -> None:
        self.piece = piece
        self.throttles = throttles
        self.held: dict[Location, Held] = {}
        self.hosts: dict[str, Host] = defaultdict(Host)
        self.traps: list[Trap] = []
        self.log: list[Operation] = []
        self.effects: list[Operation] = []
        self.violations: list[str] = []
        self.absent: set[Digest] = set()
        self.bulk: dict[Location, dict[Tag, Digest | None]] = {}
        self.spoil: dict[Digest, list[bytes]] = {}
        self.bodies: Counter[str] = Counter()
        self.most_bodies: Counter[str] = Counter()

    def reader(self, location: Location) -> RepositoryReader:
        """Return a reader."""
        return MemoryRepository(self, location)

    def writer(self, location: Location) -> RepositoryWriter:
        """Return a writer."""
        return MemoryRepository(self, location)

    async def repositories(self, host: str, prefix: str) -> AsyncIterator[Repository]:
        """Yield the repositories of a host."""
        await self.meet(Operation("repositories", Repository(host, prefix)))
        for location in sorted(location for location in self.held if isinstance(location, Repository)):
            if location.host == host and location.path.startswith(prefix):
                yield location

    def at(self, location: Location) -> Held:
        """Return what a repository holds; it is there from then on."""
        return self.held.setdefault(location, Held())

    def add(self, location: Location, content: Content, *tags: str) -> Content:
        """Put content into a repository, as it was before the test."""
        held = self.at(location)
        held.blobs |= content.blobs
        held.manifests |= content.manifests
        held.tags |= {Tag.parse(tag): content.digest for tag in tags}
        subject = content.root.subject
        if subject is not None and not self.hosts[location.host].referrers_api:
            add_to_fallback(held, content.root)
        return content

    def tell_in_bulk(self, host: str, page_size: int = 100) -> None:
        """Let a host tell the digests of many tags at once."""
        self.hosts[host].listing = ListingTraits(page_size=page_size, has_digests=True)

    def freeze(self, location: Location) -> dict[Tag, Digest | None]:
        """Let the bulk listing of a repository stay as it is now; return it, for a test to change."""
        self.bulk[location] = dict(self.at(location).tags)
        return self.bulk[location]

    def fail(
        self,
        verb: str | None,
        error: Exception,
        *,
        at: Location | str | None = None,
        ref: object = None,
        nth: int = 1,
        times: int | None = 1,
    ) -> Trap:
        """Let operations raise ``error``."""
        ref = None if ref is None else str(ref)
        return self._set(Trap(verb=verb, at=at, ref=ref, nth=nth, times=times, error=error))

    def hold(
        self,
        verb: str | None,
        *,
        at: Location | str | None = None,
        ref: object = None,
        nth: int = 1,
        times: int | None = None,
    ) -> Trap:
        """Let operations wait until the trap is opened."""
        ref = None if ref is None else str(ref)
        return self._set(Trap(verb=verb, at=at, ref=ref, nth=nth, times=times, gate=anyio.Event()))

    def when(
        self,
        verb: str | None,
        do: Callable[[], object],
        *,
        at: Location | str | None = None,
        ref: object = None,
        nth: int = 1,
    ) -> Trap:
        """Run ``do`` once, before an operation."""
        return self._set(Trap(verb=verb, at=at, ref=None if ref is None else str(ref), nth=nth, do=do))

    def _set(self, trap: Trap) -> Trap:
        self.traps.append(trap)
        return trap

    def count(self, *verbs: str, at: Location | str | None = None, ref: object = None) -> int:
        """Return how many operations of these kinds were begun."""
        return sum(
            operation.verb in verbs
            and at in {None, operation.location, operation.location.host}
            and (ref is None or operation.ref == str(ref))
            for operation in self.log
        )

    def broken_tags(self, location: Location) -> list[str]:
        """Return the tags of a repository that point to incomplete content, with what is missing."""
        held = self.at(location)
        return [
            f"{location}:{tag} lacks {missing}"
            for tag, digest in held.tags.items()
            for missing in held.missing(held.manifests[digest], self.absent)
        ]

    async def meet(self, operation: Operation) -> None:
        """Note an operation, and spring the traps that wait for it."""
        self.log.append(operation)
        await anyio.lowlevel.checkpoint()
        for trap in [trap for trap in self.traps if trap.meets(operation)]:
            await trap.spring()

    def changed(self, operation: Operation) -> None:
        """Note a change, and what it broke."""
        self.effects.append(operation)
        if operation.verb == "tag":
            self.violations += self.broken_tags(operation.location)


class MemoryRepository(RepositoryReader, RepositoryWriter):
    """Reads and writes one repository in memory."""

    def __init__(self, memory: Memory, location: Location) -> None:
        self._memory = memory
        self._location = location
        self._host = memory.hosts[location.host]

    @property
    def location(self) -> Location:
        """What is read or written."""
        return self._location

    @property
    def listing(self) -> ListingTraits:
        """What the host says of its listings."""
        return self._host.listing

    @property
    def has_referrers_api(self) -> bool | None:
        """What was learned so far."""
        return self._host.knows_api

    async def list_tags(self) -> AsyncIterator[TagPage]:
        """Yield the tags, a few in a page."""
        await self._ask("list_tags")
        if self._location not in self._memory.held:
            raise NotFoundError(f"no repository {self._location}")
        tags = sorted(self._held.tags)
        size = self._host.listing.page_size
        for start in range(0, max(1, len(tags)), size):
            if start:
                await self._ask("list_tags")
            yield TagPage(entries=tuple(TagEntry(tag=tag) for tag in tags[start : start + size]))

    async def bulk_tags(self) -> AsyncIterator[TagPage]:
        """Yield tags with digests where the host tells them; a refusal makes it a plain listing."""
        told = None if not self.listing.has_digests else await self._told(None)
        if told is None:
            async for page in self.list_tags():
                yield page
            return
        yield TagPage(entries=told.entries, may_lack=not self.listing.is_whole)

    async def tag_hints(self, most_pages: int) -> TagHints:
        """Return what the host tells in bulk; nothing if it refuses."""
        told = await self._told(most_pages) if self.listing.has_digests else None
        return told or TagHints()

    async def _told(self, most_pages: int | None) -> TagHints | None:
        """Return the pages of a bulk listing, all of them or the first ones; None if it is refused."""
        size = self._host.listing.page_size
        entries: list[TagEntry] = []
        try:
            await self._ask("bulk_tags")
            if self._location not in self._memory.held and self._location not in self._memory.bulk:
                raise NotFoundError(f"no repository {self._location}")
            tags = sorted(self._memory.bulk.get(self._location, self._held.tags).items())
            for start in range(0, max(1, len(tags)), size):
                if start:
                    await self._ask("bulk_tags")
                entries += [TagEntry(tag=tag, digest=digest) for tag, digest in tags[start : start + size]]
                if most_pages is not None and start + size >= most_pages * size and start + size < len(tags):
                    return TagHints(entries=tuple(entries), whole=False)
        except MirrordError:
            return None
        return TagHints(entries=tuple(entries), whole=True)

    async def head(self, ref: Tag | Digest) -> Descriptor | None:
        """Return what stands under a name."""
        await self._ask("head", str(ref))
        digest = self._held.tags.get(ref) if isinstance(ref, Tag) else ref
        manifest = self._held.manifests.get(digest) if digest is not None else None
        return manifest.descriptor if manifest is not None else None

    async def manifest(self, digest: Digest) -> AnyManifest:
        """Return a manifest."""
        await self._ask("manifest", str(digest))
        if digest not in self._held.manifests:
            raise NotFoundError(f"no manifest {self._location}@{digest}")
        return self._held.manifests[digest]

    @asynccontextmanager
    async def blob(self, blob: Descriptor, *, offset: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a blob; what `Memory.spoil` has for it is served first, once each."""
        await self._memory.meet(Operation("blob", self._location, str(blob.digest), str(offset)))
        spoiled = self._memory.spoil.get(blob.digest)
        content = spoiled.pop(0) if spoiled else self._held.blobs.get(blob.digest)
        if content is None:
            raise NotFoundError(f"no blob {self._location}@{blob.digest}")
        with self._body():
            async with aclosing(self._pieces(blob, content, offset)) as pieces:
                yield pieces

    async def _pieces(self, blob: Descriptor, content: bytes, offset: int) -> AsyncGenerator[bytes, None]:
        for start in range(offset, len(content), self._memory.piece):
            await self._memory.meet(Operation("piece", self._location, str(blob.digest), str(start)))
            yield content[start : start + self._memory.piece]

    async def referrers(self, subject: Digest, *, fallback: bool = True) -> ReferrersAnswer:
        """Return what refers to ``subject``, by what the host has for that."""
        if not fallback and self._host.knows_api is False:
            return ReferrersAnswer(descriptors=(), from_api=False)
        await self._ask("referrers", str(subject))
        self._host.knows_api = self._host.referrers_api
        if self._host.referrers_api:
            found = [m for m in self._held.manifests.values() if m.subject is not None and m.subject.digest == subject]
            return ReferrersAnswer(descriptors=tuple(m.descriptor for m in found), from_api=True)
        digest = self._held.tags.get(fallback_tag(subject)) if fallback else None
        index = self._held.manifests[digest] if digest is not None else None
        return ReferrersAnswer(descriptors=index.children() if isinstance(index, Index) else (), from_api=False)

    async def ensure_exists(self) -> None:
        """Make the repository."""
        await self._ask("ensure_exists")
        self._memory.at(self._location)

    async def has_blob(self, blob: Descriptor) -> bool:
        """Say whether the blob is there."""
        await self._ask("has_blob", str(blob.digest))
        content = self._held.blobs.get(blob.digest)
        return content is not None and len(content) == blob.size

    async def mount_blob(self, blob: Descriptor, origin: Repository) -> bool:
        """Make a blob of another repository available, where the host does that."""
        await self._ask("mount_blob", str(blob.digest), str(origin))
        content = self._memory.at(origin).blobs.get(blob.digest)
        if content is None or not self._host.mounts:
            return False
        self._held.blobs[blob.digest] = content
        self._memory.changed(Operation("mount", self._location, str(blob.digest), str(origin)))
        return True

    async def put_blob(self, blob: Descriptor, body: AsyncIterator[bytes]) -> None:
        """Take a blob; it is there once all of it came and has its digest."""
        await self._memory.meet(Operation("put_blob", self._location, str(blob.digest)))
        received = bytearray()
        with self._body():
            async for piece in body:
                await self._memory.meet(Operation("take", self._location, str(blob.digest), str(len(received))))
                received += piece
            await self._memory.meet(Operation("commit", self._location, str(blob.digest)))
        content = bytes(received)
        if Digest.of(content, blob.digest.algorithm) != blob.digest:
            raise ContentMismatchError(f"{self._location} got other bytes than those of {blob.digest}")
        self._held.blobs[blob.digest] = content
        self._memory.changed(Operation("blob", self._location, str(blob.digest)))

    async def put_manifest(
        self, manifest: AnyManifest, tag: Tag | None = None, *, absent: frozenset[Digest] = frozenset()
    ) -> None:
        """Take a manifest; a host that checks content refuses one that is not complete."""
        digest = manifest.descriptor.digest
        await self._ask("put_manifest", str(tag or digest), str(digest))
        if self._host.checks_content:
            spared = self._memory.absent if self._host.takes_sparse else ()  # what ``absent`` says is not sent
            missing = self._held.missing(manifest, spared)
            if missing:
                raise MissingContentError(f"{self._location} lacks {missing[0]}")
        self._held.manifests[digest] = manifest
        if manifest.subject is not None and not self._host.referrers_api:
            add_to_fallback(self._held, manifest)
        self._memory.changed(Operation("manifest", self._location, str(digest)))
        if tag is not None:
            self._held.tags[tag] = digest
            self._memory.changed(Operation("tag", self._location, str(tag), str(digest)))

    async def delete(self, ref: Tag | Digest) -> None:
        """Delete a tag, or a manifest with its tags."""
        await self._ask("delete", str(ref))
        held = self._held
        held.tags = {tag: digest for tag, digest in held.tags.items() if ref not in {tag, digest}}
        if isinstance(ref, Digest):
            held.manifests.pop(ref, None)

    @property
    def _held(self) -> Held:
        return self._memory.at(self._location)

    async def _ask(self, verb: str, ref: str = "", detail: str = "") -> None:
        """Make an exchange that takes its own place at the registry."""
        throttles = self._memory.throttles
        throttle = throttles.throttle(self._location.host) if throttles is not None else None
        operation = Operation(verb, self._location, ref, detail)
        if throttle is None:
            await self._memory.meet(operation)
            return
        async with throttle.place():
            await self._memory.meet(operation)

    @contextmanager
    def _body(self) -> Iterator[None]:
        """Count a body in for as long as it flows."""
        memory, host = self._memory, self._location.host
        memory.bodies[host] += 1
        memory.most_bodies[host] = max(memory.most_bodies[host], memory.bodies[host])
        try:
            yield
        finally:
            memory.bodies[host] -= 1


def add_to_fallback(held: Held, manifest: AnyManifest) -> None:
    """Add a manifest to the fallback tag of its subject."""
    assert manifest.subject is not None
    tag = fallback_tag(manifest.subject.digest)
    known = held.manifests.get(held.tags[tag]) if tag in held.tags else None
    children = list(known.children()) if known is not None else []
    if any(child.digest == manifest.descriptor.digest for child in children):
        return
    entries = [descriptor_json(descriptor) for descriptor in (*children, manifest.descriptor)]
    fields = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    index = parse_manifest(json.dumps(fields).encode())
    held.manifests[index.descriptor.digest] = index
    held.tags[tag] = index.descriptor.digest


class FreePlaces(Places):
    """Places that nobody else wants. ``done`` tells who gave theirs back, in order; the source is ""."""

    def __init__(self, targets: Collection[str]) -> None:
        self.done: list[str] = []
        self._targets = frozenset(targets)

    @property
    def targets(self) -> frozenset[str]:
        """The targets that are not left out."""
        return self._targets

    def source_done(self) -> None:
        """Note it."""
        self.done.append("")

    def target_done(self, host: str) -> None:
        """Note it."""
        self.done.append(host)


class FreeSlots(Slots):
    """Places for everybody. ``busy`` tells how many times a host is left out; ``held`` are all places ever held."""

    def __init__(self, busy: Mapping[str, int] | None = None) -> None:
        self.busy = dict(busy or {})
        self.held: list[FreePlaces] = []

    @asynccontextmanager
    async def hold(self, *, source: str, targets: Collection[str], patience_s: float) -> AsyncIterator[Places]:
        """Hold places; never leave all targets out."""
        there = set(targets)
        for host in sorted(targets):
            if self.busy.get(host, 0) and len(there) > 1:
                self.busy[host] -= 1
                there.discard(host)
        self.held.append(FreePlaces(there))
        yield self.held[-1]


class Recorder(EventSink):
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)
