"""Parts of a run, put together over registries in memory."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mirrord.oci.digest import Digest
from mirrord.oci.reference import Location, Repository, Tag
from mirrord.planning.plan import Decision, TagPlan, TargetPlan
from mirrord.planning.report import BlobOutcome, Outcome, UnitResult
from mirrord.planning.rule import Policy
from mirrord.ports.registry import Slots
from mirrord.registry.throttle import RegistrySlots, Throttle, ThrottleBook
from mirrord.transfer.blob import BlobMover
from mirrord.transfer.executor import Executor
from mirrord.transfer.graph import Attachment
from mirrord.transfer.job import CopyJob, Order
from mirrord.transfer.window import Windows
from tests.fakes.clock import FakeClock
from tests.fakes.images import Content, content
from tests.fakes.memory import FreeSlots, Memory, Recorder

SOURCE = Repository("source.test", "app")
TARGETS = tuple(Repository(f"target-{name}.test", "mirror/app") for name in "abc")
A, B, C = TARGETS
Ends = dict[Location, BlobOutcome | Exception]


def limit(places: int, *hosts: str) -> ThrottleBook:
    """Return throttles of that many places for each host."""
    book = ThrottleBook()
    for host in hosts:
        book.add(host, Throttle(clock=FakeClock(), concurrency=places))
    return book


@dataclass
class Bench:
    """Registries in memory, and what one run works with."""

    memory: Memory = field(default_factory=Memory)
    slots: Slots = field(default_factory=FreeSlots)
    clock: FakeClock = field(default_factory=FakeClock)
    events: Recorder = field(default_factory=Recorder)

    def __post_init__(self) -> None:
        self.fresh()

    @classmethod
    def limited(cls, places: int, *hosts: str) -> Bench:
        """Return a bench whose registries have that many places each, for bodies and for everything else."""
        throttles = limit(places, *hosts)
        return cls(memory=Memory(throttles=throttles), slots=RegistrySlots(throttles))

    def fresh(self) -> None:
        """Begin another run, which knows nothing of the one before."""
        self.mover = BlobMover(
            slots=self.slots, windows=Windows(), clock=self.clock, events=self.events, jitter=random.Random(1)
        )
        self.executor = Executor(mover=self.mover, clock=self.clock)
        self.memory.log.clear()
        self.memory.effects.clear()

    async def deliver(
        self, image: Content, digest: Digest, *targets: Location, source: Location = SOURCE, force: bool = False
    ) -> Ends:
        """Bring one blob of an image to ``targets``; return how it stands there."""
        blob = next(blob for manifest in image.manifests.values() for blob in manifest.blobs() if blob.digest == digest)
        ends: Ends = {}
        await self.mover.deliver(
            blob,
            self.memory.reader(source),
            [self.memory.writer(target) for target in targets],
            settle=ends.__setitem__,
            force=force,
        )
        return ends

    async def copy(self, job: CopyJob) -> list[UnitResult]:
        """Carry out a job."""
        writers = {order.target.target: self.memory.writer(order.target.target) for order in job.orders}
        return await self.executor.carry_out(job, self.memory.reader(job.source), writers)


def make_job(
    image: Content,
    *targets: Location,
    source: Location = SOURCE,
    tags: Sequence[str | None] = ("1.0",),
    attachments: Iterable[Attachment] = (),
    policy: Policy | None = None,
    absent: frozenset[Digest] = frozenset(),
    serves_root: bool = False,
) -> CopyJob:
    """Return the job that copies ``image`` to all ``targets`` under the same tags."""
    plans = tuple(
        TagPlan(
            source_tag=Tag.parse(tag) if tag else None,
            target_tag=Tag.parse(tag) if tag else None,
            decision=Decision.COPY,
            reason="not on the target",
        )
        for tag in tags
    )
    return CopyJob(
        source=source,
        root=image.descriptor,
        graph=image.graph(absent),
        attachments=tuple(attachments),
        orders=tuple(
            Order(
                rule="rule",
                policy=policy or Policy(),
                target=TargetPlan(target=target, tags=plans),
                serves_root=serves_root,
            )
            for target in targets
        ),
    )


def shared_layers(count: int = 5, size: int = 256) -> list[bytes]:
    """Return layers for several images to share."""
    return [content(f"shared layer {i}", size) for i in range(count)]


def outcomes(results: Iterable[UnitResult]) -> dict[Location, Outcome]:
    """Return how each target ended."""
    return {result.target: result.outcome for result in results}


def codes(results: Iterable[UnitResult]) -> dict[Location, str]:
    """Return the code of the problem at each target, empty where there is none."""
    return {result.target: result.problem.code if result.problem is not None else "" for result in results}
