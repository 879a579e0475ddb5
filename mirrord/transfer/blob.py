"""Brings a blob to every target that needs it: held already, mounted, or uploaded from one source read.

Over a whole run each (target host, digest) is uploaded once; other repositories of the host mount it. Claims are made
for all targets of a blob at once and before the first await, so that two images cannot split a fan-out between them.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import anyio

from mirrord.errors import (
    ContentMismatchError,
    LeaderFailedError,
    NotFoundError,
    RegistryError,
    TransferError,
    UnavailableError,
)
from mirrord.oci.descriptor import Descriptor
from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository
from mirrord.planning.report import BlobOutcome
from mirrord.ports.clock import Clock
from mirrord.ports.events import BlobFinished, BlobProgress, BlobSettled, BlobStarted, EventSink, IntegrityFailed
from mirrord.ports.memory import Memory, NoMemory
from mirrord.ports.registry import Places, RepositoryReader, RepositoryWriter, Slots
from mirrord.transfer.asked import PATIENCE_S, Asked
from mirrord.transfer.once import KeyedOnce
from mirrord.transfer.origins import Origins
from mirrord.transfer.source import backoff_s, resumed
from mirrord.transfer.tee import Sink, SourceFailedError, SpentLagError, tee
from mirrord.transfer.window import Windows

TRIES = 4
SLOWEST_BYTES_PER_S = 64 * 1024
DEADLINE_BASE_S = 60.0
_MOUNT_ORIGINS = 3

Settle = Callable[[Location, BlobOutcome | Exception], None]
"""Told once for each target, as soon as it is known how the blob stands there."""

_HostKey = tuple[str, Digest]


@dataclass(slots=True)
class _Known:
    """What this run learned about one digest on one host."""

    holders: dict[Location, None] = field(default_factory=dict)
    claim: anyio.Event | None = None


@dataclass(slots=True, kw_only=True)
class _Run:
    """What all deliveries of a run share: the outside world, and what was learned so far."""

    slots: Slots
    windows: Windows
    clock: Clock
    events: EventSink
    jitter: random.Random
    origins: Origins
    known: dict[_HostKey, _Known] = field(default_factory=dict)
    failed: dict[tuple[Location, Digest], Exception] = field(default_factory=dict)
    late: set[str] = field(default_factory=set)
    repositories: KeyedOnce = field(default_factory=KeyedOnce)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def release(self, location: Location, digest: Digest) -> None:
        """Give up the claim on a digest at a host."""
        known = self.known[location.host, digest]
        if known.claim is not None:
            known.claim.set()
            known.claim = None

    def holds(self, location: Location, digest: Digest) -> None:
        """Take note that a repository holds a blob, for this run and those to come."""
        holders = self.known[location.host, digest].holders
        if location not in holders:
            holders[location] = None
            self.origins.keep(location, digest)


class BlobMover:
    """Moves blobs for one run."""

    def __init__(
        self,
        *,
        slots: Slots,
        windows: Windows,
        clock: Clock,
        events: EventSink,
        jitter: random.Random,
        numbers: Iterator[int] | None = None,
        memory: Memory | None = None,
    ) -> None:
        """Make a mover that knows nothing yet of what its targets hold.

        Args:
            slots: places at registries.
            windows: bytes in memory, shared by all transfers.
            clock: time.
            events: who listens.
            jitter: spreads retries.
            numbers: tell its transfers apart; None: from 1 on.
            memory: where it finds mount origins; None: nowhere.
        """
        self._run = _Run(
            slots=slots,
            windows=windows,
            clock=clock,
            events=events,
            jitter=jitter,
            numbers=numbers if numbers is not None else itertools.count(1),
            origins=Origins(memory or NoMemory(), clock),
        )

    async def recall(self, targets: Iterable[Location], digests: Iterable[Digest]) -> None:
        """Learn which repositories of the targets' registries held blobs in earlier runs."""
        await self._run.origins.recall(targets, digests)

    @property
    def events(self) -> EventSink:
        """Who listens to what happens to blobs, and to all else on the way of an image."""
        return self._run.events

    async def prepare(self, target: RepositoryWriter) -> None:
        """Make the repository of a target where its registry wants that, once a run.

        Raises:
            MirrordError: it does not exist and could not be made.
        """
        await self._run.repositories.run(target.location, target.ensure_exists)

    async def deliver(
        self,
        blob: Descriptor,
        source: RepositoryReader,
        targets: Sequence[RepositoryWriter],
        *,
        settle: Settle,
        force: bool = False,
    ) -> None:
        """Have ``blob`` on all ``targets``; each is settled on its own, none waits for another.

        Args:
            blob: what to bring.
            source: where to read it.
            targets: repositories that need it.
            settle: told the outcome of each target.
            force: send it even where the target says that it has it, since the target contradicted itself.
        """
        mine: list[RepositoryWriter] = []
        async with anyio.create_task_group() as group:
            for target in targets:
                known = self._run.known.setdefault((target.location.host, blob.digest), _Known())
                if known.claim is None:
                    known.claim = anyio.Event()
                    mine.append(target)
                else:
                    group.start_soon(
                        self._later, _Delivery(self._run, blob, source, settle=settle, force=force), target
                    )
            if mine:
                await _Delivery(self._run, blob, source, settle=settle, force=force).run(mine)

    async def _later(self, delivery: _Delivery, target: RepositoryWriter) -> None:
        """Wait until nobody else works on the digest at this host, then see what is left to do: a mount, mostly."""
        known = self._run.known[target.location.host, delivery.blob.digest]
        while known.claim is not None:
            await known.claim.wait()
        known.claim = anyio.Event()
        await delivery.run([target])


