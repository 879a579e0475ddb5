"""Carries out the copy of one image to all its targets, and says how it went on each. Never raises for an image.

Blobs are brought to all targets together; each target then goes on alone, so that none waits for a slower one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import anyio

from mirrord.oci.descriptor import Descriptor
from mirrord.oci.reference import Location
from mirrord.planning.report import BlobOutcome, UnitResult
from mirrord.ports.clock import Clock
from mirrord.ports.registry import RepositoryReader, RepositoryWriter
from mirrord.transfer.blob import BlobMover
from mirrord.transfer.job import CopyJob
from mirrord.transfer.unit import Tools, Unit

BLOBS_AT_ONCE = 32


class Executor:
    """Carries out the jobs of one run; remembers what it brought where."""

    def __init__(self, *, mover: BlobMover, clock: Clock) -> None:
        """Make an executor for one run."""
        self._mover = mover
        self._clock = clock
        self._tools = Tools(mover=mover)

    async def carry_out(
        self,
        job: CopyJob,
        source: RepositoryReader,
        writers: Mapping[Location, RepositoryWriter],
        *,
        settle: Callable[[UnitResult], None] | None = None,
    ) -> list[UnitResult]:
        """Copy one image to every target that needs something of it.

        Args:
            job: what to copy.
            source: where to read it.
            writers: one for each target of ``job.orders``.
            settle: is told each result as soon as it is known; on cancellation, what was written until then.

        Returns:
            The results of all tags that were to be written.
        """
        started = self._clock.monotonic()
        units = [
            Unit(job=job, order=order, source=source, writer=writers[order.target.target], tools=self._tools)
            for order in job.orders
        ]
        results: list[UnitResult] = []
        moved = anyio.Event()

        async def finish(unit: Unit) -> None:
            try:
                await unit.finish()
                if unit.is_open:  # it failed while blobs were on their way: what still arrives is part of the result
                    await moved.wait()
            finally:
                for result in unit.results(self._clock.monotonic() - started):
                    results.append(result)
                    if settle is not None:
                        settle(result)

        async with anyio.create_task_group() as group:
            for unit in units:
                group.start_soon(finish, unit)
            await self._move_blobs(job, source, units)
            moved.set()
        return results

    async def _move_blobs(self, job: CopyJob, source: RepositoryReader, units: Sequence[Unit]) -> None:
        """Bring every blob to all targets that need it, a bounded number side by side.

        A blob makes room for the next one as soon as one target has it, so that a target that stands still does not
        stop the others.
        """
        blobs = {blob.digest: blob for order in job.orders for blob in job.blobs(order)}
        places = anyio.Semaphore(BLOBS_AT_ONCE)
        await self._mover.recall((unit.writer.location for unit in units), blobs)

        async def move(blob: Descriptor) -> None:
            with ExitStack() as place:
                place.callback(places.release)
                needy: dict[Location, list[Unit]] = {}
                for unit in units:
                    if unit.needs(blob):
                        needy.setdefault(unit.writer.location, []).append(unit)

                def settle(location: Location, end: BlobOutcome | Exception) -> None:
                    place.close()
                    first, *others = needy[location]
                    first.note(blob, end)
                    for unit in others:  # for them it is there already: bytes count once
                        unit.note(blob, BlobOutcome.EXISTED if isinstance(end, BlobOutcome) else end)

                await self._mover.deliver(blob, source, [units[0].writer for units in needy.values()], settle=settle)

        async with anyio.create_task_group() as group:
            for blob in blobs.values():
                await places.acquire()
                group.start_soon(move, blob)