class _Delivery:
    """One blob on its way to the targets that are claimed for it."""

    def __init__(self, run: _Run, blob: Descriptor, source: RepositoryReader, *, settle: Settle, force: bool) -> None:
        self.blob = blob
        self._run = run
        self._source = source
        self._settle = settle
        self._force = force
        self._open: set[Location] = set()

    async def run(self, targets: Sequence[RepositoryWriter]) -> None:
        """Settle all ``targets``: ask them side by side, then send the bytes once to all that answered in time."""
        self._open = {target.location for target in targets}
        asked = Asked(targets, self._run.late)
        try:
            async with anyio.create_task_group() as group:
                for target in targets:
                    group.start_soon(self._ask, target, asked)
                await asked.most_answered()
                if asked.needy:
                    await self._upload(asked.needy)
        finally:
            for location in tuple(self._open):
                self._run.release(location, self.blob.digest)

    async def _ask(self, target: RepositoryWriter, asked: Asked) -> None:
        """Ask one target what it holds or can mount; one that answers after the others have begun reads alone."""
        try:
            needs_bytes = not await self._has_it(target)
        except Exception as exc:  # noqa: BLE001 - one target's failure is not the others'
            self._end(target.location, exc)
            needs_bytes = False
        if not asked.answer(target, needy=needs_bytes):
            await self._upload([target])

    async def _has_it(self, target: RepositoryWriter) -> bool:
        location, digest = target.location, self.blob.digest
        for key in ((self._source.location, digest), (location, digest)):
            if (failure := self._run.failed.get(key)) is not None:
                raise LeaderFailedError.of(failure) from failure
        await self._run.repositories.run(location, target.ensure_exists)
        known = self._run.known[location.host, digest]
        if self._force:
            known.holders.pop(location, None)
            self._run.origins.drop(location, digest)
            return False
        if location in known.holders:
            self._end(location, BlobOutcome.EXISTED)
            return True
        # A mount is one request where a question and a mount would be two, and costs nothing if the blob is there.
        for origin in self._origins(location, known.holders):
            if await target.mount_blob(self.blob, origin):
                self._end(location, BlobOutcome.MOUNTED)
                return True
            self._run.origins.refused(origin, digest)
        if await target.has_blob(self.blob):
            self._end(location, BlobOutcome.EXISTED)
            return True
        return False

    def _origins(self, location: Location, holders: Mapping[Location, None]) -> list[Repository]:
        """Return repositories of the target's registry that hold the blob, or did; the source itself may be one."""
        recalled = self._run.origins.of(location.host, self.blob.digest)
        candidates: Collection[Location] = (*holders, self._source.location, *recalled)
        return [
            origin
            for origin in dict.fromkeys(candidates)
            if isinstance(origin, Repository) and origin.host == location.host and origin != location
        ][:_MOUNT_ORIGINS]

    async def _upload(self, targets: Sequence[RepositoryWriter]) -> None:
        """Send the bytes, together where possible; those that fail in a way that may pass try again together."""
        waiting = list(targets)
        failures = 0
        spoiled: set[Location] = set()
        while waiting:
            errors = await self._round(waiting)
            again: list[RepositoryWriter] = []
            wait_s = 0.0
            failures += 1
            for target in waiting:
                error = errors.get(target.location)
                if error is None:
                    continue
                cause = error.__cause__ if isinstance(error, SourceFailedError) and error.__cause__ else error
                if isinstance(error, SpentLagError):
                    again.append(target)
                elif isinstance(cause, ContentMismatchError) and target.location not in spoiled:
                    spoiled.add(target.location)
                    again.append(target)  # once more, on another connection
                elif isinstance(cause, RegistryError) and cause.retryable and failures < TRIES:
                    again.append(target)
                    wait_s = max(wait_s, backoff_s(failures, self._run.jitter), cause.retry_after_s or 0.0)
                else:
                    self._fail(target, error, cause)
            waiting = again
            if waiting and wait_s:
                await self._run.clock.sleep(wait_s)

    def _fail(self, target: RepositoryWriter, error: Exception, cause: BaseException) -> None:
        """Settle a target for good: it is not tried again in this run, nor the source if that is to blame."""
        source = self._source.location
        place = source if isinstance(error, SourceFailedError) else target.location
        shown = cause if isinstance(cause, Exception) else error
        if place == source and isinstance(cause, NotFoundError):
            shown = TransferError(
                f"{source} lacks the blob {self.blob.digest}, which a manifest there names",
                code="SOURCE_INCOMPLETE",
                side="source",
                operation="read",
                remedy="push the image to the source again; it cannot be pulled from there either",
            )
            shown.__cause__ = cause
        self._run.failed[place, self.blob.digest] = shown
        self._end(target.location, shown)

    async def _round(self, targets: Sequence[RepositoryWriter]) -> dict[Location, Exception]:
        """Make one source read for all targets that get a place; return the errors of those that did not succeed."""
        hosts = {target.location.host for target in targets}
        hold = self._run.slots.hold(source=self._source.location.host, targets=hosts, patience_s=PATIENCE_S)
        errors: dict[Location, Exception] = {}
        async with hold as places:
            group = [target for target in targets if target.location.host in places.targets]
            for target in targets:
                if target not in group:
                    errors[target.location] = SpentLagError("no place in time; it reads alone", side="target")
            deadline_s = DEADLINE_BASE_S + self.blob.size / SLOWEST_BYTES_PER_S
            try:
                with anyio.fail_after(deadline_s):
                    ends = await self._tee(group, places)
            except TimeoutError:
                late = UnavailableError(
                    f"the blob {self.blob.digest} was not copied within {deadline_s:.0f} s",
                    code="BLOB_DEADLINE",
                    retryable=False,
                    remedy="the connection is slower than 64 KiB/s; check the network to both registries",
                )
                ends = [late if target.location in self._open else None for target in group]
        errors |= {target.location: error for target, error in zip(group, ends, strict=True) if error is not None}
        return errors

    async def _tee(self, group: Sequence[RepositoryWriter], places: Places) -> list[Exception | None]:
        """Send the bytes; a place is given back as soon as its registry is done, however long the others take."""
        run, blob = self._run, self.blob
        number = next(run.numbers)
        locations = tuple(target.location for target in group)
        run.events.emit(
            BlobStarted(
                transfer=number, digest=blob.digest, size=blob.size, source=self._source.location, targets=locations
            )
        )

        async def counted() -> AsyncIterator[bytes]:
            async with aclosing(resumed(self._source, blob, clock=run.clock, jitter=run.jitter)) as pieces:
                async for piece in pieces:
                    run.events.emit(BlobProgress(transfer=number, read=len(piece), host=self._source.location.host))
                    yield piece
            places.source_done()

        fed = False

        def settled(index: int, error: Exception | None) -> None:
            nonlocal fed
            places.target_done(locations[index].host)
            if error is None:
                self._end(locations[index], BlobOutcome.UPLOADED, shared=fed)
                fed = True

        def sink(target: RepositoryWriter) -> Sink:
            return lambda body: target.put_blob(blob, body)

        try:
            ends = await tee(
                blob,
                counted(),
                [sink(target) for target in group],
                windows=run.windows,
                clock=run.clock,
                settled=settled,
            )
        finally:
            run.events.emit(BlobFinished(transfer=number))
        self._tell_mismatches(locations, ends)
        return ends

    def _tell_mismatches(self, targets: Sequence[Location], ends: Sequence[Exception | None]) -> None:
        """Tell which registries had other bytes than they should: the source once, however many targets it fed."""
        found: dict[str, ContentMismatchError] = {}
        for target, error in zip(targets, ends, strict=True):
            if isinstance(error, ContentMismatchError):
                found[target.host] = error
            elif isinstance(error, SourceFailedError) and isinstance(error.__cause__, ContentMismatchError):
                found[self._source.location.host] = error.__cause__
        for host, mismatch in found.items():
            reason = "size" if mismatch.code == "SIZE_MISMATCH" else "digest"
            self._run.events.emit(IntegrityFailed(host=host, reason=reason))

    def _end(self, location: Location, outcome: BlobOutcome | Exception, *, shared: bool = False) -> None:
        """Settle one target: remember who holds the blob, free the claim, tell the image."""
        if location not in self._open:
            return
        self._open.discard(location)
        digest = self.blob.digest
        if isinstance(outcome, BlobOutcome):
            self._run.holds(location, digest)
        self._run.release(location, digest)
        self._run.events.emit(
            BlobSettled(
                target=location,
                digest=digest,
                size=self.blob.size,
                outcome=outcome if isinstance(outcome, BlobOutcome) else BlobOutcome.FAILED,
                shared=shared,
            )
        )
        self._settle(location, outcome)
